package httpapi

import (
	"context"
	"net/http"
	"time"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// InboxItem is one event of the provider as it was stored.
type InboxItem struct {
	ID               string     `json:"id"`
	EventID          string     `json:"event_id" doc:"The provider's"`
	Type             string     `json:"type" example:"payout_executed"`
	ProviderPayoutID *string    `json:"provider_payout_id" doc:"Whom it names by the provider's id"`
	PayoutID         *string    `json:"payout_id" doc:"The payout or refund it belongs to; null: nobody's yet"`
	Attempt          *int       `json:"attempt" doc:"null: it names none"`
	ClaimedStatus    *string    `json:"claimed_status" doc:"What it says; the provider is asked before anything follows from it" example:"executed"`
	FailureReason    *string    `json:"failure_reason"`
	ReceivedAt       time.Time  `json:"received_at"`
	Repeats          int        `json:"repeats" doc:"How often the same event came again" example:"0"`
	AppliedAt        *time.Time `json:"applied_at" doc:"When a step read it; null: none has"`
	AppliedBy        *string    `json:"applied_by"`
}

// InboxList is one page.
type InboxList Page[InboxItem]

// AuditLine is one thing that a person did, or that was done in his name.
type AuditLine struct {
	Position int64     `json:"position" doc:"Dense, from 1" example:"17"`
	At       time.Time `json:"at"`
	Who      string    `json:"who" doc:"A caller's name, or the step that carried it out" example:"ann"`
	What     string    `json:"what" doc:"propose, approve or reject; done or void, by the step that carried it out or could not. The list may grow" example:"propose"`
	CaseID   *string   `json:"case_id"`
	PayoutID *string   `json:"payout_id"`
	Detail   string    `json:"detail" doc:"For people; do not parse it"`
}

// AuditList is one page, by position.
type AuditList Positions[AuditLine]

type inboxInput struct {
	PayoutID  string `query:"payout_id" doc:"Only about this payout or refund"`
	Unmatched string `query:"unmatched" doc:"true: only those that nobody owns and no step has read" example:"true"`
	PageInput
}

func (a *api) watch() {
	add(a, route{
		method: http.MethodGet, path: "/v1/inbox", name: "list-inbox", tag: "watch", roles: readers,
		summary: "What the provider told us", problems: []kind{invalidRequest},
		about: "Every verified event, also those that no payout of ours owns. An event is news: what follows from it is asked of the provider first.",
	}, a.inbox)
	add(a, route{
		method: http.MethodGet, path: "/v1/audit", name: "list-audit", tag: "watch", roles: []Role{RoleOperator, RoleAuditor},
		summary: "What people decided, in order", problems: []kind{invalidRequest},
		about: "Append-only: what is listed once never changes.",
	}, a.audit)
}

func (a *api) inbox(ctx context.Context, in *inboxInput) (*output[InboxList], error) {
	var wrong payout.Problems
	f := ledger.InboxFilter{Unmatched: in.Unmatched == "true", Limit: limitOf(&wrong, in.Limit), Cursor: in.Cursor}
	if in.PayoutID != "" {
		f.PayoutID = payout.ID(idOf(&wrong, "payout_id", in.PayoutID))
	}
	if in.Unmatched != "" && in.Unmatched != "true" && in.Unmatched != "false" {
		wrong = append(wrong, payout.Problem{Field: "unmatched", Want: "want true or false"})
	}
	if err := together(nil, wrong); err != nil {
		return nil, err
	}
	items, next, err := a.Ledger.Inbox(ctx, f)
	return &output[InboxList]{InboxList(page(items, next, inboxView))}, invalidParameter(err)
}

func (a *api) audit(ctx context.Context, in *positionsInput) (*output[AuditList], error) {
	list, err := positions(ctx, in, a.Ledger.Audit, func(l ledger.AuditLine) int64 { return l.Position }, auditView)
	return &output[AuditList]{AuditList(list)}, err
}

func inboxView(i ledger.InboxItem) InboxItem {
	v := InboxItem{
		ID: i.ID, EventID: i.EventID, Type: i.Type, ProviderPayoutID: orNull(i.ProviderPayoutID), PayoutID: orNull(string(i.PayoutID)),
		ClaimedStatus: orNull(i.ClaimedStatus), FailureReason: orNull(string(i.Reason)), ReceivedAt: i.ReceivedAt.UTC(), Repeats: i.Repeats,
		AppliedAt: timeOrNull(i.AppliedAt), AppliedBy: orNull(i.AppliedBy),
	}
	if i.Attempt > 0 {
		v.Attempt = &i.Attempt
	}
	return v
}

func auditView(l ledger.AuditLine) AuditLine {
	return AuditLine{l.Position, l.At.UTC(), l.Who, l.What, orNull(l.CaseID), orNull(string(l.PayoutID)), l.Detail}
}
