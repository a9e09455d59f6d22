package ledgertest

import (
	"errors"
	"sync"
	"time"

	"payouts/internal/payout"
)

// notLetIn is an answer that says that our credentials are refused.
var notLetIn = payout.Created{Answer: payout.AnswerNotSent, NotLetIn: true, Detail: "401 Unauthenticated"}

// braking are the cases in which the provider does not let us in.
var braking = group{
	"three refusals in ten seconds shut the brake for all": func(h house) {
		sending, waiting := h.accepted(1000), h.accepted(1000)
		h.created(waiting)
		h.refusedEntry(0)
		h.refusedEntry(5 * time.Second)
		h.free(sending, waiting)
		until := h.refusedEntry(5 * time.Second)
		if until.Before(h.Clock.Now().Add(20*time.Second)) || until.After(h.Clock.Now().Add(time.Minute)) {
			h.Fatalf("shut until %s, and it is %s", until, h.Clock.Now())
		}
		h.braked(until, sending, waiting)
		if n := h.count("SELECT COUNT(*) FROM sends WHERE payout_id = '" + string(sending) + "'"); n != 0 {
			h.Fatal("a send that may not leave is in the send log")
		}
		if again := h.refusedEntry(time.Second); !again.Equal(until) {
			h.Fatalf("a refusal while it is shut moves it from %s to %s", until, again)
		}
	},
	"refusals of sends shut it too": func(h house) {
		id := h.accepted(1000)
		for range 2 {
			h.answered(h.sent(id), notLetIn)
			h.Clock.Advance(6 * time.Second)
		}
		s := h.sent(id)
		h.answered(s, notLetIn)
		h.answered(s, notLetIn) // a repeat counts once
		if n := h.count("SELECT refusals FROM brakes"); n != 3 {
			h.Fatalf("%d refusals counted, want 3", n)
		}
		if _, _, err := h.OpenSend(h.ctx, id, h.token()); !errors.As(err, new(*payout.Braked)) {
			h.Fatalf("sent: %v", err)
		}
		h.owes(0, 1000, 0)
	},
	"a brake that shut by a clock which went back since is not shut for long": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		h.Clock.Advance(24 * time.Hour)
		h.shut()
		h.Clock.Advance(-24 * time.Hour)
		h.refusedEntry(0)
		if until := h.refusedEntry(10 * time.Second); until.Before(h.Clock.Now()) || until.After(h.Clock.Now().Add(payout.BrakedAtMost)) {
			h.Fatalf("shut until %s, and it is %s", until, h.Clock.Now())
		}
		h.Clock.Advance(24 * time.Hour)
		h.free(id)
		h.shut()
		h.Clock.Advance(-24 * time.Hour)
		h.free(id)
	},
	"fifty refusals at once do not": func(h house) {
		id := h.accepted(1000)
		for range 50 {
			h.refusedEntry(0)
		}
		h.free(id)
		h.Clock.Advance(time.Second)
		h.refusedEntry(0)
		h.free(id)
		if cases := h.credentials(); cases != 0 {
			h.Fatalf("%d cases", cases)
		}
	},
	"refusals with a success between them do not": func(h house) {
		id := h.accepted(1000)
		h.created(id)
		for range 6 {
			h.refusedEntry(8 * time.Second)
			h.refusedEntry(0)
			h.reconciled(id, says{theirs(id, 1): "pending"})
		}
		h.free(id)
		if n := h.count("SELECT COUNT(*) FROM brakes"); n != 0 {
			h.Fatal("there is still a doubt")
		}
	},
	"what asks nobody goes on": func(h house) {
		lost, stopped, back, known := h.failed(payout.ReasonInvalidIBAN), h.failed(payout.ReasonBlocked), h.failed(payout.ReasonReturned), h.accepted(1000)
		h.created(known)
		h.shut()
		h.stepped(h.Release(h.ctx, lost))
		h.stepped(h.Freeze(h.ctx, stopped))
		h.stepped(h.Return(h.ctx, back))
		h.forbidden(known, payout.StepWait) // a position is no question
		h.told(news("e1", theirs(known, 1), "executed"))
		h.accepted(500)
	},
	"one tries, the others wait": func(h house) {
		var ids []payout.ID
		for i := range 12 {
			ids = append(ids, h.accepted(100))
			if i%2 == 0 {
				h.created(ids[i])
			}
		}
		until := h.shut()
		for range 6 { // connections are warm from the second time on
			h.Clock.Advance(until.Sub(h.Clock.Now()))
			until = h.Clock.Now().Add(5 * time.Minute) // the longest pause
			var wait sync.WaitGroup
			begin := make(chan struct{})
			errs := make(chan error, len(ids))
			for i, id := range ids {
				wait.Go(func() {
					<-begin
					var err error
					if i%2 == 0 {
						_, err = h.Read(h.ctx, id)
					} else {
						_, _, err = h.OpenSend(h.ctx, id, h.token())
					}
					errs <- err
				})
			}
			close(begin)
			wait.Wait()
			through := 0
			for range ids {
				switch err := <-errs; {
				case err == nil:
					through++
				case !errors.As(err, new(*payout.Braked)):
					h.Fatal(err)
				}
			}
			if through != 1 {
				h.Fatalf("%d tried, want 1", through)
			}
		}
	},
	"the pauses between two tries grow": func(h house) {
		id := h.accepted(1000)
		until, last := h.shut(), time.Duration(0)
		for range 20 {
			h.Clock.Advance(until.Sub(h.Clock.Now()))
			h.answered(h.sent(id), notLetIn)
			_, _, err := h.OpenSend(h.ctx, id, h.token())
			var braked *payout.Braked
			if !errors.As(err, &braked) {
				h.Fatalf("sent: %v", err)
			}
			pause := braked.Until.Sub(h.Clock.Now())
			if pause < last || pause < 30*time.Second || pause > 5*time.Minute {
				h.Fatalf("a pause of %s after %s", pause, last)
			}
			until, last = braked.Until, pause
		}
		if last != 5*time.Minute {
			h.Fatalf("the last pause is %s", last)
		}
		if n := h.credentials(); n != 1 {
			h.Fatalf("%d cases, want 1", n)
		}
	},
	"whoever is let in opens it and closes the case": func(h house) {
		for name, try := range map[string]func(payout.ID){
			"a word":    func(id payout.ID) { h.created(id); h.reconciled(id, says{theirs(id, 1): "pending"}) },
			"a created": func(id payout.ID) { h.created(id) },
			"a refusal": func(id payout.ID) { h.answered(h.sent(id), refusal(payout.ReasonRefused)) },
		} {
			id, other := h.accepted(1000), h.accepted(1000)
			until := h.shut()
			h.Clock.Advance(until.Sub(h.Clock.Now()))
			try(id)
			if n := h.credentials(); n != 0 {
				h.Fatalf("%s: %d cases are open", name, n)
			}
			h.free(other)
		}
		list, _, err := h.Cases(h.ctx, caseFilter(payout.CaseCredentials, "closed"))
		h.must(err)
		if len(list) != 3 || list[0].ClosedBy == "" || list[0].ClosedAt.IsZero() {
			h.Fatalf("cases are %+v", list)
		}
	},
	"a statement that is read opens it": func(h house) {
		id := h.silent()
		until := h.shut()
		h.Clock.Advance(until.Sub(h.Clock.Now()))
		h.looked(id)
		if n := h.credentials(); n != 0 {
			h.Fatalf("%d cases are open", n)
		}
	},
	"no answer, or none that was sent for, opens nothing": func(h house) {
		for name, c := range map[string]payout.Created{
			"not sent": {Answer: payout.AnswerNotSent, Detail: "connection refused"},
			"unknown":  {Answer: payout.AnswerUnknown, Detail: "no answer within 35s"},
		} {
			id := h.accepted(1000)
			until := h.shut()
			h.Clock.Advance(until.Sub(h.Clock.Now()))
			h.answered(h.sent(id), c)
			if n := h.credentials(); n != 1 {
				h.Errorf("%s: %d cases are open, want 1: nobody was let in", name, n)
			}
			if _, _, err := h.OpenSend(h.ctx, id, h.token()); !errors.As(err, new(*payout.Braked)) {
				h.Errorf("%s: the brake is open: %v", name, err)
			}
			h.tamperedOnce("DELETE FROM brakes", "UPDATE cases SET status = 'closed', closed_at = 1 WHERE kind = 'credentials'")
		}
		id := h.accepted(1000)
		h.created(id)
		until := h.shut()
		h.Clock.Advance(until.Sub(h.Clock.Now()))
		h.judged(id, h.asking(id), nil) // 404, or nothing
		if n := h.credentials(); n != 1 {
			h.Errorf("no word: %d cases are open, want 1", n)
		}
	},
	"the reading before another attempt is held too": func(h house) {
		id := h.failed(payout.ReasonSchemeError)
		h.rested(id)
		h.shut()
		if asks, err := h.Earlier(h.ctx, id); !errors.As(err, new(*payout.Braked)) {
			h.Fatalf("thousands of resting payouts go on asking: %+v, %v", asks, err)
		}
	},
	"there is one case, about no payout": func(h house) {
		id := h.accepted(1000)
		h.answered(h.sent(id), notLetIn)
		h.shut()
		h.refusedEntry(time.Hour)
		h.refusedEntry(time.Hour)
		list, _, err := h.Cases(h.ctx, caseFilter(payout.CaseCredentials, ""))
		h.must(err)
		if len(list) != 1 || list[0].PayoutID != "" || list[0].Version != 1 || list[0].Why == "" || list[0].Kind.Team() != "on-call" {
			h.Fatalf("cases are %+v", list)
		}
		h.asks(id)
	},
}

// refusedEntry notes a refusal, after some time, and answers until when the
// brake is shut.
func (h house) refusedEntry(after time.Duration) time.Time {
	h.Helper()
	h.Clock.Advance(after)
	until, err := h.NotLetIn(h.ctx, "401 Unauthenticated")
	h.must(err)
	return until
}

// shut shuts the brake.
func (h house) shut() time.Time {
	h.Helper()
	for range 3 {
		if until := h.refusedEntry(6 * time.Second); !until.IsZero() {
			return until
		}
	}
	h.Fatal("the brake does not shut")
	return time.Time{}
}

// braked fails unless the provider may not be asked about these until then.
func (h house) braked(until time.Time, ids ...payout.ID) {
	h.Helper()
	for _, id := range ids {
		_, _, err := h.OpenSend(h.ctx, id, h.token())
		if h.payout(id).Step != payout.StepCreate {
			_, err = h.Read(h.ctx, id)
		}
		var braked *payout.Braked
		if !errors.As(err, &braked) || !braked.Until.Equal(until) {
			h.Fatalf("%v; want *payout.Braked until %s", err, until)
		}
	}
}

// free fails unless the provider may be asked.
func (h house) free(ids ...payout.ID) {
	h.Helper()
	for _, id := range ids {
		h.asking(id)
	}
}

// credentials counts the open cases about our credentials.
func (h house) credentials() int {
	h.Helper()
	list, _, err := h.Cases(h.ctx, caseFilter(payout.CaseCredentials, "open"))
	h.must(err)
	return len(list)
}
