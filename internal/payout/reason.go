package payout

import (
	"slices"
	"strings"
)

// Reason says why a payout failed or was refused. Most are the provider's own
// words (docs/truelayer.md, "Failure reasons"); the list there grows, so a
// value that is not listed here is legal and means "generic failure".
type Reason string

const (
	ReasonInsufficientFunds Reason = "insufficient_funds" // our merchant account is short: treasury's move
	ReasonSchemeError       Reason = "scheme_error"       // fault at the payment scheme: worth another attempt
	ReasonServerError       Reason = "server_error"       // fault at the provider: worth another attempt
	ReasonInvalidIBAN       Reason = "invalid_iban"       // the account that paid in cannot be paid to: the player's move
	ReasonInvalidScan       Reason = "invalid_scan"       // sort code and account number lead nowhere: the player's move
	ReasonScanConversion    Reason = "scan_conversion"    // older word for invalid_scan
	ReasonBlocked           Reason = "blocked"            // regulatory stop: compliance's move, never a machine's
	ReasonReturned          Reason = "returned"           // the bank sent it back after it was executed
	ReasonUnknown           Reason = "unknown"            // none of the others
	// ReasonRefused is ours: the provider refused the request at creation.
	ReasonRefused Reason = "refused"
)

// Reasons lists every reason that has a row of its own in the decision table.
func Reasons() []Reason {
	return []Reason{
		ReasonInsufficientFunds, ReasonSchemeError, ReasonServerError, ReasonInvalidIBAN, ReasonInvalidScan,
		ReasonScanConversion, ReasonBlocked, ReasonReturned, ReasonUnknown, ReasonRefused,
	}
}

// Listed says whether r is a value this build knows. A value that is not is
// counted and logged as drift.
func (r Reason) Listed() bool { return slices.Contains(Reasons(), r) }

// PlayerMessage is what support may tell the player. It never names a
// regulatory reason: telling a blocked payee would be tipping off.
func PlayerMessage(k Kind, s Status, r Reason) string {
	const contact = "Your %s could not be completed. Please contact support."
	message := ""
	switch s {
	case StatusAccepted, StatusPending, StatusAuthorized:
		message = "Your %s is on its way."
	case StatusExecuted:
		message = "Your %s was sent to your bank."
	case StatusReturned:
		if message = "Your bank sent the %s back. The money is in your balance again."; r == ReasonBlocked {
			message = contact
		}
	case StatusParked:
		message = "We are checking your %s with the payment provider. Your money is safe."
	case StatusFailed:
		switch r {
		case ReasonInvalidIBAN, ReasonInvalidScan, ReasonScanConversion:
			message = "Your bank account could not be paid. The money is in your balance again; please use another account."
		case ReasonBlocked:
			message = contact
		default:
			message = "Your %s could not be completed. The money is in your balance again."
		}
	}
	return strings.ReplaceAll(message, "%s", string(k))
}
