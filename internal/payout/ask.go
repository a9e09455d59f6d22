package payout

import (
	"time"
)

// Ask is one attempt to ask the provider about.
type Ask struct {
	Attempt    int
	ProviderID string
}

// Asked is what the provider said about one attempt.
type Asked struct {
	Attempt    int
	ProviderID string // whom we asked about; the word may name another
	Word       Word
}

// Asking is what a step is about to ask, and the news it read before.
type Asking struct {
	Asks     []Ask
	Inbox    []string // unapplied inbox rows; the step that asks applies them
	Position Position
}

// InFlight says that a send has no answer yet; the step may be tried again
// after Until.
type InFlight struct{ Until time.Time }

func (e *InFlight) Error() string {
	return "a send is on its way until " + e.Until.Format(time.RFC3339)
}

// Stored is what became of a piece of news.
type Stored struct {
	InboxID  string
	PayoutID ID   // empty: nobody's yet
	Kind     Kind // of that payout
	Repeat   bool // the same event was stored before
	Wake     bool // first unread news of that payout: signal its run
}

// Due is a payout whose run may have to be started again.
type Due struct {
	ID       ID
	Kind     Kind
	PlayerID string
	Money    Money
	Status   Status
}

// Event is an outbox row on its way to the game backend.
type Event struct {
	ID         string
	Caller     string
	SubjectID  string // a payout or a case
	Version    int
	Type       string
	OccurredAt time.Time
	Data       []byte // JSON
	Tries      int
}
