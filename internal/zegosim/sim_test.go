package zegosim_test

import (
	"crypto/md5"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"zegoclose/internal/zegosim"
)

const (
	appID  = 1234567890
	secret = "0123456789abcdef0123456789abcdef"
)

// start runs a simulator for one test, with a clock that the test moves.
func start(t *testing.T, cfg zegosim.Config) (*zegosim.Server, *clock) {
	t.Helper()
	c := &clock{}
	c.ns.Store(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC).UnixNano())
	if cfg.AppID == 0 {
		cfg.AppID, cfg.ServerSecret = appID, secret
	}
	if cfg.Now == nil {
		cfg.Now = c.now
	}
	sim := zegosim.New(cfg)
	t.Cleanup(sim.Close)
	return sim, c
}

type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time       { return time.Unix(0, c.ns.Load()) }
func (c *clock) pass(d time.Duration) { c.ns.Add(int64(d)) }

// signed makes the query of a proper call, "name=value" by "name=value".
func signed(now time.Time, params ...string) url.Values {
	var random [8]byte
	rand.Read(random[:])
	nonce, timestamp := hex.EncodeToString(random[:]), strconv.FormatInt(now.Unix(), 10)
	q := url.Values{
		"AppId":            {strconv.Itoa(appID)},
		"SignatureNonce":   {nonce},
		"SignatureVersion": {"2.0"},
		"Timestamp":        {timestamp},
		"Signature":        {sign(strconv.Itoa(appID), nonce, secret, timestamp)},
	}
	for _, p := range params {
		name, value, _ := strings.Cut(p, "=")
		q.Add(name, value)
	}
	return q
}

func sign(parts ...string) string {
	sum := md5.Sum([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(sum[:])
}

type answer struct {
	Code      int
	Message   string
	RequestId string
	Data      json.RawMessage
}

// ask sends a query and insists on a proper answer.
func ask(t *testing.T, sim *zegosim.Server, q url.Values) answer {
	t.Helper()
	return askRaw(t, sim, strings.ReplaceAll(q.Encode(), "+", "%20"))
}

func askRaw(t *testing.T, sim *zegosim.Server, rawQuery string) answer {
	t.Helper()
	r, err := http.Get(sim.URL() + "/?" + rawQuery)
	require.NoError(t, err)
	defer r.Body.Close()
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Equal(t, "application/json", r.Header.Get("Content-Type"))
	var a answer
	require.NoError(t, json.NewDecoder(r.Body).Decode(&a))
	require.Regexp(t, "^[0-9]{19}$", a.RequestId)
	return a
}

func TestSignatureVectors(t *testing.T) {
	for name, v := range map[string]struct {
		appID     uint32
		nonce     string
		secret    string
		timestamp int64
		signature string
	}{
		"V1, ZEGO's own": {12345, "4fd24687296dd9f3", "9193cc662a4c0ec135ec71fb57194b38", 1615186943, "43e5cfcca828314675f91b001390566a"},
		"V2":             {1234567890, "a1b2c3d4e5f60718", secret, 1735689600, "917764bdf11fa82e770a1f70a7e966ca"},
		"V3":             {4294967295, "ffffffffffffffff", secret, 1700000000, "d28c774a86ac4cb040885e8546acedb1"},
		"V4":             {1, "0000000000000000", "ffffffffffffffffffffffffffffffff", 4102444800, "7dad6e597c22f82fad1f378d867331f4"},
		"V5":             {1234567890, "15215528852396", secret, 1735689600, "e34d1911414a6e38e6b31d76e0ffbbde"},
	} {
		t.Run(name, func(t *testing.T) {
			sim, _ := start(t, zegosim.Config{
				AppID: v.appID, ServerSecret: v.secret, LenientNonce: name == "V5",
				Now: func() time.Time { return time.Unix(v.timestamp, 0) },
			})
			q := url.Values{
				"Action": {"CloseRoom"}, "RoomId": {"demo#1"}, "AppId": {fmt.Sprint(v.appID)}, "SignatureNonce": {v.nonce},
				"SignatureVersion": {"2.0"}, "Timestamp": {fmt.Sprint(v.timestamp)}, "Signature": {v.signature},
			}
			assert.Equal(t, 5024, ask(t, sim, q).Code, "admitted; there is no such room")
			assert.Empty(t, sim.Violations())
		})
	}
}

func TestWrongSignatures(t *testing.T) {
	sim, _ := start(t, zegosim.Config{Now: func() time.Time { return time.Unix(1735689600, 0) }})
	for mistake, signature := range map[string]string{
		"upper-cased nonce":                  "f3595a1ea37e42d9fe1997ebecf4308a",
		"milliseconds":                       "91d905e3202cce5484dc1f4610d6b6c6",
		"order AppId,Timestamp,Nonce,Secret": "2435c71de1128d68805756915b69209e",
		"order AppId,Nonce,Timestamp,Secret": "47aa2c0d402b5067579b159db1ce6045",
		"upper-cased signature":              "917764BDF11FA82E770A1F70A7E966CA",
	} {
		q := signed(time.Unix(1735689600, 0), "Action=CloseRoom", "RoomId=r")
		q.Set("SignatureNonce", "a1b2c3d4e5f60718")
		q.Set("Signature", signature)
		assert.Equal(t, 100000005, ask(t, sim, q).Code, mistake)
	}
	assert.Len(t, sim.Violations(), 5)
}

func TestGatewayChecksInOrder(t *testing.T) {
	sim, clock := start(t, zegosim.Config{NoLimits: true})
	// Every mistake at once, then put right one after the other.
	q := url.Values{}
	step := func(code int, name string, value ...string) {
		t.Helper()
		assert.Equal(t, code, ask(t, sim, q).Code, "before %s is put right", name)
		q[name] = value
	}
	now := fmt.Sprint(clock.now().Unix())
	step(100000006, "Action", "CloseRooms")
	step(100000007, "Action", "CloseRoom")
	step(100000001, "AppId", "-1")
	step(100000001, "AppId", "0000000001")
	step(100000001, "AppId", "4294967296")
	step(100000001, "AppId", "7")
	step(100000002, "Timestamp", "1e9")
	step(100000003, "Timestamp", "1735689600000")
	step(100000008, "SignatureNonce", "short")
	step(100000009, "Signature", "wrong")
	step(100000013, "SignatureVersion", "1.0")
	step(100000014, "SignatureVersion", "2.0")
	step(100000011, "AppId", strconv.Itoa(appID))
	step(100000004, "Timestamp", now)
	step(100000005, "Signature", sign(strconv.Itoa(appID), "short", secret, now))
	step(100000005, "SignatureNonce", "00000000000000ab")
	q.Set("Signature", sign(strconv.Itoa(appID), "00000000000000ab", secret, now))
	q.Set("IsTest", "maybe")
	assert.Equal(t, 2, ask(t, sim, q).Code)
	assert.Equal(t, 100000005, ask(t, sim, q).Code, "the nonce is used up")
	assert.Len(t, sim.Violations(), len(sim.Calls()))
	assert.Contains(t, strings.Join(sim.Violations(), "\n"), "Timestamp 1735689600000 is not in seconds")
}

func TestTimestampTolerance(t *testing.T) {
	sim, clock := start(t, zegosim.Config{NoLimits: true})
	clock.pass(999 * time.Millisecond)
	for off, code := range map[time.Duration]int{
		0: 5024, 600 * time.Second: 5024, -600 * time.Second: 5024, 601 * time.Second: 100000004, -601 * time.Second: 100000004,
	} {
		assert.Equal(t, code, ask(t, sim, signed(clock.now().Add(off), "Action=CloseRoom", "RoomId=r")).Code, "%v", off)
	}
	assert.Len(t, sim.Violations(), 2)
}

func TestHostAndProductionChecks(t *testing.T) {
	sim, clock := start(t, zegosim.Config{Host: "rtc-api.zego.im"})
	assert.Equal(t, 100000000, ask(t, sim, signed(clock.now(), "Action=CloseRoom")).Code)
	sim, clock = start(t, zegosim.Config{NoProduction: true})
	assert.Equal(t, 100000016, ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r")).Code)
	assert.Equal(t, 5024, ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r", "IsTest=TRUE")).Code)
}

func TestCloseRoom(t *testing.T) {
	sim, clock := start(t, zegosim.Config{})
	sim.Login("live 42&", "alice", "bob", "alice")
	sim.LoginService("live 42&", "recorder")
	sim.Publish("live 42&", "alice", "s1")
	sim.Publish("live 42&", "nobody", "s2")
	room := sim.Rooms()[0]
	require.Len(t, room.Users, 3)
	require.Equal(t, 2, sim.People("live 42&"))
	require.Empty(t, room.Streams[1:])
	require.Greater(t, room.Session, uint64(1)<<53)

	a := ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=live 42&", "CustomReason=清理 a+b", "RoomCloseCallback=true"))
	assert.Equal(t, answer{Code: 0, Message: "success", RequestId: a.RequestId}, a, "and no Data")
	assert.Zero(t, sim.People("live 42&"))
	assert.Empty(t, sim.Rooms())

	calls := sim.Calls()
	assert.Equal(t, []zegosim.Call{{
		N: 1, Time: calls[0].Time, Action: "CloseRoom", RoomID: "live 42&", Reason: "清理 a+b", Executed: true, RequestID: a.RequestId,
	}}, calls)
	executions := sim.Executions()
	assert.Equal(t, []zegosim.Execution{{
		Call: 1, Time: executions[0].Time, RoomID: "live 42&", Session: room.Session, Reason: "清理 a+b", Callback: true,
		Users: []string{"bob", "alice", "recorder"},
	}}, executions)
	require.Len(t, sim.Kicked(), 3)
	assert.Equal(t, "清理 a+b", sim.Kicked()[0].Reason)

	sim.Login("live 42&", "carol")
	assert.NotEqual(t, room.Session, sim.Rooms()[0].Session, "a new room of the same name")
	assert.Empty(t, sim.Violations())
}

func TestAbsentRoom(t *testing.T) {
	for _, code := range []int{5024, 5018, 104, 50001} {
		sim, clock := start(t, zegosim.Config{AbsentCode: code})
		assert.Equal(t, code, ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=gone")).Code)
		assert.Empty(t, sim.Executions())
		assert.Empty(t, sim.Violations(), "asking for an absent room is no offence")
	}
}

func TestParameters(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	sim, clock := start(t, zegosim.Config{NoLimits: true, ForbidRules: true})
	sim.Login("r", "u")
	for _, test := range []struct {
		code   int
		params string
	}{
		{2, "CloseRoom"},
		{2, "CloseRoom RoomId="},
		{2, "CloseRoom RoomId=a RoomId=b"},
		{2, "CloseRoom RoomId[]=r"},
		{3, "CloseRoom RoomId=" + long(129)},
		{5024, "CloseRoom RoomId=" + long(128)},
		{3, "CloseRoom RoomId=r CustomReason=" + long(257)},
		{2, "CloseRoom RoomId=r RoomCloseCallback=1"},
		{2, "CloseRoom RoomId=r RoomCloseCallback="},
		{5024, "CloseRoom RoomId=x RoomCloseCallback=False Unknown=ignored"},
		{2, "DescribeUserNum"},
		{0, "DescribeUserNum RoomId[]=a RoomId=b"},
		{3, "DescribeUserNum RoomId[]=a RoomId[]=" + long(129)},
		{2, "DescribeUserNum" + strings.Repeat(" RoomId[]=a", 11)},
		{2, "DescribeUserList"},
		{2, "DescribeUserList RoomId=r Mode=2"},
		{2, "DescribeUserList RoomId=r Limit=x"},
		{2, "DescribeUsers UserId[]=u"},
		{2, "DescribeUsers RoomId=r"},
		{2, "DescribeUsers RoomId=r" + strings.Repeat(" UserId[]=a", 11)},
		{50001, "DescribeUsers RoomId=x UserId=u"},
		{2, "DescribeSimpleStreamList"},
		{2, "KickoutUser UserId[]=u"},
		{2, "KickoutUser RoomId=r"},
		{50011, "KickoutUser RoomId=r" + strings.Repeat(" UserId[]=a", 6)},
		{3, "KickoutUser RoomId=r UserId[]=u CustomReason=" + long(257)},
		{2, "SendBroadcastMessage RoomId=r UserId=bot MessageCategory=3 MessageContent=x"},
		{2, "SendBroadcastMessage RoomId=r MessageCategory=1 MessageContent=x"},
		{1008, "SendBroadcastMessage RoomId=r UserId=bot MessageCategory=1"},
		{50012, "SendBroadcastMessage RoomId=r UserId=bot MessageCategory=1 MessageContent=" + long(1025)},
		{104, "SendBroadcastMessage RoomId=x UserId=bot MessageCategory=1 MessageContent=x"},
		{2, "SendCustomCommand FromUserId=bot MessageContent=x"},
		{50011, "SendCustomCommand RoomId=r FromUserId=bot MessageContent=x" + strings.Repeat(" ToUserId[]=a", 11)},
		{2, "SetForbidUserRule RuleType=5 EffectiveTime=1"},
		{2, "SetForbidUserRule RuleType=2 EffectiveTime=86401 RoomId=r"},
		{2, "SetForbidUserRule RuleType=2 EffectiveTime=1 DisabledPrivilege[]=1"},
		{2, "SetForbidUserRule RuleType=2 EffectiveTime=1 RoomId=r DisabledPrivilege[]=9"},
	} {
		before := len(sim.Violations())
		params := strings.Split("Action="+test.params, " ")
		assert.Equal(t, test.code, ask(t, sim, signed(clock.now(), params...)).Code, test.params)
		offence := test.code == 2 || test.code == 3 || test.code == 1008 || test.code == 50011 || test.code == 50012
		assert.Equal(t, offence, len(sim.Violations()) > before, test.params)
	}
	assert.Equal(t, 1, sim.People("r"), "nothing of this did anything")
}

func TestBadForm(t *testing.T) {
	sim, clock := start(t, zegosim.Config{NoLimits: true})
	sim.Login("demo#1", "u")
	violation := func(want string) {
		t.Helper()
		v := sim.Violations()
		require.NotEmpty(t, v)
		assert.Contains(t, v[len(v)-1], want)
	}
	r, err := http.PostForm(sim.URL()+"/?"+signed(clock.now(), "Action=CloseRoom", "RoomId=demo#1").Encode(), url.Values{"a": {"b"}})
	require.NoError(t, err)
	r.Body.Close()
	violation("call 1 (CloseRoom): POST with a body")

	assert.Equal(t, 8, askRaw(t, sim, signed(clock.now(), "Action=CloseRoom").Encode()+"&RoomId=%zz").Code)
	violation("not properly encoded")
	assert.Equal(t, 5024, askRaw(t, sim, signed(clock.now(), "Action=CloseRoom").Encode()+"&RoomId=a+b").Code)
	violation("a + in the query")
	assert.Equal(t, 5024, ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=demo%231")).Code)
	violation(`"demo#1" does: encoded twice`)
	assert.Equal(t, 0, ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=demo#1", "CustomReason=%E6%B8%85%20x")).Code)
	violation("encoded twice")

	before := len(sim.Violations())
	sim.Login("a%20b", "u")
	assert.Equal(t, 0, ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=a%20b", "CustomReason=清 %41 100%")).Code)
	assert.Len(t, sim.Violations(), before, "percent signs are legal")

	r, err = http.Get(sim.URL() + "/v2?" + strings.ReplaceAll(signed(clock.now(), "Action=CloseRoom", "RoomId=r").Encode(), "+", "%20"))
	require.NoError(t, err)
	r.Body.Close()
	violation(`the path is "/v2"`)
}

func TestWorldsAreApart(t *testing.T) {
	sim, clock := start(t, zegosim.Config{})
	sim.Test().Login("r", "u")
	assert.Equal(t, 5024, ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r")).Code)
	assert.Equal(t, 0, ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r", "IsTest=true")).Code)
	assert.True(t, sim.Executions()[0].Test)
	assert.Empty(t, sim.Test().Rooms())
}

func TestCloseRoomLimit(t *testing.T) {
	sim, clock := start(t, zegosim.Config{})
	sim.Login("a", "u")
	sim.Login("b", "u")
	closing := func(room string) int {
		return ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId="+room)).Code
	}
	assert.Equal(t, 0, closing("a"))
	clock.pass(999 * time.Millisecond)
	assert.Equal(t, 206, closing("b"), "no burst")
	assert.Equal(t, 1, sim.People("b"), "not executed")
	assert.Equal(t, []string{"call 2 (CloseRoom): 1ms too early; the limit is 1 per 1s for the app"}, sim.Violations())
	clock.pass(time.Millisecond)
	assert.Equal(t, 0, closing("b"), "a call too many does not count")
	clock.pass(time.Hour)
	assert.Equal(t, 5024, closing("b"))
	assert.Equal(t, 206, closing("b"), "idle time is not saved up, and calls without effect count")
}

func TestLimits(t *testing.T) {
	for _, test := range []struct {
		cfg           zegosim.Config
		params        string
		allowed, code int
	}{
		{zegosim.Config{}, "DescribeUserNum RoomId[]=r", 10, 206},
		{zegosim.Config{}, "DescribeUserNum RoomId[]=r IsTest=true", 1, 206},
		{zegosim.Config{}, "DescribeUserList RoomId=r", 1, 207},
		{zegosim.Config{}, "DescribeUsers RoomId=r UserId[]=u", 10, 206},
		{zegosim.Config{}, "DescribeSimpleStreamList RoomId=r", 1, 207},
		{zegosim.Config{}, "KickoutUser RoomId=r UserId[]=x", 50, 206},
		{zegosim.Config{}, "SetForbidUserRule RuleType=1", 10, 206},
		{zegosim.Config{CloseInterval: time.Minute}, "CloseRoom RoomId=x", 1, 206},
		{zegosim.Config{CloseInterval: -1}, "CloseRoom RoomId=x", 60, 5024},
		{zegosim.Config{NoLimits: true}, "DescribeUserList RoomId=r", 60, 0},
	} {
		sim, clock := start(t, test.cfg)
		sim.Login("r", "u")
		call := func() int {
			return ask(t, sim, signed(clock.now(), strings.Split("Action="+test.params, " ")...)).Code
		}
		for i := range test.allowed {
			require.NotContains(t, []int{206, 207}, call(), "%s, call %d", test.params, i+1)
		}
		assert.Equal(t, test.code, call(), test.params)
	}
}

func TestPerRoomLimitIsPerRoom(t *testing.T) {
	sim, clock := start(t, zegosim.Config{})
	list := func(room string) int {
		return ask(t, sim, signed(clock.now(), "Action=DescribeSimpleStreamList", "RoomId="+room)).Code
	}
	assert.Equal(t, []int{0, 0, 207}, []int{list("a"), list("b"), list("a")})
	clock.pass(10 * time.Second)
	assert.Equal(t, 0, list("a"))
}

func TestReadingActions(t *testing.T) {
	sim, clock := start(t, zegosim.Config{NoLimits: true})
	for i := range 450 {
		sim.Login("r", fmt.Sprintf("u%d", i))
		clock.pass(time.Millisecond)
	}
	sim.LoginService("r", "recorder")
	sim.Publish("r", "u0", "stream-0")

	assert.JSONEq(t, `{"UserCountList":[{"RoomId":"r","UserCount":451,"AdminUserCount":1},{"RoomId":"x","UserCount":0,"AdminUserCount":0}]}`,
		string(ask(t, sim, signed(clock.now(), "Action=DescribeUserNum", "RoomId[]=r", "RoomId[]=x")).Data))

	for mode, first := range map[string]string{"0": "u0", "1": "recorder"} {
		var seen []string
		for marker, pages := "", 1; ; pages++ {
			var data struct {
				Marker   string
				UserList []struct{ UserId string }
			}
			require.NoError(t, json.Unmarshal(ask(t, sim, signed(clock.now(), "Action=DescribeUserList", "RoomId=r", "Mode="+mode, "Marker="+marker)).Data, &data))
			for _, u := range data.UserList {
				seen = append(seen, u.UserId)
			}
			if marker = data.Marker; marker == "" {
				assert.Equal(t, 3, pages)
				break
			}
		}
		assert.Len(t, seen, 451)
		assert.Equal(t, first, seen[0])
	}
	assert.JSONEq(t, `{"Marker":"","UserList":[]}`, string(ask(t, sim, signed(clock.now(), "Action=DescribeUserList", "RoomId=x")).Data))

	at := sim.Rooms()[0].Users[0].LoginAt.UnixMilli()
	assert.JSONEq(t, fmt.Sprintf(`{"UserStatusList":[{"UserId":"u0","Status":1,"LoginTime":%d,"UserRole":2},{"UserId":"x","Status":0,"LoginTime":0,"UserRole":0}]}`, at),
		string(ask(t, sim, signed(clock.now(), "Action=DescribeUsers", "RoomId=r", "UserId[]=u0", "UserId[]=x")).Data))

	at = sim.Rooms()[0].Streams[0].CreatedAt.UnixMilli()
	assert.JSONEq(t, fmt.Sprintf(`{"StreamList":[{"StreamId":"stream-0","UserId":"u0","UserName":"u0","CreateTime":%d,"StreamNumberId":1}]}`, at),
		string(ask(t, sim, signed(clock.now(), "Action=DescribeSimpleStreamList", "RoomId=r")).Data))
	assert.Empty(t, sim.Violations())
}

func TestKickoutUser(t *testing.T) {
	sim, clock := start(t, zegosim.Config{})
	sim.Login("r", "a", "b", "c")
	assert.Equal(t, 0, ask(t, sim, signed(clock.now(), "Action=KickoutUser", "RoomId=r", "UserId[]=a", "UserId=b", "UserId[]=nobody", "CustomReason=why")).Code)
	assert.Equal(t, 1, sim.People("r"))
	kicked := sim.Kicked()
	require.Len(t, kicked, 2)
	assert.Equal(t, []string{"KickoutUser", "r", "a", "why"}, []string{kicked[0].Action, kicked[0].RoomID, kicked[0].UserID, kicked[0].Reason})
	sim.Logout("r", "c")
	assert.Empty(t, sim.Rooms(), "the last user takes the room along")
}

func TestMessages(t *testing.T) {
	sim, clock := start(t, zegosim.Config{})
	sim.Login("r", "a")
	assert.JSONEq(t, `{"MessageId":1}`, string(ask(t, sim, signed(clock.now(),
		"Action=SendBroadcastMessage", "RoomId=r", "UserId=bot", "MessageCategory=1", "MessageContent=closing soon")).Data))
	assert.JSONEq(t, `{"FailUsers":[{"Uid":"b","Code":50003}]}`, string(ask(t, sim, signed(clock.now(),
		"Action=SendCustomCommand", "RoomId=r", "FromUserId=bot", "ToUserId[]=a", "ToUserId[]=b", "MessageContent=closing soon")).Data))
	sent := sim.Messages()
	require.Len(t, sent, 2)
	assert.Equal(t, "closing soon", sent[0].Content)
	assert.Equal(t, []string{"a", "b"}, sent[1].To)
}

func TestForbidUserRule(t *testing.T) {
	sim, clock := start(t, zegosim.Config{NoLimits: true})
	rule := func(params ...string) int {
		return ask(t, sim, signed(clock.now(), append([]string{"Action=SetForbidUserRule", "EffectiveTime=60"}, params...)...)).Code
	}
	assert.Equal(t, 9, rule("RuleType=2", "RoomId=r", "DisabledPrivilege[]=1"), "not enabled for the app")

	sim, clock = start(t, zegosim.Config{NoLimits: true, ForbidRules: true})
	sim.Login("r", "inside")
	assert.Equal(t, 0, rule("RuleType=2", "RoomId=r", "DisabledPrivilege[]=1", "DisabledPrivilege[]=2"))
	assert.Equal(t, 0, rule("RuleType=4", "RoomId=s", "UserId=eve", "DisabledPrivilege[]=1"))
	assert.Equal(t, 0, rule("RuleType=3", "UserId=mute", "DisabledPrivilege[]=2"))
	sim.Login("r", "late")
	sim.Login("s", "eve", "bob", "mute")
	assert.Equal(t, []int{1, 2}, []int{sim.People("r"), sim.People("s")})
	clock.pass(time.Minute)
	sim.Login("r", "late")
	assert.Equal(t, 2, sim.People("r"), "the rule has run out")
	for range 100 {
		require.Equal(t, 0, rule("RuleType=1", "IP=192.0.2.1", "DisabledPrivilege[]=1"))
	}
	assert.Equal(t, 50123, rule("RuleType=1", "IP=192.0.2.1", "DisabledPrivilege[]=1"))
	sim.Login("t", "anybody")
	assert.Equal(t, 1, sim.People("t"))
}

func TestRejoinAfterClose(t *testing.T) {
	sim, clock := start(t, zegosim.Config{NoLimits: true})
	closing := func() int { return ask(t, sim, signed(clock.now(), "Action=CloseRoom", "RoomId=r")).Code }
	sim.Login("r", "a", "b")
	sim.LoginService("r", "recorder")
	first := sim.Rooms()[0].Session

	sim.RejoinAfterClose("r", 0)
	assert.Equal(t, 0, closing())
	assert.Equal(t, 2, sim.People("r"), "back before the answer, without the recorder")
	assert.NotEqual(t, first, sim.Rooms()[0].Session)

	sim.RejoinAfterClose("r", 10*time.Millisecond)
	assert.Equal(t, 0, closing())
	assert.Eventually(t, func() bool { return sim.People("r") == 2 }, 5*time.Second, time.Millisecond)

	sim.RejoinAfterClose("r", -1)
	assert.Equal(t, 0, closing())
	assert.Zero(t, sim.People("r"))
}

func TestManyCallsAtOnce(t *testing.T) {
	sim, clock := start(t, zegosim.Config{})
	sim.Login("r", "u")
	var calls sync.WaitGroup
	codes := make(chan int, 50)
	for range 50 {
		calls.Go(func() {
			r, err := http.Get(sim.URL() + "/?" + signed(clock.now(), "Action=CloseRoom", "RoomId=r").Encode())
			if !assert.NoError(t, err) {
				return
			}
			defer r.Body.Close()
			body, _ := io.ReadAll(r.Body)
			var a answer
			json.Unmarshal(body, &a)
			codes <- a.Code
			sim.Login("other", "x")
			sim.Calls()
		})
	}
	calls.Wait()
	count := make(map[int]int)
	for range 50 {
		count[<-codes]++
	}
	assert.Equal(t, map[int]int{0: 1, 206: 49}, count)
	assert.Len(t, sim.Executions(), 1)
	assert.Len(t, sim.Violations(), 49)
}
