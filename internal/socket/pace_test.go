package socket

import (
	"bytes"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPace(t *testing.T) {
	cfg := Config{}.withDefaults()
	now := time.Now()
	p := pace{cfg: &cfg}
	require.False(t, p.next().After(now), "the first open waits for nothing")
	longest := time.Duration(0)
	for i := range 20 {
		p.failed(now)
		wait := p.next().Sub(now)
		full := min(cfg.BackoffMin<<i, cfg.BackoffMax)
		require.GreaterOrEqual(t, wait, full/2)
		require.Less(t, wait, full*9/10+1)
		longest = max(longest, wait)
	}
	require.Less(t, longest, cfg.BackoffMax, "back within 5 s")
	p.settled()
	p.opened = now
	p.failed(now)
	require.Equal(t, now.Add(time.Second), p.next(), "never two opens within a second")

	for i, full := range []time.Duration{1, 2, 4, 8, 10, 10} {
		p.tooMany(now)
		require.GreaterOrEqual(t, p.next().Sub(now), full*time.Minute, "turn %d", i)
		require.Less(t, p.next().Sub(now), full*time.Minute*14/10)
	}
}

func TestOutageIsToldAtGrowingIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buf bytes.Buffer
		o := outage{log: slog.New(slog.NewTextHandler(&buf, nil)), down: make(map[int]bool)}
		for range 3600 {
			o.failed(0, "no connection to Slack", errors.New("refused"))
			o.failed(1, "no connection to Slack", errors.New("refused"))
			time.Sleep(time.Second)
		}
		require.InDelta(t, 11, strings.Count(buf.String(), "level=WARN"), 2, "an hour of failures")
		o.healed(0)
		require.NotContains(t, buf.String(), "level=INFO", "one is still down")
		o.healed(1)
		o.healed(1)
		require.Equal(t, 1, strings.Count(buf.String(), "level=INFO"))
		require.Contains(t, buf.String(), "failures=7200 after=1h0m0s")
	})
}

func TestCensus(t *testing.T) {
	var buf bytes.Buffer
	c := census{log: slog.New(slog.NewTextHandler(&buf, nil)), window: 5 * time.Minute}
	start := time.Now()
	hello := func(after time.Duration, counted int) int {
		c.hello(start.Add(after), counted, 2)
		return strings.Count(buf.String(), "level=WARN")
	}
	require.Equal(t, 0, hello(0, 2))
	require.Equal(t, 0, hello(time.Minute, 3))
	require.Equal(t, 0, hello(5*time.Minute, 3), "too soon")
	require.Equal(t, 0, hello(6*time.Minute-1, 2), "it was a ghost")
	require.Equal(t, 0, hello(7*time.Minute, 3))
	require.Equal(t, 1, hello(12*time.Minute, 4))
	require.Equal(t, 1, hello(60*time.Minute, 4), "said once")
}

func TestNothingSecretInErrorTexts(t *testing.T) {
	const secret = "s3cret"
	bad := strings.Join([]string{"wss://host:port/link?ticket=", secret}, "")
	_, badURL := url.Parse(bad)
	for _, err := range []error{
		badURL,
		&url.Error{Op: "Post", URL: "https://slack.com/api/" + secret, Err: errors.New("EOF")},
		errors.New(`Get "wss://h/link/?ticket=` + secret + `": refused`),
		errors.New("bad token xapp-1-" + secret + ", sorry"),
		errors.New("bad token xoxb-1-" + secret),
		errors.New("xoxe.xoxb-1-" + secret),
		errors.New(`invalid proxy address "http://user:a b ` + secret + `@proxy": bad`),
	} {
		require.NotContains(t, plain(err), secret)
	}
	require.Equal(t, "dial tcp 192.0.2.1:443: connection refused", plain(errors.New("dial tcp 192.0.2.1:443: connection refused")))
}
