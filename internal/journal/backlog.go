package journal

import (
	"context"
	"fmt"
	"time"
)

// Backlog is what waits in the journal. What nothing waits for is 0.
type Backlog struct {
	Pending, Confirmed, Closing int           // cases by state
	OldestConfirmed             time.Duration // since the click
	Posts                       int           // cases with something that Slack does not show yet
	OldestPost                  time.Duration // since the first entry it is to show
	Doubts                      int           // posts of which is not known whether Slack shows them
}

// Backlog counts what waits. It costs as much as there is waiting, however long the journal.
func (j *Journal) Backlog(ctx context.Context) (Backlog, error) {
	var b Backlog
	var confirmed, posted int64
	if err := j.row(ctx, `
		WITH untold (number, entry) AS (
			SELECT number, told FROM cases WHERE told > posted
			UNION ALL SELECT case_, first FROM posts WHERE `+unsettled+`)
		SELECT (SELECT count(*) FROM cases WHERE state = 'pending'),
			(SELECT count(*) FROM cases WHERE `+queued+` AND state = 'confirmed'),
			(SELECT count(*) FROM cases WHERE `+queued+` AND state = 'closing'),
			(SELECT COALESCE(min(e.time), 0) FROM cases c JOIN entries e ON e.number = c.turn WHERE `+queued+` AND state = 'confirmed'),
			(SELECT count(DISTINCT number) FROM untold),
			(SELECT COALESCE(min(e.time), 0) FROM untold u JOIN entries e ON e.number = u.entry),
			(SELECT count(*) FROM posts WHERE `+unsettled+` AND state = 'doubt')`).
		Scan(&b.Pending, &b.Confirmed, &b.Closing, &confirmed, &b.Posts, &posted, &b.Doubts); err != nil {
		return Backlog{}, fmt.Errorf("counting what waits: %w", err)
	}
	now := j.now()
	age := func(micros int64) time.Duration {
		if micros == 0 {
			return 0
		}
		return max(0, now.Sub(time.UnixMicro(micros)))
	}
	b.OldestConfirmed, b.OldestPost = age(confirmed), age(posted)
	return b, nil
}
