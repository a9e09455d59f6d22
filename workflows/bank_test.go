package workflows

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"payouts/internal/payout"
)

// bank stands for the provider: it lives by a script, folds equal keys into
// one payout, and speaks when its time has come.
type bank struct {
	now    func() time.Time
	script []life // of attempt 1, 2, …; the last one is that of all further attempts
	// tell sends an event after a while; nil: no webhook ever arrives.
	tell func(after time.Duration, n payout.News)

	mu      sync.Mutex
	began   time.Time
	payouts []*bankPayout // in the order of creation
	said    map[int]int   // attempt → answers used up
	noToken bool

	cameBack []string // ids that the statement shows a return for
}

// life is what becomes of one attempt at the bank.
type life struct {
	answers []answer // to each sending, in order; none: created
	words   []word   // in the order of time; none: pending for ever
}

// answer is what a sending comes to: once, or until this long after the
// beginning.
type answer struct {
	is    string
	until time.Duration
}

const (
	created   = "created"
	lost      = "lost"       // the bank took it, its answer never arrived
	gone      = "gone"       // neither the request nor an answer arrived, and nobody can tell
	notSent   = "not sent"   // certainly not
	refused   = "refused"    // a definitive no
	keyReused = "key reused" // 422: the key is known with another body
)

// word is what the bank says of a payout from after its creation on.
type word struct {
	after  time.Duration
	status string
	reason payout.Reason
	lag    time.Duration // how much later than the event GET says so
}

type bankPayout struct {
	id, key string
	body    []byte
	letter  letter
	created time.Time
	words   []word
}

// letter is the body of a create, as the ledger keeps it.
type letter struct {
	Kind     payout.Kind  `json:"kind"`
	PayoutID payout.ID    `json:"payout_id"`
	Attempt  int          `json:"attempt"`
	Money    payout.Money `json:"money"`
}

func encode(in payout.Intent, _ map[string]string) ([]byte, error) {
	return json.Marshal(letter{in.Kind, in.ID, in.Attempt, in.Money})
}

func (b *bank) Token(context.Context) (payout.Token, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.noToken {
		return payout.Token{}, errors.New("the token endpoint does not answer")
	}
	return payout.Token{Value: "token", ExpiresAt: b.now().Add(payout.TokenLife)}, nil
}

func (b *bank) CreatePayout(_ context.Context, _ payout.Token, send payout.Send) payout.Created {
	b.mu.Lock()
	defer b.mu.Unlock()
	life := b.life(send.Attempt)
	switch is := b.answer(send.Attempt, life.answers); is {
	case created:
		return b.take(send, life)
	case lost:
		if c := b.take(send, life); c.Answer != payout.AnswerCreated {
			return c
		}
		return payout.Created{Answer: payout.AnswerUnknown, Detail: "the connection broke", Err: errors.New("connection reset")}
	case gone:
		return payout.Created{Answer: payout.AnswerUnknown, Detail: "no answer", Err: context.DeadlineExceeded}
	case notSent:
		return payout.Created{Answer: payout.AnswerNotSent, Detail: "no connection", Err: errors.New("connection refused")}
	case refused:
		return payout.Created{Answer: payout.AnswerRefused, Reason: payout.ReasonRefused, Detail: "400", Err: errors.New("invalid parameters")}
	case keyReused:
		return payout.Created{Answer: payout.AnswerUnknown, KeyReused: true, Detail: "422", Err: errors.New("idempotency key reused")}
	default:
		panic("bank: no such answer: " + is)
	}
}

// take creates the payout, or finds it by its key.
func (b *bank) take(send payout.Send, life life) payout.Created {
	for _, p := range b.payouts {
		if p.key != send.Key {
			continue
		}
		if !bytes.Equal(p.body, send.Body) {
			return payout.Created{Answer: payout.AnswerUnknown, KeyReused: true, Detail: "422"}
		}
		return payout.Created{Answer: payout.AnswerCreated, ProviderID: p.id}
	}
	p := &bankPayout{id: fmt.Sprintf("bank-%d", len(b.payouts)+1), key: send.Key, body: bytes.Clone(send.Body), created: b.now(), words: life.words}
	if err := json.Unmarshal(send.Body, &p.letter); err != nil {
		panic(err)
	}
	b.payouts = append(b.payouts, p)
	for n, w := range p.words {
		if final := w.status == payout.ProviderExecuted || w.status == payout.ProviderFailed; final && b.tell != nil {
			b.tell(w.after, p.event(fmt.Sprint(n), w))
		}
	}
	return payout.Created{Answer: payout.AnswerCreated, ProviderID: p.id}
}

// event is the bank's webhook about a word.
func (p *bankPayout) event(name string, w word) payout.News {
	return payout.News{EventID: p.id + "/" + name, Type: string(p.letter.Kind) + "_" + w.status, ProviderID: p.id, PayoutID: p.letter.PayoutID, Attempt: p.letter.Attempt,
		Status: w.status, Reason: w.reason, Body: []byte(p.id + w.status)}
}

func (b *bank) GetPayout(_ context.Context, id string) (payout.Word, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.payouts {
		if p.id != id {
			continue
		}
		now := b.now()
		said := word{status: payout.ProviderPending}
		for _, w := range p.words {
			if now.Sub(p.created) >= w.after+w.lag {
				said = w
			}
		}
		return payout.Word{ProviderID: id, Status: said.status, Reason: said.reason, Money: p.letter.Money, AskedAt: now, Raw: []byte(said.status),
			Metadata: map[string]string{payout.MetadataPayoutID: string(p.letter.PayoutID), payout.MetadataAttempt: fmt.Sprint(p.letter.Attempt)}}, nil
	}
	return payout.Word{}, payout.ErrNotFound
}

// GetRefund knows refunds of the one pay-in only, and payouts are none.
func (b *bank) GetRefund(ctx context.Context, paymentID, id string) (payout.Word, error) {
	if paymentID != payIn {
		return payout.Word{}, payout.ErrNotFound
	}
	return b.GetPayout(ctx, id)
}

func (b *bank) CreateRefund(ctx context.Context, token payout.Token, send payout.Send) payout.Created {
	if send.PaymentID != payIn {
		return payout.Created{Answer: payout.AnswerRefused, Reason: payout.ReasonRefused}
	}
	return b.CreatePayout(ctx, token, send)
}

// Look is the statement: what was executed by now, and what came back.
func (b *bank) Look(_ context.Context, look payout.Look, _ func()) (payout.Looked, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	found := payout.Looked{AskedAt: now}
	for _, p := range b.payouts {
		for _, w := range p.words {
			if at := p.created.Add(w.after + w.lag); w.status == payout.ProviderExecuted && !at.After(now) && !at.Before(look.From) {
				found.Lines = append(found.Lines, payout.Line{ProviderID: p.id, PayoutID: p.letter.PayoutID, Attempt: p.letter.Attempt, Status: w.status, Money: p.letter.Money, At: at})
			}
		}
	}
	for _, id := range b.cameBack {
		found.Lines = append(found.Lines, payout.Line{ReturnFor: id, Status: "settled", Money: amount, At: now})
	}
	return found, nil
}

func (b *bank) life(attempt int) life { return b.script[min(attempt, len(b.script))-1] }

// answer takes the next answer of an attempt's list; the last one stays.
func (b *bank) answer(attempt int, list []answer) string {
	if len(list) == 0 {
		return created
	}
	for {
		n := b.said[attempt]
		a, last := list[n], n == len(list)-1
		over := a.until > 0 && b.now().Sub(b.began) >= a.until
		if !last && (over || a.until == 0) {
			b.said[attempt]++
		}
		if last || !over {
			return a.is
		}
	}
}

// sendBack returns the first payout's money, and answers with the event.
func (b *bank) sendBack() payout.News {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.payouts[0]
	back := word{after: b.now().Sub(p.created), status: payout.ProviderFailed, reason: payout.ReasonReturned}
	p.words = append(p.words, back)
	return p.event("back", back)
}

func (b *bank) first() *bankPayout {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.payouts[0]
}

func (b *bank) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.payouts)
}
