package httpapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// Case is a question to a person. Fields without a value are null.
type Case struct {
	ID         string     `json:"id" format:"uuid"`
	Kind       string     `json:"kind" doc:"What is asked: unknown_outcome, mismatch, slow, contradiction, unmatched_event, unmatched_line, return_unconfirmed, blocked, exposure, credentials or shortage. The list may grow" example:"unknown_outcome"`
	Status     string     `json:"status" doc:"open or closed" example:"open"`
	Team       string     `json:"team" doc:"Who must act: operations, treasury, compliance or on-call" example:"operations"`
	PayoutID   *string    `json:"payout_id" doc:"The payout or refund it is about; null: about none"`
	PayoutKind *string    `json:"payout_kind" doc:"payout or refund: where payout_id is read" example:"payout"`
	PlayerID   *string    `json:"player_id" doc:"Whose money it is" example:"player-42"`
	Amount     *int64     `json:"amount_in_minor" doc:"Of the payout or refund" example:"1000"`
	Currency   *string    `json:"currency" example:"GBP"`
	Subject    *string    `json:"subject" doc:"What it is about beside: a merchant account, or an id of the provider's"`
	Why        string     `json:"why" doc:"What happened; for people, do not parse it"`
	Version    int        `json:"version" doc:"What a resolution must name: the payout's version, or the case's own where it is about no payout. When that has moved on, the resolution is refused: look again" example:"4"`
	Questions  int        `json:"questions" doc:"One more with each question that is added to why. A resolution that names fewer is refused: read it again" example:"1"`
	OpenedAt   time.Time  `json:"opened_at"`
	AgeSeconds int64      `json:"age_seconds" doc:"How long it is open, or was" example:"7200"`
	ClosedAt   *time.Time `json:"closed_at"`
	ClosedBy   *string    `json:"closed_by" doc:"What closed it: people by a resolution, or news"`

	Evidence    []Evidence   `json:"evidence,omitzero" nullable:"false" doc:"What the provider said, newest first; only where one case is asked for by id"`
	Actions     []Offer      `json:"actions,omitzero" nullable:"false" doc:"What may be proposed now, and what is lost if it is wrong. Only where one case is asked for by id"`
	NotNow      []string     `json:"not_now,omitzero" nullable:"false" doc:"What would answer the case and may not be proposed as things are, and why; for people. Only where one case is asked for by id"`
	Resolutions []Resolution `json:"resolutions,omitzero" nullable:"false" doc:"What was proposed and what became of it, oldest first; only where one case is asked for by id"`
}

// Evidence is what was heard about a payout.
type Evidence struct {
	ID               string     `json:"id" doc:"Money moves name it"`
	Attempt          int        `json:"attempt" doc:"From 1" example:"1"`
	Kind             string     `json:"kind" doc:"How it was heard: create, get, event, statement or person" example:"get"`
	ProviderPayoutID *string    `json:"provider_payout_id"`
	ProviderStatus   *string    `json:"provider_status" doc:"The provider's own word" example:"pending"`
	FailureReason    *string    `json:"failure_reason"`
	AskedAt          *time.Time `json:"asked_at" doc:"When we asked; null: not an answer to a question"`
	StoredAt         time.Time  `json:"stored_at"`
}

// Offer is an action a case may be resolved with.
type Offer struct {
	Action string  `json:"action" doc:"never_created, created_as, not_ours, release_frozen, keep_frozen, book_return, recover, adjust or dismiss. The list may grow" example:"never_created"`
	Risk   string  `json:"risk" doc:"What is lost if the decision is wrong" example:"If the provider has it after all, the money is paid twice."`
	Needs  *string `json:"needs" doc:"The field that must come with it" example:"provider_payout_id"`
}

// CaseList is one page.
type CaseList Page[Case]

type casesInput struct {
	Status   string `query:"status" doc:"open or closed; without it both" example:"open"`
	Kind     string `query:"kind" doc:"Only of this kind" example:"blocked"`
	PayoutID string `query:"payout_id" doc:"Only about this payout or refund"`
	PageInput
}

func (a *api) cases() {
	add(a, route{
		method: http.MethodGet, path: "/v1/cases", name: "list-cases", tag: "cases", roles: readers,
		summary: "Questions to people", problems: []kind{invalidRequest},
		about: "Wherever a machine must not decide, a case is opened; the money stays where it is safe. Oldest first; items come without evidence, actions and resolutions.",
	}, a.listCases)
	add(a, route{
		method: http.MethodGet, path: "/v1/cases/{id}", name: "case", tag: "cases", roles: readers,
		summary: "Read a case", problems: []kind{invalidRequest, notFound},
		about: "Why a person is asked, who must act, what the provider said, what may be proposed and at which risk, and what was.",
	}, a.oneCase)
	add(a, route{
		method: http.MethodPost, path: "/v1/cases/{id}/resolutions", name: "propose-resolution", tag: "cases", roles: []Role{RoleOperator}, created: true,
		summary: "Propose how to resolve a case",
		about: "Nothing happens until another operator approves. One proposal of a case is open at a time. It takes no Idempotency-Key: " +
			"the same open proposal by the same person is answered with 200.",
		body: ResolutionRequest{Action: string(payout.ActionCreatedAs), ProviderPayoutID: "5a2f9d1e-0d4f-4b62-8c6e-2e1d5a7b9c01", ProviderTicket: "TL-10482",
			Reason: "their Console shows it with our reference", Version: 4},
		problems: []kind{invalidRequest, notFound, staleVersion, caseClosed, proposalOpen, actionNotOffered},
	}, a.propose)
	add(a, route{
		method: http.MethodPost, path: "/v1/cases/{id}/resolutions/{number}/approvals", name: "approve-resolution", tag: "cases", roles: []Role{RoleOperator}, created: true, once: true,
		summary: "Approve or reject a proposal",
		about: "By another operator than the one who proposed, who sees the same version. An approved resolution is carried out by the payout's run, which looks again whether it still may; " +
			"the resolution then becomes done or void. About no payout, it is carried out at once.",
		body:     ApprovalRequest{Decision: decisionApprove, Version: 4},
		problems: []kind{invalidRequest, notFound, staleVersion, caseClosed, alreadyDecided, samePerson, actionNotOffered},
	}, a.approve)
}

func (a *api) listCases(ctx context.Context, in *casesInput) (*output[CaseList], error) {
	var wrong payout.Problems
	f := ledger.CaseFilter{Status: in.Status, Kind: payout.CaseKind(in.Kind), Limit: limitOf(&wrong, in.Limit), Cursor: in.Cursor}
	if statuses := []string{"open", "closed"}; in.Status != "" && !slices.Contains(statuses, in.Status) {
		wrong = append(wrong, payout.Problem{Field: "status", Want: "want " + anyOf(statuses)})
	}
	if in.Kind != "" && !slices.Contains(payout.CaseKinds(), f.Kind) {
		wrong = append(wrong, payout.Problem{Field: "kind", Want: "want " + anyOf(payout.CaseKinds())})
	}
	if in.PayoutID != "" {
		f.PayoutID = payout.ID(idOf(&wrong, "payout_id", in.PayoutID))
	}
	if err := together(nil, wrong); err != nil {
		return nil, err
	}
	items, next, err := a.Ledger.Cases(ctx, f)
	return &output[CaseList]{CaseList(page(items, next, a.caseView))}, invalidParameter(err)
}

func (a *api) oneCase(ctx context.Context, in *IDPath) (*output[Case], error) {
	var wrong payout.Problems
	id := in.read(&wrong)
	if err := together(nil, wrong); err != nil {
		return nil, err
	}
	c, err := a.Ledger.Case(ctx, id)
	v := a.caseView(c)
	v.Evidence, v.Actions, v.Resolutions = views(c.Evidence, evidenceView), views(c.Actions, offerView), views(c.Resolutions, func(r ledger.Resolution) Resolution {
		v := resolutionView(r)
		v.Stale = c.Stale(r)
		return v
	})
	if v.NotNow = c.NotNow; v.NotNow == nil {
		v.NotNow = []string{}
	}
	return &output[Case]{v}, err
}

// caseView is a case as lists show it.
func (a *api) caseView(c ledger.Case) Case {
	v := Case{
		ID: c.ID, Kind: string(c.Kind), Status: c.Status, Team: c.Kind.Team(), PayoutID: orNull(string(c.PayoutID)), PayoutKind: orNull(string(c.PayoutKind)),
		PlayerID: orNull(c.PlayerID), Subject: orNull(c.Subject), Why: c.Why, Version: c.Version, Questions: c.Questions,
		OpenedAt: c.OpenedAt.UTC(), ClosedAt: timeOrNull(c.ClosedAt), ClosedBy: orNull(c.ClosedBy),
	}
	v.Amount, v.Currency = moneyOrNull(c.Money)
	until := a.Now()
	if v.ClosedAt != nil {
		until = *v.ClosedAt
	}
	v.AgeSeconds = max(int64(until.Sub(c.OpenedAt).Seconds()), 0)
	return v
}

func evidenceView(e ledger.Evidence) Evidence {
	return Evidence{
		ID: e.ID, Attempt: e.Attempt, Kind: e.Kind, ProviderPayoutID: orNull(e.ProviderPayoutID), ProviderStatus: orNull(e.ProviderStatus),
		FailureReason: orNull(string(e.Reason)), AskedAt: timeOrNull(e.AskedAt), StoredAt: e.StoredAt.UTC(),
	}
}

func offerView(o payout.Offer) Offer { return Offer{string(o.Action), o.Risk, orNull(o.Needs)} }

// moneyOrNull is an amount that may be about nothing.
func moneyOrNull(m payout.Money) (amount *int64, currency *string) {
	if m == (payout.Money{}) {
		return nil, nil
	}
	return &m.Minor, orNull(string(m.Currency))
}
