package ledger_test

// The rules of our books in the model: what each call comes to. They are the
// design's words, once more and shorter.

// runs: what our runs do, whichever of them, however often.
func (m model) runs(s modelState, add func(modelMove, modelState)) {
	b := s.Books
	to := s
	if m.opensSend(&to) {
		add(modelMove{Deed: opensSend}, to)
	}
	for n := range b.Latest + 1 {
		if b.Try[n].Unread != 0 && !b.Try[n].Known {
			to := s
			to.Books.learn()
			add(modelMove{Deed: readsAndDies}, to)
			break
		}
	}
	m.asks(s, add)
	m.triesAgain(s, add)
	for _, own := range []struct {
		deed modelDeed
		step nextStep
		run  func(*modelBooks)
	}{{releases, toRelease, m.release}, {freezes, toFreeze, m.freeze}, {returns, toReturn, m.giveBack}, {parks, toPark, m.park}} {
		if to := s; b.Step == own.step && (own.deed == parks || !b.unread()) {
			own.run(&to.Books)
			add(modelMove{Deed: own.deed}, to)
		}
	}
}

func (b *modelBooks) unread() bool { return b.Try[0].Unread|b.Try[1].Unread != 0 }

// opensSend: permission to send, or what is to be done instead. It says
// whether the call is part of the bounded model.
func (m model) opensSend(s *modelState) bool {
	b := &s.Books
	t := &b.Try[b.Latest]
	if b.Step != toCreate {
		return false
	}
	if t.Unread != 0 {
		b.known(b.Latest) // the news names it: it is there
		return true
	}
	if b.unread() || b.Stale {
		return true // asked first
	}
	switch {
	case !t.Over || m.makes(resendForEver):
	case m.makes(creditAfterWindow):
		t.End, t.Why = endRefused, saysInvalid
		b.failed(m, b.Latest)
		return true
	default:
		b.Step, b.Asks = toLook, askUnknown
		return true
	}
	for i := range t.Sends {
		if i < m.sends[b.Latest] && t.Sends[i] == noSend {
			t.Sends[i] = sendOpen
			s.World.Fate[b.Latest][i] = onItsWay
			return true
		}
	}
	return false
}

// answered: a send comes back.
func (m model) answered(s *modelState, n, i int8, a payoutAnswer) {
	b := &s.Books
	t := &b.Try[n]
	switch a {
	case answerCreated:
		t.Sends[i] = noSend
		if !t.Known {
			b.known(n)
		}
	case answerNotSent:
		t.Sends[i] = noSend
		b.nothingSent(n)
	case answerUnknown:
		t.Sends[i] = sendUnknown
		if m.makes(creditOnError) && t.End == endOpen && !t.Known {
			t.End, t.Why = endRefused, saysInvalid
			b.failed(m, n)
		}
	case answerRefused, answerDown:
		t.Sends[i] = sendRefused
		for _, row := range t.Sends {
			if row != noSend && row != sendRefused && !m.makes(oneNoIsEnough) {
				return // another send may have been taken in: still unknown
			}
		}
		if t.Known || t.End != endOpen {
			return
		}
		t.End, t.Why = endRefused, saysInvalid
		if a == answerDown {
			t.Why = saysDown
		}
		b.failed(m, n)
	}
}

// nothingSent: it is certain now that no request of the attempt left. That is
// nothing to ask a person, nor ever too old to be sent.
func (b *modelBooks) nothingSent(n int8) {
	t := b.Try[n]
	if t.Known || t.End != endOpen || t.unresolved() > 0 || !b.doubtsSends() || b.paidBeside(n) {
		return
	}
	b.Step = toCreate
	if b.Status == isParked {
		b.Status = isAccepted
		if n > 0 {
			b.Status = isPending
		}
	}
	b.Cases &^= askUnknown
}

// known: an attempt is at the provider, under an id.
func (b *modelBooks) known(n int8) {
	t := &b.Try[n]
	t.Known = true
	if t.End != endOpen {
		b.doubt(askContradiction)
		return
	}
	if !b.paidBeside(n) && (b.Step != toPark || b.Asks == askUnknown) {
		if b.Status == isAccepted || b.Status == isParked {
			b.Status = isPending
		}
		b.Step = toAsk
	} else if b.Step != toPark { // an id does not answer what is asked
		b.Step = toAsk
	}
	b.Cases &^= askUnknown
}

// learn takes ids from news that overtook the create's answer.
func (b *modelBooks) learn() {
	for n := range b.Latest + 1 {
		if t := b.Try[n]; !t.Known && t.Unread != 0 {
			b.known(n)
		}
	}
}

func (b *modelBooks) paidBeside(n int8) bool { return b.Try[1-n].End == endExecuted }

// asks: read the news, ask the provider and judge; at once, or much later.
func (m model) asks(s modelState, add func(modelMove, modelState)) {
	read := s
	read.Books.learn()
	b := read.Books
	var asked [2]bool
	for n := range b.Latest + 1 {
		t := b.Try[n]
		latest := n == b.Latest && (!b.Status.final() || b.Step != toDone)
		asked[n] = t.Known && (latest || t.Unread != 0 || s.Books.Step == toCreate || b.Status.final() && b.Asking)
	}
	inbox := [2]newsClaims{b.Try[0].Unread, b.Try[1].Unread}
	looks := []lookedUp{notLooked}
	latest, back := b.Try[b.Latest], int8(-1)
	switch {
	case !latest.Known && latest.End == endOpen && (b.Step == toLook || b.Status == isParked):
		looks = []lookedUp{showsNothing}
		if s.World.Truth[b.Latest].Is != thereNot {
			looks = append(looks, showsPayout)
		}
	case b.Money == moneyPaid && b.Asking && (b.Try[0].Noted | b.Try[1].Noted).has(claimsFailed):
		looks = []lookedUp{showsNothing}
		for n, t := range s.World.Truth {
			if t.back() {
				looks, back = append(looks, showsReturn), int8(n)
			}
		}
	}
	for _, said := range m.words(s, asked) {
		for _, look := range looks {
			if asked == ([2]bool{}) && inbox == ([2]newsClaims{}) && look == notLooked {
				continue // nothing to hear
			}
			to := read
			what := modelMove{Deed: asks, Said: said, Looked: look}
			if look == showsReturn {
				what.Attempt = back
			}
			to.Books.judge(m, said, inbox, what)
			add(what, to)
		}
		if m.lags && !s.Books.Lagging.Is && asked != ([2]bool{}) {
			to := read
			to.Books.Lagging = modelReading{Is: true, Said: said, Inbox: inbox}
			add(modelMove{Deed: asksAndLags, Said: said}, to)
		}
	}
	if l := s.Books.Lagging; l.Is {
		to := s
		to.Books.Lagging = modelReading{}
		for n := range l.Said {
			if l.Old[n] && !m.makes(lastWordWins) {
				l.Said[n] = silence // asked before what is known: kept, not believed
			}
		}
		to.Books.judge(m, l.Said, l.Inbox, modelMove{})
		to.Books.Stale = to.Books.Stale || l.Long && b.Stale // it was long ago then, too
		add(modelMove{Deed: judgesLate}, to)
	}
}

// words lists what the GETs of the asked attempts may say together.
func (m model) words(s modelState, asked [2]bool) [][2]modelWord {
	says := [2][]modelWord{{silence}, {silence}}
	for n := range asked {
		if asked[n] {
			says[n] = m.says(s, int8(n))
		}
	}
	var list [][2]modelWord
	for _, first := range says[0] {
		for _, second := range says[1] {
			list = append(list, [2]modelWord{first, second})
		}
	}
	return list
}

// judge: the provider's words are judged, and the news that was read is applied.
func (b *modelBooks) judge(m model, said [2]modelWord, inbox [2]newsClaims, heard modelMove) {
	was, unknown := b.Status, b.Step == toLook
	if unknown && heard.Looked != notLooked {
		b.Step = toAsk
	}
	for n := range b.Try {
		inbox[n] &= b.Try[n].Unread // another run may have been faster
		b.Try[n].Unread &^= inbox[n]
		b.Lagging.Inbox[n] &^= inbox[n]
		if said[n] != silence && b.Lagging.Is {
			b.Lagging.Old[n] = true
		}
	}
	for n := range b.Latest + 1 {
		if said[n] != silence {
			b.hear(m, n, said[n])
		}
	}
	switch heard.Looked {
	case showsNothing:
		if unknown { // whatever else is asked, this is too
			b.Step, b.Asks = toPark, askUnknown
		}
	case showsPayout:
		if !b.Try[b.Latest].Known {
			b.known(b.Latest)
		}
	case showsReturn:
		if !m.makes(paidIsPaid) && b.Money == moneyPaid && b.Try[heard.Attempt].End == endExecuted {
			b.sentBack(m, heard.Attempt, saysReturned)
		}
	}
	b.note(was, inbox, said, heard)
}

// hear: one word about one attempt.
func (b *modelBooks) hear(m model, n int8, w modelWord) {
	t := &b.Try[n]
	latest := n == b.Latest
	if n == 0 {
		b.Stale = false
	}
	switch {
	case latest && t.End == endOpen && w == saysExecuted:
		b.settle(n)
	case latest && t.End == endOpen && w.failed():
		t.End, t.Why = endFailed, w
		b.failed(m, n)
	case latest && t.End == endOpen:
		b.undecided(m, w)
	case w == saysExecuted && t.End != endExecuted:
		b.executedLate(m, n)
	case w.failed() && t.End == endExecuted && b.Money != moneyHeld && !m.makes(paidIsPaid):
		b.sentBack(m, n, w)
	case w.failed() && t.End != endExecuted && latest && b.Status == isParked && b.Money == moneyHeld:
		b.failed(m, n) // what made us doubt that it failed is over
	}
}

// settle: held → merchant.
func (b *modelBooks) settle(n int8) {
	b.Status, b.Money, b.Step = isExecuted, moneyPaid, toDone
	b.Booked |= bookedSettle
	b.Try[n].End = endExecuted
	b.Cases &^= askUnknown
	if b.paidBeside(n) {
		b.expose(1 - n)
	}
}

// failed: the decision table says what follows the end of attempt n.
func (b *modelBooks) failed(m model, n int8) {
	t := b.Try[n]
	if b.paidBeside(n) && !m.makes(latestDecides) {
		b.doubt(askContradiction)
		return
	}
	switch {
	case t.Why == saysDown && n+1 < m.attempts:
		b.Step, b.Rested = toRest, false
	case t.Why == saysBlocked:
		b.Step = toFreeze
	case t.Why == saysReturned && t.End != endRefused:
		b.Step = toReturn
	default:
		b.Step = toRelease
	}
	if b.Step == toRest || b.Status == isParked {
		b.Status = isPending
	}
	b.Cases &^= askUnknown
}

func (b *modelBooks) undecided(m model, w modelWord) {
	if m.makes(slowIsFailed) && b.Step == toAsk && b.Latest+1 < m.attempts {
		b.Try[b.Latest].End, b.Try[b.Latest].Why = endFailed, saysDown
		b.Latest, b.Status, b.Step = b.Latest+1, isPending, toCreate
		return
	}
	if b.Status == isParked {
		b.Step = toAsk
		return
	}
	if b.Step == toPark {
		return
	}
	if w == saysAuthorized {
		b.Status = isAuthorized
	} else if b.Status == isAccepted {
		b.Status = isPending
	}
	b.Step = toAsk
}

// doubt: a person is asked. Money that is held stays so.
func (b *modelBooks) doubt(kind caseKinds) {
	b.Cases |= kind
	switch {
	case b.Status == isParked:
		b.Step = toAsk
	case b.Step != toPark && b.Money == moneyHeld:
		b.Step, b.Asks = toPark, kind
	}
}

// executedLate: an attempt that was over turns out to be paid.
func (b *modelBooks) executedLate(m model, n int8) {
	b.Try[n].End = endExecuted
	switch {
	case b.Money == moneyHeld:
		b.doubt(askContradiction)
	case m.makes(closedIsDeaf):
	case m.makes(settleTwice):
		b.settle(n)
	default:
		b.expose(n)
	}
}

func (b *modelBooks) expose(n int8) {
	if b.Booked&(bookedExpose1<<n) == 0 {
		b.Booked |= bookedExpose1 << n
		b.Cases |= askExposure
	}
}

// sentBack: what was executed is failed now.
func (b *modelBooks) sentBack(m model, n int8, w modelWord) {
	switch {
	case b.Booked&(bookedExpose1<<n) != 0:
		b.Cases |= askExposure // it came back to the house
	case b.Step == toReturn && w == saysBlocked: // not booked yet
		b.Cases |= askBlocked
	case b.Step == toReturn:
	case b.Money == moneyReturned && w == saysBlocked: // spendable, and should not be
		b.Cases |= askContradiction
	case b.Money != moneyPaid:
	case b.paidBeside(n):
		b.doubt(askContradiction)
	default:
		if w == saysBlocked {
			b.Cases |= askBlocked
		}
		b.Step = toReturn
	}
}

// note keeps what signed news says and nobody confirms yet. A closed payout is
// asked about while there is such news, until RETURN_ASK_FOR is over; then a
// person is asked.
func (b *modelBooks) note(was payoutStatus, inbox [2]newsClaims, said [2]modelWord, heard modelMove) {
	var fresh newsClaims
	for n := range b.Try {
		t := &b.Try[n]
		t.Noted |= inbox[n]
		exposed := b.Booked&(bookedExpose1<<n) != 0
		mayComeBack := t.End == endExecuted && !exposed && (b.Money == moneyHeld || b.Money == moneyPaid)
		switch {
		case heard.Looked == showsReturn && heard.Attempt == int8(n):
			if t.Back = backByStatement; said[n].failed() {
				t.Back = backByBoth
			}
		case said[n].failed() && t.Back == notBack:
			t.Back = backByWord
		case said[n].failed() && t.Back == backByStatement:
			t.Back = backByBoth
		case said[n] == saysExecuted && t.Back == backByWord:
			t.Back = notBack
		case said[n] == saysExecuted && t.Back == backByBoth:
			t.Back = backByStatement
		}
		// What says executed of what came back and is booked may be the older word, or the bank paid once more.
		if maybeTwice := b.Booked&bookedReturn != 0 && !exposed && t.Back.byWord(); t.End == endExecuted && !maybeTwice {
			t.Noted &^= claimsExecuted
		}
		if t.End != endOpen && !mayComeBack || t.Back != notBack {
			t.Noted &^= claimsFailed
		}
		fresh |= inbox[n] & t.Noted
	}
	if !b.Status.final() || b.Step != toDone && b.Step != toAsk {
		return
	}
	if begins := fresh != 0 || !was.final(); begins && !b.Asking {
		b.Asking, b.Aged = true, false
	}
	switch {
	case b.Asking && b.Aged && b.noted():
		if (b.Try[0].Noted | b.Try[1].Noted).has(claimsFailed) {
			b.Cases |= askReturn
		}
		for _, t := range b.Try { // executed and then sent back is no news, once it was asked long enough that it is not the other way round
			if sentBack := t.End == endExecuted || t.End == endFailed && t.Why == saysReturned; t.Noted.has(claimsExecuted) && !sentBack {
				b.Cases |= askContradiction
			}
		}
		b.Asking = false
	case !b.noted():
		b.Asking = false
	}
	if b.Step = toDone; b.Asking {
		b.Step = toAsk
	}
}

// triesAgain: the next attempt, when the rest is over and every one before is
// failed in words asked just now.
func (m model) triesAgain(s modelState, add func(modelMove, modelState)) {
	b := s.Books
	if b.Step != toRest || !b.Rested || b.unread() {
		return
	}
	for _, said := range m.words(s, [2]bool{b.Try[0].Known, false}) {
		to := s
		if to.Books.Lagging.Is && said[0] != silence {
			to.Books.Lagging.Old[0] = true
		}
		switch w := said[0]; {
		case w == silence || w.failed():
			to.Books.Latest, to.Books.Status, to.Books.Step = 1, isPending, toCreate
		case w == saysExecuted:
			to.Books.executedLate(m, 0)
		default:
			to.Books.doubt(askContradiction)
		}
		add(modelMove{Deed: triesAgain, Said: said}, to)
	}
}

// inFlight says that a send of the latest attempt may leave at this moment.
func (b *modelBooks) inFlight() bool {
	s := b.Try[b.Latest].Sends
	return s[0] == sendOpen || s[1] == sendOpen
}

// release: held → available.
func (m model) release(b *modelBooks) {
	if b.inFlight() {
		return // refused until its deadline
	}
	was := b.Status
	b.Status, b.Money, b.Booked = isFailed, moneyReleased, b.Booked|bookedRelease
	b.over(was)
}

// freeze: held → frozen, and compliance is asked.
func (m model) freeze(b *modelBooks) {
	if b.inFlight() {
		return
	}
	was := b.Status
	b.Status, b.Money, b.Booked, b.Cases = isFailed, moneyFrozen, b.Booked|bookedFreeze, b.Cases|askBlocked
	b.over(was)
}

// giveBack: merchant → available, or → frozen under a regulatory stop. What
// was never seen executed is settled first.
func (m model) giveBack(b *modelBooks) {
	was := b.Status
	if b.paidBeside(b.Latest) {
		b.doubt(askContradiction)
		b.over(was)
		return
	}
	b.Status, b.Money, b.Booked = isReturned, moneyReturned, b.Booked|bookedSettle|bookedReturn
	if b.Cases&askBlocked != 0 {
		b.Money = moneyFrozen // spendable by nobody before compliance says so
	}
	b.Cases &^= askReturn
	b.over(was)
}

// over ends what our side does, unless signed news says otherwise.
func (b *modelBooks) over(was payoutStatus) {
	b.Step = toDone
	b.note(was, [2]newsClaims{}, [2]modelWord{}, modelMove{})
}

// park: a person decides.
func (m model) park(b *modelBooks) {
	if !m.makes(nobodyIsAsked) {
		b.Cases |= b.Asks
	}
	b.Status, b.Step = isParked, toAsk
}
