package payout

import "slices"

// Status is where a payout stands in our books. Wire format: add, never
// rename; decode a value you do not know as text.
type Status string

const (
	// StatusAccepted: the money is held and nothing is known to be at the provider. Our move.
	StatusAccepted Status = "accepted"
	// StatusPending: created at the provider, or resting between two attempts. The provider's move, or a timer's.
	StatusPending Status = "pending"
	// StatusAuthorized: the provider sent it to the payment scheme. The scheme's move.
	StatusAuthorized Status = "authorized"
	// StatusExecuted: the provider executed it and took the money from our account. Nobody's move; a bank may still send it back.
	StatusExecuted Status = "executed"
	// StatusFailed: it ended without paying; money says where the money went. Nobody's move.
	StatusFailed Status = "failed"
	// StatusReturned: it was executed and the bank sent it back; the player is credited. Nobody's move.
	StatusReturned Status = "returned"
	// StatusParked: machines cannot tell what happened; the money stays held. A person's move, or new evidence.
	StatusParked Status = "parked"
)

// Statuses lists all statuses in the order of a life.
func Statuses() []Status {
	return []Status{StatusAccepted, StatusPending, StatusAuthorized, StatusExecuted, StatusFailed, StatusReturned, StatusParked}
}

// arrows are the moves of one attempt's life. docs/lifecycle.md draws them
// and a test holds the drawing against this table.
var arrows = map[Status][]Status{
	StatusAccepted:   {StatusPending, StatusAuthorized, StatusExecuted, StatusFailed, StatusReturned, StatusParked},
	StatusPending:    {StatusAuthorized, StatusExecuted, StatusFailed, StatusReturned, StatusParked},
	StatusAuthorized: {StatusExecuted, StatusFailed, StatusReturned, StatusParked},
	StatusParked:     {StatusAccepted, StatusPending, StatusAuthorized, StatusExecuted, StatusFailed, StatusReturned},
	StatusExecuted:   {StatusReturned},
	StatusFailed:     {},
	StatusReturned:   {},
}

// MayBecome says whether an arrow leads from s to next while the attempt
// lives. A new attempt begins at pending again: see NewAttempt.
func (s Status) MayBecome(next Status) bool { return slices.Contains(arrows[s], next) }

// NextStatuses lists where the arrows lead from s.
func (s Status) NextStatuses() []Status { return slices.Clone(arrows[s]) }

// Final says that no arrow leads on, but for executed, which a bank may turn
// into returned. A status that is not known is not known to be final.
func (s Status) Final() bool {
	next, known := arrows[s]
	return known && (s == StatusExecuted || len(next) == 0)
}

// MoneyAt tells where the money of a payout is.
type MoneyAt string

const (
	MoneyHeld     MoneyAt = "held"     // set aside, still the player's
	MoneyPaid     MoneyAt = "paid"     // left through the provider
	MoneyReleased MoneyAt = "released" // credited back, spendable
	MoneyFrozen   MoneyAt = "frozen"   // set aside for a regulatory reason, spendable by nobody
	MoneyReturned MoneyAt = "returned" // paid, sent back by the bank, credited back
)
