package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"zegoclose/internal/journal"
)

// perform builds a house, plays the conversation in it, and leaves nothing behind.
func perform(ctx context.Context, page *screen, botLog io.Writer) error {
	h, err := newHouse(botLog)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, h.interrupt)()
	begun := time.Now()
	err = converse(newPlayer(h, page), scenes())
	if words := h.lastWords(); err != nil && !errors.Is(err, errInterrupted) && words != "" {
		page.heading("The end of the bot's log", "")
		page.print(dim, "  ", "  ", words)
	}
	if err := errors.Join(err, h.close()); err != nil {
		return err
	}
	fmt.Fprintf(page.w, "\nPlayed in %.1f s. Nothing is left behind.\n", time.Since(begun).Seconds())
	return nil
}

// converse plays scenes, ends the bot, and compares the records.
func converse(p *player, scenes []scene) error {
	p.introduce()
	for i, s := range scenes {
		p.play(i+1, s)
	}
	if p.err != nil {
		return p.err
	}
	if err := p.stop(); err != nil {
		return err
	}
	return p.compareRecords()
}

// player carries out scenes: it does what people would do, waits for what they would wait
// for, and prints what they would see. After the first thing that goes wrong it does
// nothing more, so a scene reads as a story and err is looked at once, at its end.
type player struct {
	*house
	page *screen
	err  error

	changes  []string       // settings of the running bot that are not the usual ones
	cases    []*card        // all of them; the n-th is case n
	refusals []refusal      // all of them, in order
	whispers map[string]int // by person: private messages they have read
	kicks    map[string]int // by room: people thrown out, as far as told
}

// card is the Slack message of a case, and what the scene says must become of it.
type card struct {
	number      int64
	room        string
	channel, ts string
	told        int // replies in its thread printed so far

	state    journal.State // how the case must end
	executed int           // how many CloseRoom calls of it ZEGO must have carried out
}

// refusal is somebody being refused, by command (about 0) or by a click on a case's card.
type refusal struct {
	by    string
	about int64
}

func newPlayer(h *house, page *screen) *player {
	return &player{house: h, page: page, whispers: make(map[string]int), kicks: make(map[string]int)}
}

// play plays one scene, with the bot set as the scene wants it.
func (p *player) play(number int, s scene) {
	if p.err != nil {
		return
	}
	p.page.heading(fmt.Sprintf("%d. %s", number, s.title), s.about)
	if p.bot == nil || strings.Join(p.changes, " ") != strings.Join(s.settings, " ") {
		p.restart(s.settings...)
	}
	s.play(p)
	if p.err != nil && !errors.Is(p.err, errInterrupted) {
		p.err = fmt.Errorf("scene %d, %q: %w", number, s.title, p.err)
	}
}

// restart starts the bot with changes to its usual settings, after ending the one that runs.
func (p *player) restart(changes ...string) {
	if p.err != nil {
		return
	}
	if len(changes) > 0 {
		p.note("(The bot is started anew on the same journal, with %s.)", list(changes))
	} else if len(p.changes) > 0 {
		p.note("(The bot is started anew on the same journal, with its usual settings.)")
	}
	p.changes = changes
	if p.err = p.stop(); p.err == nil {
		p.err = p.start(changes...)
	}
}

// killBot is what a power failure does to the bot.
func (p *player) killBot() {
	if p.err == nil {
		p.err = p.kill()
	}
	p.note("(The bot is killed.)")
}

// until waits for something, and reports whether it came.
func (p *player) until(what string, cond func() bool) bool {
	if p.err == nil {
		p.err = p.await(what, cond)
	}
	return p.err == nil
}

// fail stops the play.
func (p *player) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

// note tells what nobody sees in the channel.
func (p *player) note(format string, args ...any) {
	if p.err == nil {
		p.page.note(format, args...)
	}
}
