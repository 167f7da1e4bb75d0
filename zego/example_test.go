package zego_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"zegoclose/zego"
)

// answering stands in for ZEGO in the examples.
func answering(body string) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) }))
}

func ExampleClient_CloseRoom() {
	api := answering(`{"Code":0,"Message":"success","RequestId":"3912000000000007216"}`)
	defer api.Close()

	client := zego.Client{
		AppID:        1234567890,
		ServerSecret: "0123456789abcdef0123456789abcdef",
		BaseURL:      api.URL, // or zego.URLFrankfurt, or nothing at all
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	answer, err := client.CloseRoom(ctx, zego.CloseRoomRequest{
		RoomID:       "live-42",
		CustomReason: zego.TruncateReason("spam links in chat"),
	})
	fmt.Println(zego.EffectOf(err), answer.RequestID)
	// Output: done 3912000000000007216
}

// An error alone does not say whether the room was closed; EffectOf does.
func ExampleEffectOf() {
	api := answering(`{"Code":9,"Message":"...","RequestId":"3912000000000007217"}`)
	client := zego.Client{AppID: 1234567890, ServerSecret: "0123456789abcdef0123456789abcdef", BaseURL: api.URL}

	_, err := client.CloseRoom(context.Background(), zego.CloseRoomRequest{RoomID: "live-42"})
	fmt.Println("refused:", zego.EffectOf(err))

	if refused, ok := errors.AsType[*zego.Error](err); ok {
		info := zego.Lookup(refused.Code)
		fmt.Printf("code %d, %s; %s\n", info.Code, info.Meaning, info.Remedy)
	}

	api.Close() // now nobody is there
	_, err = client.CloseRoom(context.Background(), zego.CloseRoomRequest{RoomID: "live-42"})
	fmt.Println("unreachable:", zego.EffectOf(err), "- again:", zego.RetryOf(err))
	// Output:
	// refused: not done
	// code 9, API not enabled for this app; ask ZEGO support to enable CloseRoom for the AppID
	// unreachable: not done - again: later
}

func ExampleClient_DescribeUserNum() {
	api := answering(`{"Code":0,"Data":{"UserCountList":[{"RoomId":"live-42","UserCount":125,"AdminUserCount":1}]}}`)
	defer api.Close()
	client := zego.Client{AppID: 1234567890, ServerSecret: "0123456789abcdef0123456789abcdef", BaseURL: api.URL}

	rooms, err := client.DescribeUserNum(context.Background(), "live-42")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(rooms[0].People(), "people and", rooms[0].AdminUserCount, "recorder")
	// Output: 124 people and 1 recorder
}

func ExampleTruncateReason() {
	reason := strings.Repeat("理", 100) // 300 bytes
	fmt.Println(len(zego.TruncateReason(reason)))
	// Output: 255
}

func ExampleUnusualRoomID() {
	fmt.Printf("%q\n", zego.UnusualRoomID(`live "42"`))
	// Output: [' ' '"']
}
