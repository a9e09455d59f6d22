package ops

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
	"go.uber.org/zap"

	"payouts/activities"
	"payouts/internal/app"
	"payouts/internal/cli"
	"payouts/internal/ledger/ledgertest"
	"payouts/internal/payout"
)

var swept activities.Swept

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// gathered is metrics that were scraped from a program.
type gathered []*dto.MetricFamily

func (g gathered) Gather() ([]*dto.MetricFamily, error) { return g, nil }

// exist is every metric there is: of the three programs as they are assembled,
// with Temporal and the provider down, and of a house in which everything that
// the alerts are for has happened.
func exist(t *testing.T) map[string]map[string]bool {
	t.Helper()
	h := newHouse(t)
	h.minute()
	for name, f := range faults {
		switch name {
		case "PayoutsWorkerGone", "PayoutsGatewayGone", "PayoutsBooksUnreadable", "PayoutsBrakeShut":
			continue // after which there is nothing to scrape, or to pay
		}
		if f.begin(h); f.each != nil {
			f.each(h)
		}
	}
	if _, _, err := h.Debit(t.Context(), payout.Movement{Caller: ledgertest.Caller, IdempotencyKey: "too much", PlayerID: ledgertest.Player, Money: ledgertest.Pounds(1e9), Reason: "x"}); err == nil {
		t.Error("a debit beyond the balance is taken")
	}
	h.look(t, h.clock)
	for program, run := range map[app.Program]func(context.Context, app.Config, *zap.Logger) error{
		app.Worker: app.RunWorker, app.Starter: app.RunStarter, app.Gateway: app.RunGateway,
	} {
		h.targets[string(program)] = assembled(t, program, run)
	}
	h.look(t, h.clock.Add(time.Minute))
	return h.names()
}

// assembled runs a program until it has tried to reach Temporal, and scrapes it.
func assembled(t *testing.T, program app.Program, run func(context.Context, app.Config, *zap.Logger) error) gathered {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	environment := map[string]string{
		"DATABASE_URL": "sqlite:" + filepath.Join(dir, "books.db"), "SEAL_KEY_FILE": write("seal", "k1 MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n"),
		"MERCHANT_ACCOUNTS": "GBP=0b1f9d3e-8c2a-4c36-9f0e-3f0b6f8a9c11", "API_TOKENS_FILE": write("tokens", "game backend "+strings.Repeat("0", 64)+"\n"),
		"TRUELAYER_API_URL": "http://127.0.0.1:1", "TRUELAYER_AUTH_URL": "http://127.0.0.1:1", "TRUELAYER_JWKS_URL": "http://127.0.0.1:1/jwks",
		"TRUELAYER_CLIENT_ID": "client", "TRUELAYER_CLIENT_SECRET_FILE": write("secret", "secret"), "TRUELAYER_SIGNING_KEY_FILE": write("key", string(signingKey(t))),
		"TRUELAYER_SIGNING_KID": "kid", "TEMPORAL_CONFIG_FILE": write("temporal.toml", ""), "TEMPORAL_ADDRESS": "127.0.0.1:1",
	}
	for _, name := range []string{"ADMIN_ADDR", "STARTER_ADDR", "GATEWAY_ADDR"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		environment[name] = l.Addr().String()
		l.Close()
	}
	config, err := app.Load(func(name string) string { return environment[name] }, program)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, config, zap.NewNop()) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for limit := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		response, err := http.Get("http://" + environment["ADMIN_ADDR"] + "/metrics")
		if err == nil {
			parser := expfmt.NewTextParser(model.UTF8Validation)
			families, err := parser.TextToMetricFamilies(response.Body)
			response.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if families["temporal_request_failure_total"] != nil || program != app.Worker {
				var list gathered
				for _, f := range families {
					list = append(list, f)
				}
				return list
			}
		}
		if time.Now().After(limit) {
			t.Fatalf("%s has no metrics of the Temporal SDK: %v", program, err)
		}
	}
}

// queries are all those of the alerts and the dashboard, by where they stand.
func queries(t *testing.T) map[string]string {
	t.Helper()
	list := map[string]string{}
	for _, r := range rules(t) {
		list["alert "+r.Alert] = r.Expr
	}
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title  string
		Panels []struct {
			ID      int
			Type    string
			Title   string
			Targets []struct{ RefID, Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] || p.Title == "" || (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("panel %d %q: an id twice, or no title, or nothing to show", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, q := range p.Targets {
			list["panel "+p.Title+" "+q.RefID] = q.Expr
		}
	}
	if dashboard.Title == "" || len(list) < 50 {
		t.Fatalf("%d queries found", len(list))
	}
	return list
}

// Every metric that an alert or a panel names exists, with the labels and the
// values it is asked by.
func TestMetricsExist(t *testing.T) {
	metrics := exist(t)
	for where, query := range queries(t) {
		expr, err := promQL.ParseExpr(query)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		var asked []string // labels, of all metrics of the query together
		parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
			if sum, ok := node.(*parser.AggregateExpr); ok {
				asked = append(asked, sum.Grouping...)
			}
			return nil
		})
		for _, selector := range parser.ExtractSelectors(expr) {
			name := ""
			for _, m := range selector {
				if m.Name == model.MetricNameLabel {
					name = m.Value
				}
			}
			known, exists := metrics[name]
			if !exists {
				t.Errorf("%s: there is no metric %s", where, name)
				continue
			}
			for _, m := range selector {
				if !known[m.Name] {
					t.Errorf("%s: %s has no label %s", where, name, m.Name)
				}
			}
			for _, label := range asked {
				if !known[label] {
					t.Errorf("%s: %s has no label %s", where, name, label)
				}
			}
		}
	}
}

// The dashboard tells how many payouts are in a status for how long, since they
// came into it and not since they were accepted, and how long they were in those
// that they left.
func TestTimeInStatus(t *testing.T) {
	h, panels := newHouse(t), queries(t)
	h.idle[paying] = true
	shows := func(panel, want string) {
		t.Helper()
		expr, there := panels["panel "+panel+" A"]
		if !there {
			t.Fatalf("there is no panel %q", panel)
		}
		var got []string
		for _, s := range h.watch.ask(t, expr, h.clock) {
			if s.F > 0 { // nor what is no number
				got = append(got, fmt.Sprintf("%s %g", s.Metric, s.F))
			}
		}
		if slices.Sort(got); strings.Join(got, ", ") != want {
			t.Errorf("%q shows %s, want %s", panel, strings.Join(got, ", "), want)
		}
	}
	h.pass(5 * time.Minute)
	slow := h.accepted()
	h.pass(2 * time.Hour)
	shows("For how long in accepted", `{le="+Inf"} 1, {le="14400"} 1, {le="259200"} 1, {le="43200"} 1, {le="604800"} 1, {le="93600"} 1`)
	shows("For how long in pending", "")
	h.answered(h.sent(slow), there("their-"+string(slow)))
	resting := h.created()
	h.heard(resting, "failed", payout.ReasonSchemeError)
	h.pass(50 * time.Minute)
	h.heard(slow, "pending", "") // polled, and where it was
	h.created()
	h.pass(11 * time.Minute)
	shows("For how long in accepted", "")
	shows("For how long in pending", `{le="+Inf"} 3, {le="14400"} 3, {le="259200"} 3, {le="3600"} 1, {le="43200"} 3, {le="604800"} 3, {le="900"} 1, {le="93600"} 3`)
	shows("Longer than an hour in its status, by reason", `{reason="none", status="pending"} 1, {reason="scheme_error", status="pending"} 1`)
	shows("Time in a status that was left, 95 %", `{status="accepted"} 0.95`)
	h.pass(5 * time.Minute)
	h.heard(slow, "executed", "")
	h.pass(2 * time.Minute)
	shows("Longer than an hour in its status, by reason", `{reason="scheme_error", status="pending"} 1`)
	shows("Time in a status that was left, 95 %", `{status="pending"} 13860`) // of what is between 3600 and 14400
}

// The commands of the runbook are commands: they get as far as an API that is
// not there.
func TestRunbookCommands(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("(?m)^(starter [^#\n]*)|`(starter [a-z]+ [^`]*)`")
	environment := map[string]string{"STARTER_URL": "http://127.0.0.1:1", "STARTER_TOKEN": "token"}
	tried := 0
	for _, found := range quoted.FindAllStringSubmatch(string(text), -1) {
		args := strings.Fields(strings.ReplaceAll(found[1]+found[2], `"`, ""))[1:]
		for i := range args {
			args[i] = strings.NewReplacer("ACTION", "dismiss", "NUMBER", "1").Replace(args[i])
		}
		if args[0] == "doctor" {
			continue
		}
		tried++
		var said strings.Builder
		terminal := cli.Terminal{Getenv: func(name string) string { return environment[name] }, Out: &said, Err: &said}
		if code := cli.Starter(t.Context(), args, terminal); code != cli.ExitUnreachable {
			t.Errorf("%s: exit code %d: %s", found[0], code, said.String())
		}
	}
	if tried < 10 {
		t.Fatalf("%d commands found", tried)
	}
}

// The lines of logs that the runbook sends people to are written somewhere.
func TestRunbookLogs(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, room := range []string{"activities", "internal", "workflows"} {
		if err := filepath.WalkDir(filepath.Join("..", room), func(path string, _ os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			code, err := os.ReadFile(path)
			source.Write(code)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	tried := 0
	for _, sentence := range regexp.MustCompile(`[^.]*\blog(?: lines)? (`+"`[^`]+`[^.]*"+`)`).FindAllStringSubmatch(string(text), -1) {
		for _, quoted := range regexp.MustCompile("`([a-z][a-z: ]+ [a-z: ]+)`").FindAllStringSubmatch(sentence[1], -1) {
			if tried++; !strings.Contains(source.String(), `"`+quoted[1]) {
				t.Errorf("docs/runbook.md sends people to the log line %q, which nothing writes", quoted[1])
			}
		}
	}
	if tried < 12 {
		t.Fatalf("%d lines of logs found", tried)
	}
}

// Each alert can be acted on at night: severity, summary, description, and a
// place in the runbook. So can each kind of case.
func TestRunbook(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "runbook.md"))
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for _, section := range regexp.MustCompile(`(?m)^### `).Split(string(text), -1)[1:] {
		heading, body, _ := strings.Cut(section, "\n")
		sections[strings.ReplaceAll(strings.ToLower(strings.TrimSpace(heading)), " ", "-")] = body
	}
	must := func(anchor string) {
		body, there := sections[anchor]
		if !there {
			t.Errorf("docs/runbook.md has no heading #%s", anchor)
			return
		}
		for _, part := range []string{"**Means.**", "**Look.**", "**Do.**", "**Not.**"} {
			if !strings.Contains(body, part) {
				t.Errorf("docs/runbook.md#%s does not say %s", anchor, part)
			}
		}
	}
	used := map[string]bool{}
	for _, r := range rules(t) {
		if s := r.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s: severity %q; want page or ticket", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || len(r.Annotations["description"]) < 80 {
			t.Errorf("%s: want a summary, and a description for somebody who was asleep", r.Alert)
		}
		anchor, ok := strings.CutPrefix(r.Annotations["runbook_url"], "docs/runbook.md#")
		if !ok {
			t.Errorf("%s: runbook_url %q leads elsewhere", r.Alert, r.Annotations["runbook_url"])
		}
		if anchor != "case-{{ $labels.kind }}" {
			must(anchor)
		}
		used[anchor], used[strings.ToLower(r.Alert)] = true, true
	}
	for _, kind := range payout.CaseKinds() {
		must("case-" + string(kind))
		for _, offer := range payout.Offers(kind) {
			if !strings.Contains(sections["case-"+string(kind)], "`"+string(offer.Action)+"`") {
				t.Errorf("docs/runbook.md#case-%s does not name the action %s", kind, offer.Action)
			}
		}
	}
	for anchor := range sections {
		isCase := slices.ContainsFunc(payout.CaseKinds(), func(k payout.CaseKind) bool { return anchor == "case-"+string(k) })
		if strings.HasPrefix(anchor, "payouts") && !used[anchor] || strings.HasPrefix(anchor, "case-") && !isCase {
			t.Errorf("docs/runbook.md#%s is about nothing that there is", anchor)
		}
	}
}
