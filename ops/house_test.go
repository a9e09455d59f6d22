package ops

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"payouts/activities"
	"payouts/internal/app"
	"payouts/internal/httpapi"
	"payouts/internal/ledger"
	"payouts/internal/ledger/ledgertest"
	"payouts/internal/notify"
	"payouts/internal/payout"
	"payouts/internal/truelayer"
)

// house is real books, doors and a provider's client with the metrics of the
// programs that they live in, on a clock of the test's. Each minute it does a
// little of everything; a fault is what it leaves out, or does beside.
type house struct {
	*testing.T
	*watch
	ledgertest.Books
	clock  time.Time
	worker *app.Metrics

	webhooks, api, brokenAPI http.Handler
	provider                 *truelayer.Client
	ill                      bool  // the provider answers 503
	verify                   error // what verifying a webhook comes to
	store                    error // what storing one comes to

	idle   map[string]bool // what is left out each minute
	n      int
	events int
}

// The parts of a minute.
const (
	paying   = "paying"
	hearing  = "hearing"
	sweeping = "sweeping"
	sealing  = "sealing"
	relaying = "relaying"
	asking   = "asking"
)

func newHouse(t *testing.T) *house {
	h := &house{T: t, watch: newWatch(t), clock: time.Now().Truncate(time.Minute), idle: map[string]bool{}}
	now := func() time.Time { return h.clock }
	h.worker = app.NewMetrics(now)
	h.Books = ledgertest.SQLite(t, func(o *ledger.Options) { o.Now, o.Observe = now, h.worker.Transaction })
	h.worker.Work(app.NewBooksMetrics(h.Stats, 0, zap.NewNop()))
	h.worker.TemporalReady(true)

	h.gateway()

	starter := app.NewMetrics(now)
	tokens, err := app.ReadTokens(fmt.Appendf(nil, "game backend %x\n", sha256.Sum256([]byte("secret"))))
	h.must(err)
	options := httpapi.Options{Ledger: h.Ledger.(*ledger.Ledger), Callers: tokens, Logger: zap.NewNop(), Metrics: httpapi.NewMetrics(starter), Now: now}
	h.api = httpapi.NewAPI(options)
	closed, err := ledger.Open(t.Context(), h.Options)
	h.must(err)
	h.must(closed.Close())
	options.Ledger = closed
	h.brokenAPI = httpapi.NewAPI(options)
	h.targets["worker"], h.targets["starter"] = h.worker, starter

	bank := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/connect/token":
			fmt.Fprint(w, `{"access_token":"token-1","expires_in":3600,"token_type":"Bearer","scope":"payments"}`)
		case h.ill:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			fmt.Fprint(w, `{"items":[]}`)
		}
	}))
	t.Cleanup(bank.Close)
	h.provider, err = truelayer.New(truelayer.Options{APIURL: bank.URL, AuthURL: bank.URL, JWKSURL: bank.URL + "/jwks", ClientID: "client", ClientSecret: "secret",
		SigningKeyPEM: signingKey(t), SigningKID: "kid", RPS: 1000, Observe: func(_ context.Context, c truelayer.Call) { h.worker.Call(c) }})
	h.must(err)
	h.Fund(t, 1_000_000)
	return h
}

// gateway begins one, or begins it anew.
func (h *house) gateway() {
	now := func() time.Time { return h.clock }
	gateway := app.NewMetrics(now)
	doors := httpapi.NewMetrics(gateway)
	doors.Now = now
	h.webhooks = httpapi.NewWebhooks(httpapi.WebhookOptions{
		Verify: func(_ context.Context, _, _ string, _ http.Header, body []byte) (payout.News, error) {
			h.events++
			id := string(body)
			return payout.News{EventID: fmt.Sprint(id, h.events), Type: "payout_executed", ProviderID: id, Status: "executed", Body: body, Signature: "s", Timestamp: "t"}, h.verify
		},
		Store: func(ctx context.Context, n payout.News) (payout.Stored, error) {
			if h.store != nil {
				return payout.Stored{}, h.store
			}
			return h.StoreNews(ctx, n)
		},
		Wake: func(context.Context, payout.Stored) error { return nil }, Logger: zap.NewNop(), Metrics: doors,
	})
	h.targets["gateway"] = gateway
}

func signingKey(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (h *house) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// minute lives one, and looks.
func (h *house) minute() {
	h.Helper()
	h.clock = h.clock.Add(time.Minute)
	if !h.idle[paying] {
		id := h.created()
		h.heard(id, "executed", "")
	}
	if !h.idle[hearing] {
		h.webhook("about nothing of ours")
	}
	if !h.idle[sweeping] {
		h.worker.Swept(activities.Swept{})
	}
	if !h.idle[sealing] {
		_, err := h.SealPositions(h.Context(), 1000)
		h.must(err)
	}
	if !h.idle[relaying] {
		events, err := h.Claim(h.Context(), "", 1000, time.Minute)
		h.must(err)
		for _, e := range events {
			h.must(h.Sent(h.Context(), e.ID))
			h.worker.Delivery(notify.OutcomeRelayed)
		}
	}
	if !h.idle[asking] {
		_, _ = h.provider.MerchantAccounts(h.Context()) // only that it was asked
	}
	h.ask(h.api, 1)
	h.look(h.T, h.clock)
}

// pass lives for d.
func (h *house) pass(d time.Duration) {
	h.Helper()
	for end := h.clock.Add(d); h.clock.Before(end); {
		h.minute()
	}
}

// webhook sends one; the event is its text, and about what it names.
func (h *house) webhook(about string) {
	h.Helper()
	r := httptest.NewRequest("POST", httpapi.WebhookPath, strings.NewReader(about))
	h.webhooks.ServeHTTP(httptest.NewRecorder(), r)
	if about == "about nothing of ours" { // dismissed at once, so that it waits for nobody
		_, err := h.Rows.ExecContext(h.Context(), "UPDATE inbox SET applied_at = 1, applied_by = 'test' WHERE provider_payout_id = ?", about)
		h.must(err)
	}
}

// ask asks the API n times.
func (h *house) ask(api http.Handler, n int) {
	for range n {
		r := httptest.NewRequest("GET", "/v1/players/p/balances", nil)
		r.Header.Set("Authorization", "Bearer secret")
		api.ServeHTTP(httptest.NewRecorder(), r)
	}
}

func (h *house) accepted() payout.ID {
	h.Helper()
	h.n++
	p, _, err := h.Accept(h.Context(), ledgertest.NewPayout(fmt.Sprint("payout-", h.n), 100), ledgertest.Merchant, false)
	h.must(err)
	return p.ID
}

func (h *house) sent(id payout.ID) payout.Send {
	h.Helper()
	send, _, err := h.OpenSend(h.Context(), id, h.clock.Add(time.Hour))
	h.must(err)
	if send.Number == 0 {
		h.Fatal("a send is not permitted")
	}
	return send
}

func (h *house) answered(s payout.Send, c payout.Created) {
	h.Helper()
	_, err := h.CloseSend(h.Context(), s, c)
	h.must(err)
}

func there(providerID string) payout.Created {
	return payout.Created{Answer: payout.AnswerCreated, ProviderID: providerID, Raw: []byte("{}")}
}

func (h *house) created() payout.ID {
	h.Helper()
	id := h.accepted()
	h.answered(h.sent(id), there("their-"+string(id)))
	return id
}

// heard judges what the provider says of a payout's first attempt.
func (h *house) heard(id payout.ID, status string, reason payout.Reason) {
	h.Helper()
	h.clock = h.clock.Add(time.Millisecond)
	w := payout.Word{ProviderID: "their-" + string(id), Status: status, Reason: reason, Money: ledgertest.Pounds(100), AskedAt: h.clock, DecidedAt: h.clock, Raw: []byte("{}")}
	_, err := h.Judge(h.Context(), id, payout.Heard{Words: []payout.Asked{{Attempt: 1, ProviderID: w.ProviderID, Word: w}}, By: "test"})
	h.must(err)
}

// parked is a payout with two ids at the provider.
func (h *house) parked() {
	h.Helper()
	id := h.accepted()
	first, second := h.sent(id), h.sent(id)
	h.answered(first, there("their-"+string(id)))
	h.answered(second, there(uuid.NewString()))
	_, err := h.OpenCase(h.Context(), id)
	h.must(err)
}

// exposed is a payout that was paid after its player was credited back.
func (h *house) exposed() {
	h.Helper()
	id := h.created()
	h.heard(id, "failed", payout.ReasonInvalidIBAN)
	_, err := h.Release(h.Context(), id)
	h.must(err)
	h.heard(id, "executed", "")
}

var errIll = errors.New("ill")
