package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"payouts/internal/payout"
)

// State is the answer of the query `state`.
type State struct {
	PayoutID payout.ID       `json:"payout_id"`
	Position payout.Position `json:"position"`
}

func (p *run) handle() {
	options := workflow.QueryHandlerOptions{Description: "Where this payout stands and what the run does next. The ledger has the rest."}
	if err := workflow.SetQueryHandlerWithOptions(p.ctx, QueryState, func() (State, error) { return State{p.id, p.at}, nil }, options); err != nil {
		p.err = err
	}
	err := workflow.SetUpdateHandlerWithOptions(p.ctx, UpdateLook, func(workflow.Context) (State, error) {
		p.look = true
		return State{p.id, p.at}, nil
	}, workflow.UpdateHandlerOptions{Description: "Ask the provider now, instead of waiting for the next poll. It decides nothing by itself."})
	if err != nil {
		p.err = err
	}
}

// show keeps the position and tells people: in the current details, and where
// the payout was parked or is no longer, in the search attribute.
func (p *run) show(at payout.Position) {
	p.at = at
	workflow.SetCurrentDetails(p.ctx, p.details())
	shown := payout.StatusAccepted // until parked or final
	if at.Status == payout.StatusParked {
		shown = payout.StatusParked
	}
	if shown != p.status && !at.Status.Final() {
		p.status = shown
		p.upsert(AttributeStatus.ValueSet(string(shown)))
	}
}

var waitsFor = map[payout.Step]string{
	payout.StepCreate:    "the provider's answer to its creation",
	payout.StepWait:      "news from the provider",
	payout.StepReconcile: "the provider's word",
	payout.StepTryAgain:  "the rest before the next attempt to be over",
	payout.StepRelease:   "the player to be credited back",
	payout.StepFreeze:    "the money to be frozen",
	payout.StepReturn:    "the bank's return to be booked",
	payout.StepPark:      "a case to be opened",
	payout.StepDone:      "nothing",
}

func (p *run) details() string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**, attempt %d. Waits for %s.\n", p.at.Status, p.at.Attempt, waitsFor[p.at.Step])
	if p.at.Wait > 0 {
		fmt.Fprintf(&b, "\nNext automatic step: %s.\n", workflow.Now(p.ctx).Add(p.at.Wait).UTC().Format("2006-01-02 15:04:05 UTC"))
	}
	if p.at.Reason != "" {
		fmt.Fprintf(&b, "\nThe provider's reason: `%s`.\n", p.at.Reason)
	}
	if p.at.CaseID != "" {
		fmt.Fprintf(&b, "\nA person decides: case `%s`.\n", p.at.CaseID)
	}
	fmt.Fprintf(&b, "\nMore: `starter show %s`. Update `look` asks the provider now; cancel and terminate move no money.\n", p.id)
	if p.cancel {
		b.WriteString("\nA cancel was asked for and is ignored: only the provider's word ends a payout.\n")
	}
	return b.String()
}
