package zego_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"zegoclose/zego"
)

const secret = "0123456789abcdef0123456789abcdef"

func client(baseURL string) *zego.Client {
	return &zego.Client{AppID: 1234567890, ServerSecret: secret, BaseURL: baseURL}
}

// serve answers every request with body and hands the request on.
func serve(t *testing.T, body string, see func(*http.Request)) *zego.Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if see != nil {
			see(r)
		}
		io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	return client(server.URL)
}

func TestCloseRoom(t *testing.T) {
	var got *http.Request
	c := serve(t, `{"Code":0,"Message":"success","RequestId":"3912000000000000001"}`, func(r *http.Request) { got = r })
	c.Now = func() time.Time { return time.Unix(1735689600, 0) }

	written := 0
	answer, err := c.CloseRoom(t.Context(), zego.CloseRoomRequest{
		RoomID:            " Live&42#<!channel>",
		CustomReason:      "清理房间 a+b&c=d%e",
		RoomCloseCallback: true,
		OnWritten:         func() { written++ },
	})
	require.NoError(t, err)
	assert.Equal(t, zego.Answer{RequestID: "3912000000000000001", Message: "success"}, answer)
	assert.Equal(t, zego.Done, zego.EffectOf(err))
	assert.Equal(t, zego.Never, zego.RetryOf(err))
	assert.Equal(t, 1, written)

	assert.Equal(t, http.MethodGet, got.Method)
	assert.Equal(t, "/", got.URL.Path)
	assert.True(t, got.Close, "asks for a connection of its own")
	q := got.URL.Query()
	assert.Equal(t, "CloseRoom", q.Get("Action"))
	assert.Equal(t, "1234567890", q.Get("AppId"))
	assert.Equal(t, "1735689600", q.Get("Timestamp"))
	assert.Equal(t, []string{" Live&42#<!channel>"}, q["RoomId"])
	assert.Equal(t, []string{"清理房间 a+b&c=d%e"}, q["CustomReason"])
	assert.Equal(t, []string{"true"}, q["RoomCloseCallback"])
	assert.NotContains(t, got.URL.RawQuery, "+")
}

func TestCloseRoomLeavesOutWhatIsNotWanted(t *testing.T) {
	var got *http.Request
	c := serve(t, `{"Code":0}`, func(r *http.Request) { got = r })
	_, err := c.CloseRoom(t.Context(), zego.CloseRoomRequest{RoomID: "r"})
	require.NoError(t, err)
	for _, name := range []string{"CustomReason", "RoomCloseCallback", "IsTest"} {
		assert.False(t, got.URL.Query().Has(name), name)
	}
}

func TestCloseRoomUsesTheRealClockAndEnvironment(t *testing.T) {
	var got *http.Request
	c := serve(t, `{"Code":0}`, func(r *http.Request) { got = r })
	c.IsTest = new(true)
	_, err := c.CloseRoom(t.Context(), zego.CloseRoomRequest{RoomID: "r"})
	require.NoError(t, err)
	assert.Equal(t, "true", got.URL.Query().Get("IsTest"))
	var sent int64
	_, err = fmt.Sscan(got.URL.Query().Get("Timestamp"), &sent)
	require.NoError(t, err)
	assert.InDelta(t, time.Now().Unix(), sent, 5)
}

func TestCloseRoomRefusesBeforeSending(t *testing.T) {
	for name, test := range map[string]struct {
		client  zego.Client
		request zego.CloseRoomRequest
		problem string
	}{
		"empty room id":   {*client(""), zego.CloseRoomRequest{}, "the room id is empty"},
		"long room id":    {*client(""), zego.CloseRoomRequest{RoomID: strings.Repeat("x", 129)}, "the room id has 129 bytes, 128 at most"},
		"long reason":     {*client(""), zego.CloseRoomRequest{RoomID: "r", CustomReason: strings.Repeat("理", 86)}, "the reason has 258 bytes, 256 at most"},
		"no AppID":        {zego.Client{ServerSecret: secret}, zego.CloseRoomRequest{RoomID: "r"}, "AppID is 0"},
		"no secret":       {zego.Client{AppID: 1}, zego.CloseRoomRequest{RoomID: "r"}, "ServerSecret has 0 bytes, not 32"},
		"http to outside": {*client("http://rtc-api.zego.im"), zego.CloseRoomRequest{RoomID: "r"}, "base URL must begin with https:// (http:// is for loopback addresses)"},
	} {
		t.Run(name, func(t *testing.T) {
			test.request.OnWritten = func() { t.Error("written") }
			_, err := test.client.CloseRoom(t.Context(), test.request)
			var refused *zego.RequestError
			require.ErrorAs(t, err, &refused)
			assert.Equal(t, test.problem, refused.Problem)
			assert.Equal(t, "CloseRoom: not sent: "+test.problem, err.Error())
			assert.Equal(t, zego.NotDone, zego.EffectOf(err))
			assert.Equal(t, zego.Never, zego.RetryOf(err))
		})
	}
}

func TestAnswersOfZego(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want *zego.Error // nil: Code 0
	}{
		"success":                      {`{"Code":0,"Message":"success","RequestId":"TestRequestId3912000000000000001"}`, nil},
		"only the Code":                {`{"Code":0}`, nil},
		"white space around":           {"\r\n {\"Code\": 0 }\n", nil},
		"odd Message and RequestId":    {`{"Code":0,"Message":["?"],"RequestId":{}}`, nil},
		"refused":                      {`{"Code":9,"Message":"no","RequestId":"77"}`, &zego.Error{Action: "CloseRoom", Code: 9, Message: "no", RequestID: "77"}},
		"RequestId of 19 digits":       {`{"Code":1,"RequestId":9007199254740993123}`, &zego.Error{Action: "CloseRoom", Code: 1, RequestID: "9007199254740993123"}},
		"negative Code":                {`{"Code":-2147483648}`, &zego.Error{Action: "CloseRoom", Code: -2147483648}},
		"lower-case code counts not":   {`{"code":0,"Code":5024}`, &zego.Error{Action: "CloseRoom", Code: 5024}},
		"endless Message is shortened": {`{"Code":9,"Message":"` + strings.Repeat("界", 1000) + `"}`, &zego.Error{Action: "CloseRoom", Code: 9, Message: strings.Repeat("界", 100)}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := serve(t, test.body, nil).CloseRoom(t.Context(), zego.CloseRoomRequest{RoomID: "r"})
			if test.want == nil {
				require.NoError(t, err)
				return
			}
			var got *zego.Error
			require.ErrorAs(t, err, &got)
			assert.Equal(t, test.want, got)
			assert.Contains(t, err.Error(), zego.Lookup(got.Code).Meaning)
		})
	}
}

func TestDescribeUserNum(t *testing.T) {
	var got *http.Request
	c := serve(t, `{"Code":0,"Data":{"UserCountList":[
		{"RoomId":"b","UserCount":3,"AdminUserCount":1},
		{"RoomId":"a","UserCount":0,"AdminUserCount":0}]}}`, func(r *http.Request) { got = r })
	nums, err := c.DescribeUserNum(t.Context(), "a", "b")
	require.NoError(t, err)
	assert.Equal(t, []zego.UserNum{{RoomID: "a"}, {RoomID: "b", UserCount: 3, AdminUserCount: 1}}, nums, "in the order asked")
	assert.Equal(t, 2, nums[1].People())
	assert.Equal(t, 0, zego.UserNum{UserCount: 1, AdminUserCount: 2}.People())
	assert.Equal(t, []string{"a", "b"}, got.URL.Query()["RoomId[]"])
	assert.Contains(t, got.URL.RawQuery, "RoomId%5B%5D=a")
}

func TestDescribeUserNumTakesNothingForEmpty(t *testing.T) {
	for name, body := range map[string]string{
		"no Data":            `{"Code":0}`,
		"no list":            `{"Code":0,"Data":{}}`,
		"another room":       `{"Code":0,"Data":{"UserCountList":[{"RoomId":"R","UserCount":0}]}}`,
		"no UserCount":       `{"Code":0,"Data":{"UserCountList":[{"RoomId":"r"}]}}`,
		"negative UserCount": `{"Code":0,"Data":{"UserCountList":[{"RoomId":"r","UserCount":-1}]}}`,
		"UserCount a string": `{"Code":0,"Data":{"UserCountList":[{"RoomId":"r","UserCount":"0"}]}}`,
	} {
		t.Run(name, func(t *testing.T) {
			nums, err := serve(t, body, nil).DescribeUserNum(t.Context(), "r")
			var lost *zego.TransportError
			require.ErrorAs(t, err, &lost)
			assert.Nil(t, nums)
		})
	}
	_, err := serve(t, `{"Code":206}`, nil).DescribeUserNum(t.Context(), "r")
	var refused *zego.Error
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "DescribeUserNum", refused.Action)
}

func TestDescribeUserNumRefusesBeforeSending(t *testing.T) {
	for problem, rooms := range map[string][]string{
		"0 rooms asked for, 1 to 10 can be":  {},
		"11 rooms asked for, 1 to 10 can be": strings.Split(strings.Repeat("r ", 11)[:21], " "),
		"the room id is empty":               {"r", ""},
	} {
		_, err := client("").DescribeUserNum(t.Context(), rooms...)
		var refused *zego.RequestError
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, problem, refused.Problem)
	}
}

func TestValidate(t *testing.T) {
	require.NoError(t, client("").Validate())
	for _, base := range []string{
		zego.URLUnified, zego.URLShanghai, zego.URLHongKong, zego.URLFrankfurt, zego.URLCalifornia, zego.URLMumbai, zego.URLSingapore,
		"https://rtc-api.zego.im/", "http://localhost:8080", "http://127.0.0.1:1", "http://[::1]:1/zego",
	} {
		assert.NoError(t, zego.ValidBaseURL(base), base)
	}
	for _, base := range []string{
		"", "rtc-api.zego.im", "http://rtc-api.zego.im", "http://10.0.0.1", "http://localhost.example", "ftp://127.0.0.1", "https://",
		"https://user:password@rtc-api.zego.im", "https://h/?a=b", "https://h/?", "https://h/#f", "https://h\x7f/password",
	} {
		err := zego.ValidBaseURL(base)
		require.Error(t, err, base)
		assert.NotContains(t, err.Error(), "password")
	}
	for _, bad := range []string{"", secret[:31], secret + "0", " " + secret[:31], secret[:31] + "\n", secret[:30] + "é"} {
		err := zego.ValidSecret(bad)
		require.Error(t, err, "%q", bad)
		if bad != "" {
			assert.NotContains(t, err.Error(), bad)
		}
	}
	err := zego.Client{BaseURL: "x"}.Validate()
	for _, part := range []string{"AppID", "ServerSecret", "base URL"} {
		assert.ErrorContains(t, err, part, "everything at once")
	}
}

func TestClientPrintsNoSecret(t *testing.T) {
	c := client("")
	var out strings.Builder
	for _, v := range []any{c, *c, struct{ C zego.Client }{*c}, []*zego.Client{c}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		b, err := json.Marshal(v)
		require.NoError(t, err)
		out.Write(b)
		slog.New(slog.NewTextHandler(&out, nil)).Info("client", "c", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("client", "c", v)
	}
	assert.NotContains(t, out.String(), secret)
	assert.NotContains(t, out.String(), fmt.Sprintf("%x", secret))
	assert.Contains(t, out.String(), "1234567890")
}

func TestEffectOfWhatIsNotKnown(t *testing.T) {
	for _, err := range []error{errors.New("?"), io.EOF, &zego.Error{}, &zego.TransportError{Written: true}} {
		assert.Equal(t, zego.Unknown, zego.EffectOf(err))
		assert.Equal(t, zego.Never, zego.RetryOf(err))
	}
	wrapped := fmt.Errorf("closing: %w", &zego.Error{Code: 206})
	assert.Equal(t, zego.NotDone, zego.EffectOf(wrapped))
	assert.Equal(t, zego.SlowDown, zego.RetryOf(wrapped))
}

func TestTruncateReason(t *testing.T) {
	assert.Equal(t, "short", zego.TruncateReason("short"))
	exact := strings.Repeat("理", 85) + "x"
	assert.Equal(t, exact, zego.TruncateReason(exact))
	assert.Equal(t, strings.Repeat("理", 85), zego.TruncateReason(strings.Repeat("理", 86)))
	assert.Equal(t, exact, zego.TruncateReason(exact+"😀"))
	assert.Equal(t, strings.Repeat("x", 253), zego.TruncateReason(strings.Repeat("x", 253)+"😀"))
	assert.Len(t, zego.TruncateReason(strings.Repeat("\x80", 300)), 252, "not text, but still short enough")
}

func TestUnusualRoomID(t *testing.T) {
	assert.Empty(t, zego.UnusualRoomID("azAZ09~!@#$%^&*()_+=-`;',.<>\\/"))
	assert.Equal(t, []rune{' ', '房', '"', '\u202e'}, zego.UnusualRoomID("a b 房\"\u202e房"))
}
