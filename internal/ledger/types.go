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
	Slot        string // unique per payout: hold, outcome, return, exposure/<attempt>; empty for all others
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
	PaymentID         string // of a refund: the provider's id of the pay-in
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
	ID          string
	Kind        payout.CaseKind
	Status      string      // open, closed
	PayoutID    payout.ID   // empty when it is about no payout
	PayoutKind  payout.Kind // of that payout
	PlayerID    string
	Money       payout.Money // the payout's; zero when it is about none
	Subject     string       // what else it is about: a merchant account, a provider's id
	Why         string
	Version     int // the payout's; of a case about no payout, its own
	Questions   int // its own version: one more with each question
	OpenedAt    time.Time
	ClosedAt    time.Time
	ClosedBy    string         // what closed it, for people
	Evidence    []Evidence     // filled by Ledger.Case only, newest first
	Actions     []payout.Offer // filled by Ledger.Case only: what may be proposed now
	NotNow      []string       // filled by Ledger.Case only: what may not be proposed, and why
	Resolutions []Resolution   // filled by Ledger.Case only, oldest first
}

// Evidence is what was heard about a payout, without its sealed body.
type Evidence struct {
	ID               string
	Attempt          int
	Kind             string // create, get, event, statement, person
	ProviderPayoutID string
	ProviderStatus   string
	Reason           payout.Reason
	AskedAt          time.Time
	StoredAt         time.Time
}

// Resolution is a proposal to resolve a case, and what became of it.
type Resolution struct {
	CaseID           string
	Number           int // from 1, per case
	Action           payout.Action
	ProviderPayoutID string
	ProviderTicket   string
	Reason           string
	Money            payout.Money // what it is about; zero when about none
	Version          int          // what it is bound to
	Questions        int          // the case's own version then; 0: not known
	Status           string       // proposed, rejected, approved, done, void
	ProposedBy       string
	ProposedAt       time.Time
	DecidedBy        string
	DecidedAt        time.Time
	EndedAt          time.Time // when it was carried out or became void
	Outcome          string    // what the step that carried it out found
}

// The statuses of a resolution.
const (
	ResolutionProposed = "proposed" // waits for a second person
	ResolutionRejected = "rejected"
	ResolutionApproved = "approved" // waits for the step that carries it out
	ResolutionDone     = "done"
	ResolutionVoid     = "void" // what it was bound to moved on; nothing was done
)

// CaseFilter selects cases; zero fields select all.
type CaseFilter struct {
	Status   string // open, closed
	Kind     payout.CaseKind
	PayoutID payout.ID
	Limit    int    // 1 to 200; 0: 50
	Cursor   string // from the page before
}

// InboxItem is one event as it was stored, without its sealed body.
type InboxItem struct {
	ID               string
	EventID          string
	Type             string
	ProviderPayoutID string
	PayoutID         payout.ID // empty: nobody's yet
	Attempt          int
	ClaimedStatus    string
	Reason           payout.Reason
	ReceivedAt       time.Time
	Repeats          int
	AppliedAt        time.Time // zero: no step has read it
	AppliedBy        string
}

// InboxFilter selects events; zero fields select all.
type InboxFilter struct {
	PayoutID  payout.ID
	Unmatched bool   // only those that nobody owns and no step has read
	Limit     int    // 1 to 200; 0: 50
	Cursor    string // from the page before
}

// AuditLine is one thing that a person did, or that was done in his name.
type AuditLine struct {
	Position int64 // dense, from 1
	At       time.Time
	Who      string // a caller's name, or the step that carried it out
	What     string // propose, approve, reject; done or void, by the step that carried it out or could not
	CaseID   string
	PayoutID payout.ID
	Detail   string
}

// Invariant is one law of the books and how often it is broken.
type Invariant struct {
	ID         string   `json:"id"`
	Statement  string   `json:"statement"`
	Violations int      `json:"violations"`
	Examples   []string `json:"examples"`
}
