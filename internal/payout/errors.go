package payout

import "errors"

// What the ledger may say to a door. Doors turn these into problem documents.
var (
	// ErrNotFound: there is no such thing, or it belongs to another caller.
	ErrNotFound = errors.New("not found")
	// ErrBalanceTooLow: the player has less available than asked for.
	ErrBalanceTooLow = errors.New("balance too low")
)

// KeyConflict refuses a known idempotency key with another request.
type KeyConflict struct {
	Field string // the first field that differs
}

func (e *KeyConflict) Error() string {
	return "this idempotency key was used for another request: " + e.Field + " differs"
}

// CaseKind says what a person is asked about. Wire format: add, never rename.
type CaseKind string

const (
	CaseUnknownOutcome    CaseKind = "unknown_outcome"    // sent, never answered, and the key's window is over
	CaseMismatch          CaseKind = "mismatch"           // the provider speaks of another payout than we asked for
	CaseSlow              CaseKind = "slow"               // undecided for longer than STUCK_AFTER
	CaseContradiction     CaseKind = "contradiction"      // the provider says two things that cannot both be true
	CaseUnmatchedEvent    CaseKind = "unmatched_event"    // an event about a payout nobody asked for
	CaseUnmatchedLine     CaseKind = "unmatched_line"     // a statement line nobody can explain
	CaseReturnUnconfirmed CaseKind = "return_unconfirmed" // a signed return that the provider does not confirm
	CaseBlocked           CaseKind = "blocked"            // a regulatory stop; the money is frozen
	CaseExposure          CaseKind = "exposure"           // paid although the player was credited back
	CaseCredentials       CaseKind = "credentials"        // the provider does not let us in
)
