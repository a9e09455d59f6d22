package truelayer

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"payouts/internal/payout"
)

// PayoutRequest asks for a payout to any beneficiary they take. The product
// makes its bodies with CreateBody.
type PayoutRequest struct {
	MerchantAccountID string            `json:"merchant_account_id"`
	payout.Money                        // minor units; the currency of the account
	Beneficiary       Beneficiary       `json:"beneficiary"`
	SchemeSelection   SchemeSelection   `json:"scheme_selection,omitzero"`
	SubMerchants      *SubMerchants     `json:"sub_merchants,omitempty"`
	Metadata          map[string]string `json:"metadata,omitempty"` // encoding/json sorts the names
}

// Body is the exact JSON of the request: the same bytes for the same request.
//
//	Errors: every field that cannot be sent, by name
//	Source: docs/truelayer.md, "Create payout", "Beneficiaries"
func (r PayoutRequest) Body() ([]byte, error) {
	var wrong mistakes
	r.check(&wrong)
	return encode("create body", r, wrong)
}

func (r PayoutRequest) check(m *mistakes) {
	m.amount(r.Minor)
	if !r.Currency.Valid() {
		m.add("currency", "want an ISO 4217 code")
	}
	m.text("merchant_account_id", r.MerchantAccountID)
	if r.Beneficiary == nil {
		m.add("beneficiary", "is missing")
	} else {
		r.Beneficiary.check(m)
	}
	r.SchemeSelection.check(m)
	if r.SubMerchants != nil {
		m.text("sub_merchants.ultimate_counterparty.trading_name", r.SubMerchants.UltimateCounterparty.TradingName)
		r.SubMerchants.UltimateCounterparty.Address.check(m, "sub_merchants.ultimate_counterparty.address")
	}
	m.metadata(r.Metadata)
}

// Body is the exact JSON that asks for what is intended, by its kind.
func Body(in payout.Intent, metadata map[string]string) ([]byte, error) {
	if in.Kind == payout.KindRefund {
		return RefundBody(in, metadata)
	}
	return CreateBody(in, metadata)
}

// CreateBody is the exact JSON that asks for this payout, closed loop: the
// same bytes for the same intent and metadata. Our own two metadata pairs are
// added, by which events and statement lines find their payout.
//
//	Units:  in.Money in minor units
//	Errors: every field that cannot be sent, by name
//	Source: docs/truelayer.md, "Create payout"
func CreateBody(in payout.Intent, metadata map[string]string) ([]byte, error) {
	var wrong mistakes
	r := PayoutRequest{
		MerchantAccountID: in.MerchantAccountID,
		Money:             in.Money,
		Beneficiary:       PaymentSource{UserID: in.UserID, PaymentSourceID: in.PaymentSourceID, Reference: in.Reference},
		Metadata:          wrong.ours(in, metadata),
	}
	r.check(&wrong)
	return encode("create body", r, wrong)
}

// RefundBody is the exact JSON that asks for this refund of a pay-in, in the
// pay-in's currency and to the account that paid: the same bytes for the same
// intent and metadata. The amount is always named; without one they would
// refund the whole payment. Our metadata pairs are added as in CreateBody.
//
//	Units:  in.Money in minor units
//	Errors: every field that cannot be sent, by name
//	Source: docs/truelayer.md, "Refunds"
func RefundBody(in payout.Intent, metadata map[string]string) ([]byte, error) {
	var wrong mistakes
	all := wrong.ours(in, metadata)
	wrong.amount(in.Money.Minor)
	wrong.text("reference", in.Reference)
	wrong.metadata(all)
	return encode("refund body", struct {
		AmountInMinor int64             `json:"amount_in_minor"`
		Reference     string            `json:"reference"`
		Metadata      map[string]string `json:"metadata"`
	}{in.Money.Minor, in.Reference, all}, wrong)
}

func encode(op string, body any, wrong mistakes) ([]byte, error) {
	if len(wrong) > 0 {
		return nil, fmt.Errorf("%s: %w", op, errors.Join(wrong...))
	}
	out, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return out, nil
}

// mistakes gathers the fields of a body that cannot be sent.
type mistakes []error

func (m *mistakes) add(field, want string) { *m = append(*m, fmt.Errorf("%s: %s", field, want)) }

func (m *mistakes) text(field, value string) {
	if value == "" || !utf8.ValidString(value) {
		m.add(field, "want text")
	}
}

// form holds a value against a pattern, without showing it.
func (m *mistakes) form(field, value string, pattern *regexp.Regexp, want string) {
	if !pattern.MatchString(value) {
		m.add(field, want)
	}
}

// born checks a date that may be missing.
func (m *mistakes) born(field, date string) {
	if date != "" {
		m.form(field, date, day, "want a date such as 1990-01-31")
	}
}

func (m *mistakes) amount(minor int64) {
	if minor < 1 {
		m.add("amount_in_minor", "want 1 or more")
	}
}

// ours adds our own two pairs, by which what they tell us finds its payout.
func (m *mistakes) ours(in payout.Intent, metadata map[string]string) map[string]string {
	if _, err := payout.ParseID(string(in.ID)); err != nil {
		m.add("id", err.Error())
	}
	if in.Attempt < 1 {
		m.add("attempt", "want 1 or more")
	}
	all := map[string]string{payout.MetadataPayoutID: string(in.ID), payout.MetadataAttempt: strconv.Itoa(in.Attempt)}
	for _, name := range slices.Sorted(maps.Keys(metadata)) {
		if _, taken := all[name]; taken {
			m.add("metadata."+name, "is set by the orchestrator")
			continue
		}
		all[name] = metadata[name]
	}
	return all
}

// metadata holds the pairs against what they take (docs/truelayer.md, "Create
// payout").
func (m *mistakes) metadata(pairs map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		if n := utf8.RuneCountInString(name); n < 1 || n > 40 || !utf8.ValidString(name) {
			m.add("metadata", fmt.Sprintf("name %.50q: want 1 to 40 characters", name))
		}
		if v := pairs[name]; utf8.RuneCountInString(v) > 500 || !utf8.ValidString(v) {
			m.add("metadata."+name, "want at most 500 characters")
		}
	}
	if len(pairs) > 10 {
		m.add("metadata", fmt.Sprintf("has %d pairs; want at most 10", len(pairs)))
	}
}
