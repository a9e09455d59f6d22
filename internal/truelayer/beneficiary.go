package truelayer

import (
	"encoding/json"
	"regexp"
	"time"

	"payouts/internal/payout"
)

// Beneficiary is who is paid. Each kind they take is a type here, so that no
// field of one kind can be sent with another: PaymentSource, ExternalAccount,
// BusinessAccount, UserDetermined, VerifiedExternalAccount.
//
//	Source: docs/truelayer.md, "Beneficiaries"
type Beneficiary interface {
	json.Marshaler
	check(*mistakes)
}

// PaymentSource is an account that paid in before: closed loop, the only kind
// the product pays to.
type PaymentSource struct {
	UserID          string `json:"user_id"`
	PaymentSourceID string `json:"payment_source_id"`
	Reference       string `json:"reference"`
}

// ExternalAccount is any account: open loop.
type ExternalAccount struct {
	Reference         string   `json:"reference"`
	AccountHolderName string   `json:"account_holder_name"` // of a company: its name
	AccountIdentifier Account  `json:"account_identifier"`
	DateOfBirth       string   `json:"date_of_birth,omitempty"` // such as 1990-01-31
	Address           *Address `json:"address,omitempty"`
}

// BusinessAccount is our own account, as set up in their Console.
type BusinessAccount struct {
	Reference string `json:"reference"`
}

// UserDetermined is an account that the user names on a page of theirs and
// that is verified there.
type UserDetermined struct {
	Reference         string            `json:"reference"`
	User              User              `json:"user"`
	Verification      Verification      `json:"verification"`
	ProviderSelection ProviderSelection `json:"provider_selection"`
}

// VerifiedExternalAccount is an account whose holder's name was checked before.
type VerifiedExternalAccount struct {
	AccountHolderVerificationID string `json:"account_holder_verification_id"`
	OverrideBankMatchedName     *bool  `json:"override_bank_matched_name,omitempty"`
}

// Account is the number of an account: IBAN, SortCodeAccountNumber or NRB.
type Account interface {
	json.Marshaler
	check(*mistakes)
}

// IBAN is an international account number, without spaces.
type IBAN string

// SortCodeAccountNumber is a British account number.
type SortCodeAccountNumber struct {
	SortCode      string `json:"sort_code"`      // 6 digits
	AccountNumber string `json:"account_number"` // 8 digits
}

// NRB is a Polish account number of 26 digits.
type NRB string

// Address is where somebody lives.
type Address struct {
	Line1       string `json:"address_line1"`
	Line2       string `json:"address_line2,omitempty"`
	City        string `json:"city"`
	State       string `json:"state,omitempty"`
	Zip         string `json:"zip"`
	CountryCode string `json:"country_code"` // ISO 3166, such as GB
}

// User is the person that a UserDetermined account belongs to. Email or Phone
// is needed.
type User struct {
	ID          string   `json:"id,omitempty"`
	Name        string   `json:"name"`
	Email       string   `json:"email,omitempty"`
	Phone       string   `json:"phone,omitempty"`
	DateOfBirth string   `json:"date_of_birth,omitempty"`
	Address     *Address `json:"address,omitempty"`
}

// Verification is what they check of a UserDetermined account.
type Verification struct {
	VerifyName bool         `json:"verify_name"`
	Search     *Transaction `json:"transaction_search_criteria,omitempty"`
}

// Transaction is a payment to be found in the user's account.
type Transaction struct {
	Tokens []string `json:"tokens"`
	payout.Money
	CreatedAt time.Time `json:"created_at"`
}

// ProviderSelection says which bank of the user: the one named, else the user
// chooses among those that Filter, passed on as it is, leaves.
type ProviderSelection struct {
	ProviderID string          `json:"provider_id,omitempty"`
	Filter     json.RawMessage `json:"filter,omitempty"`
}

// SchemeSelection says by which payment scheme; the zero value leaves it to
// them: instant where possible.
type SchemeSelection struct {
	Type     string `json:"type"` // instant_preferred, instant_only, preselected; others are passed on
	SchemeID string `json:"scheme_id,omitempty"`
}

// SubMerchants names the business on whose behalf we pay.
type SubMerchants struct {
	UltimateCounterparty BusinessClient `json:"ultimate_counterparty"`
}

// BusinessClient is a business that we pay on behalf of.
type BusinessClient struct {
	TradingName        string   `json:"trading_name"`
	CommercialName     string   `json:"commercial_name,omitempty"`
	URL                string   `json:"url,omitempty"`
	MCC                string   `json:"mcc,omitempty"`
	RegistrationNumber string   `json:"registration_number,omitempty"`
	Address            *Address `json:"address,omitempty"`
}

// Each kind is written with its type beside its fields. The inner types drop
// the method, which would call itself.

func (b PaymentSource) MarshalJSON() ([]byte, error) {
	type plain PaymentSource
	return json.Marshal(struct {
		Type string `json:"type"`
		plain
	}{"payment_source", plain(b)})
}

func (b ExternalAccount) MarshalJSON() ([]byte, error) {
	type plain ExternalAccount
	return json.Marshal(struct {
		Type string `json:"type"`
		plain
	}{"external_account", plain(b)})
}

func (b BusinessAccount) MarshalJSON() ([]byte, error) {
	type plain BusinessAccount
	return json.Marshal(struct {
		Type string `json:"type"`
		plain
	}{"business_account", plain(b)})
}

func (b UserDetermined) MarshalJSON() ([]byte, error) {
	type plain UserDetermined
	return json.Marshal(struct {
		Type string `json:"type"`
		plain
	}{"user_determined", plain(b)})
}

func (b VerifiedExternalAccount) MarshalJSON() ([]byte, error) {
	type plain VerifiedExternalAccount
	return json.Marshal(struct {
		Type string `json:"type"`
		plain
	}{"verified_external_account", plain(b)})
}

func (a IBAN) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"type": "iban", "iban": string(a)})
}

func (a SortCodeAccountNumber) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"type": "sort_code_account_number", "sort_code": a.SortCode, "account_number": a.AccountNumber})
}

func (a NRB) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"type": "nrb", "nrb": string(a)})
}

func (p ProviderSelection) MarshalJSON() ([]byte, error) {
	type plain ProviderSelection
	kind := "user_selected"
	if p.ProviderID != "" {
		kind = "preselected"
	}
	return json.Marshal(struct {
		Type string `json:"type"`
		plain
	}{kind, plain(p)})
}

func (c BusinessClient) MarshalJSON() ([]byte, error) {
	type plain BusinessClient
	return json.Marshal(struct {
		Type string `json:"type"`
		plain
	}{"business_client", plain(c)})
}

func (b PaymentSource) check(m *mistakes) {
	m.text("beneficiary.user_id", b.UserID)
	m.text("beneficiary.payment_source_id", b.PaymentSourceID)
	m.text("beneficiary.reference", b.Reference)
}

var day = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)

func (b ExternalAccount) check(m *mistakes) {
	m.text("beneficiary.reference", b.Reference)
	m.text("beneficiary.account_holder_name", b.AccountHolderName)
	if b.AccountIdentifier == nil {
		m.add("beneficiary.account_identifier", "want an IBAN, a SortCodeAccountNumber or an NRB")
	} else {
		b.AccountIdentifier.check(m)
	}
	m.born("beneficiary.date_of_birth", b.DateOfBirth)
	b.Address.check(m, "beneficiary.address")
}

func (b BusinessAccount) check(m *mistakes) { m.text("beneficiary.reference", b.Reference) }

func (b UserDetermined) check(m *mistakes) {
	m.text("beneficiary.reference", b.Reference)
	m.text("beneficiary.user.name", b.User.Name)
	if b.User.Email == "" && b.User.Phone == "" {
		m.add("beneficiary.user", "want an email or a phone")
	}
	m.born("beneficiary.user.date_of_birth", b.User.DateOfBirth)
	b.User.Address.check(m, "beneficiary.user.address")
	if b.ProviderSelection.ProviderID != "" && b.ProviderSelection.Filter != nil {
		m.add("beneficiary.provider_selection", "want a provider or a filter, not both")
	}
	if s := b.Verification.Search; s != nil && (len(s.Tokens) == 0 || s.Minor < 1 || !s.Currency.Valid() || s.CreatedAt.IsZero()) {
		m.add("beneficiary.verification.transaction_search_criteria", "want tokens, amount, currency and time")
	}
}

func (b VerifiedExternalAccount) check(m *mistakes) {
	m.text("beneficiary.account_holder_verification_id", b.AccountHolderVerificationID)
}

var (
	ibanForm          = regexp.MustCompile(`^[A-Z]{2}[0-9]{2}[A-Z0-9]{10,30}$`)
	sortCodeForm      = regexp.MustCompile(`^[0-9]{6}$`)
	accountNumberForm = regexp.MustCompile(`^[0-9]{8}$`)
	nrbForm           = regexp.MustCompile(`^[0-9]{26}$`)
)

func (a IBAN) check(m *mistakes) {
	m.form("beneficiary.account_identifier.iban", string(a), ibanForm, "want an IBAN without spaces")
}

func (a SortCodeAccountNumber) check(m *mistakes) {
	m.form("beneficiary.account_identifier.sort_code", a.SortCode, sortCodeForm, "want 6 digits")
	m.form("beneficiary.account_identifier.account_number", a.AccountNumber, accountNumberForm, "want 8 digits")
}

func (a NRB) check(m *mistakes) {
	m.form("beneficiary.account_identifier.nrb", string(a), nrbForm, "want 26 digits")
}

func (a *Address) check(m *mistakes, field string) {
	if a == nil {
		return
	}
	m.text(field+".address_line1", a.Line1)
	m.text(field+".city", a.City)
	m.text(field+".zip", a.Zip)
	if len(a.CountryCode) != 2 {
		m.add(field+".country_code", "want two letters such as GB")
	}
}

func (s SchemeSelection) check(m *mistakes) {
	switch {
	case s == SchemeSelection{}:
	case s.Type == "":
		m.add("scheme_selection.type", "is missing")
	case (s.Type == "preselected") != (s.SchemeID != ""):
		m.add("scheme_selection.scheme_id", "goes with type preselected, and only with it")
	}
}
