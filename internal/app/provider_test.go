package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
	"payouts/internal/simulator"
	"payouts/internal/truelayer"
)

// The tests in provider_*_test.go try the real client and the real webhook
// door against the simulator, over HTTP, through every fault that it can be
// told to commit. They judge by what the client says, by the time it took, and
// by the simulator's journal: what truly came to be. They stand here because
// this is the only room that sees both sides of the wire.

const (
	merchantAccount = "a61acaef-ee05-4077-92f3-25543a11bd8d"
	opening         = 1_000_000 // minor units on the merchant account at first
	signingKID      = "5f3f3c1e-9a0b-4a52-8d0e-2f6f7f0a9c11"

	soon = 600 * time.Millisecond // the deadline of a sending that is meant to miss it
	long = 10 * time.Second       // the deadline of one that is not
	// slack is what a busy machine may add to a deadline. A call that does not
	// keep it hangs for ever or until its other limit, far beyond.
	slack = 3 * time.Second
)

var signingKey = sync.OnceValues(func() (private, public []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		panic(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub})
})

// stage is the simulator on a socket, our client, and our webhook door.
type stage struct {
	t       *testing.T
	sim     *simulator.Simulator
	options truelayer.Options
	client  *truelayer.Client
	door    *door
}

// onStage opens one whose time moves by sim.Advance only.
func onStage(t *testing.T, change ...func(*simulator.Options)) *stage {
	t.Helper()
	private, public := signingKey()
	o := simulator.Options{
		ClientID: "client", ClientSecret: "secret", ClientKeys: map[string]string{signingKID: string(public)},
		MerchantAccounts: []simulator.MerchantAccount{{ID: merchantAccount, Currency: "GBP", OpeningBalanceInMinor: opening}},
		Clock:            simulator.FrozenClock{At: time.Now()},
	}
	for _, c := range change {
		c(&o)
	}
	sim, err := simulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(func() { _ = sim.Close() }) // first: it lets go of held requests
	s := &stage{t: t, sim: sim, options: truelayer.Options{
		APIURL: server.URL, AuthURL: server.URL, JWKSURL: server.URL + "/.well-known/jwks", ClientID: "client", ClientSecret: "secret",
		SigningKeyPEM: private, SigningKID: signingKID, HTTPTimeout: long, RPS: 10_000,
	}}
	s.restart()
	s.door = newDoor(t, s.options.JWKSURL)
	s.set(func(g *simulator.Settings) { g.PublicURL, g.WebhookURL = server.URL, s.door.url })
	return s
}

// restart is another process with the same configuration: nothing is cached,
// and its rate budget is full.
func (s *stage) restart() {
	s.t.Helper()
	client, err := truelayer.New(s.options)
	if err != nil {
		s.t.Fatal(err)
	}
	s.client = client
}

// restartWith is one with another limit of time for a call.
func (s *stage) restartWith(timeout time.Duration) {
	s.t.Helper()
	s.options.HTTPTimeout = timeout
	s.restart()
}

func (s *stage) set(change func(*simulator.Settings)) {
	s.t.Helper()
	if err := s.sim.Configure(change); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) script(r simulator.Rule) {
	s.t.Helper()
	if _, err := s.sim.Script(r); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) fault(f simulator.Fault) {
	s.t.Helper()
	if _, err := s.sim.AddFault(f); err != nil {
		s.t.Fatal(err)
	}
}

// newIntent is a payout that we want.
func newIntent() payout.Intent {
	return payout.Intent{
		ID: payout.NewID(payout.KindPayout, "test", uuid.NewString()), Attempt: 1, Money: payout.Money{Minor: 1000, Currency: "GBP"},
		MerchantAccountID: merchantAccount, UserID: "57e9ae89-01fd-4779-8775-5b7de9a85a64",
		PaymentSourceID: uuid.NewString(), Reference: "Payout0001",
	}
}

// sendOf is the one key and the exact bytes of an intent.
func (s *stage) sendOf(in payout.Intent) payout.Send {
	s.t.Helper()
	body, err := truelayer.CreateBody(in, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return payout.Send{PayoutID: in.ID, Kind: payout.KindPayout, Attempt: in.Attempt, Number: 1, Key: payout.Key(in.ID, in.Attempt), Body: body}
}

// wish is a payout or a refund that we want, and what asks for it.
func (s *stage) wish(kind payout.Kind) (payout.Intent, payout.Send) {
	s.t.Helper()
	in := newIntent()
	if kind == payout.KindPayout {
		return in, s.sendOf(in)
	}
	paid, err := s.sim.AddPayIn(simulator.PayIn{Currency: "GBP", AmountInMinor: 5 * in.Money.Minor, NoWebhook: true})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.refundOf(paid.ID)
}

// refundOf asks for a part of a pay-in back.
func (s *stage) refundOf(paymentID string) (payout.Intent, payout.Send) {
	s.t.Helper()
	in := newIntent()
	in.ID = payout.NewID(payout.KindRefund, "test", uuid.NewString())
	body, err := truelayer.RefundBody(in, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return in, payout.Send{
		PayoutID: in.ID, Kind: payout.KindRefund, Attempt: in.Attempt, Number: 1, Key: payout.Key(in.ID, in.Attempt), Body: body, PaymentID: paymentID,
	}
}

// create makes one sending with a token as the worker would, and sees to it
// that the deadline is kept.
func (s *stage) create(send payout.Send, within time.Duration) payout.Created {
	s.t.Helper()
	token, err := s.client.Token(s.t.Context())
	if err != nil {
		s.t.Fatalf("token: %v", err)
	}
	return s.createWith(token, send, within)
}

func (s *stage) createWith(token payout.Token, send payout.Send, within time.Duration) payout.Created {
	s.t.Helper()
	began := time.Now()
	send.Deadline = began.Add(within)
	ask := s.client.CreatePayout
	if send.Kind == payout.KindRefund {
		ask = s.client.CreateRefund
	}
	got := ask(s.t.Context(), token, send)
	if late := time.Since(send.Deadline); late > slack {
		s.t.Errorf("the answer came %s after the deadline", late)
	}
	switch {
	case (got.Answer == payout.AnswerCreated) != (got.ProviderID != ""):
		s.t.Errorf("%s with id %q", got.Answer, got.ProviderID)
	case (got.Answer == payout.AnswerCreated) != (got.Err == nil):
		s.t.Errorf("%s with error %v", got.Answer, got.Err)
	case (got.Answer == payout.AnswerRefused) != (got.Reason != ""):
		s.t.Errorf("%s with reason %q", got.Answer, got.Reason)
	}
	return got
}

// pay creates a payout that nothing stands in the way of.
func (s *stage) pay() (payout.Intent, string) {
	s.t.Helper()
	in := newIntent()
	got := s.create(s.sendOf(in), long)
	if got.Answer != payout.AnswerCreated {
		s.t.Fatalf("create: %s: %v", got.Answer, got.Err)
	}
	in.ProviderID = got.ProviderID
	return in, got.ProviderID
}

// word asks what became of a payout.
func (s *stage) word(id string) payout.Word {
	s.t.Helper()
	w, err := s.client.GetPayout(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

// wordOf asks what became of what a sending asked for.
func (s *stage) wordOf(send payout.Send, id string) payout.Word {
	s.t.Helper()
	if send.Kind == payout.KindPayout {
		return s.word(id)
	}
	w, err := s.client.GetRefund(s.t.Context(), send.PaymentID, id)
	if err != nil {
		s.t.Fatal(err)
	}
	return w
}

// truth counts what truly happened under a key.
type truth struct{ posts, exist, executed, failed, returned int }

func (s *stage) truth(key string) (n truth) {
	j := s.sim.Journal()
	for _, r := range j.Requests {
		if r.Method == http.MethodPost && r.IdempotencyKey == key {
			n.posts++
		}
	}
	for _, m := range j.Money {
		if m.IdempotencyKey != key {
			continue
		}
		switch m.Kind {
		case simulator.FactAccepted:
			n.exist++
		case simulator.FactExecuted:
			n.executed++
		case simulator.FactFailed:
			n.failed++
		case simulator.FactReturned:
			n.returned++
		}
	}
	return n
}

// asked counts the requests that came for a path.
func (s *stage) asked(path string) (n int) {
	for _, r := range s.sim.Journal().Requests {
		if r.Path == path {
			n++
		}
	}
	return n
}

// until waits for a level, with a limit.
func (s *stage) until(what string, reached func() bool) {
	s.t.Helper()
	for end := time.Now().Add(long); !reached(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// door is our webhook door with a shelf behind it instead of the books.
type door struct {
	url string

	mu       sync.Mutex
	verdicts []error       // of every event that came, in order
	shelf    []payout.News // of every event once, in order of arrival
	repeats  int
	full     int // so many events cannot be stored
}

func newDoor(t *testing.T, jwksURL string, change ...func(*truelayer.VerifierOptions)) *door {
	t.Helper()
	o := truelayer.VerifierOptions{
		JWKSURL: jwksURL, RefetchAfter: time.Nanosecond, // so that no test waits for it
		Client: &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
	for _, c := range change {
		c(&o)
	}
	verifier, err := truelayer.NewVerifier(o)
	if err != nil {
		t.Fatal(err)
	}
	d := &door{}
	judge := verify(verifier)
	server := httptest.NewServer(httpapi.NewWebhooks(httpapi.WebhookOptions{
		Verify: func(ctx context.Context, method, target string, header http.Header, body []byte) (payout.News, error) {
			news, err := judge(ctx, method, target, header, body)
			d.mu.Lock()
			defer d.mu.Unlock()
			d.verdicts = append(d.verdicts, err)
			return news, err
		},
		Store: d.store, Logger: zap.NewNop(),
		Wake: func(context.Context, payout.Stored) error { return nil },
	}))
	t.Cleanup(server.Close)
	d.url = server.URL + httpapi.WebhookPath
	return d
}

func (d *door) store(_ context.Context, n payout.News) (payout.Stored, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.full > 0 {
		d.full--
		return payout.Stored{}, errors.New("the shelf is full")
	}
	for _, have := range d.shelf {
		if have.EventID == n.EventID {
			d.repeats++
			return payout.Stored{Repeat: true}, nil
		}
	}
	d.shelf = append(d.shelf, n)
	return payout.Stored{}, nil
}

// news is what was stored, in order of arrival.
func (d *door) news() []payout.News {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]payout.News(nil), d.shelf...)
}

// judged is the verdict on every event that came.
func (d *door) judged() []error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]error(nil), d.verdicts...)
}

func (d *door) repeated() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.repeats
}
