package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"payouts/internal/payout"
	"payouts/internal/simulator"
	"payouts/internal/truelayer"
)

// reached walks virtual time in small steps and notes each new word of GET.
func (s *stage) reached(id string, steps int) (words []string) {
	s.t.Helper()
	for range steps {
		if w := s.word(id); len(words) == 0 || words[len(words)-1] != w.Status {
			words = append(words, w.Status)
		}
		s.sim.Advance(100 * time.Millisecond)
	}
	return words
}

// Every way a payout can go: the words of GET in order, the last word's
// reason, the events' claims, and what happened to the money.
func TestProviderPaths(t *testing.T) {
	const second = simulator.Duration(time.Second)
	paths := map[string]struct {
		rule   simulator.Rule
		words  string
		reason payout.Reason
		events []string // sorted: two may overtake each other
		money  truth
	}{
		"executed": {simulator.Rule{}, "pending authorized executed", "", []string{"payout_executed"}, truth{exist: 1, executed: 1}},
		"returned, webhook and status": {simulator.Rule{Return: &simulator.Step{After: second}}, "pending authorized executed failed", "returned",
			[]string{"payout_executed", "payout_failed"}, truth{exist: 1, executed: 1, returned: 1}},
		"returned, webhook only": {simulator.Rule{Return: &simulator.Step{After: second, Show: simulator.ShowWebhook}}, "pending authorized executed", "",
			[]string{"payout_executed", "payout_failed"}, truth{exist: 1, executed: 1}},
		"returned, statement line only": {simulator.Rule{Return: &simulator.Step{After: second, Show: simulator.ShowStatement}}, "pending authorized executed", "",
			[]string{"payout_executed"}, truth{exist: 1, executed: 1, returned: 1}},
		"returned for another reason": {simulator.Rule{Return: &simulator.Step{After: second, Reason: "account_closed"}}, "pending authorized executed failed", "account_closed",
			[]string{"payout_executed", "payout_failed"}, truth{exist: 1, executed: 1, returned: 1}},
		"flapping": {simulator.Rule{Path: []simulator.Step{{Status: "authorized", After: second}, {Status: "pending", After: second}, {Status: "authorized", After: second},
			{Status: "pending", After: second}, {Status: "authorized", After: second}, {Status: "executed", After: second}}},
			"pending authorized pending authorized pending authorized executed", "", []string{"payout_executed"}, truth{exist: 1, executed: 1}},
		"flapping, then failed": {simulator.Rule{Path: []simulator.Step{{Status: "authorized", After: second}, {Status: "pending", After: second},
			{Status: "failed", After: second, Reason: "scheme_error"}}}, "pending authorized pending failed", "scheme_error", []string{"payout_failed"}, truth{exist: 1, failed: 1}},
		"executed at once": {simulator.Rule{Path: []simulator.Step{{Status: "executed", After: second}}}, "pending executed", "", []string{"payout_executed"}, truth{exist: 1, executed: 1}},
		"waits for a user": {simulator.Rule{Path: []simulator.Step{{Status: "authorization_required", After: second}, {Status: "authorizing", After: second}, {Status: "executed", After: second}}},
			"pending authorization_required authorizing executed", "", []string{"payout_executed"}, truth{exist: 1, executed: 1}},
		"unheard-of status": {simulator.Rule{Path: []simulator.Step{{Status: "meditating", After: second}}}, "pending meditating", "", nil, truth{exist: 1}},
		"executed twice, returned between": {simulator.Rule{Path: []simulator.Step{{Status: "executed", After: second}, {Status: "failed", After: second, Reason: "returned"}, {Status: "executed", After: second}}},
			"pending executed failed executed", "", []string{"payout_executed", "payout_executed", "payout_failed"}, truth{exist: 1, executed: 1, returned: 1}},
	}
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			s := onStage(t)
			s.script(path.rule)
			in, id := s.pay()
			if words := strings.Join(s.reached(id, 80), " "); words != path.words {
				t.Errorf("words: %s", words)
			}
			w := s.word(id)
			if w.Reason != path.reason || in.Mismatch(w) != "" || w.AskedAt.IsZero() {
				t.Errorf("last word %+v", w)
			}
			if decided := w.Status == payout.ProviderExecuted || w.Status == payout.ProviderFailed; decided == w.DecidedAt.IsZero() {
				t.Errorf("%s, decided at %s", w.Status, w.DecidedAt)
			}
			path.money.posts = 1
			if n := s.truth(payout.Key(in.ID, 1)); n != path.money {
				t.Errorf("in truth %+v", n)
			}
			s.until("the events", func() bool { return len(s.door.news()) >= len(path.events) })
			var events []string
			for _, n := range s.door.news() {
				events = append(events, n.Type)
				if n.ProviderID != id || n.PayoutID != in.ID || n.Attempt != 1 {
					t.Errorf("news of another payout: %+v", n)
				}
			}
			if slices.Sort(events); !slices.Equal(events, path.events) {
				t.Errorf("events %v", events)
			}
			s.statementHolds(id, path.money)
		})
	}
}

// statementHolds sees to it that the statement says what happened to the
// money: line by line, and in sum.
func (s *stage) statementHolds(id string, want truth) {
	s.t.Helper()
	var out, back int
	var sum int64
	cursor := ""
	for {
		page, err := s.client.Transactions(s.t.Context(), merchantAccount, s.sim.Now().Add(-truelayer.LongestSpan), s.sim.Now(), cursor)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, line := range page.Lines {
			switch {
			case line.Type == "payout" && line.At.IsZero(): // pending
			case line.Type == "payout":
				sum -= line.Money.Minor
				if line.PayoutID == id {
					out++
					if (line.ReturnedBy != "") != (want.returned > 0) {
						s.t.Errorf("the line says returned by %q", line.ReturnedBy)
					}
				}
			default:
				sum += line.Money.Minor
				if line.ReturnFor == id {
					back++
				}
			}
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if out != want.executed || back != want.returned || sum != s.sim.Balance(merchantAccount) {
		s.t.Errorf("the statement shows %d out, %d back, %d in sum; balance %d", out, back, sum, s.sim.Balance(merchantAccount))
	}
}

// Every reason of failure that we know, and some that nobody does, from each
// stage: it arrives as written by GET and by the event, and no money left.
func TestProviderFailureReasons(t *testing.T) {
	reasons := append(payout.Reasons(), "moon_phase", "Verification Of Payee: no match", "ünknown")
	for _, reason := range reasons {
		for _, from := range []string{simulator.StatusPending, simulator.StatusAuthorized} {
			t.Run(fmt.Sprintf("%s from %s", reason, from), func(t *testing.T) {
				s := onStage(t)
				s.script(simulator.Rule{Match: simulator.Match{Reference: "Payout0001"}, Fail: &simulator.Fail{Stage: from, Reason: string(reason)}})
				in, id := s.pay()
				s.sim.Advance(time.Minute)
				if w := s.word(id); w.Status != payout.ProviderFailed || w.Reason != reason || w.DecidedAt.IsZero() || in.Mismatch(w) != "" {
					t.Errorf("word %+v", w)
				}
				s.until("the event", func() bool { return len(s.door.news()) == 1 })
				if n := s.door.news()[0]; n.Type != "payout_failed" || n.Status != payout.ProviderFailed || n.Reason != reason || n.PayoutID != in.ID {
					t.Errorf("news %+v", n)
				}
				if n := s.truth(payout.Key(in.ID, 1)); n != (truth{posts: 1, exist: 1, failed: 1}) || s.sim.Balance(merchantAccount) != opening {
					t.Errorf("in truth %+v, balance %d", n, s.sim.Balance(merchantAccount))
				}
			})
		}
	}
}

// Without money on the merchant account a payout is taken in and fails later;
// with money in time it goes through.
func TestProviderInsufficientFunds(t *testing.T) {
	s := onStage(t)
	if err := s.sim.TopUp(merchantAccount, -opening+1); err != nil {
		t.Fatal(err)
	}
	_, short := s.pay()
	s.sim.Advance(time.Minute)
	if w := s.word(short); w.Status != payout.ProviderFailed || w.Reason != payout.ReasonInsufficientFunds {
		t.Errorf("word %+v", w)
	}
	_, inTime := s.pay()
	s.sim.Advance(300 * time.Millisecond)
	if err := s.sim.TopUp(merchantAccount, 999); err != nil {
		t.Fatal(err)
	}
	s.sim.Advance(time.Minute)
	if w := s.word(inTime); w.Status != payout.ProviderExecuted || s.sim.Balance(merchantAccount) != 0 {
		t.Errorf("word %+v, balance %d", w, s.sim.Balance(merchantAccount))
	}
}

// A get that goes wrong is an error within its time, never a word, and only
// the provider's own 404 says not found. Nothing of it changes the payout.
func TestProviderGetFaults(t *testing.T) {
	type answer = simulator.Answer
	body := func(fields string) answer {
		return answer{Kind: simulator.AnswerGarbled, Status: 200, ContentType: "application/json",
			Body: `{"id":"x","status":"executed","created_at":"2026-01-01T00:00:00Z",` + fields + `}`}
	}
	type row struct {
		get      answer
		notFound bool
		wait     time.Duration // RetryAfter
	}
	rows := map[string]row{
		"404":              {get: answer{Kind: simulator.AnswerRefuse, Status: 404}, notFound: true},
		"a stranger's 404": {get: answer{Kind: simulator.AnswerGarbled, Status: 404}},
		"an empty 404":     {get: answer{Kind: simulator.AnswerEmpty, Status: 404}},
		"400":              {get: answer{Kind: simulator.AnswerRefuse}},
		"403":              {get: answer{Kind: simulator.AnswerRefuse, Status: 403}},
		"429 in 7 seconds": {get: answer{Kind: simulator.AnswerRefuse, Status: 429, RetryAfter: "7"}, wait: 7 * time.Second},
		"500":              {get: answer{Kind: simulator.AnswerRefuse, Status: 500}},
		"302":              {get: answer{Kind: simulator.AnswerGarbled, Status: 302, Header: map[string]string{"Location": "/v3/merchant-accounts"}}},
		"silence":          {get: answer{Kind: simulator.AnswerTimeout}},
		"reset":            {get: answer{Kind: simulator.AnswerReset}},
		"cut":              {get: answer{Kind: simulator.AnswerCut}},
		"empty":            {get: answer{Kind: simulator.AnswerEmpty}},
		"trickle":          {get: answer{Kind: simulator.AnswerTrickle}},
		"late":             {get: answer{AnswerAfter: simulator.Duration(time.Minute)}},
		"100 MB":           {get: answer{Kind: simulator.AnswerGarbled, Body: "{}", Pad: 100 << 20}},
		"amount a text":    {get: body(`"currency":"GBP","amount_in_minor":"1000"`)},
		"amount NaN":       {get: body(`"currency":"GBP","amount_in_minor":NaN`)},
		"amount fraction":  {get: body(`"currency":"GBP","amount_in_minor":1000.5`)},
		"amount exponent":  {get: body(`"currency":"GBP","amount_in_minor":1e3`)},
		"amount overflow":  {get: body(`"currency":"GBP","amount_in_minor":9223372036854775808`)},
		"amount twice":     {get: body(`"currency":"GBP","amount_in_minor":1000,"amount_in_minor":1`)},
		"amount missing":   {get: body(`"currency":"GBP"`)},
		"currency a list":  {get: body(`"currency":["GBP"],"amount_in_minor":1000`)},
		"currency missing": {get: body(`"amount_in_minor":1000`)},
		"time of nonsense": {get: body(`"currency":"GBP","amount_in_minor":1000,"executed_at":"yesterday"`)},
	}
	for name, text := range poison {
		rows[name] = row{get: answer{Kind: simulator.AnswerGarbled, Status: 200, Body: text}}
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			s := onStage(t)
			row.get.Times = 1
			s.script(simulator.Rule{Get: &row.get})
			in, id := s.pay()
			s.restartWith(soon)
			began := time.Now()
			w, err := s.client.GetPayout(t.Context(), id)
			if took := time.Since(began); took > 2*soon+slack {
				t.Errorf("it took %s", took)
			}
			if err == nil {
				t.Fatalf("it was taken for a word: %+v", w)
			}
			if errors.Is(err, truelayer.ErrNotFound) != row.notFound {
				t.Errorf("not found: %t: %v", !row.notFound, err)
			}
			var called *truelayer.CallError
			var wait time.Duration
			if errors.As(err, &called) {
				wait = called.RetryAfter
			}
			if wait != row.wait {
				t.Errorf("it would wait %s", wait)
			}
			s.sim.Advance(time.Minute)
			s.restartWith(long)
			if w := s.word(id); w.Status != payout.ProviderExecuted || in.Mismatch(w) != "" {
				t.Errorf("asked again: %+v", w)
			}
			if n := s.truth(payout.Key(in.ID, 1)); n != (truth{posts: 1, exist: 1, executed: 1}) {
				t.Errorf("in truth %+v", n)
			}
		})
	}
}

// A get may lag behind the event.
func TestProviderGetLags(t *testing.T) {
	s := onStage(t)
	s.script(simulator.Rule{Lag: simulator.Duration(time.Minute)})
	_, id := s.pay()
	s.sim.Advance(2 * time.Second)
	s.until("the event", func() bool { return len(s.door.news()) == 1 })
	if w := s.word(id); s.door.news()[0].Status != payout.ProviderExecuted || w.Status != payout.ProviderPending || !w.DecidedAt.IsZero() {
		t.Errorf("news %+v, word %+v", s.door.news()[0], w)
	}
	s.sim.Advance(time.Minute)
	if w := s.word(id); w.Status != payout.ProviderExecuted {
		t.Errorf("later: %+v", w)
	}
}

// A word about something else than what we asked for is found out, field by
// field; what is missing or new is no mismatch.
func TestProviderWrongEchoes(t *testing.T) {
	beneficiary := func(name, value string) map[string]any {
		return map[string]any{"beneficiary": map[string]any{name: value}}
	}
	for name, c := range map[string]struct {
		echo     map[string]any
		mismatch string
	}{
		"nothing":          {nil, ""},
		"id":               {map[string]any{"id": uuid.NewString()}, "id"},
		"amount":           {map[string]any{"amount_in_minor": 1001}, "amount_in_minor"},
		"currency":         {map[string]any{"currency": "EUR"}, "currency"},
		"merchant account": {map[string]any{"merchant_account_id": uuid.NewString()}, "merchant_account_id"},
		"user":             {beneficiary("user_id", uuid.NewString()), "beneficiary.user_id"},
		"source":           {beneficiary("payment_source_id", uuid.NewString()), "beneficiary.payment_source_id"},
		"reference":        {beneficiary("reference", "Payout0002"), "beneficiary.reference"},
		"metadata":         {map[string]any{"metadata": map[string]any{"payout_id": uuid.NewString()}}, "metadata.payout_id"},
		"attempt":          {map[string]any{"metadata": map[string]any{"attempt": "2"}}, "metadata.attempt"},
		"fields missing":   {map[string]any{"beneficiary": nil, "metadata": nil, "merchant_account_id": nil, "scheme_id": nil}, ""},
		"fields new":       {map[string]any{"mood": map[string]any{"id": 7}, "beneficiary": map[string]any{"type": "pigeon", "account_identifier": []any{1}}}, ""},
		"scheme new":       {map[string]any{"scheme_id": "carrier_pigeon"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := onStage(t)
			s.script(simulator.Rule{Echo: c.echo})
			in, id := s.pay()
			if got := in.Mismatch(s.word(id)); got != c.mismatch {
				t.Errorf("mismatch %q, want %q", got, c.mismatch)
			}
		})
	}
	t.Run("id in the create's answer", func(t *testing.T) {
		s := onStage(t)
		s.script(simulator.Rule{Create: &simulator.Answer{Kind: simulator.AnswerAcceptThenGarbled, Body: `{"id":"somebody-elses"}`, ContentType: "application/json"}})
		in := newIntent()
		got := s.create(s.sendOf(in), long)
		if got.ProviderID != "somebody-elses" {
			t.Fatalf("created %q", got.ProviderID)
		}
		if _, err := s.client.GetPayout(t.Context(), got.ProviderID); !errors.Is(err, truelayer.ErrNotFound) {
			t.Errorf("asked for it: %v", err)
		}
		s.sim.Advance(time.Minute)
		s.until("the event", func() bool { return len(s.door.news()) == 1 })
		if n := s.door.news()[0]; n.PayoutID != in.ID || n.ProviderID == got.ProviderID {
			t.Errorf("by its metadata the event finds the payout all the same: %+v", n)
		}
	})
}

// A statement is read page by page, once and whole, and a fault on the way is
// an error, never a shorter statement.
func TestProviderStatement(t *testing.T) {
	s := onStage(t)
	s.script(simulator.Rule{Skip: 1, Times: 1, Return: &simulator.Step{}})
	if _, err := s.sim.AddPayIn(simulator.PayIn{Currency: "GBP", AmountInMinor: 777, NoWebhook: true}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		s.pay()
		s.sim.Advance(time.Minute)
	}
	ids := func() (list []string, err error) {
		for cursor := ""; ; {
			page, err := s.client.Transactions(t.Context(), merchantAccount, s.sim.Now().Add(-time.Hour), s.sim.Now(), cursor)
			if err != nil {
				return nil, err
			}
			for _, l := range page.Lines {
				list = append(list, l.ID)
			}
			if cursor = page.Next; cursor == "" {
				return list, nil
			}
		}
	}
	whole, err := ids()
	if err != nil || len(whole) != 8 { // opening, pay-in, five payouts, one return
		t.Fatalf("%d lines, %v", len(whole), err)
	}
	s.set(func(g *simulator.Settings) { g.PageSize = 3 })
	if paged, err := ids(); err != nil || !slices.Equal(paged, whole) {
		t.Errorf("in pages: %v, %v", paged, err)
	}
	for _, kind := range []string{simulator.AnswerCut, simulator.AnswerEmpty, simulator.AnswerGarbled, simulator.AnswerReset, simulator.AnswerRefuse} {
		s.fault(simulator.Fault{Path: "/v3/merchant-accounts/*", Answer: simulator.Answer{Kind: kind}})
		if list, err := ids(); err == nil {
			t.Errorf("%s: read as %d lines", kind, len(list))
		}
		s.sim.RemoveFaults()
	}
	if accounts, err := s.client.MerchantAccounts(t.Context()); err != nil || len(accounts) != 1 || accounts[0].Current.Minor != s.sim.Balance(merchantAccount) {
		t.Errorf("accounts %+v, %v", accounts, err)
	}
}

// An access token that ends, is revoked or is not to be had never costs more
// than time: nothing was sent, and with a new token it goes through.
func TestProviderTokenFaults(t *testing.T) {
	for name, c := range map[string]struct {
		spoil  func(s *stage)
		config bool // a fault that somebody must correct
	}{
		"expired by their clock": {func(s *stage) { s.sim.Advance(time.Hour) }, false},
		"revoked":                {func(s *stage) { s.sim.RevokeTokens() }, false},
		"wrong audience": {func(s *stage) {
			s.fault(simulator.Fault{Path: "/v3/payouts", Answer: simulator.Answer{Kind: simulator.AnswerRefuse, Status: 401, Times: 1,
				Detail: "Authorization: The JWT was not able to be validated: InvalidAudience"}})
		}, true},
		"forbidden": {func(s *stage) {
			s.fault(simulator.Fault{Path: "/v3/payouts", Answer: simulator.Answer{Kind: simulator.AnswerRefuse, Status: 403, Times: 1}})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := onStage(t)
			token, err := s.client.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			c.spoil(s)
			send := s.sendOf(newIntent())
			got := s.createWith(token, send, long)
			var config *truelayer.ConfigError
			if got.Answer != payout.AnswerNotSent || errors.As(got.Err, &config) != c.config {
				t.Errorf("%s: %v", got.Answer, got.Err)
			}
			if again := s.create(send, long); again.Answer != payout.AnswerCreated {
				t.Errorf("with a new token: %s: %v", again.Answer, again.Err)
			}
			if n := s.truth(send.Key); n.posts != 2 || n.exist != 1 {
				t.Errorf("in truth %+v", n)
			}
		})
	}
	t.Run("while reading", func(t *testing.T) {
		s := onStage(t)
		_, id := s.pay()
		s.sim.RevokeTokens()
		if w := s.word(id); w.ProviderID != id || s.asked("/connect/token") != 2 {
			t.Errorf("word %+v after %d tokens", w, s.asked("/connect/token"))
		}
	})
}

func TestProviderTokenCannotBeHad(t *testing.T) {
	json := func(status int, body string) simulator.Answer {
		return simulator.Answer{Kind: simulator.AnswerGarbled, Status: status, Body: body, ContentType: "application/json"}
	}
	for name, c := range map[string]struct {
		answer simulator.Answer
		config bool
	}{
		"invalid client":     {json(400, `{"error":"invalid_client"}`), true},
		"invalid scope":      {json(400, `{"error":"invalid_scope"}`), true},
		"another scope":      {json(200, `{"access_token":"t","expires_in":3600,"token_type":"Bearer","scope":"paydirect"}`), true},
		"500":                {simulator.Answer{Kind: simulator.AnswerRefuse, Status: 500}, false},
		"429":                {simulator.Answer{Kind: simulator.AnswerRefuse, Status: 429, RetryAfter: "7"}, false},
		"silence":            {simulator.Answer{Kind: simulator.AnswerTimeout}, false},
		"reset":              {simulator.Answer{Kind: simulator.AnswerReset}, false},
		"cut":                {simulator.Answer{Kind: simulator.AnswerCut}, false},
		"empty":              {simulator.Answer{Kind: simulator.AnswerEmpty}, false},
		"html":               {simulator.Answer{Kind: simulator.AnswerGarbled}, false},
		"100 MB":             {simulator.Answer{Kind: simulator.AnswerGarbled, Body: "{}", Pad: 100 << 20}, false},
		"for ever":           {json(200, `{"access_token":"t","expires_in":1e99,"token_type":"Bearer"}`), false},
		"ended already":      {json(200, `{"access_token":"t","expires_in":-1,"token_type":"Bearer"}`), false},
		"breaks the header":  {json(200, `{"access_token":"a b","expires_in":3600,"token_type":"Bearer"}`), false},
		"redirect elsewhere": {simulator.Answer{Kind: simulator.AnswerGarbled, Status: 307, Header: map[string]string{"Location": "http://127.0.0.1:9/"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := onStage(t)
			s.restartWith(soon)
			c.answer.Times = 1
			s.fault(simulator.Fault{Method: "POST", Path: "/connect/token", Answer: c.answer})
			began := time.Now()
			_, err := s.client.Token(t.Context())
			var config *truelayer.ConfigError
			if err == nil || errors.As(err, &config) != c.config {
				t.Errorf("configuration to blame: %t: %v", !c.config, err)
			}
			if took := time.Since(began); took > soon+slack {
				t.Errorf("it took %s", took)
			}
			s.restartWith(long)
			if _, err := s.client.Token(t.Context()); err != nil {
				t.Errorf("asked again: %v", err)
			}
		})
	}
	t.Run("one for all who ask at once", func(t *testing.T) {
		s := onStage(t)
		s.fault(simulator.Fault{Path: "/connect/token", Answer: simulator.Answer{Delay: simulator.Duration(soon)}})
		errs := make(chan error)
		for range 20 {
			go func() { _, err := s.client.Token(context.WithoutCancel(t.Context())); errs <- err }()
		}
		for range 20 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := s.asked("/connect/token"); n != 1 {
			t.Errorf("%d tokens were asked for", n)
		}
	})
}
