package httpapi

import (
	"context"
	"strconv"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// ResolutionRequest is the body that proposes how to resolve a case.
type ResolutionRequest struct {
	_                struct{} `additionalProperties:"false"`
	Action           string   `json:"action" doc:"One of the case's actions" example:"created_as"`
	ProviderPayoutID string   `json:"provider_payout_id,omitempty" maxLength:"128" doc:"With created_as and not_ours: the provider's id of the payout" example:"5a2f9d1e-0d4f-4b62-8c6e-2e1d5a7b9c01"`
	ProviderTicket   string   `json:"provider_ticket,omitempty" maxLength:"100" doc:"The number of the provider's ticket that says so" example:"TL-10482"`
	Reason           string   `json:"reason" minLength:"1" maxLength:"1000" doc:"Why, for those who read it later; nothing personal" example:"their Console shows it with our reference"`
	Version          int      `json:"version" minimum:"1" doc:"The case's version: what you looked at" example:"4"`
	Questions        int      `json:"questions,omitempty" minimum:"0" doc:"The case's questions, as you read it; without it nobody notices what it asked between your reading and your proposal" example:"1"`
}

// ApprovalRequest is the body of the second person's word.
type ApprovalRequest struct {
	_        struct{} `additionalProperties:"false"`
	Decision string   `json:"decision" enum:"approve,reject" doc:"approve or reject" example:"approve"`
	Version  int      `json:"version" minimum:"1" doc:"The case's version: what you looked at" example:"4"`

	Questions int `json:"questions,omitempty" minimum:"0" doc:"The case's questions, as you read it" example:"1"`
}

const (
	decisionApprove = "approve"
	decisionReject  = "reject"
)

// Resolution is a proposal and what became of it. Fields without a value are
// null.
type Resolution struct {
	Number           int        `json:"number" doc:"From 1, per case" example:"1"`
	Action           string     `json:"action" example:"created_as"`
	ProviderPayoutID *string    `json:"provider_payout_id"`
	ProviderTicket   *string    `json:"provider_ticket"`
	Reason           string     `json:"reason"`
	Amount           *int64     `json:"amount_in_minor" doc:"What it is about; null: about no money" example:"1000"`
	Currency         *string    `json:"currency" example:"GBP"`
	Version          int        `json:"version" doc:"What it is bound to" example:"4"`
	Stale            bool       `json:"stale" doc:"Whether, while it is proposed, the payout moved on or the case asks more than when it was made: it can only be rejected"`
	Status           string     `json:"status" doc:"proposed: waits for another person. rejected. approved: waits for the step that carries it out. done. void: what it was bound to moved on, nothing was done." example:"proposed"`
	ProposedBy       string     `json:"proposed_by" example:"ann"`
	ProposedAt       time.Time  `json:"proposed_at"`
	DecidedBy        *string    `json:"decided_by" example:"bob"`
	DecidedAt        *time.Time `json:"decided_at"`
	EndedAt          *time.Time `json:"ended_at" doc:"When it was carried out or became void"`
	Outcome          *string    `json:"outcome" doc:"What the step that carried it out found; for people"`
}

// The statuses of a resolution that still ask something: of another person,
// or of the step that carries it out.
const (
	ResolutionProposed = ledger.ResolutionProposed
	ResolutionApproved = ledger.ResolutionApproved
)

type proposalOutput struct {
	Status   int
	Replayed string `header:"Idempotent-Replayed"` // replayedHeader
	Body     Resolution
}

type approvalInput struct {
	IDPath
	Number string `path:"number" doc:"The proposal's number" example:"1"`
}

func (a *api) propose(ctx context.Context, in *IDPath) (*proposalOutput, error) {
	var body ResolutionRequest
	shape := decode(bodyFrom(ctx), &body)
	p := payout.Proposal{
		Action: payout.Action(body.Action), ProviderPayoutID: body.ProviderPayoutID, ProviderTicket: body.ProviderTicket,
		Reason: body.Reason, Version: body.Version, Questions: body.Questions, By: callerFrom(ctx).Name,
	}
	wrong := p.Check()
	p.CaseID = in.read(&wrong)
	if err := together(shape, wrong); err != nil {
		return nil, err
	}
	r, replayed, err := a.Ledger.Propose(ctx, p)
	status, mark := created(replayed)
	return &proposalOutput{status, mark, resolutionView(r)}, invalidParameter(err)
}

// approve takes the second person's word and wakes the run that carries it
// out. What the run then does it reads from the approved row.
func (a *api) approve(ctx context.Context, in *approvalInput) (*output[Resolution], error) {
	var body ApprovalRequest
	shape := decode(bodyFrom(ctx), &body)
	var wrong payout.Problems
	number, err := strconv.Atoi(in.Number)
	if err != nil || number < 1 {
		wrong = append(wrong, payout.Problem{Field: "number", Want: "want the proposal's number: a whole number from 1"})
	}
	if body.Decision != decisionApprove && body.Decision != decisionReject {
		wrong = append(wrong, payout.Problem{Field: "decision", Want: "want " + decisionApprove + " or " + decisionReject})
	}
	if body.Version < 1 {
		wrong = append(wrong, payout.Problem{Field: "version", Want: "want the version that the case shows"})
	}
	if body.Questions < 0 {
		wrong = append(wrong, payout.Problem{Field: "questions", Want: "want the number that the case shows, or none"})
	}
	word := payout.Approval{
		CaseID: in.read(&wrong), Number: number, Approve: body.Decision == decisionApprove, Version: body.Version, Questions: body.Questions, By: callerFrom(ctx).Name,
	}
	if err := together(shape, wrong); err != nil {
		return nil, err
	}
	r, news, err := a.Ledger.Decide(ctx, word)
	if err != nil {
		return nil, invalidParameter(err)
	}
	if news.Wake {
		a.afterwards(ctx, "run not woken; the sweeper repeats it", news.PayoutID, func(ctx context.Context) error { return a.Wake(ctx, news) })
	}
	return &output[Resolution]{resolutionView(r)}, nil
}

func resolutionView(r ledger.Resolution) Resolution {
	v := Resolution{
		Number: r.Number, Action: string(r.Action), ProviderPayoutID: orNull(r.ProviderPayoutID), ProviderTicket: orNull(r.ProviderTicket),
		Reason: r.Reason, Version: r.Version, Status: r.Status, ProposedBy: r.ProposedBy, ProposedAt: r.ProposedAt.UTC(),
		DecidedBy: orNull(r.DecidedBy), DecidedAt: timeOrNull(r.DecidedAt), EndedAt: timeOrNull(r.EndedAt), Outcome: orNull(r.Outcome),
	}
	v.Amount, v.Currency = moneyOrNull(r.Money)
	return v
}
