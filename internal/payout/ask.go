package payout

import (
	"errors"
	"time"
)

// Ask is one attempt to ask the provider about.
type Ask struct {
	Attempt    int
	ProviderID string
	Kind       Kind
	PaymentID  string // of a refund: the pay-in, which its address needs
	Proposed   bool   // only people named this id: it may be none
}

// Asked is what the provider said about one attempt.
type Asked struct {
	Attempt    int
	ProviderID string // whom we asked about; the word may name another
	Word       Word
}

// Look is a question to the statement of a merchant account, and of a refund
// also to the list of its pay-in's refunds: what is there of this payout?
type Look struct {
	PayoutID          ID
	Kind              Kind
	MerchantAccountID string
	PaymentID         string // of a refund
	From              time.Time
}

// Looked is the answer: every line was read, to the last page.
type Looked struct {
	AskedAt time.Time // our clock, before the first request left
	Lines   []Line    // of this payout, and every return
}

// Line is what a statement, or a list of refunds, says of one movement.
type Line struct {
	ProviderID string // of a payout or refund; empty on money that came in
	PayoutID   ID     // ours, from the metadata
	Attempt    int    // from the metadata
	Status     string // the provider's word
	ReturnFor  string // on money that came in: the provider's id of what it is the return of
	Money      Money
	At         time.Time // settled or executed, the provider's clock
	Raw        []byte    // for the sealed evidence
}

// Asking is what a step is about to ask, and the news it read before.
type Asking struct {
	Asks     []Ask
	Look     *Look    // nil: the statement has nothing to say to this
	Inbox    []string // unapplied inbox rows; the step that asks applies them
	Approved []string // what two people decided: it is carried out by what is heard now
	Doubted  bool     // the provider refused to let us in lately: the first answer is good news
	Position Position
}

// Heard is what a step heard.
type Heard struct {
	Words    []Asked
	Looked   *Looked
	Inbox    []string // of the Asking
	Approved []string // of the Asking
	Doubted  bool     // of the Asking
	By       string   // the step, for people
}

// InFlight says that a send has no answer yet; the step may be tried again
// after Until.
type InFlight struct{ Until time.Time }

func (e *InFlight) Error() string {
	return "a send is on its way until " + e.Until.Format(time.RFC3339)
}

// ErrNotLetIn: the provider does not accept our credentials, token or
// signature. Certain to have changed nothing there.
var ErrNotLetIn = errors.New("the provider does not let us in")

// ErrNoID: the provider takes an id for none of a payout or refund, and will do so
// however often it is asked.
var ErrNoID = errors.New("no id of theirs")

// BrakedAtMost is above the longest that nobody asks, also where clocks are a little
// apart. What ends later was written by a clock that has gone back since.
const BrakedAtMost = 10 * time.Minute

// Braked says that the provider did not let us in again and again, and that
// nobody asks it before Until, but for one who tries.
type Braked struct{ Until time.Time }

// Holds says that nobody asks at this moment.
func (b *Braked) Holds(now time.Time) bool {
	left := b.Until.Sub(now)
	return left > 0 && left <= BrakedAtMost
}

func (e *Braked) Error() string {
	return "the provider does not let us in; the next try is at " + e.Until.Format(time.RFC3339)
}

// Stored is what became of a piece of news.
type Stored struct {
	InboxID  string
	PayoutID ID   // empty: nobody's yet
	Kind     Kind // of that payout
	Late     bool // that payout is final: its run is over
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

// Late says that the payout's own run is over: what comes now is late word.
func (d Due) Late() bool { return d.Status.Final() }

// Event is an outbox row on its way to the game backend.
type Event struct {
	ID          string
	Caller      string
	SubjectID   string // a payout or a case
	Version     int
	Type        string
	OccurredAt  time.Time
	Data        []byte // JSON
	Tries       int
	Traceparent string // W3C, of the request that asked for the payout; "" where that was not traced
}
