package payout

import (
	"os"
	"regexp"
	"testing"
)

// The picture is the table: every arrow is drawn, and nothing else is.
func TestLifecyclePictureShowsTheArrows(t *testing.T) {
	text, err := os.ReadFile("../../docs/lifecycle.md")
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[[2]Status]bool{}
	for _, m := range regexp.MustCompile(`(?m)^    (\w+) --> (\w+)`).FindAllStringSubmatch(string(text), -1) {
		drawn[[2]Status{Status(m[1]), Status(m[2])}] = true
	}
	for _, from := range Statuses() {
		for _, to := range Statuses() {
			if arrow := [2]Status{from, to}; from.MayBecome(to) != drawn[arrow] {
				t.Errorf("%s --> %s: an arrow %v, drawn %v", from, to, from.MayBecome(to), drawn[arrow])
			}
			delete(drawn, [2]Status{from, to})
		}
		if end := regexp.MustCompile(`(?m)^    ` + string(from) + ` --> \[\*\]`).Match(text); end != (len(from.NextStatuses()) == 0) {
			t.Errorf("%s: drawn as an end %v", from, end)
		}
	}
	for arrow := range drawn {
		t.Errorf("drawn between words that are no statuses: %v", arrow)
	}
}
