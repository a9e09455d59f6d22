package truelayer

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"payouts/internal/payout"
)

// Event is a webhook that was proven to be theirs. Only Verify makes one that
// holds anything.
type Event struct {
	body      []byte
	signature string
	timestamp string
}

// TypeUnreadable stands for the type of an event that is theirs but says
// nothing we can read. It is kept all the same: refusing it would make them
// send it for days.
const TypeUnreadable = "unreadable"

// claims says which provider status an event type claims. Any other type
// claims none (docs/truelayer.md, "Webhooks").
var claims = map[string]string{
	"payout_executed": payout.ProviderExecuted,
	"payout_failed":   payout.ProviderFailed,
	"refund_executed": payout.ProviderExecuted,
	"refund_failed":   payout.ProviderFailed,
}

// settled is the event that teaches which account a player paid in from.
const settled = "payment_settled"

// metadataPlayerID is where the game names the player of a pay-in.
const metadataPlayerID = "player_id"

// schemeCurrency is the only currency a payment scheme carries. The event of a
// settled pay-in names the scheme, not the currency.
var schemeCurrency = map[string]payout.Currency{
	"faster_payments_service":            "GBP",
	"sepa_credit_transfer":               "EUR",
	"sepa_credit_transfer_instant":       "EUR",
	"polish_domestic_standard":           "PLN",
	"polish_domestic_express":            "PLN",
	"norwegian_domestic_credit_transfer": "NOK",
	"swedish_domestic_credit_transfer":   "SEK",
}

// News is what the event says. Nothing is refused here: a field that cannot
// be read is empty, an unknown type claims no status.
func (e Event) News() payout.News {
	n := payout.News{Type: TypeUnreadable, Body: e.body, Signature: e.signature, Timestamp: printable(e.timestamp)}
	o, err := readObject(e.body)
	if err != nil {
		o = object{}
	}
	text := func(o object, name string) string {
		s, err := o.text(name)
		if err != nil {
			return ""
		}
		return s
	}
	id := func(o object, name string) string {
		if s := text(o, name); visible.MatchString(s) {
			return s
		}
		return ""
	}
	if n.EventID = id(o, "event_id"); n.EventID == "" {
		sum := sha256.Sum256(e.body)
		n.EventID = "sha256:" + hex.EncodeToString(sum[:])
	}
	kind := id(o, "type")
	if kind == "" {
		return n
	}
	n.Type = kind
	if n.ProviderID = id(o, "payout_id"); n.ProviderID == "" {
		n.ProviderID = id(o, "refund_id")
	}
	if n.Status = claims[kind]; n.Status == payout.ProviderFailed {
		n.Reason = payout.Reason(text(o, "failure_reason"))
		if n.Reason == "" {
			n.Reason = payout.ReasonUnknown
		}
	}
	metadata := o.inner("metadata")
	if kind == settled {
		n.Source = source(o, metadata, id)
	}
	if !strings.HasPrefix(kind, "payment_") { // a pay-in's metadata is the game's own
		if ours, err := payout.ParseID(text(metadata, payout.MetadataPayoutID)); err == nil {
			n.PayoutID = ours
		}
		if attempt, err := strconv.Atoi(text(metadata, payout.MetadataAttempt)); err == nil && attempt > 0 {
			n.Attempt = attempt
		}
	}
	return n
}

// source reads the account that paid in; nil when the event does not name it.
func source(o, metadata object, id func(object, string) string) *payout.SourceNews {
	s := &payout.SourceNews{
		PaymentSourceID: id(o.inner("payment_source"), "id"),
		UserID:          id(o, "user_id"),
		Currency:        payout.Currency(id(o, "currency")),
	}
	if s.PaymentSourceID == "" {
		return nil
	}
	player := id(metadata, metadataPlayerID)
	var wrong payout.Problems
	if payout.CheckPlayer(&wrong, player); len(wrong) == 0 {
		s.PlayerID = player
	}
	if !s.Currency.Valid() {
		s.Currency = schemeCurrency[id(o.inner("payment_method"), "scheme_id")]
	}
	return s
}
