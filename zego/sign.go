package zego

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"net/url"
	"strconv"
	"strings"
)

// param is one query parameter, not yet encoded. A list keeps the order of
// ZEGO's examples, which is what people compare a captured request with.
type param struct{ name, value string }

// signedQuery is the query of one request, with what must never leave the
// package in any other way.
type signedQuery struct {
	query  string
	hidden *strings.Replacer
}

// clean makes a text presentable that the other side may have had a hand in,
// such as an answer that echoes the request: it takes out the query, the nonce,
// the signature and the secret, and shortens the rest to a few lines.
func (s signedQuery) clean(text string) string { return cut(s.hidden.Replace(text), 300) }

// sign makes the query of one request, with a fresh nonce and timestamp.
func (c Client) sign(action string, params []param) signedQuery {
	var random [8]byte
	rand.Read(random[:]) // never fails
	nonce := hex.EncodeToString(random[:])
	timestamp := c.now().Unix()
	sum := signature(c.AppID, nonce, c.ServerSecret, timestamp)

	query := encode(append([]param{
		{"Action", action},
		{"AppId", strconv.FormatUint(uint64(c.AppID), 10)},
		{"SignatureNonce", nonce},
		{"SignatureVersion", "2.0"},
		{"Timestamp", strconv.FormatInt(timestamp, 10)},
		{"Signature", sum},
	}, params...))
	if c.IsTest != nil {
		query += "&" + encode([]param{{"IsTest", strconv.FormatBool(*c.IsTest)}})
	}
	const gone = "[hidden]"
	return signedQuery{query, strings.NewReplacer(query, gone, nonce, gone, sum, gone, c.ServerSecret, gone)}
}

// signature is ZEGO's request signature ("Signing the request"). It covers
// neither the action nor its parameters.
func signature(appID uint32, nonce, secret string, timestamp int64) string {
	sum := md5.Sum([]byte(strconv.FormatUint(uint64(appID), 10) + nonce + secret + strconv.FormatInt(timestamp, 10)))
	return hex.EncodeToString(sum[:])
}

func encode(params []param) string {
	pairs := make([]string, len(params))
	for i, p := range params {
		pairs[i] = escape(p.name) + "=" + escape(p.value)
	}
	return strings.Join(pairs, "&")
}

// escape percent-encodes s once. A space becomes %20, since nothing says
// whether ZEGO reads a + as a space.
func escape(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
