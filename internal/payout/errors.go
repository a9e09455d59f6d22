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
