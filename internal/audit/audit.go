// Package audit lets outsiders check the record without trusting who keeps it.
//
// There are two witnesses. The journal is a chain: each entry bears the SHA-256 of its
// content and of the entry before it, so nothing inside can be changed alone. Slack has the
// posts: each names, in its metadata, the entries it shows and the hash of the last one, so
// the chain as a whole cannot be replaced without every post disagreeing. Who wants to lie
// must alter both, and what others have kept of either (an export, a checkpoint's hash).
//
//	verify.go     the journal alone: chain, numbers, times, states, posts
//	export.go     cases or entries as CSV or JSON lines, one at a time
//	slack.go      messages of channels, by API or from an export of the workspace
//	reconcile.go  journal against Slack: what should be there, what is, what is missing
//	judge.go      one message: is it the post it looks like, and does it say what it should
//	text.go       what is compared of a text: the normaliser
//
// Nothing here writes, to the journal or to Slack. docs/auditing.md says precisely what is
// proven, and what is not.
package audit
