package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"zegoclose/authz"
	"zegoclose/internal/audit"
	"zegoclose/internal/journal"
	"zegoclose/internal/socket"

	"github.com/slack-go/slack"
	"golang.org/x/time/rate"
)

// What reviewers type, press and fill in. All answers are seen by them alone; what they say
// about a case goes into the journal, and by the poster into its thread.
const (
	reviewCommand = "/zego-audit"

	actionOlder    = "zego_audit_older"
	actionReviewed = "zego_audit_reviewed"
	actionContest  = "zego_audit_contest"
	callbackNote   = "zego_audit_note"

	review authz.Action = "review"
)

const (
	casesPerPage = 8
	maxStory     = 40               // entries of a case that are told one by one
	maxNote      = 1000             // runes of a reviewer's note
	checkLimit   = 10 * time.Second // for comparing a case with Slack; shorter than a drain
)

// question is what a reviewer wants to see; its JSON is the value of the button for older cases.
type question struct {
	Room   string `json:"room,omitempty"`
	Person string `json:"person,omitempty"`
	Since  int64  `json:"since,omitempty"` // s since 1970
	Before int64  `json:"before,omitempty"`
}

// reviews answers /zego-audit.
func (b *Bot) reviews(ctx context.Context, cmd command) message {
	if m, ok := b.mayReview(ctx, cmd.by, journal.Refusal{Delivery: cmd.delivery, By: cmd.by, Action: string(review), From: cmd.channel}); !ok {
		return m
	}
	word, rest, _ := strings.Cut(strings.TrimSpace(cmd.text), " ")
	rest = strings.TrimSpace(rest)
	switch strings.ToLower(word) {
	case "room":
		if id := unwrapped(rest); id != "" {
			return b.found(ctx, question{Room: id})
		}
	case "user":
		if id := mentioned(rest); id != "" {
			return b.found(ctx, question{Person: id})
		}
		return textMessage(line{say("Say who with an @mention, such as "), bold("%s user @alice", reviewCommand), say(", or with a member id.")})
	case "case":
		if n, err := strconv.ParseInt(strings.TrimPrefix(rest, "#"), 10, 64); err == nil {
			return b.caseFile(ctx, cmd.by, n, cmd.responseURL)
		}
	case "today":
		now := b.now().UTC()
		return b.found(ctx, question{Since: time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC).Unix()})
	case "reviewed", "contest": // for who cannot get a form
		number, note, _ := strings.Cut(rest, " ")
		if n, err := strconv.ParseInt(strings.TrimPrefix(number, "#"), 10, 64); err == nil {
			words, _ := b.verdict(ctx, journal.Verdict{Delivery: cmd.delivery, Case: n, By: cmd.by, Contests: strings.EqualFold(word, "contest"), Note: decoded.Replace(strings.TrimSpace(note))})
			return textMessage(line{say("%s", words)})
		}
	case "":
		m := reviewHelp()
		own := b.found(ctx, question{Person: cmd.by.ID})
		return message{m.text + "\n" + own.text, append(m.blocks, own.blocks...)}
	}
	return reviewHelp()
}

func reviewHelp() message {
	usage := func(what, means string) line { return line{bold("%s %s", reviewCommand, what), say("  %s", means)} }
	return textMessage(
		usage("room <roomId>", "every case of a room, newest first"),
		usage("user @somebody", "every case that somebody asked for"),
		usage("case 1042", "the whole story of a case, and whether its posts still match the journal"),
		usage("today", "what was asked for since 00:00 UTC"),
		usage("reviewed 1042 [note]", "you have looked at it and it is right; also a button of the case"),
		usage("contest 1042 <note>", "you object; also a button of the case"),
	)
}

// mayReview decides who may look. The refusal is recorded like any other.
func (b *Bot) mayReview(ctx context.Context, who journal.Person, r journal.Refusal) (refusal message, ok bool) {
	p := b.reviewers()
	self := b.self()
	p.Team, p.Org = self.team, self.org
	d := p.Decide(authz.Query{Action: review, Person: b.directory.person(who, p.Groups, b.now().Add(-commandAge))})
	if d.Allowed {
		return message{}, true
	}
	words := d.Person
	if d.Reason == authz.NotListed {
		words = "You are not on the list of people who may review. Ask the operator to add your member id " + who.ID + " to AUDIT_REVIEWERS."
	}
	return b.refuse(ctx, r, string(d.Reason), d.Record, words), false
}

// reviewers are those who may look: by default those who may close.
func (b *Bot) reviewers() authz.Policy {
	if len(b.Reviewers.Users)+len(b.Reviewers.Groups) > 0 {
		return b.Reviewers
	}
	return authz.Policy{Users: b.Policy.Users, Groups: b.Policy.Groups}
}

// found lists a page of cases.
func (b *Bot) found(ctx context.Context, q question) message {
	s := journal.Search{Room: q.Room, Person: q.Person, Before: q.Before, Limit: casesPerPage}
	if q.Since != 0 {
		s.Since = time.Unix(q.Since, 0)
	}
	cases, more, err := b.Journal.Find(ctx, s)
	if err != nil {
		b.Log.Error("looking for cases failed", "err", err)
		return textMessage(line{say("The journal cannot be read at the moment. Try again in a minute; if it stays so, tell the operator.")})
	}
	lines := []line{q.heading(len(cases), more)}
	for _, c := range cases {
		lines = append(lines, b.summary(c))
	}
	m := textMessage(lines...)
	if more {
		q.Before = cases[len(cases)-1].Number
		value, err := json.Marshal(q)
		if err == nil && len(value) <= 2000 {
			older := slack.NewButtonBlockElement(actionOlder, string(value), slack.NewTextBlockObject(slack.PlainTextType, "Older", false, false))
			m = withButtons(m, older)
		}
	}
	return m
}

func (q question) heading(n int, more bool) line {
	l := line{}
	switch {
	case q.Room != "":
		l = append(l, bold("Cases of room "), room(q.Room))
	case q.Person != "":
		l = append(l, bold("Cases of "), user(q.Person))
	default:
		l = append(l, bold("Cases since "), at(time.Unix(q.Since, 0), dayTime))
	}
	if q.Before != 0 {
		l = append(l, say(", before #%d", q.Before))
	}
	switch {
	case n == 0:
		return append(l, say(": none."))
	case more:
		return append(l, say(": the newest %d", n))
	}
	return append(l, say(": %d", n))
}

// summary is a case in one line, with the way to it.
func (b *Bot) summary(c journal.Case) line {
	l := endLine(c)
	if c.State.Open() {
		l = line{emoji("hourglass_flowing_sand"), say(" "), bold("#%d  %s ", c.Number, c.State), room(c.Room), say(" · "), user(c.Requester), say(", "), at(c.RequestedAt, dayTime)}
	}
	if c.Reason != "" {
		l = append(l, say(" · %s", cut(visible(strings.ReplaceAll(c.Reason, "\n", " ")), 80)))
	}
	if card := c.Link(c.CardTS); card != "" {
		l = append(l, say(" · "), link(card, "card"))
	}
	return l
}

// caseFile tells the whole story of a case. Whether its posts still match follows in a
// message of its own, since Slack has to be read for that.
func (b *Bot) caseFile(ctx context.Context, who journal.Person, number int64, responseURL string) message {
	c, err := b.Journal.Case(ctx, number)
	if errors.Is(err, journal.ErrNoCase) {
		return textMessage(line{say("There is no case #%d.", number)})
	}
	if err != nil {
		b.Log.Error("a case could not be read", "case", number, "err", err)
		return textMessage(line{say("Case #%d cannot be read: %s", number, cut(err.Error(), 300))})
	}
	lines := []line{b.summary(c)}
	for i, e := range c.Entries {
		if i == maxStory {
			lines = append(lines, line{say("… and %d more entries: zegoclose audit export -entries -case %d", len(c.Entries)-i, number)})
			break
		}
		lines = append(lines, entryLine(e))
	}
	last := c.Entries[len(c.Entries)-1]
	lines = append(lines, line{say("Entries %d–%d, last hash %s", c.Entries[0].Number, last.Number, last.Hash)})
	m := textMessage(lines...)
	if !c.State.Open() && who.ID != c.Requester && who.ID != c.ConfirmedBy {
		value := strconv.FormatInt(number, 10)
		m = withButtons(m,
			slack.NewButtonBlockElement(actionReviewed, value, slack.NewTextBlockObject(slack.PlainTextType, "Reviewed", false, false)),
			slack.NewButtonBlockElement(actionContest, value, slack.NewTextBlockObject(slack.PlainTextType, "Contest", false, false)))
	}
	select {
	case b.whispers <- struct{}{}: // it reads Slack and the journal: only so many at once
	default:
		return m
	}
	b.background.Go(func() {
		defer func() { <-b.whispers }()
		ctx, cancel := context.WithTimeout(context.Background(), checkLimit)
		defer cancel()
		b.whisper(responseURL, b.checkPosts(ctx, number))
	})
	return m
}

// checkPosts compares the posts of one case with its entries.
func (b *Bot) checkPosts(ctx context.Context, number int64) message {
	report, err := b.compare(ctx, number)
	if err != nil {
		b.Log.Warn("a case could not be compared with Slack", "case", number, "err", err)
		return textMessage(line{say("The posts of #%d could not be compared with the journal: %s", number, cut(err.Error(), 300))})
	}
	if len(report.Findings) == 0 {
		return textMessage(line{emoji("white_check_mark"), say(" The posts of #%d match the journal: %d of %d.", number, report.Matching, report.Posts)})
	}
	lines := []line{{emoji("warning"), say(" "), bold("The posts of #%d do not match the journal.", number), say(" Tell whoever answers for the record; the command zegoclose audit reconcile shows the same.")}}
	for _, f := range report.Findings {
		lines = append(lines, line{say("%s", cut(visible(f.String()), 500))})
	}
	return textMessage(lines...)
}

func (b *Bot) compare(ctx context.Context, number int64) (audit.Report, error) {
	r, err := b.Journal.Reader(ctx)
	if err != nil {
		return audit.Report{}, err
	}
	defer r.Close()
	src := &audit.API{Client: b.Slack, Pace: rate.NewLimiter(rate.Inf, 1)}
	return audit.Reconcile(ctx, r, src, audit.Comparison{Case: number, Now: b.now(), Words: Words, Version: Wording})
}

// entryLine tells one entry.
func entryLine(e journal.Entry) line {
	f := e.Facts
	l := line{say("%d  ", e.Number), at(e.Time, clock), say("  "), bold("%s", e.Kind)}
	if f.By != "" {
		l = append(l, say(" by "), user(f.By))
	}
	detail := func(format string, args ...any) { l = append(l, say("; "+format, args...)) }
	switch {
	case e.Kind == journal.Requested && f.Reason != "":
		detail("reason: %s", cut(visible(f.Reason), 300))
	case f.People != nil:
		detail("%s in the room", people(*f.People))
	case f.Missing != "":
		detail("people not known: %s", f.Missing)
	case e.Kind == journal.Attempted:
		detail("call %d", f.Call)
	case f.Code != nil:
		detail("code %d, RequestId %s, after %s", *f.Code, visible(cut(f.RequestID, 64)), took(time.Duration(f.Took)*time.Microsecond))
	case f.Outcome != "":
		detail("%s", f.Outcome)
	case f.Note != "":
		detail("%s", cut(visible(f.Note), 300))
	}
	if f.Detail != "" {
		detail("%s", cut(f.Detail, 200))
	}
	return l
}

// reviewClick answers a press of a reviewer's button.
func (b *Bot) reviewClick(ctx context.Context, e *socket.Envelope, k click) error {
	if err := e.Ack(nil); err != nil { // nothing is recorded by these presses
		return fmt.Errorf("answering a click: %w", err)
	}
	if m, ok := b.mayReview(ctx, k.by, journal.Refusal{Delivery: k.delivery, By: k.by, Action: string(review), From: k.channel}); !ok {
		b.whisper(k.responseURL, m)
		return nil
	}
	if k.action == actionOlder {
		var q question
		if err := json.Unmarshal([]byte(k.token), &q); err != nil {
			return fmt.Errorf("reading a button's value: %w", err)
		}
		b.whisper(k.responseURL, b.found(ctx, q))
		return nil
	}
	number, err := strconv.ParseInt(k.token, 10, 64)
	if err != nil {
		return fmt.Errorf("reading a button's value: %w", err)
	}
	callCtx, cancel := context.WithTimeout(ctx, b.SlackTimeout)
	defer cancel()
	if _, err := b.Slack.OpenViewContext(callCtx, k.trigger, noteForm(number, k.action == actionContest)); err != nil {
		b.Log.Warn("a form could not be opened", "case", number, "err", err)
		verb := "reviewed"
		if k.action == actionContest {
			verb = "contest"
		}
		b.whisper(k.responseURL, textMessage(line{say("Slack did not open the form. Press again, or type "), bold("%s %s %d your note", reviewCommand, verb, number), say(".")}))
	}
	return nil
}

// noteForm asks for the note. It fits a phone: one field, one button.
func noteForm(number int64, contests bool) slack.ModalViewRequest {
	plain := func(format string, args ...any) *slack.TextBlockObject {
		return slack.NewTextBlockObject(slack.PlainTextType, fmt.Sprintf(format, args...), false, false)
	}
	title, submit, hint := "Review case #%d", "Reviewed", "You have looked at this case and it is right. Your name and note go into its thread."
	if contests {
		title, submit, hint = "Contest case #%d", "Contest", "Say what is wrong. Your name and note go into its thread."
	}
	field := slack.NewPlainTextInputBlockElement(nil, "note").WithMultiline(true).WithMaxLength(maxNote)
	input := slack.NewInputBlock("note", plain("Note"), plain("%s", hint), field).WithOptional(!contests)
	private, _ := json.Marshal(noteOf{number, contests})
	return slack.ModalViewRequest{
		Type: slack.VTModal, CallbackID: callbackNote, PrivateMetadata: string(private),
		Title: plain(title, number), Submit: plain("%s", submit), Close: plain("Back"),
		Blocks: slack.Blocks{BlockSet: []slack.Block{input}},
	}
}

// noteOf is what a form is about.
type noteOf struct {
	Case     int64 `json:"case"`
	Contests bool  `json:"contests"`
}

// noteSubmitted answers a form that was sent. It closes only once the note is recorded.
func (b *Bot) noteSubmitted(ctx context.Context, e *socket.Envelope) error {
	v, err := decodeNote(e)
	if err != nil {
		return errors.Join(err, e.Ack(nil))
	}
	refusal := journal.Refusal{Delivery: v.Delivery, By: v.By, Action: string(review), About: v.Case}
	words, recorded := "", false
	if m, ok := b.mayReview(ctx, v.By, refusal); ok {
		words, recorded = b.verdict(ctx, v)
	} else {
		words = m.text
	}
	if !recorded {
		return e.Ack(map[string]any{"response_action": "errors", "errors": map[string]string{"note": words}})
	}
	return e.Ack(map[string]any{"response_action": "update", "view": slack.ModalViewRequest{
		Type: slack.VTModal, Title: slack.NewTextBlockObject(slack.PlainTextType, fmt.Sprintf("Case #%d", v.Case), false, false),
		Blocks: slack.Blocks{BlockSet: textMessage(line{say("%s", words)}).blocks},
	}})
}

// verdict records what a reviewer says, and returns words for them.
func (b *Bot) verdict(ctx context.Context, v journal.Verdict) (words string, recorded bool) {
	v.Note = cut(v.Note, maxNote)
	if v.Contests && v.Note == "" {
		return "Say what is wrong with it, in a few words. Nothing was recorded.", false
	}
	c, err := b.Journal.Review(ctx, v)
	switch {
	case err == nil:
		b.Log.Info("reviewed", "case", v.Case, "user", v.By.ID, "contests", v.Contests)
		return fmt.Sprintf("Recorded. It appears in the thread of #%d.", c.Number), true
	case errors.Is(err, journal.ErrNoCase):
		return fmt.Sprintf("There is no case #%d. Nothing was recorded.", v.Case), false
	case errors.Is(err, journal.ErrSettled):
		return fmt.Sprintf("#%d is still open; review it when it is over. Nothing was recorded.", v.Case), false
	case errors.Is(err, journal.ErrOwnCase):
		return fmt.Sprintf("#%d is your own case: somebody else has to review it. Nothing was recorded.", v.Case), false
	case errors.Is(err, journal.ErrNotRecorded):
		b.Log.Error("a review could not be recorded", "case", v.Case, "err", err)
		return "The journal cannot be written at the moment, so nothing was recorded. Try again in a minute.", false
	}
	b.Log.Error("a review may not be recorded", "case", v.Case, "err", err)
	return fmt.Sprintf("Not sure that it was recorded: the journal is slow. Look into the thread of #%d before you try again.", v.Case), false
}

// mentioned returns the id in a mention that Slack has escaped, or a bare id.
func mentioned(text string) string {
	word, _, _ := strings.Cut(text, " ")
	id, isMention := strings.CutPrefix(word, "<@")
	if isMention {
		id, _, _ = strings.Cut(strings.TrimSuffix(id, ">"), "|")
	}
	if len(id) < 3 || id[0] != 'U' && id[0] != 'W' || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		return ""
	}
	return id
}

// unwrapped returns the first word as it was typed, before Slack made links and mentions
// of it and encoded three characters. This command has should_escape, unlike the other.
func unwrapped(text string) string {
	if i := strings.IndexAny(text, " \t\n"); i >= 0 && !strings.HasPrefix(text, "<") {
		text = text[:i]
	}
	var b strings.Builder
	for rest := text; rest != ""; {
		before, token, found := strings.Cut(rest, "<")
		b.WriteString(before)
		if !found {
			break
		}
		token, rest, _ = strings.Cut(token, ">")
		target, label, labelled := strings.Cut(token, "|")
		switch sign := target[:min(1, len(target))]; {
		case (sign == "@" || sign == "#") && label != "":
			b.WriteString(sign + label)
		case sign == "!":
			b.WriteString("@" + strings.TrimPrefix(target, "!"))
		case labelled && label != "":
			b.WriteString(label)
		default:
			b.WriteString(target)
		}
	}
	return decoded.Replace(strings.TrimSpace(b.String()))
}
