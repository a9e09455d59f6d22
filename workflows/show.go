package workflows

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"payouts/internal/payout"
)

// State is the answer of the query `state`.
type State struct {
	PayoutID payout.ID       `json:"payout_id"`
	Position payout.Position `json:"position"`
}

// handle sets up what people and programs may send a run, each with the line
// that Temporal's UI shows beside it.
func (p *run) handle() {
	p.news = workflow.GetSignalChannelWithOptions(p.ctx, SignalNews, workflow.SignalChannelOptions{
		Description: "There is news: TrueLayer is asked now. The gateway sends it when a webhook is stored, the starter when two people decided. It decides nothing by itself, and ends no rest. Leave Data empty: nobody reads it."})
	if err := workflow.SetQueryHandlerWithOptions(p.ctx, QueryState, func() (State, error) { return State{p.id, p.at}, nil }, workflow.QueryHandlerOptions{
		Description: "Where it stands and which step is next, as this run last heard (durations in nanoseconds). `starter show` knows the rest."}); err != nil {
		p.err = err
	}
	err := workflow.SetUpdateHandlerWithOptions(p.ctx, UpdateLook, func(workflow.Context) (State, error) {
		p.look = true
		return State{p.id, p.at}, nil
	}, workflow.UpdateHandlerOptions{
		Description: "Ask TrueLayer now, instead of at the next poll. It answers with where it stood before; the details show what came of it. It decides nothing, and ends no rest. Leave Data empty: nobody reads it."})
	if err != nil {
		p.err = err
	}
}

// show keeps the position, and tells the lists of Temporal's UI: whether the
// payout is parked, and for which reason it rests or is parked. Each move
// costs an action; on the good path there is none.
func (p *run) show(at payout.Position) {
	p.at = at
	if at.Status.Final() {
		return // finish tells it
	}
	var moved []temporal.SearchAttributeUpdate
	shown := payout.StatusAccepted // until parked or final
	if at.Status == payout.StatusParked {
		shown = payout.StatusParked
	}
	if shown != p.status {
		p.status = shown
		moved = append(moved, AttributeStatus.ValueSet(string(shown)))
	}
	stands := at.Status == payout.StatusParked || at.Step == payout.StepTryAgain
	if stands && at.Reason != "" && at.Reason != p.reason {
		p.reason = at.Reason
		moved = append(moved, AttributeFailureReason.ValueSet(keyword(at.Reason)))
	}
	p.upsert(moved)
}

// finish tells how it ended: one upsert, the run's last act.
func (p *run) finish(at payout.Position) Outcome {
	moved := []temporal.SearchAttributeUpdate{AttributeStatus.ValueSet(string(at.Status))}
	switch {
	case at.Reason != "":
		moved = append(moved, AttributeFailureReason.ValueSet(keyword(at.Reason)))
	case p.reason != "": // of an attempt that a better one followed
		moved = append(moved, AttributeFailureReason.ValueUnset())
	}
	p.upsert(moved)
	p.tell(doing(at.Status))
	return Outcome{Status: at.Status, Reason: at.Reason}
}

func (p *run) upsert(moved []temporal.SearchAttributeUpdate) {
	if len(moved) == 0 {
		return
	}
	if err := workflow.UpsertTypedSearchAttributes(p.ctx, moved...); err != nil {
		workflow.GetLogger(p.ctx).Warn("search attributes not set", "payout_id", p.id, "error", err)
	}
}

// keyword cuts a reason, which may be any word of the provider, to what
// databases take for a search attribute.
func keyword(r payout.Reason) string {
	const longest = 255 // bytes
	if len(r) <= longest {
		return string(r)
	}
	return strings.ToValidUTF8(string(r[:longest]), "")
}

// tell says what the run does now, in the current details.
func (p *run) tell(what doing) {
	p.doing = what
	workflow.SetCurrentDetails(p.ctx, p.details())
}

// words are those for what the run does now, filled in.
func (p *run) words() words {
	w, fill := wordsFor(p.doing, p.late, p.at), p.filler()
	return words{fill(w.Summary), fill(w.Now), fill(w.Waits), fill(w.Next), fill(w.You)}
}

func (p *run) filler() func(string) string {
	stuck := "STUCK_AFTER"
	if p.kind == payout.KindRefund {
		stuck = "REFUND_STUCK_AFTER"
	}
	return strings.NewReplacer("{kind}", string(p.kind), "{id}", string(p.id), "{case}", p.at.CaseID,
		"{attempt}", fmt.Sprint(p.at.Attempt), "{next}", fmt.Sprint(p.at.Attempt+1), "{reason}", plain(p.at.Reason), "{when}", instant(p.due),
		"{late}", LateID(p.kind, p.id), "{stuck}", stuck).Replace
}

// details is Markdown for a person who has never read this code.
func (p *run) details() string {
	w := p.words()
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**\n\n", w.Now)
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "- **%s:** %s\n", name, text)
		}
	}
	line("Status", p.standing())
	line("Money", p.money())
	line("Waits for", w.Waits)
	line("Next, by itself", w.Next)
	if p.at.CaseID != "" {
		line("Case", fmt.Sprintf("`%s`, for %s: %s", p.at.CaseKind, p.at.CaseKind.Team(), p.at.CaseKind.InWords()))
	}
	line("What you can do", w.You)
	if p.cancel {
		line("Cancel", "it was asked for and is ignored. Only TrueLayer's word ends a "+string(p.kind)+".")
	}
	fmt.Fprintf(&b, "\nAs of %s; `starter show %s` is always current. [All runs of this %s](%s)\n", instant(workflow.Now(p.ctx)), p.id, p.kind, p.runs())
	return b.String()
}

func (p *run) standing() string {
	if p.at.Status == "" {
		return "being read from the books"
	}
	standing := fmt.Sprintf("`%s`, attempt %d", p.at.Status, p.at.Attempt)
	if p.doing == doing(p.steps.poll) { // its retries hear more than they tell the run
		standing = fmt.Sprintf("`%s` when this asking began, attempt %d", p.at.Status, p.at.Attempt)
	}
	if p.at.Reason == "" {
		return standing
	}
	standing += ", because of `" + plain(p.at.Reason) + "`"
	if why := p.at.Reason.InWords(); why != "" {
		standing += " (" + why + ")"
	}
	return standing
}

func (p *run) money() string {
	switch {
	case p.at.Money != "":
		return p.at.Money.InWords()
	case p.at.Status.Final() || p.late: // told by a ledger that does not say
		return ""
	}
	return payout.MoneyHeld.InWords()
}

// runs is the address of the list of this payout's runs, as seen from where
// Temporal's UI shows Markdown.
func (p *run) runs() string {
	return "namespaces/" + url.PathEscape(workflow.GetInfo(p.ctx).Namespace) + "/workflows?query=" +
		url.QueryEscape(fmt.Sprintf("%s=%q", AttributePayoutID.GetName(), p.id))
}

// plain keeps a word of the provider's from being read as Markdown.
func plain(r payout.Reason) string {
	const longest = 60 // bytes
	clean := strings.Map(func(c rune) rune {
		if c == '`' || c < ' ' {
			return -1
		}
		return c
	}, string(r))
	if len(clean) > longest {
		clean = strings.ToValidUTF8(clean[:longest], "") + "…"
	}
	return clean
}

func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
