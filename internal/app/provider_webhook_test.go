package app

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
	"payouts/internal/simulator"
	"payouts/internal/truelayer"
)

// what a verdict on an event was.
const (
	genuine = "genuine"
	refused = "not authentic"     // 401
	nobody  = "keys unavailable"  // 503, they send it again
	strange = "none of the three" // never
)

func verdict(err error) string {
	authentic, keys := !errors.Is(err, truelayer.ErrNotAuthentic), !errors.Is(err, truelayer.ErrKeysUnavailable)
	switch {
	case err == nil:
		return genuine
	case !authentic && keys && errors.Is(err, httpapi.ErrNotAuthentic):
		return refused
	case authentic && !keys && !errors.Is(err, httpapi.ErrNotAuthentic):
		return nobody
	}
	return strange
}

// tried waits for so many tries to deliver, as the simulator's journal has
// them, and gives their HTTP statuses.
func (s *stage) tried(n int) (statuses []int) {
	s.t.Helper()
	tries := func() (list []int) {
		for _, d := range s.sim.Journal().Webhooks {
			if d.Try > 0 {
				list = append(list, d.Status)
			}
		}
		return list
	}
	s.until("tries to deliver", func() bool { return len(tries()) >= n })
	return tries()
}

// Every way the event of a payout can be spoilt: what the door says of it,
// what is stored, and that a get tells the truth all the same.
func TestProviderWebhookFaults(t *testing.T) {
	rotate := func(keepOld bool) func(*stage) {
		return func(s *stage) {
			s.t.Helper()
			if _, err := s.sim.RotateWebhookKey(keepOld); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		before  func(*stage)
		hook    simulator.Webhook
		tries   int
		verdict string
		stored  int
		repeats int
	}{
		"nothing":                      {nil, simulator.Webhook{}, 1, genuine, 1, 0},
		"lost":                         {nil, simulator.Webhook{Lost: true}, 0, "", 0, 0},
		"duplicated":                   {nil, simulator.Webhook{Duplicates: 4}, 5, genuine, 1, 4},
		"without a signature":          {nil, simulator.Webhook{Sign: simulator.SignNone}, 1, refused, 0, 0},
		"forged":                       {nil, simulator.Webhook{Sign: simulator.SignForged}, 1, refused, 0, 0},
		"unknown key":                  {nil, simulator.Webhook{Sign: simulator.SignUnknownKid}, 1, refused, 0, 0},
		"keys of a stranger":           {nil, simulator.Webhook{Sign: simulator.SignWrongJKU}, 1, refused, 0, 0},
		"changed on the way":           {nil, simulator.Webhook{Sign: simulator.SignTampered}, 1, refused, 0, 0},
		"new key, old one gone":        {rotate(false), simulator.Webhook{}, 1, genuine, 1, 0},
		"new key, old one kept":        {rotate(true), simulator.Webhook{}, 1, genuine, 1, 0},
		"old key, rotated out":         {rotate(false), simulator.Webhook{Sign: simulator.SignRotated}, 1, refused, 0, 0},
		"old key, still in the set":    {rotate(true), simulator.Webhook{Sign: simulator.SignRotated}, 1, genuine, 1, 0},
		"address ends in a slash":      {func(s *stage) { s.set(func(g *simulator.Settings) { g.WebhookURL += "/" }) }, simulator.Webhook{}, 1, genuine, 1, 0},
		"address has a query":          {func(s *stage) { s.set(func(g *simulator.Settings) { g.WebhookURL += "?token=1" }) }, simulator.Webhook{}, 1, genuine, 1, 0},
		"door cannot store":            {func(s *stage) { s.door.full = 1 }, simulator.Webhook{}, 2, genuine, 1, 0},
		"keys are down at first":       {func(s *stage) { s.keysDown(simulator.Answer{Kind: simulator.AnswerRefuse, Status: 503, Times: 1}) }, simulator.Webhook{}, 2, nobody, 1, 0},
		"longer than any door takes":   {nil, simulator.Webhook{Patch: map[string]any{"x": strings.Repeat("x", 1<<20)}}, 1, "", 0, 0},
		"nested deeper than one reads": {nil, simulator.Webhook{Patch: map[string]any{"x": nested(9_000)}}, 1, genuine, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := onStage(t)
			if c.before != nil {
				c.before(s)
			}
			s.script(simulator.Rule{Webhooks: []simulator.Webhook{c.hook}})
			in, id := s.pay()
			s.sim.Advance(2 * time.Second)
			if c.tries > 1 && c.hook.Duplicates == 0 { // their own second try
				s.tried(1)
				s.sim.Advance(time.Second)
			}
			s.tried(c.tries)
			judged := s.door.judged()
			if c.verdict == "" && len(judged) > 0 || c.verdict != "" && (len(judged) == 0 || verdict(judged[0]) != c.verdict) {
				t.Errorf("verdicts %v, want %s", judged, c.verdict)
			}
			s.until("what is to be stored", func() bool { return len(s.door.news()) == c.stored && s.door.repeated() == c.repeats })
			for _, n := range s.door.news() {
				if n.Status != payout.ProviderExecuted || n.ProviderID != id || n.PayoutID != in.ID || n.Attempt != 1 || len(n.Body) == 0 {
					t.Errorf("news %+v", n)
				}
			}
			if w := s.word(id); w.Status != payout.ProviderExecuted {
				t.Errorf("word %+v", w)
			}
			if n := s.truth(payout.Key(in.ID, 1)); n != (truth{posts: 1, exist: 1, executed: 1}) {
				t.Errorf("in truth %+v", n)
			}
		})
	}
}

// nested is a list in a list in a list.
func nested(deep int) any {
	var v any = "x"
	for range deep {
		v = []any{v}
	}
	return v
}

func (s *stage) keysDown(a simulator.Answer) {
	s.t.Helper()
	s.fault(simulator.Fault{Path: "/.well-known/jwks", Answer: a})
}

// While their keys cannot be had nobody can tell: 503, and they send it again
// until they can. What was fetched before still serves.
func TestProviderKeysOutage(t *testing.T) {
	for name, a := range map[string]simulator.Answer{
		"503":          {Kind: simulator.AnswerRefuse, Status: 503},
		"404":          {Kind: simulator.AnswerRefuse, Status: 404},
		"silence":      {Kind: simulator.AnswerTimeout},
		"reset":        {Kind: simulator.AnswerReset},
		"cut":          {Kind: simulator.AnswerCut},
		"empty":        {Kind: simulator.AnswerEmpty},
		"html":         {Kind: simulator.AnswerGarbled},
		"no keys":      {Kind: simulator.AnswerGarbled, Body: `{"keys":[]}`},
		"broken keys":  {Kind: simulator.AnswerGarbled, Body: `{"keys":[{"kty":"EC","crv":"P-521","kid":"k","x":"AA","y":"AA"}]}`},
		"deep nesting": {Kind: simulator.AnswerGarbled, Body: `{"keys":` + strings.Repeat(`[`, 100_000)},
		"100 MB":       {Kind: simulator.AnswerGarbled, Body: `{"keys":[]}`, Pad: 100 << 20},
		"redirect":     {Kind: simulator.AnswerGarbled, Status: 302, Header: map[string]string{"Location": "/.well-known/jwks?again"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := onStage(t)
			s.keysDown(a)
			_, id := s.pay()
			s.sim.Advance(2 * time.Second)
			for tries := 1; tries <= 3; tries++ {
				statuses := s.tried(tries)
				if last := statuses[len(statuses)-1]; last != http.StatusServiceUnavailable {
					t.Fatalf("answered %d", last)
				}
				if tries == 3 {
					s.sim.RemoveFaults()
				}
				s.sim.Advance(5 * time.Second) // beyond their longest rest so far
			}
			s.until("the event", func() bool { return len(s.door.news()) == 1 })
			if n := s.door.news()[0]; n.ProviderID != id || n.Status != payout.ProviderExecuted {
				t.Errorf("news %+v", n)
			}
			for i, err := range s.door.judged()[:3] {
				if verdict(err) != nobody {
					t.Errorf("try %d: %v", i+1, err)
				}
			}
			s.keysDown(a)
			_, second := s.pay()
			s.sim.Advance(2 * time.Second)
			s.until("the next event, with the keys fetched before", func() bool { return len(s.door.news()) == 2 })
			if n := s.door.news()[1]; n.ProviderID != second {
				t.Errorf("news %+v", n)
			}
		})
	}
}

// A rotation while the key set cannot be had: not refused, only put off.
func TestProviderRotationDuringAnOutage(t *testing.T) {
	s := onStage(t)
	s.pay()
	s.sim.Advance(2 * time.Second)
	s.until("the first event", func() bool { return len(s.door.news()) == 1 })
	s.keysDown(simulator.Answer{Kind: simulator.AnswerReset})
	if _, err := s.sim.RotateWebhookKey(false); err != nil {
		t.Fatal(err)
	}
	s.pay()
	s.sim.Advance(2 * time.Second)
	s.tried(2)
	if judged := s.door.judged(); verdict(judged[1]) != nobody {
		t.Errorf("with a key nobody knows yet: %v", judged[1])
	}
	s.sim.RemoveFaults()
	s.sim.Advance(5 * time.Second)
	s.until("the second event", func() bool { return len(s.door.news()) == 2 })
}

// Strangers cannot make us hammer the provider's key host.
func TestProviderKeysAreNotFetchedForEveryStranger(t *testing.T) {
	s := onStage(t)
	patient := newDoor(t, s.options.JWKSURL, func(o *truelayer.VerifierOptions) { o.RefetchAfter = 0 })
	s.set(func(g *simulator.Settings) { g.WebhookURL = patient.url })
	for range 30 {
		if _, err := s.sim.SendWebhook(nil, simulator.Webhook{Sign: simulator.SignUnknownKid}); err != nil {
			t.Fatal(err)
		}
	}
	s.sim.Advance(time.Millisecond)
	s.tried(30)
	if n := s.asked("/.well-known/jwks"); n > 2 {
		t.Errorf("the keys were fetched %d times", n)
	}
	if n := len(patient.news()); n != 0 {
		t.Errorf("%d events were stored", n)
	}
}

// Late, out of order, before the create's answer, about nobody: news all the
// same, each once.
func TestProviderWebhookTiming(t *testing.T) {
	t.Run("late", func(t *testing.T) {
		s := onStage(t)
		s.script(simulator.Rule{Webhooks: []simulator.Webhook{{Late: simulator.Duration(70 * time.Hour)}}})
		_, id := s.pay()
		s.sim.Advance(69 * time.Hour)
		if n := len(s.door.judged()); n != 0 {
			t.Errorf("%d events came before their time", n)
		}
		s.sim.Advance(2 * time.Hour)
		s.until("the event", func() bool { return len(s.door.news()) == 1 })
		if n := s.door.news()[0]; n.ProviderID != id {
			t.Errorf("news %+v", n)
		}
	})
	t.Run("failed before executed", func(t *testing.T) {
		s := onStage(t)
		s.script(simulator.Rule{Return: &simulator.Step{After: simulator.Duration(time.Minute)},
			Webhooks: []simulator.Webhook{{Event: "payout_executed", Late: simulator.Duration(time.Hour)}}})
		_, id := s.pay()
		s.sim.Advance(10 * time.Minute)
		s.until("the first event", func() bool { return len(s.door.news()) == 1 })
		s.sim.Advance(time.Hour)
		s.until("the second event", func() bool { return len(s.door.news()) == 2 })
		if n := s.door.news(); n[0].Status != payout.ProviderFailed || n[0].Reason != payout.ReasonReturned || n[1].Status != payout.ProviderExecuted {
			t.Errorf("news %+v", n)
		}
		if w := s.word(id); w.Status != payout.ProviderFailed || w.Reason != payout.ReasonReturned {
			t.Errorf("word %+v", w)
		}
	})
	t.Run("before the create's answer", func(t *testing.T) {
		s := onStage(t, func(o *simulator.Options) { o.Clock = nil })
		s.script(simulator.Rule{HoldAnswerForWebhook: true, Delay: &simulator.Delay{Authorize: 1, Execute: 1}})
		in, id := s.pay()
		if n := s.door.news(); len(n) != 1 || n[0].ProviderID != id || n[0].PayoutID != in.ID || n[0].Attempt != 1 {
			t.Errorf("when the answer came: %+v", n)
		}
	})
	t.Run("without the create's answer", func(t *testing.T) {
		s := onStage(t)
		s.script(simulator.Rule{Create: &simulator.Answer{Kind: simulator.AnswerAcceptThenReset}})
		in := newIntent()
		if got := s.create(s.sendOf(in), long); got.Answer != payout.AnswerUnknown {
			t.Fatalf("%s", got.Answer)
		}
		s.sim.Advance(time.Minute)
		s.until("the event", func() bool { return len(s.door.news()) == 1 })
		n := s.door.news()[0]
		if n.PayoutID != in.ID || n.Attempt != 1 {
			t.Errorf("news %+v", n)
		}
		if w := s.word(n.ProviderID); w.Status != payout.ProviderExecuted || in.Mismatch(w) != "" {
			t.Errorf("the id in the event leads to %+v", w)
		}
	})
	t.Run("about nobody, and of other kinds", func(t *testing.T) {
		s := onStage(t)
		unknown := uuid.NewString()
		for _, body := range []map[string]any{
			{"type": "payout_failed", "payout_id": unknown, "failure_reason": "moon_phase"},
			{"type": "payout_attempt_failed", "payout_id": unknown, "event_version": nil},
			{"type": "refund_failed", "refund_id": unknown},
			{"type": "external_payment_received"},
			{"type": "never heard of"},
			{"type": map[string]any{}, "payout_id": 7, "metadata": "text", "event_id": []any{}},
		} {
			if _, err := s.sim.SendWebhook(body, simulator.Webhook{}); err != nil {
				t.Fatal(err)
			}
		}
		s.sim.Advance(time.Millisecond)
		s.until("the events", func() bool { return len(s.door.news()) == 6 })
		by := map[string]payout.News{}
		for _, n := range s.door.news() {
			by[n.Type] = n
			if n.EventID == "" || n.PayoutID != "" {
				t.Errorf("news %+v", n)
			}
		}
		if n := by["payout_failed"]; n.ProviderID != unknown || n.Status != payout.ProviderFailed || n.Reason != "moon_phase" {
			t.Errorf("news %+v", n)
		}
		if n := by["refund_failed"]; n.ProviderID != unknown || n.Status != payout.ProviderFailed {
			t.Errorf("news %+v", n)
		}
		for _, kind := range []string{"payout_attempt_failed", "external_payment_received", truelayer.TypeUnreadable} {
			if n, ok := by[kind]; !ok || n.Status != "" {
				t.Errorf("%s: %+v", kind, n)
			}
		}
		if _, err := s.client.GetPayout(t.Context(), unknown); !errors.Is(err, truelayer.ErrNotFound) {
			t.Errorf("asked for it: %v", err)
		}
	})
}

// A settled pay-in teaches the account that paid in, and a payout to it goes
// through where the provider is strict.
func TestProviderTeachesPaymentSources(t *testing.T) {
	s := onStage(t)
	s.set(func(g *simulator.Settings) { g.StrictSources = true })
	in := newIntent()
	if got := s.create(s.sendOf(in), long); got.Answer != payout.AnswerRefused {
		t.Errorf("to a source that never paid in: %s", got.Answer)
	}
	paid, err := s.sim.AddPayIn(simulator.PayIn{Currency: "GBP", AmountInMinor: 5000, Metadata: map[string]string{"player_id": "player-1"}})
	if err != nil {
		t.Fatal(err)
	}
	s.sim.Advance(time.Millisecond)
	s.until("the event", func() bool { return len(s.door.news()) == 1 })
	source := s.door.news()[0].Source
	if source == nil || source.PlayerID != "player-1" || source.PaymentSourceID != paid.PaymentSourceID || source.UserID != paid.UserID || source.Currency != "GBP" {
		t.Fatalf("learnt %+v", source)
	}
	if known, err := s.client.PaymentSources(t.Context(), merchantAccount, source.UserID); err != nil || len(known) != 1 || known[0] != source.PaymentSourceID {
		t.Errorf("sources %v, %v", known, err)
	}
	in = newIntent()
	in.UserID, in.PaymentSourceID = source.UserID, source.PaymentSourceID
	if got := s.create(s.sendOf(in), long); got.Answer != payout.AnswerCreated {
		t.Errorf("to the source that paid in: %s: %v", got.Answer, got.Err)
	}
}
