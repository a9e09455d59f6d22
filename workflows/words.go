package workflows

import "payouts/internal/payout"

// doing is what a run does at a moment. While an activity runs it is the
// activity's name.
type doing string

const (
	doingStart  doing = "start"  // the first step of every run: nothing is known yet
	doingWait   doing = "wait"   // a timer runs, then the provider is asked
	doingListen doing = "listen" // no timer: only news ends the wait
	doingRest   doing = "rest"   // a timer runs, then the next attempt begins
	doingNewer  doing = "newer"  // a step this build does not know

	endExecuted doing = "executed"
	endFailed   doing = "failed"
	endReturned doing = "returned"
	endFault    doing = "fault" // the run itself failed
)

// words are what a person reads in Temporal's UI about what a run does. In
// them {kind} is payout or refund, {id} its id, {attempt} and {next} the number
// of this attempt and the next, {reason} why this one failed, {when} an instant
// in UTC, {case} the case a person is asked, {late} the id of a run that
// follows late word, {stuck} the setting of how long it may take.
type words struct {
	Summary string // of the activity or timer, one line in the event history
	Now     string // what is happening
	Waits   string // for whom, or what
	Next    string // what happens by itself, and when
	You     string // what a person may do
}

const (
	nothing     = "Nothing: it goes on by itself."
	lookNow     = "Nothing is needed. The update `look` (*More Actions*, *Send an Update*) asks TrueLayer at once."
	slowCase    = " If it takes longer than `{stuck}`, a case `slow` is opened and the asking goes on."
	sendAgain   = "Without a clear answer the same request is sent again, with the same idempotency key, so that it cannot pay twice: after a second, then with pauses up to a minute, for as long as the key surely lives (`KEY_WINDOW`). After that the statement is searched for it, and only then a person is asked."
	pendingSend = nothing + " *Pending Activities* shows the last answer and the next try; `starter cases` shows whether TrueLayer lets us in."
	again       = "If the database does not answer, it is tried again within seconds, for as long as it takes."
)

// said is what a run says while the payout is not parked and not closed.
var said = map[doing]words{
	doingStart: {
		Summary: "create at TrueLayer, or read where it stands",
		Now:     "Beginning: the {kind} is sent to TrueLayer, unless an earlier run did that.",
		Waits:   "TrueLayer's answer to the create.",
		Next:    sendAgain,
		You:     pendingSend,
	},
	activityCreatePayout: {
		Summary: "create attempt {attempt} at TrueLayer",
		Now:     "Attempt {attempt} is being created at TrueLayer.",
		Waits:   "TrueLayer's answer to the create.",
		Next:    sendAgain,
		You:     pendingSend,
	},
	doingWait: {
		Summary: "wait for TrueLayer's webhook; then ask TrueLayer",
		Now:     "TrueLayer has attempt {attempt} and has not decided yet. That may take a day and is no failure.",
		Waits:   "TrueLayer's webhook (it comes as the signal `news`).",
		Next:    "{when}: if no webhook has come, TrueLayer is asked.",
		You:     lookNow,
	},
	doingListen: {
		Now:   "TrueLayer has not decided yet.",
		Waits: "TrueLayer's webhook (it comes as the signal `news`).",
		Next:  "Nothing until there is news. The sweeper looks at the row all the same.",
		You:   lookNow,
	},
	activityPollPayout: {
		Summary: "ask TrueLayer until it decides; each retry is one poll",
		Now:     "TrueLayer has attempt {attempt} and has not decided yet. That may take a day and is no failure.",
		Waits:   "TrueLayer's decision: its webhook, or its answer when it is asked.",
		Next:    "TrueLayer is asked again and again, with pauses that grow up to `POLL_MAX`: *Pending Activities* shows the last answer and the next try." + slowCase,
		You:     lookNow,
	},
	activityReconcilePayout: {
		Summary: "there is news: ask TrueLayer, reconcile the books",
		Now:     "There is news: TrueLayer is asked, and the books are reconciled with its word.",
		Waits:   "TrueLayer's answer.",
		Next:    "The answer decides. Without one TrueLayer is asked again: after a second, then with pauses up to a minute.",
		You:     nothing,
	},
	doingRest: {
		Summary: "rest before attempt {next} ({reason})",
		Now:     "Attempt {attempt} failed. It rests before attempt {next}.",
		Waits:   "The end of the rest.",
		Next:    "{when}: all earlier attempts are read once more; if every one is failed, attempt {next} begins with an idempotency key of its own.",
		You:     nothing,
	},
	activityTryAgain: {
		Summary: "read the earlier attempts once more, begin attempt {next}",
		Now:     "The rest is over: attempt {next} begins.",
		Waits:   "TrueLayer's word that no earlier attempt was paid.",
		Next:    "Attempt {next} is sent. If TrueLayer says anything else than failed of an earlier one, a person is asked instead.",
		You:     nothing,
	},
	activityReleaseHold: {
		Summary: "credit the player back ({reason})",
		Now:     "It failed for good: the player is being credited back.",
		Waits:   "The books.",
		Next:    "The hold goes back to the player's balance. " + again,
		You:     nothing,
	},
	activityFreezeHold: {
		Summary: "freeze the money for compliance",
		Now:     "It failed for a regulatory reason: the money is being set aside, where no machine spends it.",
		Waits:   "The books.",
		Next:    "The hold is frozen, and a case for compliance is opened. " + again,
		You:     nothing,
	},
	activityBookReturn: {
		Summary: "credit the player what the bank sent back",
		Now:     "The bank sent the money back: that is being booked.",
		Waits:   "The books.",
		Next:    "The player is credited again (where a case `blocked` is open, the money is frozen instead). " + again,
		You:     nothing,
	},
	activityOpenCase: {
		Summary: "park: open a case for a person",
		Now:     "Machines cannot tell what happened: a person is about to be asked. The money stays where it is.",
		Waits:   "The books.",
		Next:    "A case is opened, and the {kind} is parked. " + again,
		You:     nothing,
	},
	doingNewer: {
		Now:   "The books ask for a step that this build does not know: a newer worker knows it.",
		Waits: "News, or a newer worker.",
		Next:  "{when}: TrueLayer is asked.",
		You:   "Bring the newer build back, or terminate this run: the sweeper starts another one, and no money moves by that.",
	},
}

// saidParked is what it says instead while the payout is parked.
var saidParked = map[doing]words{
	doingWait: {
		Summary: "parked: wait for people or news; then ask TrueLayer again",
		Now:     parkedNow,
		Waits:   parkedWaits,
		Next:    "{when}: TrueLayer is asked again, or the statement is read again. Its first conclusive word goes on with the {kind} by itself.",
		You:     decide,
	},
	doingListen: {Now: parkedNow, Waits: parkedWaits, Next: "Nothing until there is news.", You: decide},
	activityPollPayout: {
		Summary: "parked: ask TrueLayer until it is conclusive; each retry is one poll",
		Now:     parkedNow,
		Waits:   parkedWaits,
		Next:    "TrueLayer is asked, or the statement read, again and again with pauses up to `POLL_MAX`: *Pending Activities* shows the last answer and the next try. The first conclusive word goes on with the {kind} by itself.",
		You:     decide,
	},
	activityReconcilePayout: {
		Summary: "parked, and there is news: ask TrueLayer, carry out what was approved",
		Now:     "Parked, and there is news, or two people decided: TrueLayer is asked, and what was approved is carried out.",
		Waits:   "TrueLayer's answer.",
		Next:    "The answer decides. Without one TrueLayer is asked again: after a second, then with pauses up to a minute.",
		You:     decide,
	},
}

const (
	parkedNow   = "Parked: machines cannot tell what happened. A person decides."
	parkedWaits = "The decision of two people, or a conclusive word of TrueLayer."
	decide      = "`starter case {case}` (or `GET /v1/cases/{case}`) shows the evidence and what may be decided. One operator proposes (`starter resolve`), another one approves (`starter approve`). No signal, update or query decides anything."
	caseOpen    = "`starter case {case}` (or `GET /v1/cases/{case}`) shows what a person is asked."
	noCase      = "`starter cases --payout {id}` lists what a person is asked, if anything."
)

// saidLate is what a run says that follows late word about something closed.
var saidLate = map[doing]words{
	activityReconcilePayout: {
		Summary: "late word: ask TrueLayer, reconcile the books",
		Now:     "Something turned up about this {kind} after it was closed: TrueLayer is asked, and the books are reconciled with its word.",
		Waits:   "TrueLayer's answer.",
		Next:    "The answer decides: a return or an exposure is booked, a case is opened, or nothing is new. Without an answer TrueLayer is asked again: after a second, then with pauses up to a minute.",
		You:     nothing,
	},
	doingWait: {
		Summary: "late word: ask TrueLayer again when this is over",
		Now:     "Signed news claims something about this closed {kind} that TrueLayer does not confirm yet.",
		Waits:   "TrueLayer's word, or money on the statement.",
		Next:    "{when}: TrueLayer is asked again.",
		You:     lookNow,
	},
	activityPollPayout: {
		Summary: "late word: ask TrueLayer until it confirms; each retry is one poll",
		Now:     "Signed news claims something about this closed {kind} that TrueLayer does not confirm yet.",
		Waits:   "TrueLayer's word, or money on the statement.",
		Next:    "TrueLayer is asked again and again, for `RETURN_ASK_FOR` at the most; then a case is opened. *Pending Activities* shows the last answer and the next try.",
		You:     lookNow,
	},
}

// saidInTheEnd is what a run that is over goes on saying: it must stay true
// whatever happens later.
var saidInTheEnd = map[doing]words{
	endExecuted: {
		Now:   "Executed: TrueLayer took the amount from the merchant account and sent it. That does not say that the player's bank has credited it.",
		Waits: "Nothing: this run is over.",
		Next:  "Nothing. Should the bank send it back, even weeks later, another run books the return: `{late}`.",
		You:   noCase,
	},
	endFailed: {
		Now:   "Failed: it ended without paying.",
		Waits: "Nothing: this run is over.",
		Next:  "Nothing. Should TrueLayer have paid it after all, another run follows that up: `{late}`.",
		You:   noCase,
	},
	endReturned: {
		Now:   "Returned: it was executed, and the bank sent it back.",
		Waits: "Nothing: this run is over.",
		Next:  "Nothing.",
		You:   noCase,
	},
	endFault: {
		Now:   "This run failed, by a fault of the programs. That moved no money.",
		Waits: "Nothing: this run is over.",
		Next:  "The sweeper starts another run, if the {kind} is not closed.",
		You:   "Read the error in *Result*, and mend what it names. `starter show {id}` tells where the money is.",
	},
}

// refundTwins says what a refund's activities say: what a payout's do.
var refundTwins = map[doing]doing{
	activityCreateRefund: activityCreatePayout, activityPollRefund: activityPollPayout, activityReconcileRefund: activityReconcilePayout,
}

// wordsFor finds what to say: that of an end, of late word, of a parked
// payout, or else of any.
func wordsFor(what doing, late bool, at payout.Position) words {
	if twin, ok := refundTwins[what]; ok {
		what = twin
	}
	w, ok := saidInTheEnd[what]
	if ok && at.CaseID != "" {
		w.You = caseOpen
	}
	if !ok && late {
		w, ok = saidLate[what]
	}
	if !ok && at.Status == payout.StatusParked {
		w, ok = saidParked[what]
	}
	if !ok {
		w = said[what]
	}
	return w
}
