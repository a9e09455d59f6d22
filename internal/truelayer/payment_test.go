package truelayer

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"payouts/internal/payout"
)

const refundBody = `{"id":"r-1","amount_in_minor":100,"currency":"GBP","reference":"R","status":"executed","created_at":"2022-01-17T17:13:18.214924Z",
 "executed_at":"2022-01-17T18:13:18.2Z","metadata":{"payout_id":"0cd1b0f7-71bc-4d24-b209-95259dadcc20","attempt":"1"}}`

func TestGetRefund(t *testing.T) {
	clock := newClock()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.URL.EscapedPath() != "/v3/payments/pay%2F1/refunds/r%2F1" {
			t.Errorf("asked %s %s", r.Method, r.URL.EscapedPath())
		}
		says(200, refundBody)(w, r)
	})
	w, err := newClient(t, server.URL, func(o *Options) { o.Now = clock.now }).GetRefund(context.Background(), "pay/1", "r/1")
	if err != nil || w.ProviderID != "r-1" || w.Status != payout.ProviderExecuted || w.Money != (payout.Money{Minor: 100, Currency: "GBP"}) || w.Reference != "R" ||
		!w.DecidedAt.Equal(time.Date(2022, 1, 17, 18, 13, 18, 200_000_000, time.UTC)) || !w.AskedAt.Equal(clock.now()) || string(w.Raw) != refundBody {
		t.Errorf("%+v: %v", w, err)
	}
	in := payout.Intent{ID: testID, Attempt: 1, ProviderID: "r-1", Money: w.Money, MerchantAccountID: "m", UserID: "u", PaymentSourceID: "p", Reference: "R"}
	if field := in.Mismatch(w); field != "" {
		t.Errorf("what a refund does not show is a mismatch: %s", field)
	}
}

// The list is whole or an error: who looks for a lost refund in it must not
// take a part for the whole.
func TestRefunds(t *testing.T) {
	clock := newClock()
	other := strings.Replace(refundBody, "r-1", "r-2", 1)
	for name, tc := range map[string]struct {
		does     does
		want     int // refunds; -1: an error
		notFound bool
	}{
		"two":                {says(200, `{"items":[`+refundBody+","+other+`]}`), 2, false},
		"none":               {says(200, `{"items":[]}`), 0, false},
		"pagination, at end": {says(200, `{"items":[`+refundBody+`],"pagination":{}}`), 1, false},
		"goes on":            {says(200, `{"items":[`+refundBody+`],"pagination":{"next_cursor":"x"}}`), -1, false},
		"no items":           {says(200, `{}`), -1, false},
		"null items":         {says(200, `{"items":null}`), -1, false},
		"one is broken":      {says(200, `{"items":[`+refundBody+`,{"id":"r-3"}]}`), -1, false},
		"cut":                {raw("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + `{"items":[]}`), -1, false},
		"no such payment":    {says(404, document(404, "not-found", "Not Found")), -1, true},
		"500":                {says(500, ""), -1, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v3/payments/payment-1/refunds" {
					t.Errorf("asked %s", r.URL.Path)
				}
				tc.does(w, r)
			})
			got, err := newClient(t, server.URL, func(o *Options) { o.Now = clock.now }).Refunds(context.Background(), "payment-1")
			if (err != nil) != (tc.want < 0) || len(got) != max(tc.want, 0) || errors.Is(err, ErrNotFound) != tc.notFound {
				t.Fatalf("%d refunds: %v", len(got), err)
			}
			for i, w := range got {
				if w.ProviderID != []string{"r-1", "r-2"}[i] || string(w.Raw) != []string{refundBody, other}[i] || !w.AskedAt.Equal(clock.now()) {
					t.Errorf("%+v", w)
				}
			}
		})
	}
}

// The shape is that of TrueLayer's own SDK tests (docs/truelayer.md, "Payments").
const paymentBody = `{"id":"pay-1","amount_in_minor":101,"currency":"GBP","user":{"id":"u-1"},
 "payment_method":{"type":"bank_transfer","provider_selection":{"type":"user_selected"},"beneficiary":{"type":"merchant_account","merchant_account_id":"m-1"}},
 "created_at":"2022-01-17T17:13:18.214924Z","status":"settled","payment_source":{"id":"ps-1","account_identifiers":[{"type":"iban","iban":"X"}]},
 "settled_at":"2022-01-17T17:13:18Z","metadata":{"player_id":"player-1"}}`

func TestGetPayment(t *testing.T) {
	answer := paymentBody
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() != "/v3/payments/pay%2F1" {
			t.Errorf("asked %s", r.URL.EscapedPath())
		}
		says(200, answer)(w, r)
	})
	c := newClient(t, server.URL)
	p, err := c.GetPayment(context.Background(), "pay/1")
	if err != nil || p.ID != "pay-1" || p.Status != "settled" || p.Money != (payout.Money{Minor: 101, Currency: "GBP"}) || p.UserID != "u-1" ||
		p.PaymentSourceID != "ps-1" || p.MerchantAccountID != "m-1" || !maps.Equal(p.Metadata, map[string]string{"player_id": "player-1"}) ||
		p.SettledAt.Unix() != 1642439598 || p.AskedAt.IsZero() || string(p.Raw) != paymentBody {
		t.Errorf("%+v: %v", p, err)
	}
	answer = `{"id":"pay-1","amount_in_minor":1,"currency":"EUR","status":"authorizing","user_id":"u-2","new":{}}`
	if p, err = c.GetPayment(context.Background(), "pay/1"); err != nil || p.Status != "authorizing" || p.UserID != "u-2" || p.PaymentSourceID != "" || !p.SettledAt.IsZero() {
		t.Errorf("before it is settled: %+v: %v", p, err)
	}
	for name, body := range map[string]string{
		"source as a number": `{"id":"pay-1","amount_in_minor":1,"currency":"EUR","status":"settled","payment_source":{"id":5}}`,
		"no status":          `{"id":"pay-1","amount_in_minor":1,"currency":"EUR"}`,
		"no amount":          `{"id":"pay-1","currency":"EUR","status":"settled"}`,
	} {
		answer = body
		if p, err := c.GetPayment(context.Background(), "pay/1"); err == nil {
			t.Errorf("%s was read as %+v", name, p)
		}
	}
}

// Ids that cannot stand in a path are never asked for.
func TestOddIDs(t *testing.T) {
	c := newClient(t, "http://127.0.0.1:1")
	for _, id := range []string{"", ".", "..", "a b", "a\n", strings.Repeat("a", 129)} {
		_, payment := c.GetPayment(t.Context(), id)
		_, refund := c.GetRefund(t.Context(), id, "r")
		_, refundOf := c.GetRefund(t.Context(), "p", id)
		_, refunds := c.Refunds(t.Context(), id)
		_, lines := c.Transactions(t.Context(), id, time.Now(), time.Now(), "")
		_, sources := c.PaymentSources(t.Context(), id, "u")
		for i, err := range []error{payment, refund, refundOf, refunds, lines, sources} {
			if err == nil || !strings.Contains(err.Error(), "no id of theirs") {
				t.Errorf("%d: %q was asked for: %v", i, id, err)
			}
		}
	}
}
