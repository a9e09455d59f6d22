package app

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
	"payouts/internal/simulator"
	"payouts/internal/truelayer"
)

// office is where the provider's events arrive: it answers 200 to all, and
// carries them to our door as their fates have it.
type office struct {
	mu      sync.Mutex
	letters []*letter
}

type letter struct {
	path   string
	header http.Header
	body   []byte
	sent   time.Time // on our clock, about
	say    struct {
		Type     string `json:"type"`
		PayoutID string `json:"payout_id"`
		RefundID string `json:"refund_id"`
		Executed string `json:"executed_at"`
		Failed   string `json:"failed_at"`
		Metadata struct {
			PayoutID payout.ID `json:"payout_id"`
			Attempt  string    `json:"attempt"`
		} `json:"metadata"`
	}
}

func (o *office) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l := &letter{path: r.RequestURI, header: r.Header.Clone()}
	l.body, _ = io.ReadAll(r.Body)
	_ = json.Unmarshal(l.body, &l.say)
	o.mu.Lock()
	o.letters = append(o.letters, l)
	o.mu.Unlock()
	w.WriteHeader(http.StatusOK)
}

// openDoor opens the real webhook door on the real books.
func (s *storm) openDoor() {
	verifier, err := truelayer.NewVerifier(truelayer.VerifierOptions{JWKSURL: s.clientOptions.JWKSURL, Now: s.now})
	s.must(err)
	s.gateway = httptest.NewServer(httpapi.NewWebhooks(httpapi.WebhookOptions{Verify: verify(verifier), Store: s.books.StoreNews, Wake: s.Wake, Logger: zap.NewNop()}))
	s.t.Cleanup(s.gateway.Close)
}

// collect waits until all that was sent is here, and puts it on its way in an
// order that is the same each time.
func (s *storm) collect() {
	for end := time.Now().Add(long); s.sim.PendingWebhooks() > 0; time.Sleep(20 * time.Microsecond) {
		if time.Now().After(end) {
			s.t.Fatalf("the provider's events do not arrive")
		}
	}
	s.office.mu.Lock()
	letters := s.office.letters
	s.office.letters = nil
	s.office.mu.Unlock()
	slices.SortStableFunc(letters, func(a, b *letter) int {
		return cmp.Or(cmp.Compare(a.say.Executed+a.say.Failed, b.say.Executed+b.say.Failed), cmp.Compare(a.say.Metadata.PayoutID, b.say.Metadata.PayoutID),
			cmp.Compare(a.say.Metadata.Attempt, b.say.Metadata.Attempt), cmp.Compare(a.say.Type, b.say.Type))
	})
	for _, l := range letters {
		l.sent = s.now()
		f := fate{After: 300 * time.Millisecond}
		if p := s.addressee(l); p != nil {
			if p.letters < len(p.Mail) && s.calm.IsZero() {
				f = p.Mail[p.letters]
			}
			p.letters++
		}
		s.tell("the provider sends %s about %s: %+v", l.say.Type, s.about(l), f)
		for copy := range 1 + f.Copies {
			if !f.Lost {
				s.after(f.After+time.Duration(copy)*7*time.Second, func() { s.deliver(l) })
			}
		}
	}
}

// addressee is the payout that an event is about, also where its metadata does
// not say so.
func (s *storm) addressee(l *letter) *followed {
	for _, t := range s.transfers() {
		for _, p := range s.payouts {
			if t.ID == l.say.PayoutID+l.say.RefundID && t.Metadata[payout.MetadataPayoutID] == string(p.id) {
				return p
			}
		}
	}
	return nil
}

func (s *storm) about(l *letter) string {
	if p := s.addressee(l); p != nil {
		return s.name(p.id)
	}
	return "nobody's"
}

// deliver carries a letter to our door, again and again until it is taken or
// called not authentic.
func (s *storm) deliver(l *letter) {
	req, err := http.NewRequest(http.MethodPost, s.gateway.URL+l.path, bytes.NewReader(l.body))
	s.must(err)
	req.Header = l.header.Clone()
	res, err := s.gateway.Client().Do(req)
	s.must(err)
	_ = res.Body.Close()
	s.tell("our door answers %d to %s about %s", res.StatusCode, l.say.Type, s.about(l))
	switch {
	case res.StatusCode == http.StatusOK:
		if p := s.addressee(l); p != nil {
			p.told[l.say.PayoutID+l.say.RefundID+" "+l.say.Type] = l.sent
		}
		s.lateSoon()
	case res.StatusCode >= 500:
		s.after(time.Minute, func() { s.deliver(l) })
	}
}

// nobodys is the provider's id of a payout that nobody here asked for.
const nobodys = "6c6b2a51-5a3c-4f5c-9d8e-0a4f6a2f9f11"

// claim sends a signed event that says what a GET may not.
func (s *storm) claim(c claim) {
	kind, id := payout.KindPayout, nobodys
	if c.Payout < len(s.payouts) {
		p := s.payouts[c.Payout]
		for _, t := range s.transfers() {
			if t.IdempotencyKey == payout.Key(p.id, 1) {
				kind, id = p.kind, t.ID
			}
		}
	}
	body := map[string]any{"type": string(kind) + "_" + c.Type, string(kind) + "_id": id}
	if c.Reason != "" {
		body["failure_reason"] = c.Reason
	}
	_, err := s.sim.SendWebhook(body, simulator.Webhook{})
	s.must(err)
	s.follow()
}
