package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
)

// next says in words what happens next to a payout or refund. A step without
// words is shown as it is.
var next = map[payout.Step]string{
	payout.StepCreate:    "it is sent to the provider",
	payout.StepWait:      "we wait for the provider, and ask",
	payout.StepReconcile: "there is news: the provider is asked",
	payout.StepTryAgain:  "it is tried again",
	payout.StepRelease:   "the player is credited back",
	payout.StepFreeze:    "the money is set aside for compliance",
	payout.StepReturn:    "the player is credited what the bank sent back",
	payout.StepPark:      "a person decides",
	payout.StepDone:      "nothing",
}

// closes says what closes a case about which nobody can propose anything.
var closes = map[payout.CaseKind]string{
	payout.CaseCredentials: "mend the credentials (starter doctor says what is wrong); the first call that is let in closes it",
	payout.CaseShortage:    "put money into the merchant account; the next payout executed from it closes it",
}

// flags is how a field that an action needs is given.
var flags = map[string]string{"provider_payout_id": "--provider-payout-id ID", "provider_ticket": "--ticket NUMBER"}

// typed is what the API says to a person, with a field named as it is typed here.
func typed(said string) string {
	for field, flag := range flags {
		said = strings.ReplaceAll(said, "("+field+")", "("+flag+")")
	}
	return said
}

// line shows one thing that is known about something. A case that asks more than
// one thing has a line for each.
func line(w io.Writer, name, value string) {
	if value == "" {
		return
	}
	for part := range strings.SplitSeq(value, "\n") {
		fmt.Fprintf(w, "  %-9s %s\n", name, part)
		name = ""
	}
}

// tell shows a payout or refund to a person, and beside it the open case where
// it may be read.
func tell(w io.Writer, l life, c *httpapi.Case) {
	fmt.Fprintf(w, "%s %s\n", l.kind(), l.ID)
	about, reference := "", l.Beneficiary.Reference
	if l.kind() == payout.KindRefund {
		about, reference = " of the pay-in "+l.PaymentID, l.Reference
	}
	line(w, "amount", fmt.Sprintf("%s to %s%s, reference %q", l.money(), l.PlayerID, about, reference))
	status := l.Status
	if l.ProviderStatus != nil {
		status += " (the provider says " + *l.ProviderStatus + ")"
	}
	line(w, "status", status)
	line(w, "reason", text(l.FailureReason, ""))
	line(w, "money", payout.MoneyAt(l.Money).InWords())
	line(w, "next", upcoming(l))
	line(w, "case", text(l.CaseID, ""))
	if c != nil {
		line(w, "", fmt.Sprintf("%s for %s, %s acts: %s", c.Kind, age(c.AgeSeconds), c.Team, payout.CaseKind(c.Kind).InWords()))
		line(w, "", c.Why)
	}
	line(w, "created", when(l.CreatedAt))
	line(w, "workflow", l.WorkflowID)
	fmt.Fprintln(w, "attempts")
	for _, a := range l.Attempts {
		sent := "never sent"
		if a.FirstSentAt != nil {
			sent = fmt.Sprintf("sent %s, %d in all", when(*a.FirstSentAt), a.Sends)
		}
		fmt.Fprintf(w, "  %d  %-9s %s", a.Number, a.Status, sent)
		if a.FailureReason != nil {
			fmt.Fprintf(w, ", %s", *a.FailureReason)
		}
		if a.ProviderPayoutID != nil {
			fmt.Fprintf(w, ", at the provider %s", *a.ProviderPayoutID)
		}
		fmt.Fprintln(w)
	}
}

// tellTimeline shows what happened, and what the player may be told.
func tellTimeline(w io.Writer, l life) {
	fmt.Fprintln(w, "timeline")
	for _, m := range l.Timeline {
		fmt.Fprintf(w, "  %s  %-10s  %s\n", when(m.At), m.Status, m.What)
	}
	fmt.Fprintf(w, "the player may be told: %s\n", l.PlayerMessage)
}

// upcoming says what happens next, or who decides where nothing does.
func upcoming(l life) string {
	step := payout.Step(l.NextStep)
	if l.CaseID != nil && (step == payout.StepDone || step == payout.StepPark) {
		return "a person decides: starter case " + *l.CaseID
	}
	said := word(next, step)
	if l.NextStepAt == nil {
		return said
	}
	if in := time.Until(*l.NextStepAt).Round(time.Second); in > 0 {
		return fmt.Sprintf("%s, at %s (in %s)", said, when(*l.NextStepAt), in)
	}
	return said + ", now"
}

// outcome is the last line about a payout or refund that was followed.
func outcome(l life) string {
	reason := ""
	if l.FailureReason != nil {
		reason = " for " + *l.FailureReason
	}
	end := fmt.Sprintf("%s%s; money %s", l.Status, reason, payout.MoneyAt(l.Money).InWords())
	switch {
	case l.CaseID != nil:
		end += "\na person decides: starter case " + *l.CaseID
	case l.Status == string(payout.StatusParked):
		end += "\na person decides; look again with: starter show " + l.ID
	}
	return end
}

// word translates, and shows what it has no word for as it is.
func word[K ~string](words map[K]string, key K) string {
	if w, ok := words[key]; ok {
		return w
	}
	return string(key)
}

func text(s *string, otherwise string) string {
	if s == nil {
		return otherwise
	}
	return *s
}

func amount(minor int64, c payout.Currency) string {
	return payout.Money{Minor: minor, Currency: c}.String()
}

func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
