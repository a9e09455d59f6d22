package ledgertest

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"payouts/internal/payout"
)

var reporting = group{
	"news wakes the run once": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		first := h.told(news("e1", theirs(id, 1), "executed"))
		if first.PayoutID != id || first.Kind != payout.KindPayout || !first.Wake || first.Repeat || first.InboxID == "" {
			h.Fatalf("stored as %+v", first)
		}
		if again := h.told(news("e2", theirs(id, 1), "failed")); again.Wake || again.Repeat || again.PayoutID != id {
			h.Fatalf("stored as %+v", again)
		}
		_, err := h.Read(h.ctx, id)
		h.must(err)
		if next := h.told(news("e3", theirs(id, 1), "failed")); !next.Wake {
			h.Fatalf("after it was read: stored as %+v", next)
		}
		h.stands(id, payout.StatusPending, payout.MoneyHeld, payout.StepWait) // news moves nothing
	},
	"repeats are counted, and wake nobody": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		first := h.told(news("e1", theirs(id, 1), "executed"))
		for range 20 {
			again := h.told(news("e1", theirs(id, 1), "executed"))
			if !again.Repeat || again.Wake || again.InboxID != first.InboxID || again.PayoutID != id {
				h.Fatalf("stored as %+v", again)
			}
		}
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		if again := h.told(news("e1", theirs(id, 1), "executed")); again.Wake {
			h.Fatalf("a repeat woke the run: %+v", again)
		}
		if len(asking.Inbox) != 1 || asking.Inbox[0] != first.InboxID {
			h.Fatalf("read %+v", asking.Inbox)
		}
		if n := h.count("SELECT repeats FROM inbox"); n != 21 {
			h.Fatalf("%d repeats counted, want 21", n)
		}
	},
	"many at once wake one run once": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		var wait sync.WaitGroup
		var wakes, fresh atomic.Int64
		errs := make(chan error, 40)
		for i := range cap(errs) {
			wait.Go(func() {
				s, err := h.StoreNews(h.ctx, news([]string{"a", "b", "c", "d"}[i%4], theirs(id, 1), "executed"))
				if s.Wake {
					wakes.Add(1)
				}
				if err == nil && !s.Repeat {
					fresh.Add(1)
				}
				errs <- err
			})
		}
		wait.Wait()
		for range cap(errs) {
			h.must(<-errs)
		}
		if wakes.Load() != 1 || fresh.Load() != 4 {
			h.Fatalf("%d wakes and %d new events, want 1 and 4", wakes.Load(), fresh.Load())
		}
		if n := h.count("SELECT SUM(repeats) FROM inbox"); n != 36 {
			h.Fatalf("%d repeats counted, want 36", n)
		}
	},
	"one event id with two bodies is two pieces of news": func(h house) {
		first := h.told(news("e1", "x", "executed"))
		other := news("e1", "x", "executed")
		other.Body = []byte("{}")
		if second := h.told(other); second.Repeat || second.InboxID == first.InboxID {
			h.Fatalf("stored as %+v", second)
		}
	},
	"news about nobody is kept": func(h house) {
		s := h.told(news("e1", "nobody's", "executed"))
		if s.PayoutID != "" || s.Wake || s.InboxID == "" {
			h.Fatalf("stored as %+v", s)
		}
		about := news("e2", "nobody's", "executed")
		about.PayoutID, about.Attempt = payout.NewID(payout.KindPayout, "x", "y"), 1
		if s := h.told(about); s.PayoutID != "" || s.Wake {
			h.Fatalf("stored as %+v", s)
		}
		if s := h.told(payout.News{EventID: "e3", Type: "payment_settled", Body: []byte("{}")}); s.PayoutID != "" || s.InboxID == "" {
			h.Fatalf("stored as %+v", s)
		}
	},
	"news is applied by the step that read it, and by no other": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.told(news("e1", theirs(id, 1), "executed"))
		h.heard(id, 1, "pending", "") // a poll that did not read it
		unapplied := "SELECT COUNT(*) FROM inbox WHERE applied_at IS NULL"
		if n := h.count(unapplied); n != 1 {
			h.Fatal("applied without being read")
		}
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		if h.count(unapplied) != 1 {
			h.Fatal("applied by being read")
		}
		h.told(news("e2", theirs(id, 1), "executed")) // while the provider is asked
		_, err = h.Judge(h.ctx, id, payout.Heard{Words: []payout.Asked{h.word(id, 1, "pending", "")}, Inbox: asking.Inbox, By: "ReconcilePayout"})
		h.must(err)
		if h.count(unapplied) != 1 || h.count("SELECT COUNT(*) FROM inbox WHERE event_id = 'e1' AND applied_by = 'ReconcilePayout'") != 1 {
			h.Fatal("want the first applied and the second not")
		}
		asking, err = h.Read(h.ctx, id)
		h.must(err)
		if len(asking.Inbox) != 1 {
			h.Fatalf("read %+v", asking)
		}
	},
	"what was read and not judged is read again": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.told(news("e1", theirs(id, 1), "executed"))
		for range 3 { // the asking failed
			asking, err := h.Read(h.ctx, id)
			h.must(err)
			if len(asking.Inbox) != 1 || len(asking.Asks) != 1 {
				h.Fatalf("read %+v", asking)
			}
		}
	},
	"nobody applies another payout's news": func(h house) {
		id, other := h.accepted(1000), h.accepted(500)
		h.created(id)
		h.created(other)
		s := h.told(news("e1", theirs(id, 1), "executed"))
		_, err := h.Judge(h.ctx, other, payout.Heard{Inbox: []string{s.InboxID}, By: "test"})
		h.must(err)
		if h.count("SELECT COUNT(*) FROM inbox WHERE applied_at IS NULL") != 1 {
			h.Fatal("applied")
		}
	},
	"news about an earlier attempt asks about it": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.Clock.Advance(time.Hour)
		h.triedAgain(id)
		h.created(id)
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		if len(asking.Asks) != 1 || asking.Asks[0].Attempt != 2 {
			h.Fatalf("asks %+v", asking.Asks)
		}
		h.told(news("e1", theirs(id, 1), "executed"))
		asking, err = h.Read(h.ctx, id)
		h.must(err)
		if len(asking.Asks) != 2 {
			h.Fatalf("asks %+v", asking.Asks)
		}
	},
	"news about a closed payout is read and asked about": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.heard(id, 1, "executed", "")
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		if len(asking.Asks) != 0 {
			h.Fatalf("asks %+v", asking.Asks)
		}
		h.told(news("e1", theirs(id, 1), "failed"))
		asking, err = h.Read(h.ctx, id)
		h.must(err)
		if len(asking.Asks) != 1 || len(asking.Inbox) != 1 {
			h.Fatalf("asking %+v", asking)
		}
	},
	"what waits unread is found": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.told(news("e1", theirs(id, 1), "executed"))
		h.Clock.Advance(10 * time.Second)
		h.told(news("e2", theirs(id, 1), "executed"))
		unread := func() []payout.Stored {
			h.Helper()
			list, err := h.Unread(h.ctx, 30*time.Second, 10)
			h.must(err)
			return list
		}
		if list := unread(); len(list) != 0 {
			h.Fatalf("unread %+v", list)
		}
		h.Clock.Advance(20 * time.Second)
		if list := unread(); len(list) != 1 || list[0].PayoutID != id || list[0].Kind != payout.KindPayout || list[0].InboxID == "" {
			h.Fatalf("unread %+v", list)
		}
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		_, err = h.Judge(h.ctx, id, payout.Heard{Words: []payout.Asked{h.word(id, 1, "pending", "")}, Inbox: asking.Inbox, By: "test"})
		h.must(err)
		h.Clock.Advance(time.Hour)
		if list := unread(); len(list) != 0 {
			h.Fatalf("unread %+v", list)
		}
	},
	"a run that does not hear is woken again, ever more rarely": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.told(news("e1", theirs(id, 1), "executed"))
		woken := 0
		for range 3 * 24 * 6 { // three days of nobody at work
			h.Clock.Advance(10 * time.Minute)
			list, err := h.Unread(h.ctx, 30*time.Second, 10)
			h.must(err)
			woken += len(list)
		}
		if woken < 6 || woken > 15 {
			h.Fatalf("woken %d times, want about ten", woken)
		}
		asking, err := h.Read(h.ctx, id)
		h.must(err)
		h.told(news("e2", theirs(id, 1), "executed")) // while the provider is asked
		_, err = h.Judge(h.ctx, id, payout.Heard{Words: []payout.Asked{h.word(id, 1, "pending", "")}, Inbox: asking.Inbox, By: "test"})
		h.must(err)
		h.Clock.Advance(30 * time.Second)
		list, err := h.Unread(h.ctx, 30*time.Second, 10)
		h.must(err)
		if len(list) != 1 {
			h.Fatalf("what came during the asking is not repeated: %+v", list)
		}
	},
	"a settled pay-in binds its account": func(h house) {
		h.must(h.named(Player))
		h.told(settled("e1", Player, "s1"))
		h.told(settled("e1", Player, "s1")) // a repeat
		h.told(settled("e2", Player, "s1")) // the same account pays in again
		h.bound(Player, "s1 user-s1 GBP")
		h.applied("e1", "bind source")
		h.applied("e2", "bind source")
		if n := h.count("SELECT COUNT(*) FROM payment_sources WHERE bound_by = 'event'"); n != 1 {
			h.Fatalf("%d sources bound by events, want 1", n)
		}
		r := NewPayout("k", 1000)
		r.Beneficiary.PaymentSourceID, r.Beneficiary.UserID = "s1", "user-s1"
		if _, _, err := h.Accept(h.ctx, r, Merchant, false); err != nil {
			h.Fatalf("a payout to the account that paid in: %v", err)
		}
	},
	"a settled pay-in changes no binding": func(h house) {
		h.must(h.named(Player))
		h.must(h.named("player-2"))
		h.told(settled("e1", Player, "s1"))
		h.told(settled("e2", "player-2", "s1"))
		another := settled("e3", Player, "s1")
		another.Source.UserID, another.Source.Currency = "user-9", "EUR"
		h.told(another)
		h.bound(Player, "s1 user-s1 GBP")
		h.bound("player-2", "")
		h.applied("e2", "not bound: payment_source_id: is not this player's")
		h.applied("e3", "not bound: user_id: ")
	},
	"a pay-in that does not say enough binds nothing": func(h house) {
		h.must(h.named(Player))
		for event, change := range map[string]func(*payout.SourceNews){
			"no player":   func(s *payout.SourceNews) { s.PlayerID = "" },
			"no user":     func(s *payout.SourceNews) { s.UserID = "" },
			"no currency": func(s *payout.SourceNews) { s.Currency = "" },
		} {
			n := settled(event, Player, "s1")
			change(n.Source)
			h.told(n)
			h.applied(event, "not bound: ")
		}
		h.bound(Player, "")
	},
	"an account learnt before its player is bound when the player is named": func(h house) {
		h.told(settled("e1", Player, "s1"))
		h.told(settled("e2", Player, "s1"))
		h.told(settled("e3", Player, "s2"))
		h.told(settled("e4", "player-2", "s2")) // the first to be named has it
		h.told(settled("e5", "player-3", "s3"))
		h.bound(Player, "")
		if n := h.count("SELECT COUNT(*) FROM inbox WHERE applied_at IS NULL"); n != 5 {
			h.Fatalf("%d wait, want 5", n)
		}
		if n := h.count("SELECT COUNT(*) FROM players"); n != 0 {
			h.Fatal("an event named a player")
		}
		if _, _, err := h.Debit(h.ctx, payout.Movement{Caller: Caller, IdempotencyKey: "d", PlayerID: Player, Money: Pounds(1), Reason: "x"}); err == nil {
			h.Fatal("an unknown player paid")
		}
		h.bound(Player, "") // a debit names nobody
		h.must(h.named(Player))
		_, err := h.BindSource(h.ctx, payout.Source{Caller: "rival", PlayerID: "player-2", PaymentSourceID: "s9", UserID: "u9", Currency: "GBP"})
		h.must(err)
		h.bound(Player, "s1 user-s1 GBP, s2 user-s2 GBP")
		h.bound("player-2", "s9 u9 GBP")
		h.applied("e1", "bind source")
		h.applied("e2", "bind source")
		h.applied("e3", "bind source")
		h.applied("e4", "not bound: payment_source_id: is not this player's")
		if n := h.count("SELECT COUNT(*) FROM inbox WHERE applied_at IS NULL"); n != 1 {
			h.Fatalf("%d wait, want player-3's", n)
		}
	},
	"a player is named while his pay-in settles": func(h house) {
		const players = 40
		var wait sync.WaitGroup
		errs := make(chan error, 2*players)
		for i := range players {
			player := fmt.Sprint("p", i)
			wait.Go(func() {
				_, err := h.StoreNews(h.ctx, settled("e"+player, player, "s-"+player))
				errs <- err
			})
			wait.Go(func() { errs <- h.named(player) })
		}
		wait.Wait()
		for range cap(errs) {
			h.must(<-errs)
		}
		if n := h.count("SELECT COUNT(*) FROM payment_sources"); n != players {
			h.Fatalf("%d sources are bound, want %d", n, players)
		}
		if n := h.count("SELECT COUNT(*) FROM inbox WHERE applied_at IS NULL"); n != 0 {
			h.Fatalf("%d wait for ever", n)
		}
	},
}

// settled is the event of a settled pay-in by a player.
func settled(event, player, source string) payout.News {
	return payout.News{EventID: event, Type: "payment_settled", Body: []byte(`{"event_id":"` + event + `","iban":"` + AccountNumber + `"}`),
		Source: &payout.SourceNews{PlayerID: player, PaymentSourceID: source, UserID: "user-" + source, Currency: "GBP"}}
}

// named lets Caller name a player, by a credit.
func (h house) named(player string) error {
	_, _, err := h.Credit(h.ctx, payout.Movement{Caller: Caller, IdempotencyKey: "name-" + player, PlayerID: player, Money: Pounds(1000), Reason: "winnings"})
	return err
}

// bound fails unless exactly these sources are a player's: "id user currency, …".
func (h house) bound(player, want string) {
	h.Helper()
	sources, err := h.Sources(h.ctx, "", player)
	h.must(err)
	var got []string
	for _, s := range sources {
		got = append(got, fmt.Sprint(s.PaymentSourceID, " ", s.UserID, " ", s.Currency))
	}
	if strings.Join(got, ", ") != want {
		h.Fatalf("%s has the sources %q, want %q", player, got, want)
	}
}

// applied fails unless the news of an event was applied by something that
// begins so.
func (h house) applied(event, by string) {
	h.Helper()
	if n := h.count(fmt.Sprintf("SELECT COUNT(*) FROM inbox WHERE event_id = '%s' AND applied_at IS NOT NULL AND applied_by LIKE '%s%%'", event, strings.ReplaceAll(by, "'", "''"))); n != 1 {
		h.Fatalf("event %s was not applied by %q", event, by)
	}
}
