package truelayer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"payouts/internal/payout"
)

const executedBody = `{"id":"id-1","merchant_account_id":"m-1","amount_in_minor":9007199254740993,"currency":"GBP","status":"executed",
 "beneficiary":{"type":"payment_source","user_id":"u-1","payment_source_id":"p-1","reference":"R","account_identifiers":[{"type":"iban","iban":"GB75"}]},
 "scheme_id":"internal_transfer","created_at":"2023-02-08T11:50:39Z","executed_at":"2023-02-08T11:50:40.583123456Z",
 "metadata":{"payout_id":"0cd1b0f7-71bc-4d24-b209-95259dadcc20","attempt":"2"},"a_new_field":{"deep":[1,2]}}`

func TestGetPayout(t *testing.T) {
	clock := newClock()
	before := clock.now()
	var path string
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.EscapedPath()
		clock.add(time.Second) // the request is under way
		if r.Header.Get("Authorization") != "Bearer token-1" {
			t.Errorf("headers %v", r.Header)
		}
		says(200, executedBody)(w, r)
	})
	w, err := newClient(t, server.URL, func(o *Options) { o.Now = clock.now }).GetPayout(context.Background(), "id/1")
	if err != nil {
		t.Fatal(err)
	}
	if path != "/v3/payouts/id%2F1" {
		t.Errorf("asked %s", path)
	}
	want := payout.Word{
		ProviderID: "id-1", Status: "executed", Money: payout.Money{Minor: 9007199254740993, Currency: "GBP"}, MerchantAccountID: "m-1",
		UserID: "u-1", PaymentSourceID: "p-1", Reference: "R", SchemeID: "internal_transfer",
		DecidedAt: time.Date(2023, 2, 8, 11, 50, 40, 583123456, time.UTC), AskedAt: before,
	}
	if !maps.Equal(w.Metadata, map[string]string{"payout_id": string(testID), "attempt": "2"}) || string(w.Raw) != executedBody {
		t.Errorf("metadata %v, raw %q", w.Metadata, w.Raw)
	}
	w.Metadata, w.Raw = nil, nil
	if fmt.Sprintf("%+v", w) != fmt.Sprintf("%+v", want) {
		t.Errorf("got  %+v\nwant %+v", w, want)
	}
}

func TestGetPayoutFaults(t *testing.T) {
	notFound := document(404, "not-found", "Not Found")
	for name, tc := range map[string]struct {
		does     does
		notFound bool
		noID     bool
	}{
		"not found":               {says(404, notFound), true, true},
		"not found by a stranger": {says(404, html), false, true},
		"400":                     {says(400, refusedBody), false, true},
		"403":                     {says(403, document(403, "forbidden", "Forbidden")), false, true},
		"408":                     {says(408, ""), false, false},
		"500":                     {says(500, ""), false, false},
		"429":                     {says(429, "", "Retry-After", "1"), false, false},
		"202":                     {says(202, executedBody), false, false},
		"cut":                     {raw("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + executedBody), false, false},
		"closed":                  {raw(""), false, false},
		"html":                    {says(200, html), false, false},
		"401 for ever":            {says(401, document(401, "unauthenticated", "Unauthenticated")), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, serve(t, tc.does).URL)
			_, err := c.GetPayout(context.Background(), "id-1")
			if err == nil || errors.Is(err, ErrNotFound) != tc.notFound || errors.Is(err, payout.ErrNotFound) != tc.notFound || errors.Is(err, payout.ErrNoID) != tc.noID {
				t.Errorf("got %v", err)
			}
		})
	}
	c := newClient(t, "http://127.0.0.1:1")
	for _, id := range []string{"", ".", "..", "a b", "a\n", strings.Repeat("a", 129)} {
		if _, err := c.GetPayout(context.Background(), id); err == nil || !strings.Contains(err.Error(), "no id of theirs") {
			t.Errorf("%q was asked for: %v", id, err)
		}
	}
}

// A token that ran out meanwhile costs one more request, not an error.
func TestGetPayoutRenewsARejectedToken(t *testing.T) {
	n := 0
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			says(401, document(401, "unauthenticated", "Unauthenticated"))(w, r)
			return
		}
		says(200, executedBody)(w, r)
	})
	if _, err := newClient(t, server.URL).GetPayout(context.Background(), "id-1"); err != nil || n != 2 {
		t.Errorf("%d requests: %v", n, err)
	}
}

// Silence ends with the time for one call.
func TestGetPayoutEnds(t *testing.T) {
	server := serve(t, silent)
	c := newClient(t, server.URL, func(o *Options) { o.HTTPTimeout = 100 * time.Millisecond })
	if _, err := c.GetPayout(context.Background(), "id-1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestReadWord(t *testing.T) {
	word := func(change ...string) string {
		fields := map[string]string{"id": `"i"`, "status": `"pending"`, "amount_in_minor": "1", "currency": `"GBP"`}
		for i := 0; i < len(change); i += 2 {
			if fields[change[i]] = change[i+1]; change[i+1] == "" {
				delete(fields, change[i])
			}
		}
		var parts []string
		for name, value := range fields {
			parts = append(parts, fmt.Sprintf("%q:%s", name, value))
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	good := map[string]string{
		"plain":            word(),
		"unknown status":   word("status", `"resting"`),
		"authorizing":      word("status", `"authorizing"`),
		"unknown reason":   word("status", `"failed"`, "failure_reason", `"moon_phase"`),
		"no beneficiary":   word("beneficiary", "null"),
		"odd beneficiary":  word("beneficiary", `"x"`),
		"single account":   word("beneficiary", `{"type":"foo","account_identifier":{"type":"iban"}}`),
		"largest amount":   word("amount_in_minor", "9223372036854775807"),
		"odd metadata":     word("metadata", `{"a":1,"b":"c"}`),
		"null metadata":    word("metadata", "null"),
		"no fraction":      word("status", `"executed"`, "executed_at", `"2023-02-08T11:50:40Z"`),
		"one digit":        word("status", `"executed"`, "executed_at", `"2023-02-08T11:50:40.5Z"`),
		"nine digits":      word("status", `"executed"`, "executed_at", `"2023-02-08T11:50:40.123456789Z"`),
		"with offset":      word("status", `"executed"`, "executed_at", `"2023-02-08T11:50:40+02:00"`),
		"executed at none": word("status", `"executed"`),
	}
	for name, body := range good {
		if _, err := readWord([]byte(body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := map[string]string{
		"fraction": word("amount_in_minor", "1.5"), "whole fraction": word("amount_in_minor", "1.0"), "exponent": word("amount_in_minor", "1e2"),
		"too large": word("amount_in_minor", "9223372036854775808"), "text amount": word("amount_in_minor", `"1"`), "NaN": word("amount_in_minor", "NaN"),
		"no amount": word("amount_in_minor", ""), "null amount": word("amount_in_minor", "null"), "no status": word("status", ""), "empty status": word("status", `""`),
		"no id": word("id", ""), "no currency": word("currency", ""), "odd currency": word("currency", `"gbp"`), "odd status": word("status", "5"),
		"no time": word("status", `"executed"`, "executed_at", `"yesterday"`), "two amounts": `{"amount_in_minor":1,` + word()[1:], "two objects": word() + word(),
		"not ended": word()[:20], "list": "[" + word() + "]", "empty": "", "null": "null", "deep": strings.Repeat(`{"a":[`, 100000), "odd case": word("amount_in_minor", "", "Amount_In_Minor", "5"),
	}
	for name, body := range bad {
		if w, err := readWord([]byte(body)); err == nil {
			t.Errorf("%s was read as %+v", name, w)
		}
	}
	if w, _ := readWord([]byte(word("status", `"failed"`))); w.Reason != payout.ReasonUnknown {
		t.Errorf("a failure without a reason has reason %q", w.Reason)
	}
}

// Every published answer can be read.
func TestPublishedResponses(t *testing.T) {
	dir := filepath.Join(vectors(t), "bodies", "responses")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, f := range files {
		t.Run(f.Name(), func(t *testing.T) {
			body, name := readFile(t, dir, f.Name()), f.Name()
			switch {
			case strings.Contains(name, "create"):
				if readID(body) == "" {
					t.Error("no id")
				}
			case strings.Contains(name, "list_merchant_accounts"), strings.Contains(name, "accounts_list"):
				if accounts, err := readMerchantAccounts(body); err != nil || len(accounts) != 2 {
					t.Errorf("%+v: %v", accounts, err)
				}
			case strings.Contains(name, "get_transactions"):
				if page, err := readTransactions(body); err != nil || len(page.Lines) != 6 || page.Next == "" {
					t.Errorf("%+v: %v", page, err)
				}
			case strings.Contains(name, "payment_sources"):
				if sources, err := readPaymentSources(body); err != nil || len(sources) != 1 {
					t.Errorf("%+v: %v", sources, err)
				}
			case strings.Contains(name, "list_payment_refunds"):
				words, err := readWords(body)
				if err != nil || len(words) != 1 || words[0].Status != "pending" || words[0].Reference != "a payment reference" || !json.Valid(words[0].Raw) {
					t.Errorf("%+v: %v", words, err)
				}
			case strings.Contains(name, "sweeping"), strings.Contains(name, "merchant_account.account."):
				if _, err := readObject(body); err != nil { // not used here
					t.Error(err)
				}
			default:
				w, err := readWord(body)
				if err != nil {
					t.Fatal(err)
				}
				if w.ProviderID == "" || w.Money.Minor < 1 || !w.Money.Currency.Valid() || (payout.ReadVerdict(w.Status) != payout.VerdictWait) != !w.DecidedAt.IsZero() {
					t.Errorf("%+v", w)
				}
				if !strings.Contains(name, w.Status) && !strings.Contains(name, "unknown") {
					t.Errorf("status %q", w.Status)
				}
				if strings.HasSuffix(name, "failed.insufficient_funds.json") && w.Reason != payout.ReasonInsufficientFunds {
					t.Errorf("reason %q", w.Reason)
				}
			}
		})
	}
}

func TestMerchantAccounts(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v3/merchant-accounts" {
			t.Errorf("asked %s", r.URL.Path)
		}
		io.WriteString(w, `{"items":[{"id":"a","currency":"EUR","available_balance_in_minor":-5,"current_balance_in_minor":7,"x":1}]}`) //nolint:errcheck
	})
	got, err := newClient(t, server.URL).MerchantAccounts(context.Background())
	want := MerchantAccount{ID: "a", Currency: "EUR", Available: payout.Money{Minor: -5, Currency: "EUR"}, Current: payout.Money{Minor: 7, Currency: "EUR"}}
	if err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("%+v: %v", got, err)
	}
}

// Whatever their answer is, what is read of it is whole and exact.
func FuzzResponse(f *testing.F) {
	for _, body := range []string{
		executedBody, refundBody, paymentBody, createdBody, refusedBody, html, "", `{"id":"a","id":"b"}`, every("NaN"), every("[[]]"),
		`{"items":[` + refundBody + `],"pagination":{"next_cursor":"a"}}`, `{"items":[` + trifle + "," + trifle + `]}`,
		`{"items":[{"id":"a","currency":"EUR","available_balance_in_minor":-5,"current_balance_in_minor":7}]}`,
		`{"access_token":"t","expires_in":3600,"token_type":"Bearer","scope":"payments"}`,
		`{"keys":[{"kty":"EC","crv":"P-521","kid":"k","x":"AQAB","y":"AQAB"}]}`,
		`{"type":"external_payment","return_for":{"type":"identified","returned_id":"p"}}`,
	} {
		f.Add([]byte(body))
	}
	c, err := New(goodOptions("http://127.0.0.1:1"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		word := func(w payout.Word) {
			if w.Status == "" || w.ProviderID == "" || !w.Money.Currency.Valid() || !json.Valid(w.Raw) {
				t.Errorf("read %+v", w)
			}
		}
		if w, err := readWord(body); err == nil {
			word(w)
		}
		if words, err := readWords(body); err == nil {
			for _, w := range words {
				word(w)
			}
		}
		if p, err := readPayment(body); err == nil && (p.ID == "" || p.Status == "" || !p.Money.Currency.Valid()) {
			t.Errorf("read %+v", p)
		}
		if page, err := readTransactions(body); err == nil {
			for _, line := range page.Lines {
				if line.ID == "" || line.Type == "" || !line.Money.Currency.Valid() {
					t.Errorf("read %+v", line)
				}
			}
		}
		if id := readID(body); id != "" && !askable(id) {
			t.Errorf("id %q", id)
		}
		if token, err := c.readToken(reply{status: 200, body: body, whole: true}); err == nil && (token.Value == "" || !token.ExpiresAt.After(c.now())) {
			t.Errorf("token %+v", token)
		}
		if keys, err := readKeys(body); err == nil && len(keys) == 0 {
			t.Error("no keys, and no error")
		}
		readMerchantAccounts(body) //nolint:errcheck // it must not panic
		readPaymentSources(body)   //nolint:errcheck
		for _, status := range []int{200, 202, 302, 400, 401, 403, 409, 422, 500} {
			r := reply{status: status, header: http.Header{}, body: body, whole: true}
			out := c.conclude(r, look(r, true), testToken, "create payout")
			if (out.Answer == payout.AnswerCreated) != (out.Err == nil) || (out.Answer == payout.AnswerRefused && status != 400) ||
				(out.Answer == payout.AnswerNotSent && (status < 400 || status > 403)) {
				t.Errorf("%d: %+v", status, out)
			}
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, text := range []string{"", "7", "-7", "1e9", "600.5", "99999999999999999999", "Fri, 02 Jan 2026 03:04:35 GMT", "Friday, 02-Jan-26 03:04:35 GMT", "Fri Jan  2 03:04:35 2026", "soon", "\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d := retryAfter(http.Header{"Retry-After": {text}}, time.Now()); d < 0 || d > LongestRetryAfter {
			t.Errorf("%q: %s", text, d)
		}
	})
}
