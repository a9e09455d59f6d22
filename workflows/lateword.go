package workflows

import (
	"go.temporal.io/sdk/workflow"

	"payouts/internal/payout"
)

// LateWord follows what turns up about a payout or refund that is final: a
// return by the bank, a success after the player was credited back, a decision
// of two people. It begins by asking the provider, and ends when the books say
// what there is to say: a return, an exposure, or a case.
func LateWord(ctx workflow.Context, in Input) (Outcome, error) {
	steps := payoutSteps
	if in.Kind == payout.KindRefund {
		steps = refundSteps
	}
	p := begin(ctx, in, steps)
	p.late = true
	return p.follow(p.reconcile())
}
