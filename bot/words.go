package bot

import (
	"time"

	"zegoclose/internal/journal"
)

// Wording is the version of what posts say, and is in the metadata of each. It goes up
// with every change to the words of cards, replies or checkpoints: auditors compare the
// text only of posts that were worded like their own release words them.
const Wording = 1

// Words returns the text of a post as it is sent for a case as it stands, for auditors.
// Without the forecast of a waiting card, which no entry tells.
func Words(c journal.Case, p journal.Post) string {
	switch p.Kind {
	case journal.Card:
		return cardView(c, time.Time{}, time.Time{}).text
	case journal.Checkpoints:
		return checkpointView(c.Entries[0]).text
	default:
		return replyView(c, p).text
	}
}
