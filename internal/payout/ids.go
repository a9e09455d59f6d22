package payout

import (
	"fmt"

	"github.com/google/uuid"
)

// Kind tells a payout of winnings from a refund of a pay-in. Both live the
// same life in the same tables.
type Kind string

const (
	KindPayout Kind = "payout"
	KindRefund Kind = "refund"
)

// ID names one payout or refund for ever. It follows from the caller's
// idempotency key, so asking twice is asking once.
type ID string

// The namespaces are for ever: changing one would pay open requests again.
var (
	namespaces = map[Kind]uuid.UUID{
		KindPayout: uuid.MustParse("9b0f8f0e-6d1c-5d0e-9a55-6c1f5a1f2d01"),
		KindRefund: uuid.MustParse("9b0f8f0e-6d1c-5d0e-9a55-6c1f5a1f2d02"),
	}
	attemptKeys      = uuid.MustParse("9b0f8f0e-6d1c-5d0e-9a55-6c1f5a1f2d03")
	transactionNames = uuid.MustParse("9b0f8f0e-6d1c-5d0e-9a55-6c1f5a1f2d04")
)

// NewID is the id of what caller asked for under key: UUIDv5 of the kind's
// namespace, the caller's name, a line feed and the key. Caller names are
// for ever.
func NewID(kind Kind, caller, key string) ID {
	return ID(uuid.NewSHA1(namespaces[kind], []byte(caller+"\n"+key)).String())
}

// ParseID reads an id as people and machines write it.
func ParseID(text string) (ID, error) {
	id, err := uuid.Parse(text)
	if err != nil || len(text) != 36 {
		return "", fmt.Errorf("%q is not an id: want a UUID such as 0cd1b0f7-71bc-4d24-b209-95259dadcc20", text)
	}
	return ID(id.String()), nil
}

// Key is the provider's idempotency key of attempt n (from 1): the same in
// every process and every replay, and never the same for two attempts.
func Key(id ID, n int) string {
	return uuid.NewSHA1(attemptKeys, fmt.Appendf(nil, "%s/%d", id, n)).String()
}

// TransactionID is the id of the ledger transaction that a caller's credit or
// debit becomes.
func TransactionID(endpoint, caller, key string) string {
	return uuid.NewSHA1(transactionNames, []byte(endpoint+"\n"+caller+"\n"+key)).String()
}
