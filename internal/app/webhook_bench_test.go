package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"payouts/internal/httpapi"
	"payouts/internal/ledger"
	"payouts/internal/ledger/ledgertest"
	"payouts/internal/payout"
	"payouts/internal/truelayer"
)

// BenchmarkWebhook takes one webhook in through the door: verified on its raw
// bytes and stored. BenchmarkP521Verify beside it is the bound.
func BenchmarkWebhook(b *testing.B) {
	for name, open := range map[string]func(testing.TB, ...func(*ledger.Options)) ledgertest.Books{"sqlite": ledgertest.SQLite, "postgres": ledgertest.Postgres} {
		b.Run(name, func(b *testing.B) {
			sender := newSender(b)
			verifier, err := truelayer.NewVerifier(truelayer.VerifierOptions{JWKSURL: sender.jwks.URL})
			if err != nil {
				b.Fatal(err)
			}
			door := httpapi.NewWebhooks(httpapi.WebhookOptions{Verify: verify(verifier), Store: open(b).StoreNews, Logger: zap.NewNop(),
				Wake: func(context.Context, payout.Stored) error { return nil }})
			requests := make([]*http.Request, b.N)
			for i := range requests {
				requests[i] = sender.event(b, i)
			}
			b.ResetTimer()
			for _, r := range requests {
				w := httptest.NewRecorder()
				if door.ServeHTTP(w, r); w.Code/100 != 2 {
					b.Fatalf("answered %d: %s", w.Code, w.Body)
				}
			}
		})
	}
}

func BenchmarkP521Verify(b *testing.B) {
	sender := newSender(b)
	digest := sha512.Sum512([]byte("a webhook"))
	r, s, err := ecdsa.Sign(rand.Reader, sender.key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if !ecdsa.Verify(&sender.key.PublicKey, digest[:], r, s) {
			b.Fatal("not verified")
		}
	}
}

// sender signs events as the provider does (docs/truelayer.md, "Webhooks").
type sender struct {
	key  *ecdsa.PrivateKey
	jwks *httptest.Server
}

func newSender(tb testing.TB) sender {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	public, err := key.PublicKey.ECDH()
	if err != nil {
		tb.Fatal(err)
	}
	point := public.Bytes() // 4, x, y
	text := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	jwks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"EC","alg":"ES512","crv":"P-521","kid":"k","x":%q,"y":%q}]}`, text(point[1:67]), text(point[67:]))
	}))
	tb.Cleanup(jwks.Close)
	return sender{key, jwks}
}

func (s sender) event(tb testing.TB, n int) *http.Request {
	tb.Helper()
	body := fmt.Sprintf(`{"type":"payout_executed","event_id":"00000000-0000-4000-8000-%012d","event_version":1,"payout_id":"10000000-0000-4000-8000-%012d","executed_at":"2026-03-04T05:06:07Z"}`, n, n)
	now := time.Now().UTC().Format(time.RFC3339)
	header := fmt.Sprintf(`{"alg":"ES512","kid":"k","tl_version":"2","tl_headers":"X-TL-Webhook-Timestamp","jku":%q}`, s.jwks.URL)
	text := base64.RawURLEncoding.EncodeToString
	signed := text([]byte(header)) + "." + text([]byte("POST "+httpapi.WebhookPath+"\nX-TL-Webhook-Timestamp: "+now+"\n"+body))
	digest := sha512.Sum512([]byte(signed))
	r, sig, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	if err != nil {
		tb.Fatal(err)
	}
	signature := make([]byte, 132)
	r.FillBytes(signature[:66])
	sig.FillBytes(signature[66:])
	request := httptest.NewRequest(http.MethodPost, httpapi.WebhookPath, strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-TL-Webhook-Timestamp", now)
	request.Header.Set("Tl-Signature", text([]byte(header))+".."+text(signature))
	return request
}
