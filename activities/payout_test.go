package activities

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"payouts/internal/payout"
)

// book stands for the ledger: one position, one error, and notes of what it
// was told.
type book struct {
	at     payout.Position // the answer of every call
	err    error           // of every call
	send   payout.Send
	asking payout.Asking
	closed payout.Created // the answer that was kept
	keptBy context.Context
	judged []payout.Asked
	calls  int // of Judge and TryAgain
	looked bool
	// applied counts the news that was applied.
	applied int
	shut    time.Time // what NotLetIn answers
	refused int       // calls of NotLetIn
}

func (b *book) Position(context.Context, payout.ID) (payout.Position, error) { return b.at, b.err }
func (b *book) OpenSend(context.Context, payout.ID, time.Time) (payout.Send, payout.Position, error) {
	return b.send, b.at, b.err
}
func (b *book) CloseSend(ctx context.Context, _ payout.Send, c payout.Created) (payout.Position, error) {
	b.closed, b.keptBy = c, ctx
	return b.at, ctx.Err()
}
func (b *book) Read(context.Context, payout.ID) (payout.Asking, error) {
	b.asking.Position = b.at
	return b.asking, b.err
}
func (b *book) Judge(_ context.Context, _ payout.ID, heard payout.Heard) (payout.Position, error) {
	b.calls++
	b.judged, b.looked, b.applied = heard.Words, heard.Looked != nil, len(heard.Inbox)
	return b.at, b.err
}
func (b *book) Earlier(context.Context, payout.ID) ([]payout.Ask, error) { return b.asking.Asks, b.err }
func (b *book) TryAgain(_ context.Context, _ payout.ID, words []payout.Asked) (payout.Position, error) {
	b.calls++
	b.judged = words
	return b.at, b.err
}
func (b *book) Release(context.Context, payout.ID) (payout.Position, error)  { return b.at, b.err }
func (b *book) Freeze(context.Context, payout.ID) (payout.Position, error)   { return b.at, b.err }
func (b *book) Return(context.Context, payout.ID) (payout.Position, error)   { return b.at, b.err }
func (b *book) OpenCase(context.Context, payout.ID) (payout.Position, error) { return b.at, b.err }

func (b *book) NotLetIn(context.Context, string) (time.Time, error) {
	b.refused++
	return b.shut, nil
}

// bank stands for the provider.
type bank struct {
	noToken error
	create  payout.Created
	during  func()          // happens while it creates
	unknown map[string]bool // ids it does not know
	silent  error           // of every GET
	tokens  int             // asked for

	silentAbout string // an id
	noID        string // an id it takes for none
}

func (b *bank) Token(context.Context) (payout.Token, error) {
	b.tokens++
	return payout.Token{Value: "token", ExpiresAt: time.Now().Add(time.Hour)}, b.noToken
}

func (b *bank) CreatePayout(context.Context, payout.Token, payout.Send) payout.Created {
	if b.during != nil {
		b.during()
	}
	return b.create
}

func (b *bank) GetPayout(_ context.Context, id string) (payout.Word, error) {
	if b.unknown[id] {
		return payout.Word{}, fmt.Errorf("get payout %s: %w", id, payout.ErrNotFound)
	}
	if id == b.noID {
		return payout.Word{}, fmt.Errorf("get payout: 400: %w", errors.Join(payout.ErrNoID, payout.ErrNotLetIn))
	}
	if id == b.silentAbout {
		return payout.Word{}, errors.New("503")
	}
	return payout.Word{ProviderID: id, Status: "pending"}, b.silent
}

func (b *bank) CreateRefund(context.Context, payout.Token, payout.Send) payout.Created {
	return b.create
}
func (b *bank) GetRefund(ctx context.Context, _, id string) (payout.Word, error) {
	return b.GetPayout(ctx, id)
}
func (b *bank) Look(context.Context, payout.Look, func()) (payout.Looked, error) {
	return payout.Looked{AskedAt: time.Now()}, b.silent
}

// steps are the activities by name.
func steps(a *Payouts) map[string]func(context.Context, Input) (payout.Position, error) {
	all := map[string]func(context.Context, Input) (payout.Position, error){}
	for name, method := range reflect.ValueOf(a).Methods() {
		all[name.Name] = method.Interface().(func(context.Context, Input) (payout.Position, error))
	}
	return all
}

// run runs one activity as a worker does, and answers with the error as it
// leaves the activity.
func run(t *testing.T, step func(context.Context, Input) (payout.Position, error)) (payout.Position, error) {
	t.Helper()
	return runWith(t, step, Input{PayoutID: "p-1"})
}

func runWith(t *testing.T, step func(context.Context, Input) (payout.Position, error), in Input) (payout.Position, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	var raw error
	env.RegisterActivityWithOptions(func(ctx context.Context, in Input) (payout.Position, error) {
		var at payout.Position
		at, raw = step(ctx, in)
		return at, raw
	}, activity.RegisterOptions{Name: "step"})
	answer, err := env.ExecuteActivity("step", in)
	if (err == nil) != (raw == nil) {
		t.Fatalf("error %v became %v", raw, err)
	}
	var at payout.Position
	if err == nil {
		if err := answer.Get(&at); err != nil {
			t.Fatal(err)
		}
	}
	return at, raw
}

var (
	waiting = payout.Position{Status: payout.StatusPending, Step: payout.StepWait, Wait: 42 * time.Second, Attempt: 1}
	toSend  = payout.Position{Status: payout.StatusAccepted, Step: payout.StepCreate, Attempt: 1}
	done    = payout.Position{Status: payout.StatusExecuted, Step: payout.StepDone, Attempt: 1}
)

// Every step packs the ledger's errors the same way.
func TestEveryStepPacksErrors(t *testing.T) {
	for name := range steps(&Payouts{}) {
		for what, row := range map[string]struct {
			err  error
			want packed
		}{
			"no such payout":       {fmt.Errorf("step: %w", payout.ErrNotFound), packed{kind: "not_found", final: true}},
			"database gone":        {errors.New("connection refused"), packed{kind: "unavailable"}},
			"a send is on its way": {&payout.InFlight{Until: time.Now().Add(20 * time.Second)}, packed{kind: "in_flight", benign: true, delay: 20 * time.Second}},
		} {
			t.Run(name+"/"+what, func(t *testing.T) {
				_, err := run(t, steps(&Payouts{Ledger: &book{err: row.err}, Provider: &bank{}})[name])
				row.want.at(t, err)
			})
		}
	}
}

func TestCreatePayout(t *testing.T) {
	send := payout.Send{PayoutID: "p-1", Attempt: 1, Number: 2, Key: "key"}
	for name, row := range map[string]struct {
		book book
		bank bank
		want packed // zero: no error
	}{
		"created":                       {book{at: waiting, send: send}, bank{create: payout.Created{Answer: payout.AnswerCreated, ProviderID: "b-1"}}, packed{}},
		"nothing to send":               {book{at: waiting}, bank{}, packed{}},
		"final":                         {book{at: done}, bank{}, packed{}},
		"refused":                       {book{at: payout.Position{Status: payout.StatusAccepted, Step: payout.StepRelease}, send: send}, bank{create: payout.Created{Answer: payout.AnswerRefused}}, packed{}},
		"the window is over":            {book{at: payout.Position{Status: payout.StatusAccepted, Step: payout.StepPark}}, bank{}, packed{}},
		"unknown":                       {book{at: toSend, send: send}, bank{create: payout.Created{Answer: payout.AnswerUnknown}}, packed{kind: "unknown", benign: true}},
		"unknown, asked to wait":        {book{at: toSend, send: send}, bank{create: payout.Created{Answer: payout.AnswerUnknown, RetryAfter: 20 * time.Second}}, packed{kind: "unknown", benign: true, delay: 20 * time.Second}},
		"not sent":                      {book{at: toSend, send: send}, bank{create: payout.Created{Answer: payout.AnswerNotSent}}, packed{kind: "not_sent", benign: true}},
		"refused beside an open send":   {book{at: toSend, send: send}, bank{create: payout.Created{Answer: payout.AnswerRefused}}, packed{kind: "refused", benign: true}},
		"no token":                      {book{at: toSend, send: send}, bank{noToken: errors.New("503")}, packed{kind: "not_sent", benign: true}},
		"no token, on a final row":      {book{at: done}, bank{noToken: errors.New("503")}, packed{}},
		"no token, on a row that waits": {book{at: waiting}, bank{noToken: errors.New("503")}, packed{}},
		"no token and no such payout":   {book{err: payout.ErrNotFound}, bank{noToken: errors.New("503")}, packed{kind: "not_found", final: true}},
		"no token and no database":      {book{err: errors.New("gone")}, bank{noToken: errors.New("503")}, packed{kind: "unavailable"}},
	} {
		t.Run(name, func(t *testing.T) {
			at, err := run(t, (&Payouts{Ledger: &row.book, Provider: &row.bank}).CreatePayout)
			if row.want == (packed{}) {
				if err != nil || at != row.book.at {
					t.Fatalf("%+v, %v; want the row's position %+v", at, err, row.book.at)
				}
				return
			}
			row.want.at(t, err)
		})
	}
}

// The worker is told to stop while the provider answers: the answer is kept.
func TestCreatePayoutKeepsTheAnswer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ledger := &book{at: waiting, send: payout.Send{PayoutID: "p-1", Attempt: 1, Number: 1}}
	provider := &bank{create: payout.Created{Answer: payout.AnswerCreated, ProviderID: "b-1"}, during: cancel}
	at, err := (&Payouts{Ledger: ledger, Provider: provider}).CreatePayout(ctx, Input{PayoutID: "p-1"})
	if err != nil || at != waiting {
		t.Fatalf("%+v, %v", at, err)
	}
	if ledger.closed.ProviderID != "b-1" {
		t.Errorf("kept %+v, want the provider's id", ledger.closed)
	}
	if _, limited := ledger.keptBy.Deadline(); !limited {
		t.Error("keeping the answer has no end")
	}
}

func TestPollPayout(t *testing.T) {
	parked := payout.Position{Status: payout.StatusParked, Step: payout.StepWait, Wait: time.Hour, Attempt: 1}
	asking := payout.Asking{Asks: []payout.Ask{{Attempt: 1, ProviderID: "b-1"}}}
	for name, row := range map[string]struct {
		at     payout.Position
		parked bool // as the run shows it
		want   packed
	}{
		"undecided":         {waiting, false, packed{kind: "undecided", benign: true, delay: waiting.Wait}},
		"decided":           {done, false, packed{}},
		"nothing to poll":   {payout.Position{Status: payout.StatusParked, Step: payout.StepWait, Attempt: 1}, true, packed{}},
		"another step":      {payout.Position{Status: payout.StatusPending, Step: payout.StepRelease, Attempt: 1}, false, packed{}},
		"a rest is no wait": {payout.Position{Status: payout.StatusPending, Step: payout.StepTryAgain, Wait: time.Minute, Attempt: 1}, false, packed{}},
		"still parked":      {parked, true, packed{kind: "undecided", benign: true, delay: parked.Wait}},
		"parked meanwhile":  {parked, false, packed{}},
		"no longer parked":  {waiting, true, packed{}},
	} {
		t.Run(name, func(t *testing.T) {
			at, err := runWith(t, (&Payouts{Ledger: &book{at: row.at, asking: asking}, Provider: &bank{}}).PollPayout, Input{PayoutID: "p-1", Parked: row.parked})
			if row.want == (packed{}) {
				if err != nil || at != row.at {
					t.Fatalf("%+v, %v; want %+v", at, err, row.at)
				}
				return
			}
			row.want.at(t, err)
			// People see it beside the pending activity.
			var shown payout.Position
			if err := err.(*temporal.ApplicationError).Details(&shown); err != nil || shown != row.at { //nolint:errorlint // packed, not wrapped
				t.Errorf("details %+v, %v", shown, err)
			}
		})
	}
}

func TestReconcilePayout(t *testing.T) {
	two := []payout.Ask{{Attempt: 1, ProviderID: "b-1"}, {Attempt: 2, ProviderID: "b-2"}}
	for name, row := range map[string]struct {
		at     payout.Position
		asking payout.Asking
		bank   bank
		heard  int // words; -1: nothing was judged
		want   packed
	}{
		"people decided":                     {done, payout.Asking{Approved: []string{"case/1"}}, bank{}, 0, packed{}},
		"the statement has something to say": {waiting, payout.Asking{Look: &payout.Look{}}, bank{}, 0, packed{}},
		// What was heard counts, and the news is read when all is.
		"one cannot be asked about": {waiting, payout.Asking{Asks: two, Inbox: []string{"i-1"}}, bank{silentAbout: "b-1"}, 1, packed{kind: "unavailable"}},
		// What people typed must not keep the payout from being heard for ever; what the provider gave us is asked again.
		"people named what is no id":      {waiting, payout.Asking{Asks: []payout.Ask{two[0], {Attempt: 1, ProviderID: "typo", Proposed: true}}, Approved: []string{"case/1"}}, bank{noID: "typo"}, 1, packed{}},
		"an id of ours is taken for none": {waiting, payout.Asking{Asks: two}, bank{noID: "b-1"}, 1, packed{kind: "unavailable"}},
		"every attempt is asked about":    {waiting, payout.Asking{Asks: two}, bank{}, 2, packed{}},
		"one is not visible yet":          {waiting, payout.Asking{Asks: two}, bank{unknown: map[string]bool{"b-2": true}}, 1, packed{}},
		"none is visible":                 {waiting, payout.Asking{Asks: two}, bank{unknown: map[string]bool{"b-1": true, "b-2": true}}, 0, packed{}},
		"the provider is silent":          {waiting, payout.Asking{Asks: two}, bank{silent: errors.New("503")}, -1, packed{kind: "unavailable"}},
		"news without anybody to ask":     {toSend, payout.Asking{Inbox: []string{"i-1"}}, bank{}, 0, packed{}},
		"nothing to ask, to send next":    {toSend, payout.Asking{}, bank{}, -1, packed{}},
		"nothing to ask, all is done":     {done, payout.Asking{}, bank{}, -1, packed{}},
	} {
		t.Run(name, func(t *testing.T) {
			ledger := &book{at: row.at, asking: row.asking}
			at, err := run(t, (&Payouts{Ledger: ledger, Provider: &row.bank}).ReconcilePayout)
			if row.want != (packed{}) {
				row.want.at(t, err)
			} else if err != nil || at != row.at {
				t.Fatalf("%+v, %v; want %+v", at, err, row.at)
			}
			if judged := ledger.calls > 0; judged != (row.heard >= 0) || judged && len(ledger.judged) != row.heard {
				t.Errorf("judged %v, %d words; want %d", judged, len(ledger.judged), row.heard)
			}
			if want := row.asking.Look != nil && row.want == (packed{}); ledger.looked != want {
				t.Errorf("the statement was heard: %v, want %v", ledger.looked, want)
			}
			if partly := row.want != (packed{}); ledger.applied != 0 && partly {
				t.Errorf("%d pieces of news were applied, though not all was heard", ledger.applied)
			}
		})
	}
}

// Before another attempt begins, all earlier ones are read, or none begins.
func TestTryAgain(t *testing.T) {
	two := payout.Asking{Asks: []payout.Ask{{Attempt: 1, ProviderID: "b-1"}, {Attempt: 2, ProviderID: "b-2"}}}
	for name, row := range map[string]struct {
		bank bank
		want packed
	}{
		"all are visible":        {bank{}, packed{}},
		"one cannot be asked":    {bank{silentAbout: "b-1"}, packed{kind: "unavailable"}},
		"the provider is silent": {bank{silent: errors.New("503")}, packed{kind: "unavailable"}},
	} {
		t.Run(name, func(t *testing.T) {
			ledger := &book{at: toSend, asking: two}
			at, err := run(t, (&Payouts{Ledger: ledger, Provider: &row.bank}).TryAgain)
			if row.want != (packed{}) {
				row.want.at(t, err)
				if ledger.calls != 0 {
					t.Error("another attempt was to begin")
				}
				return
			}
			if err != nil || at != toSend || len(ledger.judged) != 2 {
				t.Errorf("%+v, %v, %d words", at, err, len(ledger.judged))
			}
		})
	}
}

// A brake that was shut by a clock which went back since is looked at again.
func TestBrakeOfAnotherTime(t *testing.T) {
	book, bank := book{at: toSend, err: &payout.Braked{Until: time.Now().Add(24 * time.Hour)}}, bank{}
	a := &Payouts{Ledger: &book, Provider: &bank}
	for range 2 {
		if _, err := run(t, a.CreatePayout); err == nil {
			t.Fatal("the books said that nobody asks")
		}
	}
	if bank.tokens != 2 {
		t.Errorf("the books were asked %d times, want 2: by now they may know better", bank.tokens)
	}
}

// A provider that does not let us in is told to the books; while the brake is
// shut nobody asks for a token, and the step comes again when it may open.
func TestBrake(t *testing.T) {
	shut := time.Now().Add(time.Minute)
	closed := fmt.Errorf("invalid_client: %w", payout.ErrNotLetIn)
	for name, row := range map[string]struct {
		book    book
		bank    bank
		step    func(*Payouts) func(context.Context, Input) (payout.Position, error)
		kind    string
		refused int // times the books were told
	}{
		"no token":                     {book{at: toSend}, bank{noToken: closed}, create, "not_sent", 1},
		"no token, once too often":     {book{at: toSend, shut: shut}, bank{noToken: closed}, create, "braked", 1},
		"the books know that":          {book{at: toSend, err: &payout.Braked{Until: shut}}, bank{}, create, "braked", 0},
		"a read":                       {book{at: waiting, asking: payout.Asking{Asks: []payout.Ask{{Attempt: 1, ProviderID: "b-1"}}}}, bank{silent: closed}, reconcile, "unavailable", 1},
		"a read, once too often":       {book{at: waiting, shut: shut, asking: payout.Asking{Asks: []payout.Ask{{Attempt: 1, ProviderID: "b-1"}}}}, bank{silent: closed}, reconcile, "braked", 1},
		"a look at the statement":      {book{at: waiting, shut: shut, asking: payout.Asking{Look: &payout.Look{}}}, bank{silent: closed}, reconcile, "unavailable", 0},
		"the books know that, reading": {book{at: waiting, err: &payout.Braked{Until: shut}}, bank{}, reconcile, "braked", 0},
	} {
		t.Run(name, func(t *testing.T) {
			a := &Payouts{Ledger: &row.book, Provider: &row.bank}
			_, err := run(t, row.step(a))
			var app *temporal.ApplicationError
			if !errors.As(err, &app) || app.Type() != row.kind {
				t.Fatalf("error %v, want type %s", err, row.kind)
			}
			if row.book.refused != row.refused {
				t.Errorf("the books were told %d times, want %d", row.book.refused, row.refused)
			}
			if row.kind != "braked" {
				return
			}
			if d := app.NextRetryDelay(); d < 50*time.Second || d > 70*time.Second || app.Category() != temporal.ApplicationErrorCategoryBenign {
				t.Errorf("comes again after %s, %v", d, app.Category())
			}
			row.book.err, row.bank.tokens = nil, 0
			if _, err := run(t, a.CreatePayout); !errors.As(err, &app) && row.book.at.Step == payout.StepCreate {
				t.Errorf("another payout: %v, want it to wait too", err)
			}
			if row.bank.tokens != 0 {
				t.Error("a token was asked for while the brake is shut")
			}
		})
	}
}

func create(a *Payouts) func(context.Context, Input) (payout.Position, error) { return a.CreatePayout }
func reconcile(a *Payouts) func(context.Context, Input) (payout.Position, error) {
	return a.ReconcilePayout
}
