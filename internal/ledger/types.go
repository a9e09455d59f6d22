package ledger

import (
	"time"

	"payouts/internal/payout"
)

// Balance is what the house owes one player in one currency, minor units.
type Balance struct {
	Currency  payout.Currency `json:"currency"`
	Available int64           `json:"available_in_minor"`
	Held      int64           `json:"held_in_minor"`
	Frozen    int64           `json:"frozen_in_minor"`
}

// Transaction moves one amount from one account to another: two postings
// whose sum is zero by construction.
type Transaction struct {
	ID          string
	Position    int64 // dense, from 1; 0 until sealed
	Kind        TransactionKind
	PayoutID    payout.ID
	Attempt     int
	Slot        string // unique per payout: hold, outcome, return, exposure/<attempt>; empty for credits and debits
	EvidenceID  string
	Reason      string // why, in the caller's words, of a credit or debit
	From, To    string // accounts: the amount is taken from From and added to To
	Money       payout.Money
	BookedAt    time.Time // our clock
	EffectiveAt time.Time // the provider's, where it has one
	Hash        string    // hex; chains over the one before; empty until sealed
}

// TransactionKind says what a transaction does. Wire format: add, never rename.
type TransactionKind string

const (
	KindCredit   TransactionKind = "credit"   // house:funding → available
	KindDebit    TransactionKind = "debit"    // available → house:funding
	KindReserve  TransactionKind = "reserve"  // available → held
	KindSettle   TransactionKind = "settle"   // held → merchant
	KindRelease  TransactionKind = "release"  // held → available
	KindFreeze   TransactionKind = "freeze"   // held → frozen
	KindUnfreeze TransactionKind = "unfreeze" // frozen → available
	KindReturn   TransactionKind = "return"   // merchant → available
	KindExpose   TransactionKind = "expose"   // house:exposure → merchant
	KindRecover  TransactionKind = "recover"  // available → house:exposure
	KindAdjust   TransactionKind = "adjust"   // between any two, approved by two people
)

// Payout is a payout row with what hangs on it.
type Payout struct {
	ID                payout.ID
	Kind              payout.Kind
	Caller            string
	IdempotencyKey    string
	PlayerID          string
	Money             payout.Money
	Beneficiary       payout.Beneficiary
	MerchantAccountID string
	Metadata          map[string]string
	Status            payout.Status
	MoneyAt           payout.MoneyAt
	Reason            payout.Reason
	ProviderStatus    string
	ProviderPayoutID  string // the latest attempt's
	Step              payout.Step
	NextStepAt        time.Time // zero: no timer
	CaseID            string    // the open case, if any
	Version           int
	CreatedAt         time.Time
	UpdatedAt         time.Time
	Attempts          []Attempt // filled by Ledger.Payout only
	Timeline          []Moment  // filled by Ledger.Payout only
}

// Attempt is one try at the provider.
type Attempt struct {
	Number           int
	IdempotencyKey   string
	ProviderPayoutID string
	Status           string // open, created, refused, failed, executed
	Reason           payout.Reason
	FirstSentAt      time.Time // zero: never sent
	Sends            int
}

// Moment is one line of a payout's timeline.
type Moment struct {
	At         time.Time
	Status     payout.Status
	What       string
	EvidenceID string
}

// Filter selects payouts; zero fields select all.
type Filter struct {
	Caller         string // empty: every caller (people with a role)
	PlayerID       string
	Status         payout.Status
	Reason         payout.Reason
	IdempotencyKey string
	Limit          int    // 1 to 200; 0: 50
	Cursor         string // from the page before
}

// Case is a question to a person.
type Case struct {
	ID       string
	Kind     payout.CaseKind
	Status   string // open, closed
	PayoutID payout.ID
	Why      string
	Version  int
	OpenedAt time.Time
	ClosedAt time.Time
}

// Invariant is one law of the books and how often it is broken.
type Invariant struct {
	ID         string   `json:"id"`
	Statement  string   `json:"statement"`
	Violations int      `json:"violations"`
	Examples   []string `json:"examples"`
}
