package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
	"payouts/internal/truelayer"
)

// provider sends one webhook to a door whose parts answer as told.
type provider struct {
	verify error  // what verifying comes to
	about  string // the provider's id of what it is about
	store  error
	stored payout.Stored
	wake   error

	kept  []string // bodies that were stored
	woken []string
}

func (p *provider) send(t *testing.T, method, target string, body string) (*httptest.ResponseRecorder, string) {
	t.Helper()
	registry := prometheus.NewRegistry()
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	door := httpapi.NewWebhooks(httpapi.WebhookOptions{
		Verify: func(_ context.Context, method, target string, header http.Header, body []byte) (payout.News, error) {
			if header.Get("Tl-Signature") != "signed "+method+" "+target {
				t.Errorf("verifies %s %s", method, target)
			}
			return payout.News{EventID: "e1", ProviderID: p.about, Body: body}, p.verify
		},
		Store: func(_ context.Context, n payout.News) (payout.Stored, error) {
			if p.store == nil {
				p.kept = append(p.kept, string(n.Body))
			}
			hangUp() // the provider is impatient
			return p.stored, p.store
		},
		Wake: func(ctx context.Context, s payout.Stored) error {
			if _, bounded := ctx.Deadline(); ctx.Err() != nil || !bounded {
				t.Errorf("wakes with a context that is over (%v) or endless (%v)", ctx.Err(), !bounded)
			}
			p.woken = append(p.woken, fmt.Sprint(s.Kind, " ", s.PayoutID, " ", s.InboxID))
			return p.wake
		},
		Logger: zap.NewNop(), Metrics: httpapi.NewMetrics(registry),
	})
	r := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	r.Header.Set("Tl-Signature", "signed "+method+" "+target)
	w := httptest.NewRecorder()
	door.ServeHTTP(w, r)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "payouts_webhooks_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			if m.GetCounter().GetValue() == 1 {
				return w, m.GetLabel()[0].GetValue()
			}
		}
	}
	return w, ""
}

// 2xx only once stored; nothing unverified is stored; whatever cannot be told
// now is asked for again.
func TestWebhook(t *testing.T) {
	body := `{"event_id":"e1"}`
	awake := payout.Stored{InboxID: "i1", PayoutID: "p1", Kind: payout.KindPayout, Wake: true}
	for name, test := range map[string]struct {
		provider      provider
		method, path  string
		body          string
		status        int
		outcome       string
		kept, wakings int
	}{
		"first news":               {provider: provider{stored: awake}, status: 200, outcome: "stored", kept: 1, wakings: 1},
		"more news of an unread":   {provider: provider{stored: payout.Stored{InboxID: "i1", PayoutID: "p1"}}, status: 200, outcome: "stored", kept: 1},
		"nobody's news":            {provider: provider{stored: payout.Stored{InboxID: "i1"}}, status: 200, outcome: "stored", kept: 1},
		"a stranger's payout":      {provider: provider{about: "their-1", stored: payout.Stored{InboxID: "i1"}}, status: 200, outcome: "unmatched", kept: 1},
		"a stranger's once more":   {provider: provider{about: "their-1", stored: payout.Stored{InboxID: "i1", Repeat: true}}, status: 200, outcome: "repeat", kept: 1},
		"overtook its payout's id": {provider: provider{about: "their-1", stored: awake}, status: 200, outcome: "stored", kept: 1, wakings: 1},
		"the same again":           {provider: provider{stored: payout.Stored{InboxID: "i1", PayoutID: "p1", Repeat: true}}, status: 200, outcome: "repeat", kept: 1},
		"run not woken":            {provider: provider{stored: awake, wake: errors.New("no Temporal")}, status: 200, outcome: "stored", kept: 1, wakings: 1},
		"path with slash":          {provider: provider{stored: awake}, path: "/webhooks/truelayer/", status: 200, outcome: "stored", kept: 1, wakings: 1},
		"path with query":          {provider: provider{stored: awake}, path: "/webhooks/truelayer?tenant=7", status: 200, outcome: "stored", kept: 1, wakings: 1},
		"forged":                   {provider: provider{verify: fmt.Errorf("x: %w", httpapi.ErrNotAuthentic), stored: awake}, status: 401, outcome: "not_authentic"},
		"keys unavailable":         {provider: provider{verify: errors.New("no keys"), stored: awake}, status: 503, outcome: "unverified"},
		"no database":              {provider: provider{store: errors.New("disk full"), stored: awake}, status: 503, outcome: "not_stored"},
		"too large":                {provider: provider{stored: awake}, body: strings.Repeat("x", 256<<10+1), status: 413, outcome: "too_large"},
		"as large as is taken":     {provider: provider{stored: awake}, body: strings.Repeat("x", 256<<10), status: 200, outcome: "stored", kept: 1, wakings: 1},
		"other path":               {path: "/webhooks/other", status: 404},
		"deeper path":              {path: "/webhooks/truelayer/x", status: 404},
		"other method":             {method: "GET", status: 405},
		"forged and without store": {provider: provider{verify: httpapi.ErrNotAuthentic, store: errors.New("disk full")}, status: 401, outcome: "not_authentic"},
	} {
		t.Run(name, func(t *testing.T) {
			sent := or(test.body, body)
			w, outcome := test.provider.send(t, or(test.method, "POST"), or(test.path, "/webhooks/truelayer"), sent)
			if w.Code != test.status || outcome != test.outcome {
				t.Errorf("answered %d and counted %q; want %d, %q: %s", w.Code, outcome, test.status, test.outcome, w.Body)
			}
			if len(test.provider.kept) != test.kept || len(test.provider.woken) != test.wakings {
				t.Errorf("stored %d, woke %v; want %d and %d", len(test.provider.kept), test.provider.woken, test.kept, test.wakings)
			}
			for _, kept := range test.provider.kept {
				if kept != sent {
					t.Error("stored other bytes than were sent")
				}
			}
			for _, woken := range test.provider.woken {
				if woken != "payout p1 i1" {
					t.Errorf("woke %q", woken)
				}
			}
		})
	}
}

// The log says once that it is not authentic, and why.
func TestWebhookNotAuthenticIsLogged(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	door := httpapi.NewWebhooks(httpapi.WebhookOptions{Logger: zap.New(core), Verify: func(context.Context, string, string, http.Header, []byte) (payout.News, error) {
		return payout.News{}, fmt.Errorf("%w: %w: Tl-Signature: is missing", httpapi.ErrNotAuthentic, truelayer.ErrNotAuthentic)
	}})
	door.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/webhooks/truelayer", strings.NewReader("{}")))
	if entries := logs.All(); len(entries) != 1 || entries[0].Message != "webhook not authentic" || entries[0].ContextMap()["error"] != "verify webhook: not authentic: Tl-Signature: is missing" {
		t.Errorf("logged %+v", entries)
	}
}
