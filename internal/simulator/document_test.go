package simulator

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

func document(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "simulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// blocks are the document's code blocks of one language.
func blocks(t *testing.T, language string) (list []string) {
	t.Helper()
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(document(t), -1) {
		list = append(list, m[1])
	}
	if len(list) == 0 {
		t.Fatalf("docs/simulator.md has no block of %s", language)
	}
	return list
}

// The examples of docs/simulator.md do what the text around them says.
func TestDocumentExamples(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("the document's examples need curl: %v", err)
		}
		t.Skipf("NOT TESTED: the document's examples need curl: %v", err)
	}
	h := open(t)
	run := func(t *testing.T, script string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "sh", "-eu", "-c", "curl() { command curl --fail-with-body -sS \"$@\"; }\n"+script)
		cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), "SIM="+h.url)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s\n%s", err, script, out)
		}
	}
	rules := map[string]Rule{}
	for _, script := range blocks(t, "sh") {
		run(t, script)
		for _, r := range h.sim.Rules() {
			if r.Match.Reference != "" {
				rules[r.Match.Reference] = r
			}
		}
	}
	if n := len(h.sim.Faults()) + len(h.sim.MoneyFacts(FactPayIn)); n != 2 {
		t.Errorf("%d faults and pay-ins, want none and two", n)
	}
	if s := h.sim.Settings(); time.Duration(s.ExecuteAfter) != 5*time.Second {
		t.Errorf("settings %+v", s)
	}

	// Every example that goes by its reference is tried; one more needs a line here.
	h = open(t)
	for reference, want := range map[string]struct {
		statuses string // in truth, two days later
		webhooks int
	}{
		"silence":       {"pending authorized executed", 1},
		"blocked":       {"pending authorized failed", 1},
		"returned":      {"pending authorized executed failed", 2},
		"returned-hook": {"pending authorized executed", 2},
		"returned-line": {"pending authorized executed", 1},
		"flaps":         {"pending authorized pending authorized executed", 1},
		"wrong-echo":    {"pending authorized executed", 1},
		"lags":          {"pending authorized executed", 1},
		"lost":          {"pending authorized executed", 0},
		"five":          {"pending authorized executed", 5},
		"disorder":      {"pending authorized executed failed", 2},
		"hasty":         {"pending authorized executed", 1},
		"forged":        {"pending authorized executed", 1},
	} {
		t.Run(reference, func(t *testing.T) {
			rule, ok := rules[reference]
			if !ok {
				t.Fatal("is not among the examples")
			}
			delete(rules, reference)
			rule.HoldAnswerForWebhook = false // time stands still here
			h.script(rule)
			if _, err := h.try(uuid.NewString(), payoutBody(10, reference)); (err != nil) != (reference == "silence") {
				t.Errorf("create: %v", err)
			}
			all := h.sim.Payouts()
			id := all[len(all)-1].ID
			h.sim.Advance(48 * time.Hour)
			h.token = h.getToken("payments")
			until(t, "webhooks", func() bool { return h.sim.PendingWebhooks() == 0 })
			p, _ := h.sim.Payout(id)
			var statuses []string
			for _, m := range p.History {
				statuses = append(statuses, m.Status)
			}
			sent := 0
			for _, d := range h.sim.Journal().Webhooks {
				if d.TransferID == id && d.Try > 0 {
					sent++
				}
			}
			if got := strings.Join(statuses, " "); got != want.statuses || sent != want.webhooks {
				t.Errorf("went %s with %d webhooks", got, sent)
			}
		})
	}
	for reference := range rules {
		t.Errorf("the example for reference %q is not tried", reference)
	}
}

// The document names every control call, every field and every kind.
func TestDocumentIsWhole(t *testing.T) {
	text := document(t)
	need := func(what, name string) {
		t.Helper()
		if !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/simulator.md does not name %s `%s`", what, name)
		}
	}
	for _, c := range controls {
		need("the call", c.Call)
	}
	for _, v := range []any{Rule{}, Match{}, Answer{}, Delay{}, Fail{}, Step{}, Webhook{}, Fault{}, Settings{}, Journal{}} {
		of := reflect.TypeOf(v)
		for i := range of.NumField() {
			name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
			if name == "now" {
				continue
			}
			need("the field of "+of.Name(), name)
		}
	}
	for _, kind := range []string{
		AnswerNormal, AnswerRefuse, AnswerTimeout, AnswerReset, AnswerCut, AnswerEmpty, AnswerTrickle, AnswerGarbled, AnswerAcceptThenTimeout, AnswerAcceptThenReset,
		AnswerAcceptThen5xx, AnswerAcceptThenCut, AnswerAcceptThenEmpty, AnswerAcceptThenTrickle, AnswerAcceptThenGarbled,
		SignNone, SignForged, SignUnknownKid, SignRotated, SignWrongJKU, SignTampered, ShowWebhook, ShowStatement,
		FactPayIn, FactTopUp, FactSweep, FactAccepted, FactExecuted, FactFailed, FactReturned,
	} {
		need("the kind", kind)
	}
	request := reflect.TypeFor[Request]()
	for i := range request.NumField() {
		name, _, _ := strings.Cut(request.Field(i).Tag.Get("json"), ",")
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(text) {
			t.Errorf("docs/simulator.md does not name the journal's %s", name)
		}
	}
}

// The Go that the document shows is the example that is run.
func TestDocumentGo(t *testing.T) {
	code, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks(t, "go") {
		if !strings.Contains(string(code), block) {
			t.Errorf("example_test.go does not have:\n%s", block)
		}
	}
}
