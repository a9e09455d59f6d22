package truelayer

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"payouts/internal/payout"
)

func news(body string) payout.News {
	return Event{body: []byte(body), signature: "s", timestamp: stamp}.News()
}

// show is what a piece of news says, in one line.
func show(n payout.News) string {
	source := ""
	if n.Source != nil {
		source = fmt.Sprintf("%+v", *n.Source)
	}
	return strings.TrimSpace(strings.Join([]string{n.Type, n.EventID, n.ProviderID, string(n.PayoutID), fmt.Sprint(n.Attempt), n.Status, string(n.Reason), source}, "|"))
}

func TestNews(t *testing.T) {
	const id = string(testID)
	for _, tc := range []struct{ name, body, want string }{
		{"executed", `{"type":"payout_executed","event_id":"e","payout_id":"p","metadata":{"payout_id":"` + id + `","attempt":"2"}}`, "payout_executed|e|p|" + id + "|2|executed||"},
		{"failed", `{"type":"payout_failed","event_id":"e","payout_id":"p","failure_reason":"blocked"}`, "payout_failed|e|p||0|failed|blocked|"},
		{"failed, new reason", `{"type":"payout_failed","event_id":"e","payout_id":"p","failure_reason":"moon"}`, "payout_failed|e|p||0|failed|moon|"},
		{"failed, no reason", `{"type":"payout_failed","event_id":"e","payout_id":"p"}`, "payout_failed|e|p||0|failed|unknown|"},
		{"refund executed", `{"type":"refund_executed","event_id":"e","refund_id":"r","payment_id":"x"}`, "refund_executed|e|r||0|executed||"},
		{"refund failed", `{"type":"refund_failed","event_id":"e","refund_id":"r","failure_reason":"returned"}`, "refund_failed|e|r||0|failed|returned|"},
		{"attempt failed is no failure", `{"type":"payout_attempt_failed","event_id":"e","payout_id":"p","failure_reason":"x"}`, "payout_attempt_failed|e|p||0|||"},
		{"unknown type", `{"type":"payout_frozen","event_id":"e","payout_id":"p","status":"failed"}`, "payout_frozen|e|p||0|||"},
		{"a payment's failure is not ours", `{"type":"payment_failed","event_id":"e","payment_id":"x","failure_reason":"expired","metadata":{"payout_id":"` + id + `"}}`, "payment_failed|e|||0|||"},
		{"odd metadata", `{"type":"payout_executed","event_id":"e","payout_id":"p","metadata":{"payout_id":"x","attempt":"-1"}}`, "payout_executed|e|p||0|executed||"},
		{"metadata as text", `{"type":"payout_executed","event_id":"e","payout_id":"p","metadata":"x"}`, "payout_executed|e|p||0|executed||"},
		{"wrong types", `{"type":"payout_executed","event_id":"e","payout_id":5,"failure_reason":[],"metadata":{"attempt":2}}`, "payout_executed|e|||0|executed||"},
		{"control characters", "{\"type\":\"payout_failed\",\"event_id\":\"e\",\"payout_id\":\"p\",\"failure_reason\":\"a\\u0000b\"}", "payout_failed|e|p||0|failed|ab|"},
		{"settled", `{"type":"payment_settled","event_id":"e","payment_source":{"id":"ps"},"user_id":"u","payment_method":{"scheme_id":"faster_payments_service"},"metadata":{"player_id":"player-1"}}`,
			"payment_settled|e|||0|||{PlayerID:player-1 PaymentSourceID:ps UserID:u Currency:GBP}"},
		{"settled with a currency", `{"type":"payment_settled","event_id":"e","payment_source":{"id":"ps"},"user_id":"u","currency":"SEK","metadata":{"player_id":"player-1"}}`,
			"payment_settled|e|||0|||{PlayerID:player-1 PaymentSourceID:ps UserID:u Currency:SEK}"},
		{"settled by nobody", `{"type":"payment_settled","event_id":"e","payment_source":{"id":"ps"},"user_id":"u"}`, "payment_settled|e|||0|||{PlayerID: PaymentSourceID:ps UserID:u Currency:}"},
		{"settled by a bad player", `{"type":"payment_settled","event_id":"e","payment_source":{"id":"ps"},"metadata":{"player_id":"a/b"}}`, "payment_settled|e|||0|||{PlayerID: PaymentSourceID:ps UserID: Currency:}"},
		{"settled from nowhere", `{"type":"payment_settled","event_id":"e","metadata":{"player_id":"player-1"}}`, "payment_settled|e|||0|||"},
		{"legacy", `{"event_type":"payout_settled","event_id":"e"}`, "unreadable|e|||0|||"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := news(tc.body)
			if got := show(n); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if string(n.Body) != tc.body || n.Signature != "s" || n.Timestamp != stamp {
				t.Errorf("the proof is lost: %+v", n)
			}
		})
	}
}

// What cannot be read is kept under a name of its own: the same for the same
// bytes, another for others.
func TestUnreadableNews(t *testing.T) {
	seen := map[string]bool{}
	for _, body := range []string{"", "{", "[]", "5", "null", "\xff\x00", `{"type":5}`, `{"type":"x","type":"y"}`, strings.Repeat("[", 100000), html, `{"event_id":"a b"}`} {
		n := news(body)
		if n.Type != TypeUnreadable || !strings.HasPrefix(n.EventID, "sha256:") || n.Status != "" || n.EventID != news(body).EventID || string(n.Body) != body {
			t.Errorf("%.40q: %+v", body, n)
		}
		if seen[n.EventID] {
			t.Errorf("%.40q: the name is taken", body)
		}
		seen[n.EventID] = true
	}
	if n := news(`{"type":"payout_executed","payout_id":"p"}`); !strings.HasPrefix(n.EventID, "sha256:") || n.ProviderID != "p" || n.Status != "executed" {
		t.Errorf("without an event_id: %+v", n)
	}
}

// Every published webhook is news.
func TestPublishedEvents(t *testing.T) {
	dir := filepath.Join(vectors(t), "bodies", "webhooks")
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, f := range files {
		t.Run(f.Name(), func(t *testing.T) {
			n, name := news(string(readFile(t, dir, f.Name()))), f.Name()
			status, provider := "", false
			for _, kind := range []string{"payout", "refund"} {
				for word, s := range map[string]string{"executed": "executed", "failed": "failed", "unknown_beneficiary": "failed"} {
					if strings.Contains(name, "."+kind+"_"+word) {
						status, provider = s, true
					}
				}
			}
			if strings.HasSuffix(name, ".txt") || strings.HasPrefix(name, "legacy") {
				if n.Type != TypeUnreadable {
					t.Errorf("type %q", n.Type)
				}
			} else if n.Type == TypeUnreadable || len(n.EventID) != 36 {
				t.Errorf("%s", show(n))
			}
			if n.Status != status || (n.ProviderID != "") != provider || (n.Reason != "") != (status == "failed") {
				t.Errorf("%s", show(n))
			}
			if strings.Contains(name, "settled") && !strings.HasPrefix(name, "legacy") {
				if n.Source == nil || n.Source.PaymentSourceID == "" || n.Source.Currency == "" {
					t.Errorf("source %+v", n.Source)
				}
			} else if n.Source != nil {
				t.Errorf("source %+v", n.Source)
			}
		})
	}
}

// Whatever a webhook says, its news can be kept and claims nothing it does not
// say.
func FuzzWebhook(f *testing.F) {
	for _, body := range []string{
		eventBody, "", "null", "[]", html, every("NaN"), strings.Repeat(`{"metadata":`, 100),
		`{"type":"payment_settled","event_id":"e","payment_source":{"id":"ps"},"user_id":"u","payment_method":{"scheme_id":"faster_payments_service"},"metadata":{"player_id":"p"}}`,
		`{"type":"payout_failed","event_id":"e","payout_id":"p","failure_reason":"returned","metadata":{"payout_id":"` + string(testID) + `","attempt":"2"}}`,
		`{"type":"refund_failed","refund_id":"r","failure_reason":"a\u0000b"}`, `{"type":"x","type":"y"}`, "{\"type\":\"\xff\"}",
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		n := news(body)
		if n.EventID == "" || n.Type == "" || n.Attempt < 0 || strings.ContainsRune(show(n), 0) || !utf8.ValidString(show(n)) || string(n.Body) != body {
			t.Errorf("%s", show(n))
		}
		if n.Status != claims[n.Type] || (n.Reason != "") != (n.Status == payout.ProviderFailed) || (n.Source != nil && n.Type != settled) {
			t.Errorf("it claims too much: %s", show(n))
		}
	})
}
