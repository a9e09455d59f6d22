package payout

import "time"

// Step is what happens next to a payout. The database judges it, inside the
// transaction that stores the evidence; the workflow obeys.
type Step string

const (
	StepCreate    Step = "create"    // send the latest attempt to the provider
	StepWait      Step = "wait"      // wait for news, or poll when Wait is over
	StepReconcile Step = "reconcile" // there is news already: ask the provider now
	StepTryAgain  Step = "try_again" // rest for Wait, then begin the next attempt
	StepRelease   Step = "release"   // credit the player back
	StepFreeze    Step = "freeze"    // set the money aside where no machine spends it
	StepReturn    Step = "return"    // the bank sent it back: credit the player back
	StepPark      Step = "park"      // open a case: a person decides
	StepDone      Step = "done"      // nothing
)

// Steps lists every step.
func Steps() []Step {
	return []Step{StepCreate, StepWait, StepReconcile, StepTryAgain, StepRelease, StepFreeze, StepReturn, StepPark, StepDone}
}

// Position is where a payout stands and what to do next: the answer of every
// activity. It lies in histories in clear, so it holds no personal data.
type Position struct {
	Status   Status        `json:"status"`
	Step     Step          `json:"step"`
	Wait     time.Duration `json:"wait,omitempty"` // nanoseconds until the step is due; 0 with StepWait: only news ends the wait
	Attempt  int           `json:"attempt"`        // from 1
	Reason   Reason        `json:"reason,omitempty"`
	Money    MoneyAt       `json:"money,omitempty"`     // empty while it is held
	CaseID   string        `json:"case_id,omitempty"`   // the oldest open case of a payout that is parked, failed or returned
	CaseKind CaseKind      `json:"case_kind,omitempty"` // of that case
}
