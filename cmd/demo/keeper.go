package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
)

// A keeper starts, stops and kills the bot for the page, one thing at a time.
type keeper struct {
	h    *house
	turn chan struct{} // held by whoever is at it
	work sync.WaitGroup

	mu     sync.Mutex
	doing  string // what is under way: starting, stopping; "" = nothing
	bot    *bot   // the one that runs, as far as is known
	set    settings
	starts int    // how often it was started
	failed string // why the last thing did not work
}

// settings are what the page can set of the bot.
type settings struct {
	Audit bool `json:"audit"` // all cards go to the audit channel
	Brief bool `json:"brief"` // cards expire after ten seconds
}

// variables are those of the bot on the page.
func (s settings) variables() []string {
	v := []string{
		"ZEGO_CLOSE_INTERVAL=1100ms", // as in production, so that what waits can be seen
		"ZEGO_LOOK_AFTER=1s,3s",
		"ALLOWED_CHANNELS=" + ops + "," + partner + "," + random + "," + mods + "," + audit,
	}
	if s.Audit {
		v = append(v, "AUDIT_CHANNEL="+audit)
	}
	if s.Brief {
		v = append(v, "CONFIRM_TIMEOUT=10s")
	}
	return v
}

func newKeeper(h *house) *keeper { return &keeper{h: h, turn: make(chan struct{}, 1)} }

// do lets f have its turn, in the background. The channel is closed when it is over.
func (k *keeper) do(f func() error) <-chan struct{} {
	over := make(chan struct{})
	k.work.Go(func() {
		defer close(over)
		k.turn <- struct{}{}
		defer func() { <-k.turn }()
		err := f()
		k.mu.Lock()
		k.doing, k.bot, k.failed = "", k.h.bot, ""
		if err != nil && !errors.Is(err, errInterrupted) {
			k.failed = err.Error() + "\n" + k.h.lastWords()
		}
		k.mu.Unlock()
		k.h.notify()
	})
	return over
}

// wait returns when nothing is under way any more.
func (k *keeper) wait() { k.work.Wait() }

func (k *keeper) says(doing string) {
	k.mu.Lock()
	k.doing = doing
	k.mu.Unlock()
	k.h.notify()
}

func (k *keeper) start() error {
	if k.alive() {
		return nil
	}
	k.says("starting")
	k.mu.Lock()
	k.starts++
	k.mu.Unlock()
	return k.h.start(k.settings().variables()...)
}

func (k *keeper) stop() error {
	k.says("stopping")
	return k.h.stop()
}

func (k *keeper) kill() error {
	if !k.alive() {
		return nil
	}
	return k.h.kill()
}

// alive reports whether the house has a bot that runs; only whoever has the turn may ask.
func (k *keeper) alive() bool {
	if k.h.bot != nil && k.h.bot.running() != nil {
		k.h.bot = nil
	}
	return k.h.bot != nil
}

func (k *keeper) settings() settings {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.set
}

// botStatus is how the bot is, for the page.
type botStatus struct {
	State    string   `json:"state"`  // running, starting, stopping, gone
	Starts   int      `json:"starts"` // which of its lives it is
	Problem  string   `json:"problem,omitempty"`
	Settings settings `json:"settings"`
}

func (k *keeper) status() botStatus {
	k.mu.Lock()
	defer k.mu.Unlock()
	st := botStatus{State: k.doing, Starts: k.starts, Problem: k.failed, Settings: k.set}
	if st.State == "" {
		st.State = "gone"
		if k.bot != nil && k.bot.running() == nil {
			st.State = "running"
		}
	}
	return st
}

// order is what the bot's keeper is asked to do.
type order struct {
	Do  string    `json:"do"`  // start, restart, kill
	Set *settings `json:"set"` // with restart: new settings
}

// control answers when what was asked for has been done, or has come to nothing.
func (s *site) control(ctx context.Context, o order) (sent, error) {
	k := s.keeper
	var over <-chan struct{}
	if o.Set != nil {
		k.mu.Lock()
		k.set = *o.Set
		k.mu.Unlock()
	}
	switch o.Do {
	case "start":
		over = k.do(k.start)
	case "kill":
		over = k.do(k.kill)
	case "restart":
		over = k.do(func() error {
			if k.alive() {
				if err := k.stop(); err != nil {
					return err
				}
			}
			return k.start()
		})
	default:
		return sent{}, refuse(http.StatusBadRequest, "the bot can be started, restarted and killed")
	}
	select {
	case <-over:
	case <-ctx.Done():
	}
	return sent{}, nil
}
