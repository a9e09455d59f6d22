package payout

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Beneficiary names the account that paid in, by the provider's own ids.
type Beneficiary struct {
	UserID          string `json:"user_id"`
	PaymentSourceID string `json:"payment_source_id"`
	Reference       string `json:"reference"`
}

// Request is a caller's wish to pay a player out.
type Request struct {
	Caller         string            `json:"-"`
	IdempotencyKey string            `json:"-"`
	PlayerID       string            `json:"player_id"`
	Money          Money             `json:"money"`
	Beneficiary    Beneficiary       `json:"beneficiary"`
	Metadata       map[string]string `json:"metadata,omitempty"`
}

// ID is the payout's id.
func (r Request) ID() ID { return NewID(KindPayout, r.Caller, r.IdempotencyKey) }

// Limits is what a request is checked against at the door.
type Limits struct {
	MaxAmountInMinor int64               // above it: refused
	Reference        *regexp.Regexp      // what payment schemes carry without loss
	ReferenceText    string              // the same in words, for the refusal
	MerchantAccounts map[Currency]string // currency → the account it is paid from
}

// DefaultReference is what every scheme carries: 1 to 18 plain characters
// (docs/truelayer.md, "Reference").
const DefaultReference = `^[A-Za-z0-9 .-]{1,18}$`

// DefaultMaxAmountInMinor is the largest amount taken unless configured.
const DefaultMaxAmountInMinor = 100_000_000

// Problem is one field of a request that cannot be taken, and what would be.
type Problem struct {
	Field string `json:"field"`
	Want  string `json:"want"`
}

// Problems refuses a request, naming every field.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.Field + ": " + problem.Want
	}
	return strings.Join(lines, "; ")
}

func (p *Problems) add(field, format string, args ...any) {
	*p = append(*p, Problem{field, fmt.Sprintf(format, args...)})
}

// The provider takes at most 10 pairs, keys up to 40 characters, values up to
// 500 (docs/truelayer.md, "Create payout"). Two pairs are ours.
const (
	maxMetadataPairs = 8
	maxMetadataKey   = 40
	maxMetadataValue = 500
	maxPlayerID      = 128
	maxReason        = 200 // of a credit or debit
)

var (
	playerID    = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)
	visibleKey  = regexp.MustCompile(`^[\x21-\x7e]{1,255}$`)
	pathSafe    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`) // stands in a signed path as it is
	line        = regexp.MustCompile(`^[\x20-\x7e]{1,100}$`)
	providerRef = regexp.MustCompile(`^[A-Za-z0-9._~:-]{1,128}$`) // theirs are UUIDs; a placeholder such as <id> is not taken
)

// Check names everything that is wrong with the request; an empty list means
// that it may be asked of the ledger.
func (r Request) Check(l Limits) Problems {
	var p Problems
	CheckKey(&p, r.IdempotencyKey)
	CheckPlayer(&p, r.PlayerID)
	r.Money.check(&p, l.MaxAmountInMinor)
	l.checkCurrency(&p, r.Money.Currency)
	if !providerRef.MatchString(r.Beneficiary.UserID) {
		p.add("beneficiary.user_id", "want the provider's id of the user that paid in, 1 to 128 characters of A-Z a-z 0-9 . _ ~ : -")
	}
	CheckSource(&p, "beneficiary.payment_source_id", r.Beneficiary.PaymentSourceID)
	l.checkReference(&p, "beneficiary.reference", r.Beneficiary.Reference)
	if len(r.Metadata) > maxMetadataPairs {
		p.add("metadata", "has %d pairs; want at most %d", len(r.Metadata), maxMetadataPairs)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Metadata)) {
		switch value := r.Metadata[key]; {
		case key == MetadataPayoutID || key == MetadataAttempt:
			p.add("metadata."+key, "is set by the orchestrator; choose another name")
		case key == "" || utf8.RuneCountInString(key) > maxMetadataKey:
			p.add("metadata", "key %.50q: want 1 to %d characters", key, maxMetadataKey)
		case utf8.RuneCountInString(value) > maxMetadataValue:
			p.add("metadata."+key, "want at most %d characters", maxMetadataValue)
		}
	}
	return p
}

// Movement is a caller's credit or debit of a player.
type Movement struct {
	Caller         string `json:"-"`
	IdempotencyKey string `json:"-"`
	PlayerID       string `json:"player_id"`
	Money          Money  `json:"money"`
	Reason         string `json:"reason"`
}

// Check names everything that is wrong with the movement. A currency without
// a merchant account is refused here already: what cannot be paid out must
// not be credited.
func (m Movement) Check(l Limits) Problems {
	var p Problems
	CheckKey(&p, m.IdempotencyKey)
	CheckPlayer(&p, m.PlayerID)
	m.Money.check(&p, l.MaxAmountInMinor)
	l.checkCurrency(&p, m.Money.Currency)
	checkText(&p, "reason", m.Reason, maxReason)
	return p
}

// RefundRequest is a caller's wish to refund a pay-in, wholly or in part. The
// money is taken from the player's balance, as with a payout, and goes back to
// the account that paid.
type RefundRequest struct {
	Caller         string `json:"-"`
	IdempotencyKey string `json:"-"`
	PlayerID       string `json:"player_id"`
	PaymentID      string `json:"payment_id"` // the provider's id of the pay-in
	Money          Money  `json:"money"`
	Reference      string `json:"reference"`
}

// ID is the refund's id.
func (r RefundRequest) ID() ID { return NewID(KindRefund, r.Caller, r.IdempotencyKey) }

// Check names everything that is wrong with the request.
func (r RefundRequest) Check(l Limits) Problems {
	var p Problems
	CheckKey(&p, r.IdempotencyKey)
	CheckPlayer(&p, r.PlayerID)
	r.Money.check(&p, l.MaxAmountInMinor)
	l.checkCurrency(&p, r.Money.Currency)
	if !pathSafe.MatchString(r.PaymentID) {
		p.add("payment_id", "want the provider's id of the pay-in, 1 to 128 characters of A-Z a-z 0-9 _ -")
	}
	l.checkReference(&p, "reference", r.Reference)
	return p
}

func (l Limits) checkCurrency(p *Problems, c Currency) {
	if _, ok := l.MerchantAccounts[c]; c.Valid() && !ok {
		p.add("currency", "%q has no merchant account here; want one of %s", c, currencies(l.MerchantAccounts))
	}
}

func (l Limits) checkReference(p *Problems, field, reference string) {
	if l.Reference == nil || !l.Reference.MatchString(reference) {
		p.add(field, "want %s", l.ReferenceText)
	}
}

func checkText(p *Problems, field, text string, most int) {
	if n := utf8.RuneCountInString(text); n < 1 || n > most || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		p.add(field, "want 1 to %d characters that say why, no control characters among them", most)
	}
}

// Source is an account that paid in, bound to the player who paid.
type Source struct {
	Caller          string   `json:"-"`
	PlayerID        string   `json:"player_id"`
	PaymentSourceID string   `json:"payment_source_id"`
	UserID          string   `json:"user_id"`
	Currency        Currency `json:"currency"`
}

// Check names everything that is wrong with the source.
func (s Source) Check(l Limits) Problems {
	var p Problems
	CheckPlayer(&p, s.PlayerID)
	CheckSource(&p, "payment_source_id", s.PaymentSourceID)
	if !providerRef.MatchString(s.UserID) {
		p.add("user_id", "want the provider's id of the user that paid in, 1 to 128 characters of A-Z a-z 0-9 . _ ~ : -")
	}
	if _, ok := l.MerchantAccounts[s.Currency]; !ok {
		p.add("currency", "%q has no merchant account here; want one of %s", s.Currency, currencies(l.MerchantAccounts))
	}
	return p
}

// CheckKey refuses an idempotency key that is missing or cannot be kept.
func CheckKey(p *Problems, key string) {
	if !visibleKey.MatchString(key) {
		p.add("Idempotency-Key", "want a header of 1 to 255 visible ASCII characters, the same for every repeat of this request")
	}
}

// CheckPlayer refuses a player id that cannot be shown in clear everywhere.
func CheckPlayer(p *Problems, id string) {
	if !playerID.MatchString(id) {
		p.add("player_id", "want 1 to %d characters of A-Z a-z 0-9 . _ : - and nothing personal in it", maxPlayerID)
	}
}

// CheckSource refuses a payment source id of the wrong form.
func CheckSource(p *Problems, field, id string) {
	if !providerRef.MatchString(id) {
		p.add(field, "want the provider's id of the account that paid in, 1 to 128 characters of A-Z a-z 0-9 . _ ~ : -")
	}
}

func (m Money) check(p *Problems, limit int64) {
	if m.Minor < 1 || m.Minor > limit {
		p.add("amount_in_minor", "%d: want a whole number of minor units (pence, cents) from 1 to %d", m.Minor, limit)
	}
	if !m.Currency.Valid() {
		p.add("currency", "%.10q: want an ISO 4217 code such as GBP", m.Currency)
	}
}

func currencies(accounts map[Currency]string) string {
	var names []string
	for c := range accounts {
		names = append(names, string(c))
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
