package simulator

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
)

const (
	gbpAccount = "11111111-1111-4111-8111-111111111111"
	eurAccount = "22222222-2222-4222-8222-222222222222"
	clientKid  = "client-key-1"
)

// house is a simulator on a socket, a client that signs by hand, and a
// receiver of webhooks.
type house struct {
	t     *testing.T
	sim   *Simulator
	url   string
	key   *ecdsa.PrivateKey
	token string
	inbox *inbox
}

var testKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

func publicPEM(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// open starts a house on a frozen clock, so that time moves by Advance only.
func open(t *testing.T, change ...func(*Options)) *house {
	t.Helper()
	h := &house{t: t, key: testKey(), inbox: newInbox(t)}
	options := Options{
		ClientID: "client", ClientSecret: "secret", ClientKeys: map[string]string{clientKid: publicPEM(t, h.key)},
		MerchantAccounts: []MerchantAccount{{gbpAccount, "GBP", 100_000}, {eurAccount, "EUR", 100_000}},
		Settings:         Settings{WebhookURL: h.inbox.url + "/hooks/tl"},
		Clock:            FrozenClock{time.Date(2026, 11, 20, 12, 0, 0, 123456789, time.UTC)},
	}
	for _, c := range change {
		c(&options)
	}
	sim, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	h.sim = sim
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(func() { _ = sim.Close(); server.Close() })
	h.url = server.URL
	if err := sim.Configure(func(g *Settings) { g.PublicURL = server.URL }); err != nil {
		t.Fatal(err)
	}
	h.token = h.getToken("payments")
	return h
}

func (h *house) getToken(scope string) string {
	h.t.Helper()
	res, err := http.PostForm(h.url+"/connect/token", url.Values{
		"grant_type": {"client_credentials"}, "client_id": {"client"}, "client_secret": {"secret"}, "scope": {scope},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	a := readAnswer(h.t, res)
	if a.status != 200 {
		h.t.Fatalf("token: %d %s", a.status, a.text)
	}
	return a.body["access_token"].(string)
}

type answer struct {
	status int
	text   string
	body   map[string]any
	header http.Header
}

func readAnswer(t *testing.T, res *http.Response) answer {
	t.Helper()
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: res.StatusCode, text: string(text), header: res.Header}
	_ = json.Unmarshal(text, &a.body)
	return a
}

// handSign signs by the words of the reference, not with the package's code.
func handSign(t *testing.T, key *ecdsa.PrivateKey, kid, method, path, idempotencyKey, body string) string {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	jose := b64(fmt.Appendf(nil, `{"alg":"ES512","kid":%q,"tl_version":"2","tl_headers":"Idempotency-Key"}`, kid))
	payload := b64([]byte(method + " " + path + "\nIdempotency-Key: " + idempotencyKey + "\n" + body))
	sum := sha512.Sum512([]byte(jose + "." + payload))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return jose + ".." + b64(append(r.FillBytes(make([]byte, 66)), s.FillBytes(make([]byte, 66))...))
}

func (h *house) request(method, path, key, body string) *http.Request {
	h.t.Helper()
	req, err := http.NewRequest(method, h.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	if method != "GET" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
		req.Header.Set("Tl-Signature", handSign(h.t, h.key, clientKid, method, req.URL.EscapedPath(), key, body))
	}
	return req
}

func (h *house) do(req *http.Request) answer {
	h.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	return readAnswer(h.t, res)
}

func (h *house) post(path, key, body string) answer { return h.do(h.request("POST", path, key, body)) }
func (h *house) get(path string) answer             { return h.do(h.request("GET", path, "", "")) }

func payoutBody(minor int64, reference string) string {
	return fmt.Sprintf(`{"merchant_account_id":%q,"amount_in_minor":%d,"currency":"GBP","beneficiary":{"type":"payment_source",`+
		`"payment_source_id":"source-1","user_id":"user-1","reference":%q},"metadata":{"payout_id":"ours-1"}}`, gbpAccount, minor, reference)
}

// pay makes a payout and returns its id.
func (h *house) pay(minor int64, reference string) string {
	h.t.Helper()
	a := h.post("/v3/payouts", uuid.NewString(), payoutBody(minor, reference))
	if a.status != 202 {
		h.t.Fatalf("create: %d %s", a.status, a.text)
	}
	return a.body["id"].(string)
}

func (h *house) script(r Rule) {
	h.t.Helper()
	if _, err := h.sim.Script(r); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) status(id string) string {
	h.t.Helper()
	p, ok := h.sim.Payout(id)
	if !ok {
		h.t.Fatalf("payout %s does not exist", id)
	}
	return p.Status()
}

// facts are the kinds of money facts about a payout, in order.
func (h *house) facts(id string) (kinds []string) {
	for _, m := range h.sim.MoneyFacts("") {
		if m.TransferID == id {
			kinds = append(kinds, m.Kind)
		}
	}
	return kinds
}

// until waits for a level, with a limit.
func until(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !reached(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// news is a webhook as received.
type news struct {
	path   string
	header http.Header
	text   []byte
	body   map[string]any
}

// inbox receives webhooks; it answers 500 as often as it is told to.
type inbox struct {
	url    string
	mu     sync.Mutex
	got    []news
	refuse int
}

func newInbox(t *testing.T) *inbox {
	b := &inbox{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		n := news{path: r.URL.Path, header: r.Header, text: text}
		_ = json.Unmarshal(text, &n.body)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.got = append(b.got, n)
		if b.refuse > 0 {
			b.refuse--
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

func (b *inbox) all() []news {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]news(nil), b.got...)
}

func (b *inbox) wait(t *testing.T, n int) []news {
	t.Helper()
	until(t, fmt.Sprintf("%d webhooks", n), func() bool { return len(b.all()) >= n })
	return b.all()
}
