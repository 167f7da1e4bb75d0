package metrics

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
)

// SlackTransport counts the calls that go through next, by method and error. Slack answers
// 200 to a refused call too, so the beginning of each answer is looked at.
func (m *Metrics) SlackTransport(next http.RoundTripper) http.RoundTripper {
	if m == nil {
		return next
	}
	return slackTransport{m, next}
}

type slackTransport struct {
	m    *Metrics
	next http.RoundTripper
}

func (t slackTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	method := slackMethod(r)
	began := time.Now()
	resp, err := t.next.RoundTrip(r)
	t.m.slackTook.observe(time.Since(began).Seconds(), method)
	code := "no_answer"
	if err == nil {
		code = slackError(resp, method)
	}
	t.m.slackCalls.add(1, method, code)
	return resp, err
}

// slackMethod is the method called: the end of its path. Only response_urls lie elsewhere.
func slackMethod(r *http.Request) string {
	method := path.Base(r.URL.Path)
	if strings.Contains(r.URL.Path, "/api/") && word(strings.ToLower(strings.ReplaceAll(method, ".", "_"))) != "other" {
		return method
	}
	return "response_url"
}

// maxRefusal is how long an answer that refuses a call can be, in bytes.
const maxRefusal = 16 << 10

// slackError is Slack's error code, or the status of an answer that is not 200. What it
// reads of the answer it puts back.
func slackError(resp *http.Response, method string) string {
	if resp.StatusCode != http.StatusOK {
		return "http_" + strconv.Itoa(resp.StatusCode)
	}
	body := bufio.NewReaderSize(resp.Body, maxRefusal)
	resp.Body = struct {
		io.Reader
		io.Closer
	}{body, resp.Body}
	if method == "response_url" {
		return "ok" // it has no codes
	}
	const ok = `{"ok":true`
	if head, _ := body.Peek(len(ok)); bytes.Equal(head, []byte(ok)) {
		return "ok"
	}
	all, err := body.Peek(maxRefusal)
	if err != nil && !errors.Is(err, io.EOF) {
		return "no_answer"
	}
	var answer struct {
		OK    bool
		Error string
	}
	switch err := json.Unmarshal(all, &answer); {
	case err != nil && len(all) == maxRefusal: // long, so not a refusal
		return "ok"
	case err != nil:
		return "unreadable"
	case answer.OK:
		return "ok"
	}
	return word(answer.Error)
}
