package app

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"database/sql"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"
	"go.uber.org/zap"

	"payouts/activities"
	"payouts/internal/httpapi"
	"payouts/internal/ledger"
	"payouts/internal/payout"
	"payouts/internal/simulator"
	"payouts/internal/truelayer"
	"payouts/workflows"
)

// storm is the world of one case. Only one thing happens at a time, in an order
// that follows from the script alone, so that a seed replays.
type storm struct {
	t      tester
	script script
	env    *testsuite.TestWorkflowEnvironment
	ahead  atomic.Int64 // how far the clock jumped, beyond the environment's
	sim    *simulator.Simulator
	office office
	books  *ledger.Ledger
	rows   *sql.DB // the same file, to look at
	parts  activities.Payouts
	sweeps activities.Sweeper

	clientOptions truelayer.Options
	client        *truelayer.Client
	gateway       *httptest.Server

	payouts []*followed
	open    map[string]*oneRun // by workflow id
	runs    []*oneRun          // all there ever were
	begun   []*oneRun          // that the host is to begin
	hosting workflow.Context
	work    *work // what runs now
	frozen  []*work
	lookAt  time.Time // when the simulator is looked at next
	calm    time.Time // since then; zero: not yet
	done    bool
	wrong   []string
	story   []line

	mu    sync.Mutex
	wakes []payout.Stored // news that was stored and whose run is to be woken
}

// tester is a test, or one case of a property.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
	Cleanup(func())
}

// followed is one payout of the script.
type followed struct {
	life
	n       int
	kind    payout.Kind
	id      payout.ID
	amount  int64
	points  int                  // places passed where an accident may happen
	letters int                  // events that the provider sent
	lives   int                  // runs begun
	told    map[string]time.Time // provider id and type of an event → when the last one of those that we took was sent
}

const (
	stormPlayer = "ada"
	stormCaller = "game"
	stormCredit = 100_000
	stormLasts  = 4 * 24 * time.Hour
)

var stormBegan = time.Date(2024, 1, 8, 9, 0, 0, 0, time.UTC)

// stormTiming is the shipped one, but for polls that are rarer, since weeks are
// long, and for keys that are forgotten sooner, since an hour of sending again
// and again shows what four would.
func stormTiming() payout.Timing {
	t := payout.DefaultTiming()
	t.PollMax = 6 * time.Hour
	t.KeyWindow, t.KeyLife = 50*time.Minute, 2*time.Hour
	return t
}

// brew builds the world of a script. spoil breaks it, to see that the judge
// notices.
func brew(t tester, sc script, spoil ...func(*storm)) *storm {
	t.Helper()
	s := &storm{t: t, script: sc, open: map[string]*oneRun{}}
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	s.env = suite.NewTestWorkflowEnvironment()
	s.env.SetStartTime(stormBegan)
	s.env.SetTestTimeout(time.Minute)
	s.env.SetWorkflowRunTimeout(1000 * 24 * time.Hour)
	s.openProvider()
	s.openBooks()
	s.openDoor()
	s.parts.Ledger, s.parts.Provider = &shakyBooks{Ledger: s.books, s: s}, &shakyProvider{s: s}
	s.sweeps = activities.Sweeper{Ledger: s.books, Runs: s, Log: zap.NewNop()}
	for _, change := range spoil {
		change(s)
	}
	return s
}

func (s *storm) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%v", err)
	}
}

func (s *storm) openProvider() {
	private, public := signingKey()
	balance, remembers := int64(opening), stormTiming().KeyLife // a later resend pays twice
	if s.script.Shortage > 0 {
		balance = 0
	}
	if s.script.Forgets {
		remembers = time.Millisecond
	}
	var err error
	s.sim, err = simulator.New(simulator.Options{
		ClientID: "client", ClientSecret: "secret", ClientKeys: map[string]string{signingKID: string(public)},
		MerchantAccounts: []simulator.MerchantAccount{{ID: merchantAccount, Currency: "GBP", OpeningBalanceInMinor: balance}},
		Settings:         simulator.Settings{KeyLife: simulator.Duration(remembers), PageSize: 3},
		Clock:            simulator.FrozenClock{At: stormBegan}, JournalLimit: 100_000, WebhookKey: webhookKey(),
	})
	s.must(err)
	api, mail := httptest.NewServer(s.sim.Handler()), httptest.NewServer(&s.office)
	s.t.Cleanup(api.Close)
	s.t.Cleanup(mail.Close)
	s.t.Cleanup(func() { _ = s.sim.Close() })
	s.must(s.sim.Configure(func(g *simulator.Settings) { g.PublicURL, g.WebhookURL = api.URL, mail.URL+httpapi.WebhookPath }))
	s.clientOptions = truelayer.Options{
		APIURL: api.URL, AuthURL: api.URL, JWKSURL: api.URL + "/.well-known/jwks", ClientID: "client", ClientSecret: "secret",
		SigningKeyPEM: private, SigningKID: signingKID, HTTPTimeout: long, RPS: 10_000, Now: s.now,
	}
	s.restart()
}

var webhookKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
})

// restart is another process with the same configuration: its budget of calls
// is full, and it knows no token.
func (s *storm) restart() {
	client, err := truelayer.New(s.clientOptions)
	s.must(err)
	s.client = client
}

func (s *storm) openBooks() {
	dir, err := os.MkdirTemp(inMemory(), "storm")
	s.must(err)
	s.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "books.db")
	s.must(os.WriteFile(file, emptyBooks(), 0o600))
	s.books, err = ledger.Open(context.Background(), ledger.Options{URL: "sqlite:" + file, Seal: stormSeal(), Encode: truelayer.Body, Timing: stormTiming(), Now: s.now})
	s.must(err)
	s.t.Cleanup(func() { _ = s.books.Close() })
	s.rows, err = sql.Open("sqlite", "file:"+file+"?_pragma=query_only(1)&_pragma=busy_timeout(10000)")
	s.must(err)
	s.t.Cleanup(func() { _ = s.rows.Close() })
}

// emptyBooks is a new database, made once: its migrations would take most of a
// case.
var emptyBooks = sync.OnceValue(func() []byte {
	dir, err := os.MkdirTemp("", "storm")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "books.db")
	books, err := ledger.Open(context.Background(), ledger.Options{URL: "sqlite:" + file, Seal: stormSeal(), Encode: truelayer.Body})
	if err != nil {
		panic(err)
	}
	if err := books.Close(); err != nil {
		panic(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	return data
})

// inMemory is a folder whose disk never makes anybody wait, where there is one:
// no case cuts the power.
func inMemory() string {
	if dir, err := os.Stat("/dev/shm"); err == nil && dir.IsDir() {
		return "/dev/shm"
	}
	return ""
}

func stormSeal() *ledger.Seal {
	seal, err := ledger.ReadSeal(strings.NewReader("one AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"))
	if err != nil {
		panic(err)
	}
	return seal
}

// now is the one clock of all.
func (s *storm) now() time.Time { return s.env.Now().Add(time.Duration(s.ahead.Load())) }

// after does something d from now, when the simulator has come up to then.
func (s *storm) after(d time.Duration, do func()) {
	s.env.RegisterDelayedCallback(func() {
		if s.done {
			return
		}
		s.follow()
		do()
		s.wakeUp()
	}, max(d, least))
}

// least is what anything takes in virtual time.
const least = 10 * time.Millisecond

// follow brings the simulator to our time, takes what it sent to the post
// office, and sees to it that it is looked at when its next thing happens.
func (s *storm) follow() {
	s.sim.Advance(s.now().Sub(s.sim.Now()))
	s.collect()
	var next time.Time
	for _, t := range s.transfers() {
		if len(t.Plan) > 0 && (next.IsZero() || t.NextAt.Before(next)) {
			next = t.NextAt
		}
	}
	if next.IsZero() || s.lookAt.After(s.now()) && !s.lookAt.After(next) {
		return
	}
	s.lookAt = next
	s.after(next.Sub(s.now()), func() {})
}

// transfers are all payouts and refunds at the provider, as they truly are.
func (s *storm) transfers() []simulator.Transfer { return append(s.sim.Payouts(), s.sim.Refunds()...) }

func (s *storm) payout(id payout.ID) *followed {
	for _, p := range s.payouts {
		if p.id == id {
			return p
		}
	}
	return nil
}

// blow lets it all happen.
func (s *storm) blow() {
	s.env.SetWorkerOptions(s.worker())
	s.env.RegisterWorkflowWithOptions(s.host, workflow.RegisterOptions{Name: "storm"})
	_, _, err := s.books.Credit(context.Background(), payout.Movement{Caller: stormCaller, IdempotencyKey: "won", PlayerID: stormPlayer,
		Money: payout.Money{Minor: stormCredit, Currency: "GBP"}, Reason: "won"})
	s.must(err)
	for n, l := range s.script.Payouts {
		s.after(l.Begins+time.Duration(n)*3*least, func() { s.accept(n, l) })
	}
	for _, j := range s.script.Jumps {
		s.after(j.At, func() { s.jump(j.By) })
	}
	for _, w := range s.script.Weather {
		s.after(w.At, func() { s.suffer(w) })
	}
	for _, c := range s.script.Claims {
		s.after(c.At, func() { s.claim(c) })
	}
	for _, h := range s.script.Desk {
		s.after(h.At, func() { s.decide(h) })
	}
	for _, c := range s.script.Changes {
		s.after(c.At, func() { s.change(c.What) })
	}
	if s.script.Shortage > 0 {
		s.after(s.script.Shortage, s.topUp)
	}
	s.sweepAgain(time.Minute)
	s.after(stormLasts, s.calmDown)
	s.env.ExecuteWorkflow("storm")
	for _, w := range s.frozen {
		w.stop()
	}
	if err := s.env.GetWorkflowError(); err != nil {
		s.blame("the storm itself ended with %v", err)
	}
}

// accept takes a payout on, as the starter does.
func (s *storm) accept(n int, l life) {
	ctx := context.Background()
	p := &followed{life: l, n: n, kind: payout.KindPayout, amount: int64(1000*(n+1) + n), told: map[string]time.Time{}}
	key, money, reference := fmt.Sprint("key-", n), payout.Money{Minor: p.amount, Currency: "GBP"}, fmt.Sprint("WIN ", n)
	asked := payout.Request{Caller: stormCaller, IdempotencyKey: key, PlayerID: stormPlayer, Money: money,
		Beneficiary: payout.Beneficiary{UserID: "user", PaymentSourceID: fmt.Sprint("source-", n), Reference: reference}}
	back := payout.RefundRequest{Caller: stormCaller, IdempotencyKey: key, PlayerID: stormPlayer, Money: money, Reference: reference}
	if p.id = asked.ID(); l.Refund {
		p.id, p.kind = back.ID(), payout.KindRefund
	}
	s.payouts = append(s.payouts, p)
	for a, rule := range l.Attempts {
		rule.Match = simulator.Match{IdempotencyKey: payout.Key(p.id, a+1)}
		if c := rule.Create; c != nil && strings.HasSuffix(c.Kind, simulator.AnswerTimeout) {
			c.For = simulator.Duration(time.Millisecond) // of real time: nobody waits for it
		}
		if s.script.Forgets {
			rule.Times = 2 // it binds each send anew, and each makes another payout
		}
		_, err := s.sim.Script(rule)
		s.must(err)
	}
	if l.Refund {
		paid, err := s.sim.AddPayIn(simulator.PayIn{Currency: "GBP", AmountInMinor: p.amount, NoWebhook: true})
		s.must(err)
		back.PaymentID = paid.ID
		_, _, err = s.books.AcceptRefund(ctx, back, merchantAccount)
		s.must(err)
	} else {
		_, _, err := s.books.Accept(ctx, asked, merchantAccount, true)
		s.must(err)
	}
	s.must(s.Start(ctx, payout.Due{ID: p.id, Kind: p.kind, Status: payout.StatusAccepted}))
	if l.Twin {
		s.start("twin/"+string(p.id), p, lifeOf(p.kind))
	}
}

func lifeOf(kind payout.Kind) func(workflow.Context, workflows.Input) (workflows.Outcome, error) {
	if kind == payout.KindRefund {
		return workflows.Refund
	}
	return workflows.Payout
}

// Start begins a run unless one is open, as workflows.Client does.
func (s *storm) Start(_ context.Context, d payout.Due) error {
	if d.Late() {
		s.start(workflows.LateID(d.Kind, d.ID), s.payout(d.ID), workflows.LateWord)
	} else {
		s.start(workflows.ID(d.Kind, d.ID), s.payout(d.ID), lifeOf(d.Kind))
	}
	return nil
}

// Wake notes whom to wake: the door calls it on a goroutine of its own.
func (s *storm) Wake(_ context.Context, w payout.Stored) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakes = append(s.wakes, w)
	return nil
}

// wakeUp sends the signals that are due, as workflows.Client does.
func (s *storm) wakeUp() {
	s.mu.Lock()
	wakes := s.wakes
	s.wakes = nil
	s.mu.Unlock()
	for _, w := range wakes {
		id := workflows.ID(w.Kind, w.PayoutID)
		if w.Late {
			id = workflows.LateID(w.Kind, w.PayoutID)
		}
		if run := s.open[id]; run != nil {
			run.signals++
			run.news.SendAsync(workflows.News{InboxID: w.InboxID})
		} else {
			s.tell("nobody to wake about %s", s.name(w.PayoutID))
		}
	}
}

// start has the host begin a run, unless one is open.
func (s *storm) start(id string, p *followed, of func(workflow.Context, workflows.Input) (workflows.Outcome, error)) {
	if s.open[id] != nil {
		return
	}
	run := &oneRun{id: id, payout: p, of: of, news: workflow.NewBufferedChannel(s.hosting, 100_000)}
	s.open[id] = run
	s.runs, s.begun = append(s.runs, run), append(s.begun, run)
	s.tell("P%d: a run begins: %s", p.n+1, strings.TrimSuffix(id, string(p.id)))
	if p.lives < len(p.Runs) && s.calm.IsZero() {
		s.after(p.Runs[p.lives], func() { s.kill(run) })
	}
	p.lives++
}

func (s *storm) kill(run *oneRun) {
	if s.open[run.id] == run {
		s.tell("P%d: its run is killed", run.payout.n+1)
		run.killed = true
		delete(s.open, run.id)
	}
}

// host is the one workflow of the test environment: all runs are coroutines of
// it.
func (s *storm) host(ctx workflow.Context) error {
	s.hosting = ctx
	for {
		if err := workflow.Await(ctx, func() bool { return s.done || len(s.begun) > 0 }); err != nil || s.done {
			return err
		}
		run := s.begun[0]
		s.begun = s.begun[1:]
		workflow.Go(workflow.WithValue(ctx, runKey{}, run), func(ctx workflow.Context) {
			_, err := run.of(ctx, workflows.Input{PayoutID: run.payout.id, Kind: run.payout.kind})
			delete(s.open, run.id)
			s.tell("P%d: its run is over", run.payout.n+1)
			if err != nil {
				s.blame("P%d: its run ended with %s", run.payout.n+1, plain(err))
			}
		})
	}
}

func (s *storm) jump(by time.Duration) {
	s.ahead.Add(int64(by))
	s.tell("the clock jumped %s ahead", by)
	s.follow()
}

// suffer is a fault of the whole provider.
func (s *storm) suffer(w spell) {
	id, err := s.sim.AddFault(w.Fault)
	s.must(err)
	s.tell("%s: %s %d", w.Fault.Path, w.Fault.Answer.Kind, w.Fault.Answer.Status)
	s.after(w.For, func() { s.sim.RemoveFaults(id); s.tell("%s is well again", w.Fault.Path) })
}

func (s *storm) change(what string) {
	s.tell("%s", what)
	switch what {
	case rotates:
		_, err := s.sim.RotateWebhookKey(false)
		s.must(err)
	case revokes:
		s.sim.RevokeTokens()
	}
}

func (s *storm) topUp() {
	s.must(s.sim.TopUp(merchantAccount, opening))
	s.tell("money is put into the merchant account")
}

// sweepAgain sweeps after a while, and then more and more rarely: an outage of
// the sweeper is an accident like any other.
func (s *storm) sweepAgain(in time.Duration) {
	s.after(in, func() {
		s.sweep()
		s.sweepAgain(min(in*3/2, 5*time.Hour))
	})
}

func (s *storm) sweep() {
	done, err := s.sweeps.Sweep(context.Background())
	if err != nil {
		s.blame("sweep: %v", err)
	}
	if done != (activities.Swept{}) {
		s.tell("swept: %+v", done)
	}
}

// lateSoon is what the worker does each second.
func (s *storm) lateSoon() {
	s.after(time.Second, func() {
		if _, err := activities.StartLateWord(context.Background(), &s.sweeps); err != nil {
			s.blame("start late word: %v", err)
		}
	})
}

// calmDown ends all faults and lets weeks pass.
func (s *storm) calmDown() {
	s.calm = s.now()
	s.tell("calm")
	s.sim.RemoveFaults()
	s.sim.RemoveRules() // what follows one goes on following it
	s.restart()
	s.sweep()
	s.sweepAgain(time.Minute)
	at := 60 * time.Hour
	for range 3 {
		s.after(at, func() { s.jump(12 * 24 * time.Hour); s.sweep() })
		at += 8 * time.Hour
	}
	s.after(at, func() {
		s.judge()
		s.done = true
	})
}

// tell notes what happens, for the reader of a failure.
func (s *storm) tell(format string, args ...any) {
	s.story = append(s.story, line{s.now().Sub(stormBegan), fmt.Sprintf(format, args...)})
}

func (s *storm) blame(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.tell("WRONG: %s", text)
	s.wrong = append(s.wrong, text)
}

type line struct {
	at   time.Duration
	text string
}

// told is the story, without what only goes on.
func (s *storm) told() string {
	var b strings.Builder
	for n, l := range s.story {
		same := func(before line) bool {
			return sendNumber.ReplaceAllString(before.text, "") == sendNumber.ReplaceAllString(l.text, "")
		}
		if slices.ContainsFunc(s.story[max(n-5, 0):n], same) {
			continue
		}
		fmt.Fprintf(&b, "%3dd %-13s %s\n", int(l.at/(24*time.Hour)), (l.at % (24 * time.Hour)).Round(time.Millisecond), l.text)
	}
	return b.String()
}

var sendNumber = regexp.MustCompile(`send [0-9]+`)

func (s *storm) name(id payout.ID) string {
	if p := s.payout(id); p != nil {
		return fmt.Sprint("P", p.n+1)
	}
	return "nobody's"
}
