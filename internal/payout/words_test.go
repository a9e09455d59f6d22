package payout

import "testing"

// A value that is added without words would be shown bare.
func TestEveryValueHasWords(t *testing.T) {
	for _, r := range Reasons() {
		if r.InWords() == "" {
			t.Errorf("reason %q has no words", r)
		}
	}
	for _, k := range CaseKinds() {
		if k.InWords() == "" {
			t.Errorf("case kind %q has no words", k)
		}
	}
	for _, m := range []MoneyAt{MoneyHeld, MoneyPaid, MoneyReleased, MoneyFrozen, MoneyReturned} {
		if m.InWords() == string(m) {
			t.Errorf("money %q has no words", m)
		}
	}
	if got := MoneyAt("elsewhere").InWords(); got != "elsewhere" {
		t.Errorf("a place of a newer build reads %q", got)
	}
	if got := Reason("moon_in_scorpio").InWords(); got != "" {
		t.Errorf("a reason nobody listed reads %q", got)
	}
}
