package simulator

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// Journal is the ground truth: what was received and answered, what was sent,
// and what truly happened to money. All entries share one numbering.
type Journal struct {
	Now      time.Time      `json:"now"`
	Requests []Request      `json:"requests"`
	Money    []MoneyFact    `json:"money"`
	Webhooks []DeliveryTry  `json:"webhooks"`
	Dropped  map[string]int `json:"dropped"` // older requests and webhook tries no longer kept, by list
}

// Request is a call received on the API (not the control API).
type Request struct {
	Seq            uint64    `json:"seq"`
	At             time.Time `json:"at"`
	Method         string    `json:"method"`
	Path           string    `json:"path"`
	Query          string    `json:"query,omitempty"`
	IdempotencyKey string    `json:"idempotency_key,omitempty"`
	Body           string    `json:"body,omitempty"` // not of the token call, which holds a secret
	BodySHA256     string    `json:"body_sha256,omitempty"`
	TraceID        string    `json:"trace_id"`

	Header http.Header `json:"header"` // without Authorization, which is a secret

	Status     int    `json:"status"` // 0: no answer (yet)
	Answer     string `json:"answer,omitempty"`
	Shape      string `json:"shape,omitempty"`       // kind of scripted answer
	TransferID string `json:"transfer_id,omitempty"` // payout or refund it made or replayed
	Why        string `json:"why,omitempty"`         // what was wrong, for people
	Done       bool   `json:"done"`
}

// Kinds of money facts. Amounts are positive; in and out say which way.
const (
	FactPayIn    = "pay_in"   // in: a player's pay-in settled
	FactTopUp    = "top_up"   // in: money from outside
	FactSweep    = "sweep"    // out: money taken out by the merchant
	FactAccepted = "accepted" // no move: a payout or refund exists from now on
	FactExecuted = "executed" // out: its money left
	FactFailed   = "failed"   // no move: it ended before its money left
	FactReturned = "returned" // in: its money came back
)

// MoneyFact is something that truly happened, whatever anyone was told.
type MoneyFact struct {
	Seq               uint64            `json:"seq"`
	At                time.Time         `json:"at"`
	Kind              string            `json:"kind"`
	TransferKind      string            `json:"transfer_kind,omitempty"` // payout or refund
	TransferID        string            `json:"transfer_id,omitempty"`
	PaymentID         string            `json:"payment_id,omitempty"`
	IdempotencyKey    string            `json:"idempotency_key,omitempty"`
	MerchantAccountID string            `json:"merchant_account_id"`
	AmountInMinor     int64             `json:"amount_in_minor"`
	Currency          string            `json:"currency"`
	Reason            string            `json:"reason,omitempty"`
	Metadata          map[string]string `json:"metadata,omitempty"`
	BalanceInMinor    int64             `json:"balance_in_minor"` // current balance afterwards
}

// DeliveryTry is one try to deliver an event, or word that it was lost.
type DeliveryTry struct {
	Seq        uint64    `json:"seq"`
	At         time.Time `json:"at"`
	EventID    string    `json:"event_id"`
	Type       string    `json:"type"`
	TransferID string    `json:"transfer_id,omitempty"`
	Try        int       `json:"try"` // from 1; 0: lost, never sent
	URL        string    `json:"url,omitempty"`
	Body       string    `json:"body"`
	Sign       string    `json:"sign,omitempty"`
	Status     int       `json:"status,omitempty"` // 0: no answer
	Err        string    `json:"err,omitempty"`
}

// journal has its own lock, taken after the simulator's where both are needed.
type journal struct {
	mu       sync.Mutex
	limit    int
	seq      uint64
	requests []*Request
	money    []MoneyFact
	webhooks []DeliveryTry
	dropped  map[string]int
}

func newJournal(limit int) *journal {
	return &journal{limit: limit, dropped: map[string]int{}}
}

// Journal returns a copy of all that is remembered.
func (s *Simulator) Journal() Journal { return s.JournalSince(0) }

// JournalSince returns the entries numbered after seq.
func (s *Simulator) JournalSince(seq uint64) Journal {
	now := s.Now()
	j := s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	out := Journal{Now: now, Requests: []Request{}, Money: []MoneyFact{}, Webhooks: []DeliveryTry{}, Dropped: map[string]int{}}
	for _, r := range j.requests {
		if r.Seq > seq {
			out.Requests = append(out.Requests, *r)
		}
	}
	for _, m := range j.money {
		if m.Seq > seq {
			out.Money = append(out.Money, m)
		}
	}
	for _, d := range j.webhooks {
		if d.Seq > seq {
			out.Webhooks = append(out.Webhooks, d)
		}
	}
	for k, n := range j.dropped {
		out.Dropped[k] = n
	}
	return out
}

// MoneyFacts returns the money facts of one kind, or all when kind is empty.
func (s *Simulator) MoneyFacts(kind string) []MoneyFact {
	j := s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []MoneyFact
	for _, m := range j.money {
		if kind == "" || m.Kind == kind {
			out = append(out, m)
		}
	}
	return out
}

func (j *journal) arrive(r *Request) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	r.Seq = j.seq
	j.requests = append(j.requests, r)
	if len(j.requests) > j.limit+j.limit/10 { // in batches, not one by one
		n := len(j.requests) - j.limit
		j.requests = slices.Clone(j.requests[n:])
		j.dropped["requests"] += n
	}
}

// amend changes a request that is already in the journal.
func (j *journal) amend(change func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change()
}

func (j *journal) fact(m MoneyFact) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	m.Seq = j.seq
	j.money = append(j.money, m)
}

func (j *journal) tried(d DeliveryTry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	d.Seq = j.seq
	j.webhooks = append(j.webhooks, d)
	if len(j.webhooks) > j.limit+j.limit/10 {
		n := len(j.webhooks) - j.limit
		j.webhooks = slices.Clone(j.webhooks[n:])
		j.dropped["webhooks"] += n
	}
}
