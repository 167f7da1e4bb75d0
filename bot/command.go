package bot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"zegoclose/authz"
	"zegoclose/internal/journal"
	"zegoclose/internal/metrics"
	"zegoclose/internal/socket"
	"zegoclose/zego"
)

// recordLimit is how long a command or click may wait for the journal. Slack shows its own
// error after 3 s; what is left is for the way there and back.
const recordLimit = 2 * time.Second

// maxEcho bounds, in runes, how much of what was typed a reply repeats.
const maxEcho = 300

// handleCommand answers one slash command. Everything it needs is in memory, but for one
// write to the journal; the card follows by the poster.
func (b *Bot) handleCommand(ctx context.Context, e *socket.Envelope) error {
	cmd, err := decodeCommand(e)
	if err != nil {
		b.Metrics.Command(metrics.Unreadable)
		return errors.Join(err, e.Ack(ephemeral(textMessage(line{say("The bot could not read that command; nothing was done. Tell the operator.")}))))
	}
	ctx, cancel := context.WithDeadline(ctx, e.Received.Add(recordLimit))
	defer cancel()
	reply, c := b.command(ctx, cmd)
	if c != nil {
		b.requesters.remember(c.Number, cmd.responseURL, b.now())
	}
	err = e.Ack(ephemeral(reply))
	if errors.Is(err, socket.ErrTooLarge) { // too long for an ack, not for a response_url
		b.whisper(cmd.responseURL, reply)
		err = e.Ack(ephemeral(textMessage(line{say("The answer is long; it follows.")})))
	}
	if err != nil {
		return fmt.Errorf("answering a command: %w", err)
	}
	return nil
}

// command does what cmd asks for and returns the words for its sender, and the case that
// it opened, if it did.
func (b *Bot) command(ctx context.Context, cmd command) (message, *journal.Case) {
	result := metrics.Unusable
	defer func() { b.Metrics.Command(result) }()
	if cmd.name == reviewCommand {
		result = metrics.Known
		return b.reviews(ctx, cmd), nil
	}
	if cmd.name != commandName {
		return textMessage(line{say("This bot answers to "), bold(commandName), say(" only; nothing was done.")}), nil
	}
	typed := b.Text.typed(cmd.text)
	o, problem := parseOrder(typed)
	if o.help {
		return helpMessage(cmd.text, typed), nil
	}
	refusal := journal.Refusal{Delivery: cmd.delivery, By: cmd.by, Action: string(authz.Request), Room: strings.ToValidUTF8(o.room[:min(len(o.room), zego.MaxRoomIDBytes)], ""), From: cmd.channel}
	if d := b.decide(authz.Request, cmd.by, cmd.channel, "", commandAge); !d.Allowed {
		result = metrics.Refused
		return b.refuse(ctx, refusal, string(d.Reason), d.Record, d.Person), nil
	}
	if problem != "" {
		return textMessage(line{say("%s Nothing was done.", problem)}), nil
	}
	if b.AuditChannel == "" && cmd.direct() {
		result = metrics.Refused
		return b.refuse(ctx, refusal, "direct_message", "asked in a direct message, where no reviewer could read the record",
			"A direct message is no place for the record that others must be able to read. Use a channel the bot is in, or ask the operator to set AUDIT_CHANNEL."), nil
	}

	r := journal.Request{
		Delivery: cmd.delivery, By: cmd.by, Room: o.room, Reason: o.reason, Sends: b.sends(o.reason),
		From: cmd.channel, Channel: b.cardChannel(cmd.channel), ShowWithin: b.ConfirmTimeout, MaxPending: b.MaxPendingPerUser,
		Workspace: b.self().url,
	}
	c, isNew, err := b.Journal.Request(ctx, r)
	var many *journal.TooManyError
	switch {
	case errors.As(err, &many):
		result = metrics.TooMany
		return textMessage(line{say("You already have %d cases waiting for confirmation, which is as many as one person may have. Confirm or cancel some of them; nothing was done.", many.Pending)}), nil
	case errors.Is(err, journal.ErrRefused):
		result = metrics.Known
		return textMessage(line{say("This command has been refused already; nothing was done.")}), nil
	case err != nil:
		result = metrics.Unrecorded
		b.Log.Error("a command could not be recorded", "user", cmd.by.ID, "err", err)
		return textMessage(line{say("%s", unrecordedCommand(err))}), nil
	}
	result = metrics.Known
	if isNew {
		result = metrics.Recorded
	}
	return b.requested(ctx, c, isNew), &c
}

// requested tells the sender about their case: a new one, or the open one they already had.
func (b *Bot) requested(ctx context.Context, c journal.Case, isNew bool) message {
	var l line
	switch {
	case isNew:
		l = line{bold("#%d", c.Number), say(" recorded: close "), room(c.Room), say("? The card to confirm it follows")}
		if c.Channel != c.From {
			l = append(l, say(" in "), channel(c.Channel))
		}
		l = append(l, say("."))
	case c.State == journal.StatePending:
		l = line{say("You have already asked for this room: "), bold("#%d", c.Number), say(" waits for your confirmation, ")}
		l = append(append(l, b.cardLink(c)), say("."))
	default:
		l = line{say("You have already asked for this room and confirmed: "), bold("#%d", c.Number), say(" is being closed, ")}
		l = append(append(l, b.cardLink(c)), say("."))
	}
	lines := []line{l}
	for _, n := range c.Others {
		other := line{say("Somebody else has an open case for this room: "), bold("#%d", n)}
		if oc, err := b.Journal.Case(ctx, n); err == nil {
			other = append(other, say(" by "), user(oc.Requester), say(", "), b.cardLink(oc))
		}
		lines = append(lines, append(other, say(".")))
	}
	return textMessage(lines...)
}

// cardLink points to the card of c.
func (b *Bot) cardLink(c journal.Case) span {
	if c.CardTS == "" {
		return say("its card follows")
	}
	return link(c.Link(c.CardTS), "here is its card")
}

// refuse records a refusal and returns the words for the person. Refusing needs no record
// to be safe, so a journal that fails is only logged.
func (b *Bot) refuse(ctx context.Context, r journal.Refusal, why, record, person string) message {
	r.Why, r.Detail = why, record
	b.Metrics.Refusal(r.Action, why)
	b.Log.Info("refused", "action", r.Action, "user", r.By.ID, "why", why)
	if err := b.Journal.Refuse(ctx, r); err != nil {
		b.Log.Error("a refusal could not be recorded", "user", r.By.ID, "why", why, "err", err)
	}
	return textMessage(line{say("%s Nothing was done.", person)})
}

// unrecordedCommand says what is known after the journal failed, and no more.
func unrecordedCommand(err error) string {
	if errors.Is(err, journal.ErrNotRecorded) {
		return "The journal cannot be written at the moment, so nothing was done. Try again in a minute; if it stays so, tell the operator."
	}
	return "Not sure that your request was recorded: the journal is slow. If a card appears, it counts; otherwise send the command again."
}

// sends is the part of a reason that ZEGO delivers to everyone in the room.
func (b *Bot) sends(reason string) string {
	if !b.SendReason {
		return ""
	}
	return zego.TruncateReason(reason)
}

// cardChannel is where the card of a command from channel goes.
func (b *Bot) cardChannel(channel string) string {
	if b.AuditChannel != "" {
		return b.AuditChannel
	}
	return channel
}

// helpMessage shows how the command is used, and what arrived, which settles in one try
// how Slack delivers & < > (see TextMode).
func helpMessage(arrived, typed string) message {
	lines := []line{
		{bold("%s <roomId> [reason]", commandName), say("  closes a live room, after you have confirmed it on a card.")},
		{say("The first word is the room id, exactly as ZEGO knows it; everything after it is the reason, which everyone in the room may see.")},
		{say("Received: "), literal(visible(cut(arrived, maxEcho)), codeStyle)},
	}
	if arrived == "" {
		lines[2] = line{say("Received: nothing after the command.")}
	} else if typed != arrived {
		lines = append(lines, line{say("Read as: "), literal(visible(cut(typed, maxEcho)), codeStyle)})
	}
	return textMessage(lines...)
}
