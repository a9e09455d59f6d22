package simulator

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// Account is a merchant account. Available is current less what is set aside
// for payouts on their way.
type Account struct {
	ID                      string       `json:"id"`
	Currency                string       `json:"currency"`
	AccountIdentifiers      []identifier `json:"account_identifiers"`
	AvailableBalanceInMinor int64        `json:"available_balance_in_minor"`
	CurrentBalanceInMinor   int64        `json:"current_balance_in_minor"`
	AccountHolderName       string       `json:"account_holder_name"`
}

type identifier struct {
	Type          string `json:"type"`
	IBAN          string `json:"iban,omitempty"`
	SortCode      string `json:"sort_code,omitempty"`
	AccountNumber string `json:"account_number,omitempty"`
	NRB           string `json:"nrb,omitempty"`
}

// external is money that moved past the API: a deposit, a sweep, or what a
// bank sent back.
type external struct {
	ID                string    `json:"id"`
	MerchantAccountID string    `json:"merchant_account_id"`
	AmountInMinor     int64     `json:"amount_in_minor"` // negative: out
	Currency          string    `json:"currency"`
	At                time.Time `json:"at"`
	Remitter          string    `json:"remitter"`
	Reference         string    `json:"reference"`
	ReturnFor         string    `json:"return_for,omitempty"` // transfer id
	ReturnUnknown     bool      `json:"return_unknown,omitempty"`
}

func (a MerchantAccount) check() error {
	if _, err := uuid.Parse(a.ID); err != nil {
		return fmt.Errorf("id: %q: must be a UUID", a.ID)
	}
	if len(a.Currency) != 3 {
		return fmt.Errorf("currency: %q: must be three letters, such as GBP", a.Currency)
	}
	if a.OpeningBalanceInMinor < 0 {
		return fmt.Errorf("opening_balance_in_minor: %d: must not be negative", a.OpeningBalanceInMinor)
	}
	return nil
}

// OpenAccount opens a merchant account; one that exists stays as it is.
func (s *Simulator) OpenAccount(a MerchantAccount) error {
	if err := a.check(); err != nil {
		return fmt.Errorf("simulator: merchant account: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.openAccount(a)
	s.touch()
	return nil
}

func (s *Simulator) openAccount(a MerchantAccount) {
	if s.st.account(a.ID) != nil {
		return
	}
	account := &Account{
		ID: a.ID, Currency: a.Currency, AccountHolderName: "SIMULATED MERCHANT",
		AccountIdentifiers: mockIdentifiers(a.Currency, "00003209"),
	}
	s.st.Accounts = append(s.st.Accounts, account)
	if a.OpeningBalanceInMinor > 0 {
		s.move(account, a.OpeningBalanceInMinor, "OPENING")
	}
}

// mockIdentifiers are an account of the mock bank.
func mockIdentifiers(currency, number string) []identifier {
	switch currency {
	case "GBP":
		return []identifier{
			{Type: "sort_code_account_number", SortCode: "040662", AccountNumber: number},
			{Type: "iban", IBAN: "GB75CLRB040662" + number},
		}
	case "PLN":
		return []identifier{{Type: "nrb", NRB: "611090101400000712" + number}}
	default:
		return []identifier{{Type: "iban", IBAN: "GB75CLRB040662" + number}}
	}
}

// TopUp puts money from outside into a merchant account, or, with a negative
// amount, sweeps money out of it. Amounts are in minor units.
func (s *Simulator) TopUp(accountID string, amountInMinor int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	account := s.st.account(accountID)
	switch {
	case account == nil:
		return fmt.Errorf("simulator: top up: merchant_account_id: %q is not known", accountID)
	case amountInMinor == 0:
		return errors.New("simulator: top up: amount_in_minor: is zero")
	case amountInMinor > 0 && account.CurrentBalanceInMinor > math.MaxInt64-amountInMinor:
		return errors.New("simulator: top up: amount_in_minor: the balance would overflow")
	case amountInMinor < 0 && account.AvailableBalanceInMinor < -amountInMinor:
		return fmt.Errorf("simulator: top up: amount_in_minor: only %d is available to sweep", account.AvailableBalanceInMinor)
	}
	s.move(account, amountInMinor, "TOP UP")
	s.touch()
	return nil
}

// move books money that passes by the API.
func (s *Simulator) move(account *Account, amountInMinor int64, reference string) {
	kind := FactTopUp
	if amountInMinor < 0 {
		kind = FactSweep
	}
	account.AvailableBalanceInMinor += amountInMinor
	account.CurrentBalanceInMinor += amountInMinor
	now := s.now()
	s.st.Externals = append(s.st.Externals, &external{
		ID: uuid.NewString(), MerchantAccountID: account.ID, AmountInMinor: amountInMinor, Currency: account.Currency,
		At: now, Remitter: account.AccountHolderName, Reference: reference,
	})
	s.journal.fact(MoneyFact{
		At: now, Kind: kind, MerchantAccountID: account.ID, AmountInMinor: max(amountInMinor, -amountInMinor),
		Currency: account.Currency, BalanceInMinor: account.CurrentBalanceInMinor,
	})
}

// Accounts returns all merchant accounts.
func (s *Simulator) Accounts() []Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	accounts := []Account{}
	for _, a := range s.st.Accounts {
		accounts = append(accounts, *a)
	}
	return accounts
}

// Balance is the current balance of a merchant account in minor units; 0 for
// an unknown one.
func (s *Simulator) Balance(accountID string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.st.account(accountID); a != nil {
		return a.CurrentBalanceInMinor
	}
	return 0
}

func (st *state) account(id string) *Account {
	for _, a := range st.Accounts {
		if a.ID == id {
			return a
		}
	}
	return nil
}

func (s *Simulator) listAccounts(w http.ResponseWriter, r *http.Request) {
	if s.authorized(w, r) {
		writeJSON(w, http.StatusOK, map[string]any{"items": s.Accounts()})
	}
}

func (s *Simulator) getAccount(w http.ResponseWriter, r *http.Request) {
	if !s.authorized(w, r) {
		return
	}
	for _, a := range s.Accounts() {
		if a.ID == r.PathValue("account") {
			writeJSON(w, http.StatusOK, a)
			return
		}
	}
	writeProblem(w, notFound)
}
