package app

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"payouts/internal/payout"
	"payouts/internal/simulator"
	"payouts/internal/truelayer"
)

// poison is what a body must never be taken for: an answer.
var poison = map[string]string{
	"html":            "", // the simulator's own page
	"null":            `null`,
	"list":            `[{"id":"0cd1b0f7-71bc-4d24-b209-95259dadcc20"}]`,
	"text":            `"0cd1b0f7-71bc-4d24-b209-95259dadcc20"`,
	"NaN":             `{"id":NaN}`,
	"id a number":     `{"id":7}`,
	"id an object":    `{"id":{"id":"x"}}`,
	"id null":         `{"id":null}`,
	"id empty":        `{"id":""}`,
	"id of newlines":  `{"id":"a\r\nb"}`,
	"id far too long": `{"id":"` + strings.Repeat("a", 4096) + `"}`,
	"id in capitals":  `{"ID":"0cd1b0f7-71bc-4d24-b209-95259dadcc20"}`,
	"id twice":        `{"id":"0cd1b0f7-71bc-4d24-b209-95259dadcc20","id":"1cd1b0f7-71bc-4d24-b209-95259dadcc20"}`,
	"two objects":     `{"id":"0cd1b0f7-71bc-4d24-b209-95259dadcc20"}{"id":"1cd1b0f7-71bc-4d24-b209-95259dadcc20"}`,
	"not UTF-8":       "{\"id\":\"\xff\xfe\"}",
	"unfinished":      `{"id":"0cd1b0f7-71bc-4d24-b209-95259dadcc20"`,
	"deep nesting":    strings.Repeat(`{"id":`, 100_000),
	"deep lists":      `{"id":"0cd1b0f7-71bc-4d24-b209-95259dadcc20","x":` + strings.Repeat(`[`, 100_000),
}

// Every way in which the answer to a create can go wrong, of a payout and of a
// refund: what the client must call it, and how many there are in truth.
// Afterwards another process sends the same key and bytes again, and exactly
// one comes of it.
func TestProviderCreateFaults(t *testing.T) {
	type row = createRow
	type answer = simulator.Answer
	accepted := func(a answer) row { return row{create: a, want: payout.AnswerUnknown, exist: 1} }
	before := func(want payout.Answer, a answer) row { return row{create: a, want: want} }
	refuse := func(want payout.Answer, status int) row {
		return before(want, answer{Kind: simulator.AnswerRefuse, Status: status})
	}
	limited := func(retryAfter string, waitMin, waitMax time.Duration) row {
		r := before(payout.AnswerUnknown, answer{Kind: simulator.AnswerRefuse, Status: 429, RetryAfter: retryAfter})
		r.waitMin, r.waitMax = waitMin, waitMax
		return r
	}
	rows := map[string]row{
		"nothing": {want: payout.AnswerCreated, exist: 1},

		"accepted, then silence":           accepted(answer{Kind: simulator.AnswerAcceptThenTimeout}),
		"accepted, then reset":             accepted(answer{Kind: simulator.AnswerAcceptThenReset}),
		"accepted, then 500":               accepted(answer{Kind: simulator.AnswerAcceptThen5xx, Status: 500}),
		"accepted, then 502":               accepted(answer{Kind: simulator.AnswerAcceptThen5xx}),
		"accepted, then 503":               accepted(answer{Kind: simulator.AnswerAcceptThen5xx, Status: 503}),
		"accepted, then 504 of a gateway":  accepted(answer{Kind: simulator.AnswerAcceptThen5xx, Status: 504, Body: "<html>", ContentType: "text/html"}),
		"accepted, then cut":               accepted(answer{Kind: simulator.AnswerAcceptThenCut}),
		"accepted, then empty":             accepted(answer{Kind: simulator.AnswerAcceptThenEmpty}),
		"accepted, then a byte at a time":  accepted(answer{Kind: simulator.AnswerAcceptThenTrickle}),
		"accepted, answer late":            accepted(answer{AnswerAfter: simulator.Duration(time.Minute)}),
		"accepted, then a stranger's 400":  accepted(answer{Kind: simulator.AnswerAcceptThenGarbled, Status: 400}),
		"accepted, then a stranger's 401":  accepted(answer{Kind: simulator.AnswerAcceptThenGarbled, Status: 401}),
		"accepted, then a stranger's 403":  accepted(answer{Kind: simulator.AnswerAcceptThenGarbled, Status: 403}),
		"accepted, then an unheard-of 299": {create: answer{Kind: simulator.AnswerAcceptThenEmpty, Status: 299}, want: payout.AnswerUnknown, exist: 1},
		"accepted, then 100 MB":            accepted(answer{Kind: simulator.AnswerAcceptThenGarbled, Body: `{"id":"x"}`, Pad: 100 << 20}),
		"accepted, id hidden at 2 MB":      accepted(answer{Kind: simulator.AnswerAcceptThenGarbled, Body: `{"id":"x"}`, Pad: 2 << 20}),

		"silence":          before(payout.AnswerUnknown, answer{Kind: simulator.AnswerTimeout}),
		"reset":            before(payout.AnswerUnknown, answer{Kind: simulator.AnswerReset}),
		"cut":              before(payout.AnswerUnknown, answer{Kind: simulator.AnswerCut, Status: 202}),
		"a cut 400":        before(payout.AnswerUnknown, answer{Kind: simulator.AnswerCut, Status: 400}),
		"an empty 400":     before(payout.AnswerUnknown, answer{Kind: simulator.AnswerEmpty, Status: 400}),
		"a slow 400":       before(payout.AnswerUnknown, answer{Kind: simulator.AnswerTrickle, Status: 400}),
		"a stranger's 400": before(payout.AnswerUnknown, answer{Kind: simulator.AnswerGarbled, Status: 400}),
		"400 of another house": before(payout.AnswerUnknown, answer{Kind: simulator.AnswerGarbled, Status: 400, ContentType: "application/problem+json",
			Body: `{"type":"about:blank","title":"Bad Request","status":400}`}),
		"400 that says 500 inside": before(payout.AnswerUnknown, answer{Kind: simulator.AnswerGarbled, Status: 400, ContentType: "application/problem+json",
			Body: `{"type":"https://docs.truelayer.com/docs/error-types#invalid-parameters","title":"Invalid Parameters","status":500}`}),
		"redirect, same method": before(payout.AnswerUnknown, answer{Kind: simulator.AnswerGarbled, Status: 307, Header: map[string]string{"Location": "/v3/payouts"}}),
		"redirect to a GET":     before(payout.AnswerUnknown, answer{Kind: simulator.AnswerGarbled, Status: 303, Header: map[string]string{"Location": "/v3/payouts"}}),

		"400": {create: answer{Kind: simulator.AnswerRefuse, Errors: map[string][]string{"beneficiary.reference": {"Too long."}}},
			want: payout.AnswerRefused, shows: "beneficiary.reference"},
		"400 by another name": before(payout.AnswerRefused, answer{Kind: simulator.AnswerRefuse, Type: "invalid-state", Title: "Invalid State"}),
		"400, come again":     before(payout.AnswerUnknown, answer{Kind: simulator.AnswerRefuse, ShouldRetry: "true"}),
		"401":                 refuse(payout.AnswerNotSent, 401),
		"403":                 refuse(payout.AnswerNotSent, 403),
		"404":                 refuse(payout.AnswerUnknown, 404),
		"405":                 refuse(payout.AnswerUnknown, 405),
		"408":                 refuse(payout.AnswerUnknown, 408),
		"409 in flight":       refuse(payout.AnswerUnknown, 409),
		"409 other":           before(payout.AnswerUnknown, answer{Kind: simulator.AnswerRefuse, Status: 409, Type: "conflict", Title: "Conflict"}),
		"413":                 refuse(payout.AnswerUnknown, 413),
		"418":                 refuse(payout.AnswerUnknown, 418),
		"422 key reuse": {create: answer{Kind: simulator.AnswerRefuse, Status: 422}, want: payout.AnswerUnknown, reused: true,
			shows: "Idempotency-Key Reuse"},
		"422 other": before(payout.AnswerUnknown, answer{Kind: simulator.AnswerRefuse, Status: 422, Type: "unprocessable", Title: "Unprocessable"}),
		"409 key reuse": {create: answer{Kind: simulator.AnswerRefuse, Status: 409, Type: "idempotency-key-reuse", Title: "Idempotency-Key Reuse"},
			want: payout.AnswerUnknown, reused: true},
		"425":                    refuse(payout.AnswerUnknown, 425),
		"500":                    refuse(payout.AnswerUnknown, 500),
		"502":                    refuse(payout.AnswerUnknown, 502),
		"503":                    refuse(payout.AnswerUnknown, 503),
		"599":                    refuse(payout.AnswerUnknown, 599),
		"429":                    limited("", 0, 0),
		"429 in 7 seconds":       limited("7", 7*time.Second, 7*time.Second),
		"429 until a date":       limited(time.Now().Add(5*time.Minute).UTC().Format(http.TimeFormat), 3*time.Minute, 5*time.Minute),
		"429 until a past date":  limited(time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat), 0, 0),
		"429 soon":               limited("soon", 0, 0),
		"429 negative":           limited("-5", 0, 0),
		"429 fraction":           limited("1.5", 0, 0),
		"429 for a century":      limited("3153600000", truelayer.LongestRetryAfter, truelayer.LongestRetryAfter),
		"429 beyond all numbers": limited(strings.Repeat("9", 40), truelayer.LongestRetryAfter, truelayer.LongestRetryAfter),
		"503 in 3 seconds": {create: answer{Kind: simulator.AnswerRefuse, Status: 503, RetryAfter: "3"}, want: payout.AnswerUnknown,
			waitMin: 3 * time.Second, waitMax: 3 * time.Second},
		"500, no use to come again": {create: answer{Kind: simulator.AnswerRefuse, Status: 500, ShouldRetry: "false"}, want: payout.AnswerUnknown,
			waitMin: truelayer.LongestRetryAfter, waitMax: truelayer.LongestRetryAfter},
	}
	for name, body := range poison {
		rows["accepted, then "+name] = accepted(answer{Kind: simulator.AnswerAcceptThenGarbled, Body: body, ContentType: "application/json"})
	}
	for _, kind := range []payout.Kind{payout.KindPayout, payout.KindRefund} {
		for name, row := range rows {
			t.Run(string(kind)+"/"+name, func(t *testing.T) { row.try(t, kind) })
		}
	}
}

// createRow is a way in which the answer to a create can go wrong.
type createRow struct {
	create  simulator.Answer
	want    payout.Answer
	exist   int           // payouts after the first sending
	waitMin time.Duration // RetryAfter lies between
	waitMax time.Duration
	reused  bool   // KeyReused
	shows   string // in Detail
}

func (row createRow) try(t *testing.T, kind payout.Kind) {
	s := onStage(t)
	row.create.Times = 1
	s.script(simulator.Rule{Create: &row.create})
	within := long
	switch strings.TrimPrefix(row.create.Kind, "accept_then_") {
	case simulator.AnswerTimeout, simulator.AnswerTrickle:
		within = soon
	}
	if row.create.AnswerAfter > 0 {
		within = soon
	}
	in, send := s.wish(kind)
	balance := s.sim.Balance(merchantAccount)

	got := s.create(send, within)
	if got.Answer != row.want || got.KeyReused != row.reused || !strings.Contains(got.Detail, row.shows) {
		t.Errorf("the client says %s (key reused: %t), want %s (%t): %s", got.Answer, got.KeyReused, row.want, row.reused, got.Detail)
	}
	if got.RetryAfter < row.waitMin || got.RetryAfter > row.waitMax {
		t.Errorf("it would wait %s, want %s to %s", got.RetryAfter, row.waitMin, row.waitMax)
	}
	if n := s.truth(send.Key); n.posts != 1 || n.exist != row.exist {
		t.Errorf("in truth %+v, want one post and %d payouts", n, row.exist)
	}

	s.restart()
	again := s.create(send, long)
	if again.Answer != payout.AnswerCreated {
		t.Fatalf("the same key again: %s: %v", again.Answer, again.Err)
	}
	s.sim.Advance(time.Minute)
	if n := s.truth(send.Key); n != (truth{posts: 2, exist: 1, executed: 1}) {
		t.Errorf("in the end %+v, want one payout, executed once", n)
	}
	if b := s.sim.Balance(merchantAccount); b != balance-in.Money.Minor {
		t.Errorf("balance %d", b)
	}
	if w := s.wordOf(send, again.ProviderID); w.Status != payout.ProviderExecuted || in.Mismatch(w) != "" {
		t.Errorf("word %+v, mismatch %q", w, in.Mismatch(w))
	}
}

// A huge answer costs the client about as much memory as the largest it reads.
func TestProviderHugeAnswerInBoundedMemory(t *testing.T) {
	s := onStage(t)
	_, id := s.pay()
	s.fault(simulator.Fault{Path: "/v3/*", Answer: simulator.Answer{Kind: simulator.AnswerGarbled, Body: "{}", Pad: 100 << 20}})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := s.client.GetPayout(t.Context(), id); err == nil {
		t.Error("100 MB were read as a payout")
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("%d MB were allocated for it", grown>>20)
	}
}

// The first sending is still being worked on when its deadline passes; the
// payout comes to be behind our back.
func TestProviderFirstSendingStillUnderWay(t *testing.T) {
	s := onStage(t)
	s.script(simulator.Rule{Create: &simulator.Answer{Delay: simulator.Duration(2 * time.Second), Times: 1}})
	send := s.sendOf(newIntent())
	if got := s.create(send, soon); got.Answer != payout.AnswerUnknown {
		t.Errorf("no answer in time: %s", got.Answer)
	}
	got := s.create(send, long)
	if got.Answer != payout.AnswerUnknown || got.KeyReused || !strings.Contains(got.Detail, "409") {
		t.Errorf("while the first is under way: %s: %s", got.Answer, got.Detail)
	}
	s.until("the payout", func() bool { return s.truth(send.Key).exist == 1 })
	if got := s.create(send, long); got.Answer != payout.AnswerCreated {
		t.Errorf("afterwards: %s: %v", got.Answer, got.Err)
	}
	s.sim.Advance(time.Minute)
	if n := s.truth(send.Key); n != (truth{posts: 3, exist: 1, executed: 1}) {
		t.Errorf("in truth %+v", n)
	}
}

func TestProviderManySendingsAtOnceAreOnePayout(t *testing.T) {
	s := onStage(t)
	s.script(simulator.Rule{Create: &simulator.Answer{Delay: simulator.Duration(soon), Times: 1}})
	send := s.sendOf(newIntent())
	var wg sync.WaitGroup
	answers := make([]payout.Created, 8)
	for i := range answers {
		wg.Go(func() { answers[i] = s.create(send, long) })
	}
	wg.Wait()
	ids := map[string]bool{}
	for _, a := range answers {
		if a.Answer == payout.AnswerCreated {
			ids[a.ProviderID] = true
		} else if a.Answer != payout.AnswerUnknown {
			t.Errorf("%s: %v", a.Answer, a.Err)
		}
	}
	s.sim.Advance(time.Minute)
	if n := s.truth(send.Key); len(ids) != 1 || n != (truth{posts: 8, exist: 1, executed: 1}) {
		t.Errorf("%d ids, in truth %+v", len(ids), n)
	}
}

// The same key with other bytes is never answered with a new key, and makes
// no second payout.
func TestProviderKeyWithOtherBytes(t *testing.T) {
	s := onStage(t)
	in := newIntent()
	send := s.sendOf(in)
	first := s.create(send, long)
	in.Money.Minor++
	send.Body = s.sendOf(in).Body
	if got := s.create(send, long); got.Answer != payout.AnswerUnknown || !got.KeyReused {
		t.Errorf("%s, key reused: %t", got.Answer, got.KeyReused)
	}
	s.sim.Advance(time.Minute)
	if n := s.truth(send.Key); n != (truth{posts: 2, exist: 1, executed: 1}) {
		t.Errorf("in truth %+v", n)
	}
	if w := s.word(first.ProviderID); w.Money.Minor != in.Money.Minor-1 {
		t.Errorf("word %+v", w)
	}
}

// Why KEY_WINDOW must lie inside KEY_LIFE: a forgotten key pays again.
func TestProviderForgetsKeys(t *testing.T) {
	s := onStage(t)
	s.set(func(g *simulator.Settings) { g.KeyLife = simulator.Duration(6 * time.Hour) })
	send := s.sendOf(newIntent())
	first := s.create(send, long)
	s.sim.Advance(6 * time.Hour)
	s.restart()
	if again := s.create(send, long); again.ProviderID != first.ProviderID {
		t.Errorf("within the key's life: another payout, %v", again.Err)
	}
	s.sim.Advance(time.Second)
	if again := s.create(send, long); again.ProviderID == first.ProviderID || s.truth(send.Key).exist != 2 {
		t.Error("the simulator remembers the key beyond its life")
	}
}

// A client that is told to slow down does so by itself, and says for how long.
func TestProviderRateLimitSlowsTheClientDown(t *testing.T) {
	s := onStage(t)
	s.script(simulator.Rule{Create: &simulator.Answer{Kind: simulator.AnswerRefuse, Status: 429, RetryAfter: "30", Times: 1}})
	send := s.sendOf(newIntent())
	if got := s.create(send, long); got.Answer != payout.AnswerUnknown {
		t.Errorf("429: %s", got.Answer)
	}
	got := s.create(send, soon)
	if got.Answer != payout.AnswerNotSent || got.RetryAfter < 20*time.Second || got.RetryAfter > 30*time.Second {
		t.Errorf("at once again: %s, to wait %s", got.Answer, got.RetryAfter)
	}
	if n := s.truth(send.Key); n.posts != 1 || n.exist != 0 {
		t.Errorf("in truth %+v", n)
	}
}

// What is called not sent was not sent.
func TestProviderNotSent(t *testing.T) {
	for name, spoil := range map[string]func(s *stage, send *payout.Send) (within time.Duration){
		"deadline passed": func(*stage, *payout.Send) time.Duration { return -time.Second },
		"no key":          func(_ *stage, send *payout.Send) time.Duration { send.Key = ""; return long },
		"no body":         func(_ *stage, send *payout.Send) time.Duration { send.Body = nil; return long },
		"nobody listens": func(s *stage, _ *payout.Send) time.Duration {
			gone := httptest.NewServer(nil)
			gone.Close()
			s.options.APIURL, s.options.AuthURL = gone.URL, gone.URL
			s.restart()
			return long
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := onStage(t)
			token, err := s.client.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			send := s.sendOf(newIntent())
			within := spoil(s, &send)
			if got := s.createWith(token, send, within); got.Answer != payout.AnswerNotSent {
				t.Errorf("%s: %v", got.Answer, got.Err)
			}
			if n := s.asked("/v3/payouts"); n != 0 {
				t.Errorf("%d requests came", n)
			}
		})
	}
}

// A signature that is not taken leaves nothing behind, and says so.
func TestProviderWrongSigningKey(t *testing.T) {
	s := onStage(t)
	s.options.SigningKID = "another"
	s.restart()
	send := s.sendOf(newIntent())
	got := s.create(send, long)
	if got.Answer != payout.AnswerNotSent || !strings.Contains(got.Detail, "Tl-Signature") {
		t.Errorf("%s: %s", got.Answer, got.Detail)
	}
	var called *truelayer.CallError
	if err := s.client.TestSignature(t.Context()); !errors.As(err, &called) || called.Status != http.StatusUnauthorized {
		t.Errorf("test signature: %v", err)
	}
	_, public := signingKey()
	if err := s.sim.AddClientKey("another", string(public)); err != nil {
		t.Fatal(err)
	}
	if err := s.client.TestSignature(t.Context()); err != nil {
		t.Errorf("test signature: %v", err)
	}
	if got := s.create(send, long); got.Answer != payout.AnswerCreated || s.truth(send.Key).exist != 1 {
		t.Errorf("with the key uploaded: %s: %v", got.Answer, got.Err)
	}
}
