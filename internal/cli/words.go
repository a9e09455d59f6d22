package cli

import (
	"fmt"
	"io"
	"time"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
)

// next says in words what happens next to a payout. A step without words is
// shown as it is.
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

// where says in words where the money is.
var where = map[payout.MoneyAt]string{
	payout.MoneyHeld:     "held: set aside, still the player's",
	payout.MoneyPaid:     "paid: it left for the player's bank",
	payout.MoneyReleased: "released: in the player's balance again",
	payout.MoneyFrozen:   "frozen: set aside for a regulatory reason",
	payout.MoneyReturned: "returned: sent back by the bank, in the player's balance again",
}

// tell shows a payout to a person.
func tell(w io.Writer, p httpapi.Payout) {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %-9s %s\n", name, value)
		}
	}
	fmt.Fprintf(w, "payout %s\n", p.ID)
	line("amount", fmt.Sprintf("%s to %s, reference %q", money(p), p.PlayerID, p.Beneficiary.Reference))
	status := p.Status
	if p.ProviderStatus != nil {
		status += " (the provider says " + *p.ProviderStatus + ")"
	}
	line("status", status)
	line("reason", text(p.FailureReason, ""))
	line("money", word(where, payout.MoneyAt(p.Money)))
	line("next", upcoming(p))
	line("case", text(p.CaseID, ""))
	line("created", when(p.CreatedAt))
	line("workflow", p.WorkflowID)
	fmt.Fprintln(w, "attempts")
	for _, a := range p.Attempts {
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
	fmt.Fprintln(w, "timeline")
	for _, m := range p.Timeline {
		fmt.Fprintf(w, "  %s  %-10s  %s\n", when(m.At), m.Status, m.What)
	}
	fmt.Fprintf(w, "the player may be told: %s\n", p.PlayerMessage)
}

func upcoming(p httpapi.Payout) string {
	said := word(next, payout.Step(p.NextStep))
	if p.NextStepAt == nil {
		return said
	}
	if in := time.Until(*p.NextStepAt).Round(time.Second); in > 0 {
		return fmt.Sprintf("%s, at %s (in %s)", said, when(*p.NextStepAt), in)
	}
	return said + ", now"
}

// outcome is the last line about a payout that was followed.
func outcome(p httpapi.Payout) string {
	reason := ""
	if p.FailureReason != nil {
		reason = " for " + *p.FailureReason
	}
	end := fmt.Sprintf("%s%s; money %s", p.Status, reason, word(where, payout.MoneyAt(p.Money)))
	if p.Status == string(payout.StatusParked) {
		end += fmt.Sprintf("\na person decides; look again with: starter show %s", p.ID)
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

func money(p httpapi.Payout) string { return amount(p.Amount, payout.Currency(p.Currency)) }

func amount(minor int64, c payout.Currency) string {
	return payout.Money{Minor: minor, Currency: c}.String()
}

func when(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
