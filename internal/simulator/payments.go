package simulator

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// Source is an account that paid in.
type Source struct {
	ID                 string       `json:"id"`
	UserID             string       `json:"user_id"`
	MerchantAccountID  string       `json:"merchant_account_id"`
	Currency           string       `json:"currency"`
	AccountHolderName  string       `json:"account_holder_name"`
	AccountIdentifiers []identifier `json:"account_identifiers"`
}

// Payment is a settled pay-in.
type Payment struct {
	ID                string            `json:"payment_id"`
	TransactionID     string            `json:"transaction_id"` // its statement line: a payment's differs from its id
	MerchantAccountID string            `json:"merchant_account_id"`
	AmountInMinor     int64             `json:"amount_in_minor"`
	Currency          string            `json:"currency"`
	PaymentSourceID   string            `json:"payment_source_id"`
	UserID            string            `json:"user_id"`
	Metadata          map[string]string `json:"metadata,omitempty"`
	SettledAt         time.Time         `json:"settled_at"`
}

// PayIn asks for a settled pay-in. The account is given by id or by currency.
// An empty source or user id is made up; a known source must be the same user's.
type PayIn struct {
	MerchantAccountID string            `json:"merchant_account_id,omitempty"`
	Currency          string            `json:"currency,omitempty"`
	AmountInMinor     int64             `json:"amount_in_minor"`
	PaymentSourceID   string            `json:"payment_source_id,omitempty"`
	UserID            string            `json:"user_id,omitempty"`
	AccountHolderName string            `json:"account_holder_name,omitempty"`
	Metadata          map[string]string `json:"metadata,omitempty"`
	NoWebhook         bool              `json:"no_webhook,omitempty"`
}

// AddPayIn lets a player pay in: credits the merchant account, makes or reuses
// the payment source, and sends payment_settled.
func (s *Simulator) AddPayIn(in PayIn) (Payment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	account := s.st.account(in.MerchantAccountID)
	if in.MerchantAccountID == "" {
		for _, a := range s.st.Accounts {
			if account == nil && a.Currency == in.Currency {
				account = a
			}
		}
	}
	var wrong []error
	source := s.st.sources[in.PaymentSourceID]
	switch {
	case account == nil:
		wrong = append(wrong, fmt.Errorf("merchant_account_id: no account %q in %q: give one that exists, or its currency", in.MerchantAccountID, in.Currency))
	case in.Currency != "" && in.Currency != account.Currency:
		wrong = append(wrong, fmt.Errorf("currency: %q: the merchant account is in %s", in.Currency, account.Currency))
	case in.AmountInMinor > math.MaxInt64-account.CurrentBalanceInMinor:
		wrong = append(wrong, errors.New("amount_in_minor: the balance would overflow"))
	case source != nil && source.Currency != account.Currency:
		wrong = append(wrong, fmt.Errorf("payment_source_id: %q is in %s", source.ID, source.Currency))
	}
	if in.AmountInMinor < 1 {
		wrong = append(wrong, fmt.Errorf("amount_in_minor: %d: must be at least 1", in.AmountInMinor))
	}
	if source != nil && in.UserID != "" && in.UserID != source.UserID {
		wrong = append(wrong, fmt.Errorf("user_id: %q: source %s is another user's", in.UserID, source.ID))
	}
	if len(wrong) > 0 {
		return Payment{}, fmt.Errorf("simulator: pay-in: %w", errors.Join(wrong...))
	}
	if source == nil {
		source = s.addSource(Source{
			ID: or(in.PaymentSourceID, uuid.NewString()), UserID: or(in.UserID, uuid.NewString()), MerchantAccountID: account.ID,
			Currency: account.Currency, AccountHolderName: or(in.AccountHolderName, mockHolder),
		})
	}
	p := &Payment{
		ID: uuid.NewString(), TransactionID: uuid.NewString(), MerchantAccountID: account.ID, AmountInMinor: in.AmountInMinor,
		Currency: account.Currency, PaymentSourceID: source.ID, UserID: source.UserID, Metadata: maps.Clone(in.Metadata), SettledAt: s.now(),
	}
	s.st.Payments = append(s.st.Payments, p)
	s.st.payments[p.ID] = p
	account.AvailableBalanceInMinor += p.AmountInMinor
	account.CurrentBalanceInMinor += p.AmountInMinor
	s.journal.fact(MoneyFact{
		At: p.SettledAt, Kind: FactPayIn, PaymentID: p.ID, MerchantAccountID: account.ID, AmountInMinor: p.AmountInMinor,
		Currency: p.Currency, Metadata: p.Metadata, BalanceInMinor: account.CurrentBalanceInMinor,
	})
	if !in.NoWebhook {
		s.announcePayment(p)
	}
	s.touch()
	return *p, nil
}

// mockHolder is who owns every account at the sandbox's mock bank.
const mockHolder = "JOHN SANDBRIDGE"

func (s *Simulator) addSource(source Source) *Source {
	number := fmt.Sprintf("%08d", 871+len(s.st.Sources))
	source.AccountIdentifiers = mockIdentifiers(source.Currency, number)
	s.st.Sources = append(s.st.Sources, &source)
	s.st.sources[source.ID] = &source
	return &source
}

// checkSource sees whether a payout may go to the source it names.
func (s *Simulator) checkSource(t *Transfer, wrong fieldErrors) {
	source := s.st.sources[t.PaymentSourceID]
	switch {
	case source == nil && s.settings.StrictSources:
		wrong.add("payment_source_id", "Payment source could not be found.")
	case source == nil:
	case source.UserID != t.UserID:
		wrong.add("user_id", "The payment source belongs to another user.")
	case source.Currency != t.Currency:
		wrong.add("payment_source_id", "The payment source is in another currency.")
	}
}

// trustSource makes a source that never paid in known, on the payout's word.
func (s *Simulator) trustSource(t *Transfer) {
	if s.st.sources[t.PaymentSourceID] == nil {
		s.addSource(Source{
			ID: t.PaymentSourceID, UserID: t.UserID, MerchantAccountID: t.MerchantAccountID,
			Currency: t.Currency, AccountHolderName: mockHolder,
		})
	}
}

func (s *Simulator) listSources(w http.ResponseWriter, r *http.Request) {
	if !s.authorized(w, r) {
		return
	}
	user := r.URL.Query().Get("user_id")
	if user == "" {
		p := invalidParameters
		p.Errors = fieldErrors{"user_id": {"Must be given."}}
		writeProblem(w, p)
		return
	}
	s.mu.Lock()
	known := s.st.account(r.PathValue("account")) != nil
	items := []map[string]any{}
	for _, source := range s.st.Sources {
		if source.UserID == user && source.MerchantAccountID == r.PathValue("account") {
			items = append(items, map[string]any{
				"id": source.ID, "account_holder_name": source.AccountHolderName, "account_identifiers": source.AccountIdentifiers,
			})
		}
	}
	s.mu.Unlock()
	if !known {
		writeProblem(w, notFound)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"items": items})
}

func (s *Simulator) getPayment(w http.ResponseWriter, r *http.Request) {
	if !s.authorized(w, r) {
		return
	}
	s.mu.Lock()
	p := s.st.payments[r.PathValue("payment")]
	if p == nil {
		s.mu.Unlock()
		writeProblem(w, problem{Type: notFound.Type, Title: notFound.Title, Status: 404, Detail: "Payment could not be found."})
		return
	}
	source := s.st.sources[p.PaymentSourceID]
	view := map[string]any{
		"id": p.ID, "amount_in_minor": p.AmountInMinor, "currency": p.Currency, "status": "settled",
		"user":       map[string]any{"id": p.UserID},
		"created_at": stamp(p.SettledAt), "authorized_at": stamp(p.SettledAt), "executed_at": stamp(p.SettledAt), "settled_at": stamp(p.SettledAt),
		"payment_method": map[string]any{
			"type":               "bank_transfer",
			"beneficiary":        map[string]any{"type": "merchant_account", "merchant_account_id": p.MerchantAccountID},
			"provider_selection": map[string]any{"type": "user_selected", "provider_id": mockProvider(p.Currency)},
		},
		"payment_source": map[string]any{
			"id": source.ID, "account_holder_name": source.AccountHolderName, "account_identifiers": source.AccountIdentifiers,
		},
	}
	if len(p.Metadata) > 0 {
		view["metadata"] = p.Metadata
	}
	s.mu.Unlock()
	writeJSON(w, http.StatusOK, view)
}

func mockProvider(currency string) string {
	if currency == "GBP" {
		return "mock-payments-gb-redirect"
	}
	return "mock-payments-de-redirect"
}
