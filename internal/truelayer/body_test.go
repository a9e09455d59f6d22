package truelayer

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"payouts/internal/payout"
)

func TestCreateBody(t *testing.T) {
	const want = `{"merchant_account_id":"af6b1163-14bb-4491-afc7-abeb67adc07f","amount_in_minor":1000,"currency":"GBP",` +
		`"beneficiary":{"type":"payment_source","user_id":"57e9ae89-01fd-4779-8775-5b7de9a85a64",` +
		`"payment_source_id":"c93bf50c-1c9c-40f1-80c9-cc55c0402fe8","reference":"Payout0001"},` +
		`"metadata":{"a":"1","attempt":"2","b":"2","payout_id":"0cd1b0f7-71bc-4d24-b209-95259dadcc20","z":""}}`
	for range 20 { // a map has no order
		got, err := CreateBody(testIntent(), map[string]string{"z": "", "b": "2", "a": "1"})
		if err != nil || string(got) != want {
			t.Fatalf("%v\ngot  %s\nwant %s", err, got, want)
		}
	}
}

// sameJSON compares a body with a published one, beside what change does to
// the published one.
func sameJSON(t *testing.T, body []byte, published string, change func(map[string]any)) {
	t.Helper()
	var got, want map[string]any
	if err := json.Unmarshal(readFile(t, vectors(t), "bodies", "requests", published), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if change(want); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// Every published request can be made, field by field.
func TestPublishedRequests(t *testing.T) {
	in := testIntent()
	in.MerchantAccountID, in.UserID, in.PaymentSourceID = "merchant_account_id", "user_id_here", "payment_source_id_here"
	closedLoop, err := CreateBody(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	bodies := map[string]struct {
		body   []byte
		change func(map[string]any)
	}{
		"seed.create_payout.payment_source.json": {closedLoop, func(want map[string]any) {
			want["metadata"] = map[string]any{"payout_id": string(testID), "attempt": "2"} // ours
		}},
		"issue217.create_payout.external_account.json": {body(t, PayoutRequest{
			MerchantAccountID: "AB8FA060-3F1B-4AE8-9692-4AA3131020D0", Money: payout.Money{Minor: 1, Currency: "GBP"},
			Beneficiary: ExternalAccount{
				Reference: "string", AccountHolderName: "string", AccountIdentifier: IBAN("GB32CLRB04066800012315"), DateOfBirth: "1990-01-31",
				Address: &Address{Line1: "1 Hardwick St", Line2: "Clerkenwell", City: "London", State: "London", Zip: "EC1R 4RB", CountryCode: "GB"},
			},
			Metadata: map[string]string{"prop1": "value1", "prop2": "value2"},
		}), func(want map[string]any) {
			want["amount_in_minor"] = 1.0 // it shows 0, which they refuse
		}},
		"docs.create_payout.verified_external_account.json": {body(t, PayoutRequest{
			MerchantAccountID: "24089aed-4fd4-9e13-f8b2-f458f30c836c", Money: payout.Money{Minor: 100, Currency: "EUR"},
			Beneficiary: VerifiedExternalAccount{"f8c3a9e0-69ae-4918-b5b2-4d8f91e4e1af", &yes},
		}), func(want map[string]any) {
			delete(want, "id") // belongs to the answer; their page mixes the two
		}},
	}
	files, err := os.ReadDir(filepath.Join(vectors(t), "bodies", "requests"))
	if err != nil || len(files) != len(bodies) {
		t.Errorf("%d published requests, %d made: %v", len(files), len(bodies), err)
	}
	for name, b := range bodies {
		t.Run(name, func(t *testing.T) { sameJSON(t, b.body, name, b.change) })
	}
}

func body(t *testing.T, r PayoutRequest) []byte {
	t.Helper()
	out, err := r.Body()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// good is a request of theirs to this beneficiary.
func good(b Beneficiary) PayoutRequest {
	return PayoutRequest{MerchantAccountID: "m", Money: payout.Money{Minor: 5, Currency: "GBP"}, Beneficiary: b}
}

var determined = UserDetermined{
	Reference: "R", User: User{ID: "u", Name: "N", Email: "e@x", DateOfBirth: "1990-01-31", Address: &Address{Line1: "L", City: "C", Zip: "Z", CountryCode: "GB"}},
	Verification: Verification{VerifyName: true, Search: &Transaction{
		Tokens: []string{"t"}, Money: payout.Money{Minor: 1, Currency: "GBP"}, CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}},
	ProviderSelection: ProviderSelection{Filter: json.RawMessage(`{ "countries": ["GB"] }`)},
}

// Every kind of beneficiary can be said, and what stands beside it passes
// through.
func TestBeneficiaries(t *testing.T) {
	const to = `{"merchant_account_id":"m","amount_in_minor":5,"currency":"GBP","beneficiary":`
	mock := determined
	mock.User, mock.Verification, mock.ProviderSelection = User{Name: "N", Phone: "p"}, Verification{}, ProviderSelection{ProviderID: "mock"}
	for name, tc := range map[string]struct {
		request PayoutRequest
		want    string
	}{
		"payment_source":   {good(PaymentSource{"u", "p", "R"}), to + `{"type":"payment_source","user_id":"u","payment_source_id":"p","reference":"R"}}`},
		"business_account": {good(BusinessAccount{"R"}), to + `{"type":"business_account","reference":"R"}}`},
		"sort code": {good(ExternalAccount{Reference: "R", AccountHolderName: "H", AccountIdentifier: SortCodeAccountNumber{"040662", "00002723"}}),
			to + `{"type":"external_account","reference":"R","account_holder_name":"H","account_identifier":{"account_number":"00002723","sort_code":"040662","type":"sort_code_account_number"}}}`},
		"nrb": {good(ExternalAccount{Reference: "R", AccountHolderName: "H", AccountIdentifier: NRB("61109010140000071219812874")}),
			to + `{"type":"external_account","reference":"R","account_holder_name":"H","account_identifier":{"nrb":"61109010140000071219812874","type":"nrb"}}}`},
		"verified_external_account": {good(VerifiedExternalAccount{AccountHolderVerificationID: "v"}), to + `{"type":"verified_external_account","account_holder_verification_id":"v"}}`},
		"user_determined": {good(determined), to + `{"type":"user_determined","reference":"R","user":{"id":"u","name":"N","email":"e@x","date_of_birth":"1990-01-31",` +
			`"address":{"address_line1":"L","city":"C","zip":"Z","country_code":"GB"}},"verification":{"verify_name":true,"transaction_search_criteria":` +
			`{"tokens":["t"],"amount_in_minor":1,"currency":"GBP","created_at":"2026-01-02T03:04:05Z"}},"provider_selection":{"type":"user_selected","filter":{"countries":["GB"]}}}}`},
		"user_determined, bank named": {good(mock), to + `{"type":"user_determined","reference":"R","user":{"name":"N","phone":"p"},"verification":{"verify_name":false},` +
			`"provider_selection":{"type":"preselected","provider_id":"mock"}}}`},
		"all that passes through": {PayoutRequest{
			MerchantAccountID: "m", Money: payout.Money{Minor: 5, Currency: "GBP"}, Beneficiary: BusinessAccount{"R"},
			SchemeSelection: SchemeSelection{"preselected", "polish_domestic_express"}, Metadata: map[string]string{"b": "&", "a": ""},
			SubMerchants: &SubMerchants{BusinessClient{TradingName: "T", CommercialName: "C", URL: "U", MCC: "7995", RegistrationNumber: "1", Address: &Address{Line1: "L", City: "C", Zip: "Z", CountryCode: "GB"}}},
		}, to + `{"type":"business_account","reference":"R"},"scheme_selection":{"type":"preselected","scheme_id":"polish_domestic_express"},` +
			`"sub_merchants":{"ultimate_counterparty":{"type":"business_client","trading_name":"T","commercial_name":"C","url":"U","mcc":"7995","registration_number":"1",` +
			`"address":{"address_line1":"L","city":"C","zip":"Z","country_code":"GB"}}},"metadata":{"a":"","b":"\u0026"}}`},
		"a new way of choosing": {PayoutRequest{MerchantAccountID: "m", Money: payout.Money{Minor: 5, Currency: "GBP"}, Beneficiary: BusinessAccount{"R"},
			SchemeSelection: SchemeSelection{Type: "instant_soon"}}, to + `{"type":"business_account","reference":"R"},"scheme_selection":{"type":"instant_soon"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(body(t, tc.request)); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

func TestPayoutRequestRefuses(t *testing.T) {
	account := ExternalAccount{Reference: "R", AccountHolderName: "H", AccountIdentifier: IBAN("GB32CLRB04066800012315")}
	external := func(f func(*ExternalAccount)) PayoutRequest { a := account; f(&a); return good(a) }
	user := func(f func(*UserDetermined)) PayoutRequest { u := determined; f(&u); return good(u) }
	with := func(f func(*PayoutRequest)) PayoutRequest { r := good(account); f(&r); return r }
	for want, request := range map[string]PayoutRequest{
		"beneficiary":                                          good(nil),
		"beneficiary.reference":                                good(BusinessAccount{}),
		"beneficiary.payment_source_id":                        good(PaymentSource{UserID: "u", Reference: "R"}),
		"beneficiary.account_holder_verification_id":           good(VerifiedExternalAccount{}),
		"beneficiary.account_holder_name":                      external(func(a *ExternalAccount) { a.AccountHolderName = "" }),
		"beneficiary.account_identifier":                       external(func(a *ExternalAccount) { a.AccountIdentifier = nil }),
		"beneficiary.account_identifier.iban":                  external(func(a *ExternalAccount) { a.AccountIdentifier = IBAN("GB32 CLRB 0406") }),
		"beneficiary.account_identifier.sort_code":             external(func(a *ExternalAccount) { a.AccountIdentifier = SortCodeAccountNumber{"04-06-62", "00002723"} }),
		"beneficiary.account_identifier.account_number":        external(func(a *ExternalAccount) { a.AccountIdentifier = SortCodeAccountNumber{"040662", "2723"} }),
		"beneficiary.account_identifier.nrb":                   external(func(a *ExternalAccount) { a.AccountIdentifier = NRB("PL61109010140000071219812874") }),
		"beneficiary.date_of_birth":                            external(func(a *ExternalAccount) { a.DateOfBirth = "31/01/1990" }),
		"beneficiary.address.country_code":                     external(func(a *ExternalAccount) { a.Address = &Address{Line1: "L", City: "C", Zip: "Z", CountryCode: "GBR"} }),
		"beneficiary.user":                                     user(func(u *UserDetermined) { u.User.Email = "" }),
		"beneficiary.user.name":                                user(func(u *UserDetermined) { u.User.Name = "" }),
		"beneficiary.user.address.city":                        user(func(u *UserDetermined) { u.User.Address = &Address{Line1: "L", Zip: "Z", CountryCode: "GB"} }),
		"beneficiary.provider_selection":                       user(func(u *UserDetermined) { u.ProviderSelection.ProviderID = "mock" }),
		"beneficiary.verification.transaction_search_criteria": user(func(u *UserDetermined) { u.Verification.Search = &Transaction{} }),
		"merchant_account_id":                                  with(func(r *PayoutRequest) { r.MerchantAccountID = "" }),
		"amount_in_minor":                                      with(func(r *PayoutRequest) { r.Minor = -1 }),
		"currency":                                             with(func(r *PayoutRequest) { r.Currency = "" }),
		"metadata":                                             with(func(r *PayoutRequest) { r.Metadata = map[string]string{"": ""} }),
		"scheme_selection.type":                                with(func(r *PayoutRequest) { r.SchemeSelection.SchemeID = "bacs" }),
		"scheme_selection.scheme_id":                           with(func(r *PayoutRequest) { r.SchemeSelection.Type = "preselected" }),
		"sub_merchants.ultimate_counterparty.trading_name":     with(func(r *PayoutRequest) { r.SubMerchants = &SubMerchants{} }),
	} {
		_, err := request.Body()
		if err == nil || !strings.Contains(err.Error(), want+": ") || strings.Count(err.Error(), "\n") != 0 {
			t.Errorf("%s: got %v", want, err)
		} else if strings.Contains(err.Error(), "0406") || strings.Contains(err.Error(), "2723") || strings.Contains(err.Error(), "6110") {
			t.Errorf("%s: an account is shown: %v", want, err)
		}
	}
	if body, err := (PayoutRequest{}).Body(); err == nil || body != nil {
		t.Errorf("nothing at all was made into %s", body)
	}
}

func TestRefundBody(t *testing.T) {
	const want = `{"amount_in_minor":1000,"reference":"Payout0001","metadata":{"a":"1","attempt":"2","payout_id":"0cd1b0f7-71bc-4d24-b209-95259dadcc20"}}`
	in := testIntent()
	in.MerchantAccountID, in.UserID, in.PaymentSourceID = "", "", "" // a refund names none of them
	got, err := RefundBody(in, map[string]string{"a": "1"})
	if err != nil || string(got) != want {
		t.Errorf("%v\ngot  %s\nwant %s", err, got, want)
	}
	for want, change := range map[string]func(*payout.Intent) map[string]string{
		"amount_in_minor":    func(in *payout.Intent) map[string]string { in.Money.Minor = 0; return nil }, // they would refund everything
		"reference":          func(in *payout.Intent) map[string]string { in.Reference = ""; return nil },
		"attempt":            func(in *payout.Intent) map[string]string { in.Attempt = 0; return nil },
		"id":                 func(in *payout.Intent) map[string]string { in.ID = ""; return nil },
		"metadata.payout_id": func(*payout.Intent) map[string]string { return map[string]string{"payout_id": "x"} },
	} {
		in := testIntent()
		metadata := change(&in)
		if _, err := RefundBody(in, metadata); err == nil || !strings.Contains(err.Error(), want+": ") {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

func TestCreateBodyRefuses(t *testing.T) {
	many := map[string]string{}
	for i := range 9 {
		many[fmt.Sprint(i)] = ""
	}
	for want, change := range map[string]func(*payout.Intent) map[string]string{
		"amount_in_minor":               func(in *payout.Intent) map[string]string { in.Money.Minor = 0; return nil },
		"currency":                      func(in *payout.Intent) map[string]string { in.Money.Currency = "gbp"; return nil },
		"merchant_account_id":           func(in *payout.Intent) map[string]string { in.MerchantAccountID = ""; return nil },
		"beneficiary.user_id":           func(in *payout.Intent) map[string]string { in.UserID = ""; return nil },
		"beneficiary.payment_source_id": func(in *payout.Intent) map[string]string { in.PaymentSourceID = ""; return nil },
		"beneficiary.reference":         func(in *payout.Intent) map[string]string { in.Reference = "\xff"; return nil },
		"attempt":                       func(in *payout.Intent) map[string]string { in.Attempt = 0; return nil },
		"id":                            func(in *payout.Intent) map[string]string { in.ID = "x"; return nil },
		"metadata.payout_id":            func(*payout.Intent) map[string]string { return map[string]string{"payout_id": "x"} },
		"metadata.attempt":              func(*payout.Intent) map[string]string { return map[string]string{"attempt": "1"} },
		"metadata":                      func(*payout.Intent) map[string]string { return many },
		"metadata.long":                 func(*payout.Intent) map[string]string { return map[string]string{"long": strings.Repeat("é", 501)} },
	} {
		in := testIntent()
		metadata := change(&in)
		if _, err := CreateBody(in, metadata); err == nil || !strings.Contains(err.Error(), want+":") {
			t.Errorf("%s: got %v", want, err)
		}
	}
}

// What people read names the field and hides what looks like an account.
func TestDetailHoldsNoAccount(t *testing.T) {
	body := `{"type":"https://docs.truelayer.com/docs/error-types#invalid-parameters","title":"Invalid Parameters","status":400,
	 "detail":"bad account 04066200 or GB53CLRB04066200002723 or 04-06-62","errors":{"beneficiary.reference":["too long"]},"trace_id":"t-1"}`
	got := detail("refused", reply{status: 400, traceID: "t-1"}, readProblem(400, []byte(body)))
	for _, secret := range []string{"04066200", "GB53", "04-06-62"} {
		if strings.Contains(got, secret) {
			t.Errorf("%s is shown: %s", secret, got)
		}
	}
	for _, want := range []string{"Invalid Parameters", "beneficiary.reference: too long", "t-1", "400"} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing: %s", want, got)
		}
	}
}
