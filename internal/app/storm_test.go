package app

import (
	"encoding/json"
	"flag"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"payouts/internal/payout"
	"payouts/internal/simulator"
)

// Whatever happens, in whatever order, money is neither lost nor paid twice.
//
// A case is a script of accidents: what the provider does to each attempt, what
// becomes of its events on the way, which calls of which step break, freeze or
// are overtaken, which runs are killed, when the clock jumps, what people
// decide. It is lived through by the real workflows, activities, client, books
// and webhook door against the simulator over HTTP, on one clock. Then all
// calms down, six weeks pass, and the simulator's journal is held against the
// books.
//
// A failing script is printed with what happened, and its seed replays:
//
//	go test ./internal/app -run TestStorm$ -rapid.seed=N
//	go test ./internal/app -run TestStorm$ -rapid.checks=3000 -timeout 2h   (a long hunt)
func TestStorm(t *testing.T) {
	// Twenty cases take about ten seconds. Nothing is written into the repository.
	for name, value := range map[string]string{"rapid.checks": "20", "rapid.nofailfile": "true"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() == f.DefValue {
			if err := flag.Set(name, value); err != nil {
				t.Fatal(err)
			}
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		weather(r, rapid.Custom(drawScript).Draw(r, "script"))
	})
}

// weather lets a script happen and fails where the judge finds fault.
func weather(t tester, sc script, spoil ...func(*storm)) {
	t.Helper()
	s := brew(t, sc, spoil...)
	s.blow()
	if len(s.wrong) > 0 {
		t.Logf("the script:\n%#v\nwhat happened:\n%s", sc, s.told())
		t.Fatalf("%s", strings.Join(s.wrong, "\n"))
	}
}

// script is all that is special about a case; an empty one is a sunny day.
type script struct {
	Payouts  []life
	Weather  []spell       `json:",omitempty"` // of the whole provider
	Jumps    []jump        `json:",omitempty"` // of the clock: nothing ran meanwhile
	Claims   []claim       `json:",omitempty"` // signed events beyond the provider's own
	Desk     []shift       `json:",omitempty"` // of the people who decide cases
	Changes  []change      `json:",omitempty"` // of keys and tokens
	Shortage time.Duration `json:",omitempty"` // so long the merchant account is empty
	Forgets  bool          `json:",omitempty"` // the provider breaks its promise: an idempotency key means nothing to it
}

// GoString is how a failing script is printed.
func (sc script) GoString() string {
	text, err := json.Marshal(sc)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// life is what becomes of a payout, or of a refund.
type life struct {
	Refund    bool             `json:",omitempty"`
	Begins    time.Duration    `json:",omitempty"`
	Attempts  []simulator.Rule `json:",omitempty"` // of attempt 1, 2, …; all further are honest
	Mail      []fate           `json:",omitempty"` // of the 1st, 2nd, … event; all further arrive
	Runs      []time.Duration  `json:",omitempty"` // after so long its 1st, 2nd, … run is killed; further ones live
	Twin      bool             `json:",omitempty"` // a second run at the same time
	Accidents []accident       `json:",omitempty"`
}

// fate is what becomes of an event on its way to us.
type fate struct {
	After  time.Duration
	Copies int  `json:",omitempty"`
	Lost   bool `json:",omitempty"`
}

// accident happens to the worker at the n-th place it passes for a payout: each
// call of an activity has two, before it and after it.
type accident struct {
	Point int
	What  string
	For   time.Duration `json:",omitempty"`
}

const (
	breaks    = "the connection breaks"
	dies      = "the worker dies"
	freezes   = "the worker freezes"
	overtaken = "another does the same step meanwhile"
)

// spell is a fault of the whole provider for a while.
type spell struct {
	At, For time.Duration
	Fault   simulator.Fault
}

type jump struct{ At, By time.Duration }

type change struct {
	At   time.Duration
	What string
}

const (
	rotates = "webhooks are signed with a new key, and the old one is gone"
	revokes = "every token is worthless"
)

// claim is a signed event that says what a GET may not.
type claim struct {
	At     time.Duration
	Payout int // counted from 0; beyond the last: nobody's
	Type   string
	Reason string `json:",omitempty"`
}

// shift is when two people go through the open cases and decide each in one
// way, where that is offered and, by what the provider says, right.
type shift struct {
	At     time.Duration
	Action payout.Action
	Thinks time.Duration `json:",omitempty"` // between the proposal and the second person's word
}
