package zego

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSignatureVectors(t *testing.T) {
	for _, v := range []struct {
		name      string
		appID     uint32
		nonce     string
		secret    string
		timestamp int64
		want      string
	}{
		{"V1, ZEGO's own", 12345, "4fd24687296dd9f3", "9193cc662a4c0ec135ec71fb57194b38", 1615186943, "43e5cfcca828314675f91b001390566a"},
		{"V2", 1234567890, "a1b2c3d4e5f60718", "0123456789abcdef0123456789abcdef", 1735689600, "917764bdf11fa82e770a1f70a7e966ca"},
		{"V3, greatest AppID", 4294967295, "ffffffffffffffff", "0123456789abcdef0123456789abcdef", 1700000000, "d28c774a86ac4cb040885e8546acedb1"},
		{"V4, least AppID and leading zeros", 1, "0000000000000000", "ffffffffffffffffffffffffffffffff", 4102444800, "7dad6e597c22f82fad1f378d867331f4"},
		{"V5, decimal nonce", 1234567890, "15215528852396", "0123456789abcdef0123456789abcdef", 1735689600, "e34d1911414a6e38e6b31d76e0ffbbde"},
	} {
		t.Run(v.name, func(t *testing.T) {
			assert.Equal(t, v.want, signature(v.appID, v.nonce, v.secret, v.timestamp))
		})
	}
}

func TestSignatureAvoidsKnownMistakes(t *testing.T) {
	const appID, nonce, secret, timestamp = 1234567890, "a1b2c3d4e5f60718", "0123456789abcdef0123456789abcdef", 1735689600
	got := signature(appID, nonce, secret, timestamp)
	for mistake, wrong := range map[string]string{
		"upper-cased nonce":                  "f3595a1ea37e42d9fe1997ebecf4308a",
		"timestamp in milliseconds":          "91d905e3202cce5484dc1f4610d6b6c6",
		"order AppId,Timestamp,Nonce,Secret": "2435c71de1128d68805756915b69209e",
		"order AppId,Nonce,Timestamp,Secret": "47aa2c0d402b5067579b159db1ce6045",
	} {
		assert.NotEqual(t, wrong, got, mistake)
	}
	// The wrong results are what those mistakes give, so the list is not idle.
	assert.Equal(t, "f3595a1ea37e42d9fe1997ebecf4308a", signature(appID, strings.ToUpper(nonce), secret, timestamp))
	assert.Equal(t, "91d905e3202cce5484dc1f4610d6b6c6", signature(appID, nonce, secret, timestamp*1000))
}

func TestEncoding(t *testing.T) {
	const reason = "清理房间 a+b&c=d%e"
	require.Len(t, reason, 22)
	assert.Equal(t, "%E6%B8%85%E7%90%86%E6%88%BF%E9%97%B4%20a%2Bb%26c%3Dd%25e", escape(reason))
	assert.Equal(t, "RoomId%5B%5D=a&RoomId%5B%5D=b", encode([]param{{"RoomId[]", "a"}, {"RoomId[]", "b"}}))

	// ZEGO's example, in ZEGO's order.
	assert.Equal(t, "RoomId=demo%231&CustomReason=maintenance%20window&RoomCloseCallback=true",
		encode([]param{{"RoomId", "demo#1"}, {"CustomReason", "maintenance window"}, {"RoomCloseCallback", "true"}}))
}

func TestEveryCallIsSignedAfresh(t *testing.T) {
	now := time.Unix(1735689600, 999_000_000)
	c := Client{AppID: 4294967295, ServerSecret: "0123456789abcdef0123456789abcdef", Now: func() time.Time { return now }}
	nonces := make(map[string]bool)
	for range 100 {
		q, err := url.ParseQuery(c.sign("CloseRoom", nil).query)
		require.NoError(t, err)
		nonce := q.Get("SignatureNonce")
		assert.Regexp(t, "^[0-9a-f]{16}$", nonce)
		assert.False(t, nonces[nonce], "nonce used twice")
		nonces[nonce] = true
		assert.Equal(t, "1735689600", q.Get("Timestamp"), "whole seconds, not rounded up")
		assert.Equal(t, signature(c.AppID, nonce, c.ServerSecret, 1735689600), q.Get("Signature"))
		assert.Equal(t, "2.0", q.Get("SignatureVersion"))
		assert.Equal(t, "4294967295", q.Get("AppId"))
		assert.False(t, q.Has("IsTest"), "sent only when configured")
	}
	for _, test := range []bool{true, false} {
		c.IsTest = &test
		q, err := url.ParseQuery(c.sign("CloseRoom", nil).query)
		require.NoError(t, err)
		assert.Equal(t, map[bool]string{true: "true", false: "false"}[test], q.Get("IsTest"))
	}
}

// FuzzQuery checks that whatever is typed arrives unchanged, adds no parameter,
// and reads the same whether the reader takes a + for a space or not.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"live-42", "a&b=c#d+e%f", "x&RoomId=y", "%41%2B", "<!channel>", "清理 房间", "\u202e\x00\n\xff", "`*_~"} {
		f.Add(s, s)
	}
	c := Client{AppID: 1, ServerSecret: "0123456789abcdef0123456789abcdef"}
	f.Fuzz(func(t *testing.T, room, reason string) {
		raw := c.sign("CloseRoom", []param{{"RoomId", room}, {"CustomReason", reason}}).query
		q, err := url.ParseQuery(raw)
		require.NoError(t, err)
		assert.Equal(t, []string{room}, q["RoomId"])
		assert.Equal(t, []string{reason}, q["CustomReason"])
		assert.Len(t, q, 8)
		assert.NotContains(t, raw, "+")
		u, err := url.Parse("https://host/?" + raw)
		require.NoError(t, err)
		assert.Empty(t, u.Fragment)
	})
}
