// Package zego calls the ZEGO (ZEGOCLOUD) RTC Server API, version 2: it closes
// live rooms and counts who is in them.
//
//	client := zego.Client{AppID: 1234567890, ServerSecret: secret}
//	answer, err := client.CloseRoom(ctx, zego.CloseRoomRequest{RoomID: "live-42"})
//
// CloseRoom cannot be taken back, has no idempotency key, and a late repeat
// closes whatever room bears the name by then. So what matters about a call is
// less whether it returned an error than what is known about the room
// afterwards. EffectOf answers that in four words: the room was closed (Done),
// certainly was not (NotDone), does not exist (Absent), or nobody can tell from
// this call (Unknown). RetryOf says whether another attempt is safe at all.
//
// The package promises:
//
//   - One call of CloseRoom puts at most one request on the wire. Every call
//     makes its own connection, because net/http repeats a GET by itself when a
//     reused connection dies, and CloseRoom is a GET.
//   - Every call has a fresh nonce, timestamp and signature.
//   - Only HTTP 200 with a whole JSON object and an integer Code is an answer;
//     everything else is a TransportError.
//   - No error, at any depth, holds the signed URL, its nonce or signature, or
//     the secret. A signature covers neither action nor room: whoever reads one
//     can call any API of the app for ten minutes.
//
// The package does not wait, repeat, pace or log. ZEGO allows one CloseRoom a
// second for all rooms of an AppID; keeping to that is up to the caller.
package zego

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Base URLs of the API. ZEGO advises the region of the calling server, not of
// the people in the rooms ("Accessing Server APIs").
const (
	URLUnified    = "https://rtc-api.zego.im"     // no particular region
	URLShanghai   = "https://rtc-api-sha.zego.im" // mainland China
	URLHongKong   = "https://rtc-api-hkg.zego.im" // Hong Kong, Macao, Taiwan
	URLFrankfurt  = "https://rtc-api-fra.zego.im" // Europe
	URLCalifornia = "https://rtc-api-lax.zego.im" // western United States
	URLMumbai     = "https://rtc-api-bom.zego.im" // Asia-Pacific
	URLSingapore  = "https://rtc-api-sgp.zego.im" // South-East Asia
)

// A Client calls the API on behalf of one ZEGO app. It is a plain value: use it
// as a literal, copy it, share it between goroutines.
type Client struct {
	AppID        uint32
	ServerSecret string `json:"-"` // 32 characters, from ZEGO's console; never printed

	// BaseURL is where the API is, URLUnified if empty. Plain http is accepted
	// for loopback addresses only.
	BaseURL string

	// IsTest chooses between ZEGO's test and production environments, where
	// the app has both (projects from before 2021-11-16). A room of one does
	// not exist in the other. Nil sends nothing, as newer projects should.
	IsTest *bool

	// OnDate, if not nil, is told ZEGO's clock whenever an answer bears its Date,
	// in whole seconds. It may be called from several goroutines at once.
	OnDate func(time.Time) `json:"-"`

	// Now tells the time, time.Now if nil. ZEGO refuses signatures that are
	// more than ten minutes away from its own clock.
	Now func() time.Time `json:"-"`
}

// Format prints the client without its secret, whatever the verb.
func (c Client) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "zego.Client{AppID: %d, BaseURL: %q}", c.AppID, c.baseURL())
}

// Validate reports everything that is wrong with the client's configuration.
func (c Client) Validate() error {
	var app error
	if c.AppID == 0 {
		app = errors.New("AppID is 0")
	}
	return errors.Join(app, ValidSecret(c.ServerSecret), ValidBaseURL(c.baseURL()))
}

// ValidSecret reports what keeps secret from being a ServerSecret. The error
// does not quote it.
func ValidSecret(secret string) error {
	if len(secret) != 32 {
		return fmt.Errorf("ServerSecret has %d bytes, not 32", len(secret))
	}
	for i := range len(secret) {
		if b := secret[i]; b <= ' ' || b > '~' {
			return errors.New("ServerSecret contains a space, a control character or a character beyond ASCII")
		}
	}
	return nil
}

// ValidBaseURL reports what keeps base from being a Client's BaseURL.
func ValidBaseURL(base string) error {
	_, err := parseBaseURL(base)
	return err
}

func (c Client) baseURL() string { return cmp.Or(c.BaseURL, URLUnified) }

func (c Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func parseBaseURL(base string) (*url.URL, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil: // the error would quote the URL, perhaps with a password in it
		return nil, errors.New("base URL cannot be parsed")
	case u.Hostname() == "":
		return nil, errors.New("base URL has no host")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("base URL must be scheme, host and path only")
	case u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname()):
		u.Path = cmp.Or(u.Path, "/")
		return u, nil
	default:
		return nil, errors.New("base URL must begin with https:// (http:// is for loopback addresses)")
	}
}

func loopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

const (
	dialTimeout = 5 * time.Second
	maxAnswer   = 64 << 10 // bytes, of the header and of the body; real answers are below 1 KiB
)

// newTransport makes the transport for one call. HTTP/2 stays off because it
// has repeat rules of its own. A proxy named in the environment is used: for
// https it merely carries a tunnel, so it can neither read the request nor send
// it twice, and loopback addresses, the only ones for http, are never proxied.
func newTransport() *http.Transport {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:    dialTimeout,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswer,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}

// call sends one request and returns ZEGO's answer to it, whose Code is 0.
// It calls onWritten, if not nil, when the request is on the wire.
func (c Client) call(ctx context.Context, action string, params []param, onWritten func()) (envelope, error) {
	if err := c.Validate(); err != nil {
		return envelope{}, &RequestError{Action: action, Problem: err.Error()}
	}
	target, _ := parseBaseURL(c.baseURL()) // Validate has seen it
	signed := c.sign(action, params)
	target.RawQuery = signed.query

	// From the moment the request has a connection, a part of it may have left.
	var written atomic.Bool
	var once sync.Once
	defer once.Do(func() {}) // after the call onWritten is over, or never called
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { written.Store(true) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil && onWritten != nil {
				once.Do(onWritten)
			}
		},
	})
	failed := func(err error) error { return transportError(ctx, action, written.Load(), err, signed) }

	// RoundTrip rather than http.Client: no redirects, no cookies, no *url.Error.
	request := (&http.Request{Method: http.MethodGet, URL: target, Header: http.Header{}}).WithContext(ctx)
	response, err := newTransport().RoundTrip(request)
	if err != nil {
		return envelope{}, failed(err)
	}
	defer response.Body.Close()
	if onWritten != nil {
		once.Do(onWritten) // the answer can overtake the trace
	}
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil && c.OnDate != nil {
		c.OnDate(date)
	}
	if response.StatusCode != http.StatusOK {
		return envelope{}, failed(fmt.Errorf("HTTP status %d", response.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return envelope{}, failed(err)
	}
	if len(body) > maxAnswer {
		return envelope{}, failed(fmt.Errorf("the answer is longer than %d bytes", maxAnswer))
	}
	answer, err := parseEnvelope(body)
	if err != nil {
		return envelope{}, failed(err)
	}
	answer.Message, answer.RequestID = signed.clean(answer.Message), signed.clean(answer.RequestID)
	if answer.Code != 0 {
		return envelope{}, &Error{Action: action, Code: answer.Code, Message: answer.Message, RequestID: answer.RequestID}
	}
	return answer, nil
}
