package payout

import (
	"strings"
	"testing"
)

func TestMismatch(t *testing.T) {
	in := Intent{ID: someID, Attempt: 2, ProviderID: "their", Money: Money{1000, "GBP"}, MerchantAccountID: "m", UserID: "u", PaymentSourceID: "s", Reference: "r"}
	word := func() Word {
		return Word{ProviderID: "their", Money: Money{1000, "GBP"}, MerchantAccountID: "m", UserID: "u", PaymentSourceID: "s", Reference: "r",
			Metadata: map[string]string{"payout_id": string(someID), "attempt": "2", "round": "7"}}
	}
	for want, change := range map[string]func(*Word){
		"":                              func(w *Word) {},
		"id":                            func(w *Word) { w.ProviderID = "x" },
		"amount_in_minor":               func(w *Word) { w.Money.Minor = 0 }, // an amount is never missing
		"currency":                      func(w *Word) { w.Money.Currency = "" },
		"merchant_account_id":           func(w *Word) { w.MerchantAccountID = "x" },
		"beneficiary.user_id":           func(w *Word) { w.UserID = "x" },
		"beneficiary.payment_source_id": func(w *Word) { w.PaymentSourceID = "x" },
		"beneficiary.reference":         func(w *Word) { w.Reference = "x" },
		"metadata.payout_id":            func(w *Word) { w.Metadata["payout_id"] = "x" },
		"metadata.attempt":              func(w *Word) { w.Metadata["attempt"] = "1" },
	} {
		w := word()
		change(&w)
		if got := in.Mismatch(w); got != want {
			t.Errorf("names %q, want %q", got, want)
		}
	}
	for name, missing := range map[string]func(*Word){
		"id": func(w *Word) { w.ProviderID = "" }, "account": func(w *Word) { w.MerchantAccountID = "" }, "user": func(w *Word) { w.UserID = "" }, "source": func(w *Word) { w.PaymentSourceID = "" },
		"reference": func(w *Word) { w.Reference = "" }, "metadata": func(w *Word) { w.Metadata = nil }, "our metadata": func(w *Word) { w.Metadata = map[string]string{"round": "8"} },
	} {
		w := word()
		missing(&w)
		if got := in.Mismatch(w); got != "" {
			t.Errorf("a missing %s is a mismatch of %s", name, got)
		}
	}
}

func TestIDsAreForEver(t *testing.T) {
	// Written down once: a change here pays open requests again.
	for got, want := range map[string]string{
		string(NewID(KindPayout, "game", "key-1")): "6a668089-54d3-5e95-90f1-d139291317ca",
		string(NewID(KindRefund, "game", "key-1")): "b42f49e8-bc8a-57f7-a70f-f34e3b6f65b5",
		Key(someID, 1): "b4f6324f-8ab6-50f8-840d-175ef63c746a",
		Key(someID, 2): "c3839a38-fc39-5a88-a8a9-69157562fb58",
		TransactionID("credits", "game", "key-1"): "d4d6efaa-2f94-5b80-a29f-2bfe33177341",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if request().ID() != NewID(KindPayout, "game", "key-1") {
		t.Error("a request has another id")
	}
}

func TestParseID(t *testing.T) {
	for text, good := range map[string]bool{
		string(someID): true, strings.ToUpper(string(someID)): true, "": false, "x": false, "{" + string(someID) + "}": false, "urn:uuid:" + string(someID): false, strings.ReplaceAll(string(someID), "-", ""): false, string(someID) + "0": false,
	} {
		id, err := ParseID(text)
		if good != (err == nil) || (good && id != someID) {
			t.Errorf("%q reads %q, %v", text, id, err)
		}
	}
}
