package ledger_test

import (
	"fmt"
	"strings"

	"payouts/internal/payout"
)

// A pure model of a payout's life: what our books say, what is true at the
// provider, what is on its way between the two, and every move that either
// side, the network, a clock or an accident can make. It is written from the
// design and calls nothing of the ledger. model_laws_test.go explores it to its
// fixpoint and holds it to the laws; model_hold_test.go drives the real ledger
// along it.
//
// It is bounded to two attempts and two sends that may have arrived.
// A webhook may come at any time, any number of times, in any order; the
// provider's GET may lag behind what the provider did, and may flap.

// modelState is everything at one moment. It is a value: two equal states have
// the same future.
type modelState struct {
	Books modelBooks
	World modelWorld
}

// modelBooks is what our own rows say, and what our runs remember.
type modelBooks struct {
	Status  payoutStatus
	Money   moneyPlace
	Step    nextStep
	Asks    caseKinds // with step park or look: what a person is to be asked
	Latest  int8      // index of the latest attempt: 0 or 1
	Try     [2]modelTry
	Cases   caseKinds // open
	Booked  bookings
	Rested  bool // the rest before the next attempt is over
	Stale   bool // the next attempt is to be sent, and the one before was asked about long ago
	Asking  bool // signed news says otherwise than the closed books, and the provider is asked on
	Aged    bool // for RETURN_ASK_FOR
	Lagging modelReading
}

// modelTry is one attempt in our books.
type modelTry struct {
	Known  bool // the provider's id is
	End    attemptEnd
	Why    modelWord // with failed or refused
	Sends  [2]sendRow
	Over   bool       // KEY_WINDOW has passed since the first send that may have arrived
	Unread newsClaims // signed news that no step has read
	Noted  newsClaims // signed news that was read, and that the provider does not confirm yet
	Back   wayBack    // of an executed attempt: how it was last heard that it came back
}

// wayBack is who said that money came back. What a GET says may be taken back;
// what came into the account did.
type wayBack int8

const (
	notBack wayBack = iota
	backByWord
	backByStatement
	backByBoth // and the last word says so
)

// byWord says that the last word is that it came back.
func (w wayBack) byWord() bool { return w == backByWord || w == backByBoth }

// modelReading is a run that asked the provider and then lagged: it will judge
// what it heard then.
type modelReading struct {
	Is    bool
	Said  [2]modelWord
	Inbox [2]newsClaims // the news it listed
	Long  bool          // KEY_WINDOW went by since
	Old   [2]bool       // meanwhile somebody asked again about this attempt
}

// modelWorld is what is true outside of our books.
type modelWorld struct {
	Truth [2]modelTruth
	Fate  [2][2]sendFate // of each send
	Dead  [2]bool        // the key's life is over: no request is taken in with it, and the provider forgot it
	Twice bool           // one key became two payouts
}

// modelTruth is what the provider has of one attempt, with all it was before.
type modelTruth struct {
	Is  modelPresence
	Why modelWord // how it failed
}

type (
	payoutStatus  uint8
	moneyPlace    uint8
	nextStep      uint8
	attemptEnd    uint8
	sendRow       uint8
	sendFate      uint8
	modelPresence uint8
	modelWord     uint8
	newsClaims    uint8
	caseKinds     uint8
	bookings      uint8
)

const (
	isAccepted payoutStatus = iota
	isPending
	isAuthorized
	isExecuted
	isFailed
	isReturned
	isParked
)

var statusNames = [...]payout.Status{payout.StatusAccepted, payout.StatusPending, payout.StatusAuthorized, payout.StatusExecuted, payout.StatusFailed, payout.StatusReturned, payout.StatusParked}

func (s payoutStatus) final() bool { return s == isExecuted || s == isFailed || s == isReturned }

const (
	moneyHeld moneyPlace = iota
	moneyPaid
	moneyReleased
	moneyFrozen
	moneyReturned
)

var moneyNames = [...]payout.MoneyAt{payout.MoneyHeld, payout.MoneyPaid, payout.MoneyReleased, payout.MoneyFrozen, payout.MoneyReturned}

const (
	toCreate nextStep = iota
	toAsk             // wait, poll, ask: all the same here
	toLook            // ask the statement before a person is asked
	toRest            // between two attempts
	toRelease
	toFreeze
	toReturn
	toPark
	toDone
)

var stepNames = [...]string{"create", "ask", "ask", "try_again", "release", "freeze", "return", "park", "done"}

const (
	endOpen attemptEnd = iota
	endRefused
	endFailed
	endExecuted
)

// What our send log says of a send. A send without an answer may still be
// within its deadline, or past it.
const (
	noSend sendRow = iota
	sendOpen
	sendDue
	sendUnknown
	sendRefused
)

// What truly became of the request.
const (
	noFate sendFate = iota
	onItsWay
	takenIn   // the provider has it
	turnedOff // refused: the account cannot be paid
	turnedBad // refused: the provider is at fault
	gone      // it never arrives
)

const (
	thereNot modelPresence = iota
	therePending
	thereExecuted
	thereFailed
	thereBack   // executed, then sent back
	thereQuiet  // the same, and only the statement shows it: older accounts never change their word
	thereTurned // failed, then executed: the provider contradicts itself
)

const (
	silence modelWord = iota
	saysPending
	saysAuthorized
	saysExecuted
	saysInvalid  // failed: credit the player back
	saysDown     // failed: try again
	saysBlocked  // failed: freeze
	saysReturned // failed: the bank sent it back
)

var wordNames = [...]string{"silence", "pending", "authorized", "executed", "invalid_iban", "scheme_error", "blocked", "returned"}

func (w modelWord) String() string { return wordNames[w] }

func (w modelWord) failed() bool { return w >= saysInvalid }

const (
	claimsExecuted newsClaims = 1 << iota
	claimsFailed
)

func (c newsClaims) has(d newsClaims) bool { return c&d != 0 }

const (
	askUnknown caseKinds = 1 << iota
	askContradiction
	askBlocked
	askExposure
	askReturn // return_unconfirmed
)

var caseNames = [...]payout.CaseKind{payout.CaseUnknownOutcome, payout.CaseContradiction, payout.CaseBlocked, payout.CaseExposure, payout.CaseReturnUnconfirmed}

func (k caseKinds) names() (list []string) {
	for i, name := range caseNames {
		if k&(1<<i) != 0 {
			list = append(list, string(name))
		}
	}
	return list
}

const (
	bookedSettle bookings = 1 << iota
	bookedRelease
	bookedFreeze
	bookedReturn
	bookedExpose1
	bookedExpose2
)

var bookingNames = [...]string{"settle", "release", "freeze", "return", "expose 1", "expose 2"}

func (b bookings) names() (list []string) {
	for i, name := range bookingNames {
		if b&(1<<i) != 0 {
			list = append(list, name)
		}
	}
	return list
}

func (s modelState) String() string {
	b := s.Books
	line := fmt.Sprintf("%s, money %s, next %s", statusNames[b.Status], moneyNames[b.Money], stepNames[b.Step])
	for n := range b.Latest + 1 {
		t, w := b.Try[n], s.World.Truth[n]
		line += fmt.Sprintf("; attempt %d %s, at the provider %s", n+1, [...]string{"open", "refused", "failed", "executed"}[t.End],
			[...]string{"not there", "pending", "executed", "failed", "sent back", "sent back without a word", "executed after it failed"}[w.Is])
	}
	if names := append(b.Booked.names(), b.Cases.names()...); len(names) > 0 {
		line += "; " + strings.Join(names, ", ")
	}
	return line
}

// modelDeed is what happens in a move.
type modelDeed uint8

const (
	arrives modelDeed = iota // the world's: the books hear nothing of it
	isRefused
	isLost
	executes
	fails
	comesBack
	turns

	opensSend // ours, or what the books are told
	answers
	delivers
	readsAndDies
	asks
	asksAndLags
	judgesLate
	triesAgain
	releases
	freezes
	returns
	parks
	aMinute
	aWindow
	aDay
)

var deedNames = [...]string{"the request arrives", "the request arrives and is refused", "the request is lost", "the provider executes", "the provider fails it", "the bank sends it back",
	"the provider executes it after it failed", "open a send", "the send is answered", "news arrives", "a run reads its news and dies", "ask and judge", "a run asks and lags",
	"the lagging run judges", "try again", "release", "freeze", "book the return", "park", "a minute goes by", "KEY_WINDOW goes by", "RETURN_ASK_FOR goes by"}

// modelMove is a deed with everything the books can see of it. Two states whose
// books are equal must come to equal books by equal moves.
type modelMove struct {
	Deed    modelDeed
	Attempt int8 // index
	Send    int8
	Answer  payoutAnswer
	Claim   newsClaims
	Said    [2]modelWord // what the GETs say; silence: not asked
	Looked  lookedUp
}

type payoutAnswer uint8

const (
	noAnswer payoutAnswer = iota
	answerCreated
	answerRefused // the account cannot be paid: credit back
	answerDown    // refused because the provider is at fault: try again
	answerNotSent
	answerUnknown
)

// lookedUp is what the statement shows.
type lookedUp uint8

const (
	notLooked lookedUp = iota
	showsNothing
	showsPayout // the latest attempt, whose id we did not know
	showsReturn // money that came back, of the settled attempt
)

func (m modelMove) world() bool { return m.Deed < opensSend }

func (m modelMove) String() string {
	line := deedNames[m.Deed]
	switch m.Deed {
	case answers:
		line += ": " + [...]string{"", "created", "refused", "refused, their fault", "not sent", "unknown"}[m.Answer]
		line = fmt.Sprintf("attempt %d, send %d: %s", m.Attempt+1, m.Send+1, line)
	case delivers:
		line = fmt.Sprintf("attempt %d: %s: %s", m.Attempt+1, line, [...]string{"", "executed", "failed"}[m.Claim])
	case arrives, isRefused, isLost, executes, fails, comesBack, turns:
		line = fmt.Sprintf("attempt %d: %s", m.Attempt+1, line)
	}
	for n, w := range m.Said {
		if w != silence {
			line += fmt.Sprintf("; attempt %d is %s", n+1, w)
		}
	}
	return line + [...]string{"", "; the statement shows nothing", "; the statement shows it", "; the statement shows a return"}[m.Looked]
}

// modelStep is a move and where it leads.
type modelStep struct {
	move modelMove
	to   modelState
}

// model is the bounds within which all is explored.
type model struct {
	attempts int8   // 1 or 2
	sends    [2]int // of each attempt, that may have arrived
	lags     bool   // a run asks, and judges much later
	flaps    bool   // GETs say authorized too
	turns    bool   // the provider executes what it failed
	oneClaim bool   // only one piece of news at a time waits for an answer

	mistake string // one rule is left out, to see that a law notices
}

func (m model) makes(mistake string) bool { return m.mistake == mistake }

// begin is the moment after a payout was accepted.
func (m model) begin() modelState { return modelState{} }

// next lists every move from a state.
func (m model) next(s modelState) []modelStep {
	var list []modelStep
	add := func(what modelMove, to modelState) { list = append(list, modelStep{what, to.tidy()}) }
	m.provider(s, add)
	m.network(s, add)
	m.runs(s, add)
	m.clock(s, add)
	return list
}

// provider: what the provider and the banks behind it do.
func (m model) provider(s modelState, add func(modelMove, modelState)) {
	for n := range int8(2) {
		become := func(what modelDeed, t modelTruth) {
			to := s
			to.World.Truth[n] = t
			add(modelMove{Deed: what, Attempt: n}, to)
		}
		switch t := s.World.Truth[n]; t.Is {
		case therePending:
			become(executes, modelTruth{Is: thereExecuted})
			for _, why := range []modelWord{saysInvalid, saysDown, saysBlocked} {
				become(fails, modelTruth{thereFailed, why})
			}
		case thereExecuted:
			become(comesBack, modelTruth{thereBack, saysReturned})
			become(comesBack, modelTruth{thereBack, saysBlocked})
			become(comesBack, modelTruth{thereQuiet, saysReturned})
		case thereFailed:
			if m.turns {
				become(turns, modelTruth{thereTurned, t.Why})
			}
		}
	}
}

// network: what becomes of requests, answers and webhooks.
func (m model) network(s modelState, add func(modelMove, modelState)) {
	for n := range int8(2) {
		t := s.World.Truth[n]
		for i := range int8(2) {
			row, is := s.Books.Try[n].Sends[i], s.World.Fate[n][i]
			fated := func(what modelDeed, f sendFate, now modelTruth) {
				to := s
				to.World.Fate[n][i], to.World.Truth[n] = f, now
				if what == arrives && s.World.Dead[n] && t.Is != thereNot {
					to.World.Twice = true // the key was forgotten
				}
				add(modelMove{Deed: what, Attempt: n, Send: i}, to)
			}
			if is == onItsWay {
				if t.Is == thereNot {
					fated(arrives, takenIn, modelTruth{Is: therePending})
					fated(isRefused, turnedOff, t)
					fated(isRefused, turnedBad, t)
				} else {
					fated(arrives, takenIn, t)
				}
				fated(isLost, gone, t)
			}
			if row != sendOpen && row != sendDue {
				continue
			}
			answered := func(a payoutAnswer) {
				to := s
				m.answered(&to, n, i, a)
				add(modelMove{Deed: answers, Attempt: n, Send: i, Answer: a}, to)
			}
			answered(answerUnknown)
			switch is {
			case takenIn:
				answered(answerCreated)
			case turnedOff:
				answered(answerRefused)
			case turnedBad:
				answered(answerDown)
			case gone:
				answered(answerNotSent)
			}
		}
		for _, c := range []newsClaims{claimsExecuted, claimsFailed} {
			if !t.claims().has(c) || s.Books.Try[n].Unread.has(c) || m.oneClaim && (s.Books.unread() || s.Books.noted() && (s.Books.Asking || !s.Books.Status.final())) {
				continue
			}
			to := s
			to.Books.Try[n].Unread |= c
			add(modelMove{Deed: delivers, Attempt: n, Claim: c}, to)
		}
	}
}

// claims are the statuses that the provider sent events about.
func (t modelTruth) claims() newsClaims {
	switch t.Is {
	case thereExecuted:
		return claimsExecuted
	case thereFailed:
		return claimsFailed
	case thereBack, thereQuiet, thereTurned:
		return claimsExecuted | claimsFailed
	}
	return 0
}

// says lists what a GET about attempt n may answer: what is true, or what was.
// It may say again that nothing is decided; it never takes back one decision
// for the one before.
func (m model) says(s modelState, n int8) []modelWord {
	words := []modelWord{saysPending}
	if m.flaps {
		words = append(words, saysAuthorized)
	}
	b, t := s.Books, s.World.Truth[n]
	switch t.Is {
	case thereExecuted, thereQuiet:
		return append(words, saysExecuted)
	case thereFailed:
		return append(words, t.Why)
	case thereBack:
		if b.Try[n].End != endFailed && b.Step != toReturn && b.Status != isReturned {
			words = append(words, saysExecuted)
		}
		return append(words, t.Why)
	case thereTurned:
		if b.Try[n].End != endExecuted {
			words = append(words, t.Why)
		}
		return append(words, saysExecuted)
	}
	return words
}

// back says that a bank sent it back.
func (t modelTruth) back() bool { return t.Is == thereBack || t.Is == thereQuiet }

// now is what a GET says that does not lag.
func (t modelTruth) now() modelWord {
	switch t.Is {
	case thereExecuted, thereQuiet, thereTurned:
		return saysExecuted
	case thereFailed, thereBack:
		return t.Why
	}
	return saysPending
}

// clock: what time alone changes.
func (m model) clock(s modelState, add func(modelMove, modelState)) {
	to := s
	to.Books.minute()
	if to != s {
		add(modelMove{Deed: aMinute}, to)
	}
	to = s
	to.window()
	if to != s {
		add(modelMove{Deed: aWindow}, to)
	}
	if s.Books.Asking && !s.Books.Aged {
		to.window()
		to.window()
		to.Books.Aged = true
		add(modelMove{Deed: aDay}, to)
	}
}

func (b *modelBooks) minute() {
	for n := range b.Try {
		for i, row := range b.Try[n].Sends {
			if row == sendOpen {
				b.Try[n].Sends[i] = sendDue
			}
		}
	}
	b.Rested = b.Step == toRest
}

// window lets KEY_WINDOW go by, and with it a token's life.
func (s *modelState) window() {
	b := &s.Books
	for n := range b.Try {
		if t := &b.Try[n]; t.unresolved() > 0 {
			s.World.Dead[n] = t.Over
			t.Over = true
		}
		if s.World.Dead[n] {
			for i, f := range s.World.Fate[n] {
				if f == onItsWay {
					s.World.Fate[n][i] = gone
				}
			}
		}
	}
	b.minute()
	b.Lagging.Long = b.Lagging.Is
	b.Stale = b.Latest == 1 && b.maySend() && b.Try[0].Known
}

// maySend: the latest attempt is to be sent, or may be when it turns out that no
// request of it left.
func (b *modelBooks) maySend() bool { return b.Step == toCreate || b.doubtsSends() }

// doubtsSends: only whether a send arrived is asked, of the statement or of a
// person.
func (b *modelBooks) doubtsSends() bool {
	return b.Cases&askContradiction == 0 && (b.Step == toLook || b.Step == toPark && b.Asks == askUnknown || b.Status == isParked && b.Cases&askUnknown != 0)
}

func (b *modelBooks) noted() bool { return b.Try[0].Noted|b.Try[1].Noted != 0 }

// tidy forgets what can make no difference any more.
func (s modelState) tidy() modelState {
	b := &s.Books
	for n := range b.Try {
		t := &b.Try[n]
		switch exposed, returned := b.Booked&(bookedExpose1<<n) != 0, b.Booked&bookedReturn != 0; {
		case t.End == endExecuted && returned && !exposed && t.Back.byWord():
			t.Back = backByWord // only the last word matters still
		case t.End != endExecuted || b.Money != moneyHeld && b.Money != moneyPaid:
			t.Back = notBack
		}
		for i, row := range t.Sends {
			if (t.Known || t.End != endOpen) && row != sendOpen {
				t.Sends[i] = noSend
			}
			switch f := &s.World.Fate[n][i]; {
			case t.Sends[i] == noSend:
				*f = noFate
			case row == sendUnknown || row == sendRefused: // only whether it may arrive still matters
				if *f != onItsWay {
					*f = gone
				}
			}
		}
		if t.Known || t.End != endOpen {
			t.Over, s.World.Dead[n] = false, false
		} else if t.unresolved() == 0 {
			t.Over, s.World.Dead[n] = false, false
		}
	}
	if b.Step != toRest {
		b.Rested = false
	}
	if !b.maySend() {
		b.Stale = false
	}
	if b.Step != toPark && b.Step != toLook {
		b.Asks = 0
	}
	if !b.Asking {
		b.Aged = false
	}
	return s
}

// unresolved counts the sends that may have reached the provider.
func (t modelTry) unresolved() (n int) {
	for _, row := range t.Sends {
		if row != noSend {
			n++
		}
	}
	return n
}
