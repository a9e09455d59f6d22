package payout

import (
	"fmt"
	"time"
)

// Answer is what asking the provider to create something came to. There are
// four, because money has four.
type Answer string

const (
	AnswerCreated Answer = "created"  // they have it, here is their id
	AnswerRefused Answer = "refused"  // a definitive no
	AnswerNotSent Answer = "not_sent" // certain: it never reached them, or was never looked at
	AnswerUnknown Answer = "unknown"  // it may be there: look before anything else
)

// Token is an access token and when it ends. A request that left with it
// cannot be taken in after that.
type Token struct {
	Value     string
	ExpiresAt time.Time
}

// Send is one permitted sending of one attempt: the stored key, the stored
// bytes, and the moment after which it must not leave any more.
type Send struct {
	PayoutID ID
	Kind     Kind
	Attempt  int    // from 1
	Number   int    // which sending of the attempt, from 1
	Key      string // idempotency key
	Body     []byte // exact bytes
	Deadline time.Time
	Doubted  bool // the provider refused to let us in lately: the first answer is good news

	PaymentID string // of a refund: the provider's id of the pay-in that is refunded
}

// Created is the outcome of one Send.
type Created struct {
	Answer     Answer
	ProviderID string        // with AnswerCreated
	Reason     Reason        // with AnswerRefused
	NotLetIn   bool          // with AnswerNotSent: our credentials, token or signature were refused
	KeyReused  bool          // the provider says the key was used for another body: never send again, look
	Detail     string        // for people: status, title, trace id; no personal data
	RetryAfter time.Duration // what the provider asked for; 0: nothing
	Raw        []byte        // the answer's body, for the sealed evidence
	Err        error         // why, unless created
}

// Word is what the provider says about one payout at one moment.
type Word struct {
	ProviderID        string
	Status            string // the provider's own word
	Reason            Reason // with status failed
	Money             Money
	MerchantAccountID string
	UserID            string
	PaymentSourceID   string
	Reference         string
	SchemeID          string
	Metadata          map[string]string
	DecidedAt         time.Time // executed_at or failed_at, the provider's clock; zero before
	AskedAt           time.Time // our clock, before the request left
	Raw               []byte    // the body as received; goes into the sealed evidence
}

// Intent is what we asked for, to compare a Word with.
type Intent struct {
	ID                ID
	Kind              Kind
	Attempt           int
	ProviderID        string
	Money             Money
	MerchantAccountID string
	UserID            string
	PaymentSourceID   string
	Reference         string
}

// Metadata keys of every create, by which events and statement lines find
// their payout even when the create's answer was lost.
const (
	MetadataPayoutID = "payout_id"
	MetadataAttempt  = "attempt"
)

// Mismatch names the first field in which the word is not about the intent,
// or "". A field that is missing in the word is no mismatch.
func (in Intent) Mismatch(w Word) string {
	differs := func(theirs, ours string) bool { return theirs != "" && ours != "" && theirs != ours }
	switch {
	case differs(w.ProviderID, in.ProviderID):
		return "id"
	case w.Money.Minor != in.Money.Minor:
		return "amount_in_minor"
	case w.Money.Currency != in.Money.Currency:
		return "currency"
	case differs(w.MerchantAccountID, in.MerchantAccountID):
		return "merchant_account_id"
	case differs(w.UserID, in.UserID):
		return "beneficiary.user_id"
	case differs(w.PaymentSourceID, in.PaymentSourceID):
		return "beneficiary.payment_source_id"
	case differs(w.Reference, in.Reference):
		return "beneficiary.reference"
	case differs(w.Metadata[MetadataPayoutID], string(in.ID)):
		return "metadata." + MetadataPayoutID
	case differs(w.Metadata[MetadataAttempt], fmt.Sprint(in.Attempt)):
		return "metadata." + MetadataAttempt
	}
	return ""
}

// News is a verified event from the provider, as the gateway stores it. It
// says that there is something to ask about; it never says what is true.
type News struct {
	EventID    string
	Type       string
	ProviderID string // the provider's payout or refund id; empty when the event is about something else
	PayoutID   ID     // ours, from the metadata; empty when absent or not an id of ours
	Attempt    int    // from the metadata; 0 when absent
	Status     string // the provider status the event claims; empty when it claims none
	Reason     Reason
	Source     *SourceNews // with payment_settled: the account that paid in
	Body       []byte      // exact bytes; stored sealed
	Signature  string      // the Tl-Signature header
	Timestamp  string      // the X-TL-Webhook-Timestamp header
}

// SourceNews is what a settled pay-in teaches about the account that paid in.
type SourceNews struct {
	PlayerID        string // from the metadata; empty: nothing is learnt
	PaymentSourceID string
	UserID          string
	Currency        Currency
}
