package truelayer

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

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

// Beside the metadata it is the published request, field by field.
func TestCreateBodyIsAsPublished(t *testing.T) {
	in := testIntent()
	in.MerchantAccountID, in.UserID, in.PaymentSourceID = "merchant_account_id", "user_id_here", "payment_source_id_here"
	body, err := CreateBody(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	if err := json.Unmarshal(readFile(t, filepath.Join(vectors(t), "bodies", "requests", "seed.create_payout.payment_source.json")), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatal(err)
	}
	if delete(got, "metadata"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
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
