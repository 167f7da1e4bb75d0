package zego

// CodeInfo explains a return code of CloseRoom to the person who has to deal
// with it. Meaning and Remedy are parts of a sentence: lower case, no full stop.
type CodeInfo struct {
	Code       int
	Meaning    string
	Remedy     string // what to do now; empty if nothing is left to do
	Retry      Retry
	Effect     Effect
	Documented bool // ZEGO lists the code
}

// CodeRoomDestroyed is a code whose meaning ZEGO has changed: once "the state of
// the room is inconsistent, try later", now "the room is destroyed or does not
// exist". Neither is to be trusted; DescribeUserNum shows which it was.
const CodeRoomDestroyed = 5018

// Lookup explains a code. One that ZEGO does not document, or documents only
// for other actions, says nothing about the room: its Effect is Unknown.
func Lookup(code int) CodeInfo {
	for _, c := range codes {
		if c.Code == code {
			c.Documented = true
			return c
		}
	}
	return CodeInfo{
		Code:    code,
		Meaning: "a code that ZEGO does not document",
		Remedy:  lookFirst,
		Retry:   Never,
		Effect:  Unknown,
	}
}

// Remedies that several codes share.
const (
	lookFirst   = "look whether people are still in the room before trying again"
	mistyped    = "check the room id; if it is right, the room is already gone"
	checkApp    = "check AppID and ServerSecret against ZEGO's console"
	reportBug   = "report this as a fault of the program that made the call"
	checkInput  = "check the room id and the reason"
	askSupport  = "ask ZEGO support, naming the request id"
	waitAndGo   = "wait a moment; another program may be using the same AppID"
	otherAction = "this code belongs to another action; " + lookFirst
)

// codes is ZEGO's "Global return codes" and "CloseRoom" pages, seen from
// CloseRoom. Codes marked "older pages" have left the current ones, not
// necessarily the servers. Codes below 100000000 mean other things elsewhere:
// they are reused between families of actions.
var codes = []CodeInfo{
	{Code: 0, Meaning: "success", Retry: Never, Effect: Done},

	// The gateway, before any action is looked at.
	{Code: 100000000, Meaning: "wrong Host header", Remedy: "check the API address in the configuration", Retry: Never, Effect: NotDone},
	{Code: 100000001, Meaning: "AppID malformed", Remedy: checkApp, Retry: Never, Effect: NotDone},
	{Code: 100000002, Meaning: "timestamp missing", Remedy: reportBug, Retry: Never, Effect: NotDone},
	{Code: 100000003, Meaning: "timestamp malformed", Remedy: reportBug, Retry: Never, Effect: NotDone},
	{Code: 100000004, Meaning: "signature expired", Remedy: "set the clock of the calling server; it is more than 10 minutes off", Retry: Resign, Effect: NotDone},
	{Code: 100000005, Meaning: "signature wrong", Remedy: checkApp, Retry: Never, Effect: NotDone},
	{Code: 100000006, Meaning: "action missing", Remedy: reportBug, Retry: Never, Effect: NotDone},
	{Code: 100000007, Meaning: "action not supported", Remedy: "check the API address in the configuration", Retry: Never, Effect: NotDone},
	{Code: 100000008, Meaning: "nonce missing", Remedy: reportBug, Retry: Never, Effect: NotDone},
	{Code: 100000009, Meaning: "signature missing", Remedy: reportBug, Retry: Never, Effect: NotDone},
	{Code: 100000010, Meaning: "ZEGO found no ServerSecret for this app", Remedy: checkApp, Retry: Never, Effect: NotDone},
	{Code: 100000011, Meaning: "ZEGO found no configuration for this app", Remedy: "check the AppID; if it is right, ask ZEGO support", Retry: Resign, Effect: NotDone},
	{Code: 100000012, Meaning: "request body unreadable", Remedy: askSupport, Retry: Never, Effect: NotDone}, // older pages
	{Code: 100000013, Meaning: "signature version missing", Remedy: reportBug, Retry: Never, Effect: NotDone},
	{Code: 100000014, Meaning: "signature version not supported", Remedy: reportBug, Retry: Never, Effect: NotDone},
	{Code: 100000015, Meaning: "internal error of ZEGO's gateway", Remedy: lookFirst, Retry: Never, Effect: Unknown},
	{Code: 100000016, Meaning: "this app has no production environment", Remedy: "set the test environment in the configuration, or have ZEGO take the app live", Retry: Never, Effect: NotDone},
	{Code: 100000017, Meaning: "service not enabled for this app", Remedy: "ask ZEGO support to enable the RTC server API for the AppID", Retry: Never, Effect: NotDone},

	// The room service.
	{Code: 1, Meaning: "ZEGO failed without saying why", Remedy: lookFirst, Retry: Never, Effect: Unknown},
	{Code: 2, Meaning: "bad parameter", Remedy: checkInput, Retry: Never, Effect: NotDone},
	{Code: 3, Meaning: "parameter too long", Remedy: checkInput, Retry: Never, Effect: NotDone},
	{Code: 7, Meaning: "too many calls a second", Remedy: waitAndGo, Retry: SlowDown, Effect: NotDone}, // older pages
	{Code: 8, Meaning: "request could not be decoded", Remedy: checkInput, Retry: Never, Effect: NotDone},
	{Code: 9, Meaning: "API not enabled for this app", Remedy: "ask ZEGO support to enable CloseRoom for the AppID", Retry: Never, Effect: NotDone},
	{Code: 206, Meaning: "too many calls a second for this app", Remedy: waitAndGo, Retry: SlowDown, Effect: NotDone},
	{Code: 207, Meaning: "too many calls a second for this room", Remedy: waitAndGo, Retry: SlowRoom, Effect: NotDone},
	{Code: CodeRoomDestroyed, Meaning: "room already destroyed, or in an inconsistent state", Remedy: lookFirst, Retry: Never, Effect: Unknown},

	// The same check inside ZEGO, under three codes.
	{Code: 104, Meaning: "room does not exist", Remedy: mistyped, Retry: Never, Effect: Absent},
	{Code: 5024, Meaning: "room does not exist", Remedy: mistyped, Retry: Never, Effect: Absent},
	{Code: 50001, Meaning: "room does not exist", Remedy: mistyped, Retry: Never, Effect: Absent},

	// Listed for other actions of the room service. Whatever CloseRoom would
	// mean by one is anybody's guess.
	{Code: 105, Meaning: "user does not exist", Remedy: otherAction, Retry: Never, Effect: Unknown}, // older pages
	{Code: 121, Meaning: "broadcast could not be stored", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 122, Meaning: "message id could not be made", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 123, Meaning: "stream information could not be set", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 124, Meaning: "stream information could not be deleted", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 138, Meaning: "stream information not found", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 151, Meaning: "broadcast could not be delivered", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 154, Meaning: "list could not be read", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 1008, Meaning: "message is empty", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 1012, Meaning: "several users act on one stream", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 5201, Meaning: "broadcast could not be encoded", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 5202, Meaning: "message id could not be made", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 50002, Meaning: "user does not exist", Remedy: otherAction, Retry: Never, Effect: Unknown}, // older pages
	{Code: 50003, Meaning: "user is not online", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 50011, Meaning: "too many users in one call", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 50012, Meaning: "message too long", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 50013, Meaning: "custom message could not be sent", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 50123, Meaning: "too many ban rules", Remedy: otherAction, Retry: Never, Effect: Unknown},
	{Code: 50124, Meaning: "ban rule not found", Remedy: otherAction, Retry: Never, Effect: Unknown},
}
