package truelayer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"payouts/internal/payout"
)

// clock is a time the test sets.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now()} }

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keyPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

var testKeyPEM = sync.OnceValue(func() []byte {
	key, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	der, _ := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
})

func goodOptions(url string) Options {
	return Options{
		APIURL: url, AuthURL: url, JWKSURL: url + "/.well-known/jwks", ClientID: "client", ClientSecret: "secret",
		SigningKeyPEM: testKeyPEM(), SigningKID: "kid-1", HTTPTimeout: 5 * time.Second, RPS: 10000,
	}
}

func newClient(t testing.TB, url string, change ...func(*Options)) *Client {
	t.Helper()
	o := goodOptions(url)
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serve starts a provider that gives tokens and leaves the rest to h.
func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/connect/token" {
			fmt.Fprint(w, `{"access_token":"token-1","expires_in":3600,"token_type":"Bearer","scope":"payments"}`) //nolint:errcheck
			return
		}
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

const testID = payout.ID("0cd1b0f7-71bc-4d24-b209-95259dadcc20")

var testToken = payout.Token{Value: "token-1", ExpiresAt: time.Now().Add(time.Hour)}

func testSend(within time.Duration) payout.Send {
	return payout.Send{
		PayoutID: testID, Kind: payout.KindPayout, Attempt: 1, Number: 1, Key: payout.Key(testID, 1),
		Body: []byte(`{"amount_in_minor":1000}`), Deadline: time.Now().Add(within),
	}
}

func testRefund(within time.Duration) payout.Send {
	send := testSend(within)
	send.Kind, send.PaymentID = payout.KindRefund, "payment-1"
	return send
}

func testIntent() payout.Intent {
	return payout.Intent{
		ID: testID, Attempt: 2, Money: payout.Money{Minor: 1000, Currency: "GBP"},
		MerchantAccountID: "af6b1163-14bb-4491-afc7-abeb67adc07f", UserID: "57e9ae89-01fd-4779-8775-5b7de9a85a64",
		PaymentSourceID: "c93bf50c-1c9c-40f1-80c9-cc55c0402fe8", Reference: "Payout0001",
	}
}
