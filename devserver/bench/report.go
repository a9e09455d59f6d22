package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// report is everything that was measured: bench.json. Speeds are medians of
// the rounds with their spread.
type report struct {
	At      time.Time `json:"at"`
	Machine machine   `json:"machine"`
	Size    sizes     `json:"size"`

	Bare     payoutSpeed                       `json:"bare_workflow"`
	Payouts  map[string]payoutSpeed            `json:"payouts"`         // by database and payouts stored
	Growth   map[string]spread                 `json:"payouts_growth"`  // many stored over few, by database
	Workers  map[string][]workersSpeed         `json:"payouts_workers"` // by database
	Latency  map[string]latencies              `json:"latency"`         // by database
	Memory   map[string]map[string]float64     `json:"memory_mib"`      // resident, after the rounds
	Ledger   map[string]map[string]ledgerSpeed `json:"ledger"`          // by database and transaction
	Webhooks map[string]intakeSpeed            `json:"webhooks"`

	// With Temporal, or the gateway, on cores of its own.
	BareApart     payoutSpeed            `json:"bare_apart"`
	PayoutsApart  map[string]payoutSpeed `json:"payouts_apart"`
	WebhooksApart map[string]intakeSpeed `json:"webhooks_apart"`

	Targets []target `json:"targets"`
}

type machine struct {
	CPU     string `json:"cpu"`
	Cores   int    `json:"cores"`
	Go      string `json:"go"`
	Load    string `json:"load_before"` // others on this machine, as /proc/loadavg tells
	LoadEnd string `json:"load_after"`
}

type sizes struct {
	Rounds       int     `json:"rounds"`
	RoundSeconds float64 `json:"round_seconds"`
	InFlight     int     `json:"in_flight"`
	Few          int     `json:"few_stored"`
	Many         int     `json:"many_stored"`
	Transactions int     `json:"ledger_transactions"`
	Webhooks     int     `json:"webhooks"`
}

// payoutSpeed is payouts, or bare workflows, at full load.
type payoutSpeed struct {
	PerSecond spread             `json:"per_second"`
	Ratio     spread             `json:"ratio_to_bare"` // round by round
	CPU       map[string]float64 `json:"cpu_ms_per_payout"`
	Ours      float64            `json:"our_cpu_ms_per_payout"`     // worker, starter and gateway
	Beyond    float64            `json:"our_cpu_share_beyond_bare"` // of all but the provider's
	PerCPU    float64            `json:"cpu_ms_per_payout_in_all"`  // all but the provider's
	Rounds    []round            `json:"rounds"`
}

type workersSpeed struct {
	Workers   int    `json:"workers"`
	PerSecond spread `json:"per_second"`
}

// target is what a number is to be.
type target struct {
	What  string  `json:"what"`
	Got   float64 `json:"got"`
	Least float64 `json:"at_least,omitempty"`
	Most  float64 `json:"at_most,omitempty"`
	Met   bool    `json:"met"`
}

func newReport(b *bench) *report {
	return &report{At: b.began.UTC(), Machine: machine{CPU: processor(), Cores: runtime.NumCPU(), Go: runtime.Version(), Load: loadAverage()},
		Size:    sizes{b.size.rounds, b.size.roundFor.Seconds(), b.size.inFlight, b.size.few, b.size.many, b.size.transactions, b.size.webhooks},
		Payouts: map[string]payoutSpeed{}, Growth: map[string]spread{}, Workers: map[string][]workersSpeed{}, Latency: map[string]latencies{},
		Memory: map[string]map[string]float64{}, Ledger: map[string]map[string]ledgerSpeed{}, Webhooks: map[string]intakeSpeed{},
		PayoutsApart: map[string]payoutSpeed{}, WebhooksApart: map[string]intakeSpeed{}}
}

func processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, found := strings.CutPrefix(line, "model name"); found {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return runtime.GOARCH
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	return strings.TrimSpace(string(text))
}

// ours are the programs that this repository is.
var ours = []string{"worker", "starter", "gateway"}

// race holds the rounds of houses, by name, against those of the bare workflow.
func race(bare *contestant, houses []*contestant) (payoutSpeed, map[string]payoutSpeed) {
	alone, all := payoutSpeed{PerSecond: bare.perSecond(), Ratio: bare.over(bare), CPU: bare.cpuPer(), Rounds: bare.rounds}, map[string]payoutSpeed{}
	alone.Ours, alone.PerCPU = alone.CPU["bare"], alone.CPU["bare"]+alone.CPU["temporal"]
	for _, c := range houses {
		p := payoutSpeed{PerSecond: c.perSecond(), Ratio: c.over(bare), CPU: c.cpuPer(), Rounds: c.rounds}
		for name, each := range p.CPU {
			if slices.Contains(ours, name) {
				p.Ours += each
			}
			if name != "provider" {
				p.PerCPU += each
			}
		}
		if alone.CPU["temporal"] > 0 { // else it is elsewhere, and nobody knows what all is
			p.Beyond = (p.Ours - alone.Ours) / p.PerCPU
		}
		all[c.name] = p
	}
	return alone, all
}

// judge holds the numbers against what they are to be.
func (r *report) judge() {
	least := func(what string, got, want float64) {
		r.Targets = append(r.Targets, target{What: what, Got: got, Least: want, Met: got >= want})
	}
	most := func(what string, got, want float64) {
		r.Targets = append(r.Targets, target{What: what, Got: got, Most: want, Met: got <= want})
	}
	const payouts, intake = 0.85, 0.8 // shared or apart
	for _, name := range slices.Sorted(maps.Keys(r.Payouts)) {
		if strings.HasSuffix(name, fmt.Sprintf(" %d stored", r.Size.Few)) {
			least("payouts, of the bare workflow's speed ("+name+")", r.Payouts[name].Ratio.Median, payouts)
			if r.Bare.CPU["temporal"] == 0 { // it is elsewhere
				continue
			}
			most("our CPU beyond the bare worker's, of all CPU ("+name+")", r.Payouts[name].Beyond, 0.15)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.PayoutsApart)) {
		least("payouts, of the bare workflow's speed, Temporal on cores of its own ("+name+")", r.PayoutsApart[name].Ratio.Median, payouts)
	}
	for _, database := range slices.Sorted(maps.Keys(r.Growth)) {
		least(fmt.Sprintf("payouts with %d stored, of the speed with %d (%s)", r.Size.Many, r.Size.Few, database), r.Growth[database].Median, 0.9)
	}
	for _, database := range slices.Sorted(maps.Keys(r.Ledger)) {
		for _, w := range plainTables {
			if s := r.Ledger[database][w.name]; database == "postgres" {
				least(w.name+", of plain inserts ("+database+")", s.Ratio.Median, 0.8)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Webhooks)) {
		least("webhook intake, of P-521 verification alone ("+name+")", r.Webhooks[name].Ratio.Median, intake)
	}
	for _, name := range slices.Sorted(maps.Keys(r.WebhooksApart)) {
		least("webhook intake, of P-521 verification alone, the gateway on cores of its own ("+name+")", r.WebhooksApart[name].Ratio.Median, intake)
	}
}

// table prints what people want to know first.
func (r *report) table(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(cells ...any) {
		for i, cell := range cells {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			switch cell := cell.(type) {
			case spread:
				fmt.Fprintf(w, "%s (%s–%s)", short(cell.Median), short(cell.Min), short(cell.Max))
			case float64:
				fmt.Fprint(w, short(cell))
			default:
				fmt.Fprint(w, cell)
			}
		}
		fmt.Fprintln(w)
	}
	payouts := func(title string, bare payoutSpeed, houses map[string]payoutSpeed) {
		if len(houses) == 0 {
			return
		}
		row("\n"+title, "a second", "of bare", "CPU ms: ours", "temporal", "postgres", "provider", "ours beyond bare")
		row("bare workflow", bare.PerSecond, 1.0, bare.Ours, bare.CPU["temporal"], "", "", "")
		for _, name := range slices.Sorted(maps.Keys(houses)) {
			p := houses[name]
			row(name, p.PerSecond, p.Ratio, p.Ours, p.CPU["temporal"], p.CPU["postgres"], p.CPU["provider"], p.Beyond)
		}
		row("", "", "", "worker", "starter", "gateway")
		for _, name := range slices.Sorted(maps.Keys(houses)) {
			p := houses[name]
			row(name, "", "", p.CPU["worker"], p.CPU["starter"], p.CPU["gateway"])
		}
	}
	payouts("PAYOUTS AT FULL LOAD", r.Bare, r.Payouts)
	payouts("PAYOUTS, TEMPORAL ON CORES OF ITS OWN", r.BareApart, r.PayoutsApart)
	if len(r.Workers) > 0 {
		row("\nWORKERS", "payouts a second")
		for _, database := range slices.Sorted(maps.Keys(r.Workers)) {
			for _, s := range r.Workers[database] {
				row(fmt.Sprintf("%s, %d", database, s.Workers), s.PerSecond)
			}
		}
	}
	if len(r.Latency) > 0 {
		row("\nLATENCY, MS", "at a second", "held p50", "p99", "executed p50", "p99", "webhook to settled p50", "p99")
		for _, database := range slices.Sorted(maps.Keys(r.Latency)) {
			l := r.Latency[database]
			row(database, l.PerSecond, l.RequestToHeld.P50, l.RequestToHeld.P99, l.RequestToExecuted.P50, l.RequestToExecuted.P99, l.WebhookToSettled.P50, l.WebhookToSettled.P99)
		}
	}
	if len(r.Memory) > 0 {
		row("\nMEMORY, MiB")
		for _, name := range slices.Sorted(maps.Keys(r.Memory)) {
			for _, program := range slices.Sorted(maps.Keys(r.Memory[name])) {
				row(name+": "+program, r.Memory[name][program])
			}
		}
	}
	if len(r.Ledger) > 0 {
		row("\nLEDGER", "a second", "plain inserts", "ratio", fmt.Sprintf("with %d stored", r.Size.Many), "of few", "CPU ms", "plain")
		for _, database := range slices.Sorted(maps.Keys(r.Ledger)) {
			for _, kind := range plainTables {
				s := r.Ledger[database][kind.name]
				row(fmt.Sprintf("%s, %s (%d rows)", database, kind.name, s.Rows), s.Speed, s.Plain, s.Ratio, s.Full, s.Growth, s.CPU, s.PlainCPU)
			}
		}
	}
	webhooks := func(title string, gateways map[string]intakeSpeed) {
		if len(gateways) == 0 {
			return
		}
		row("\n"+title, "a second", "P-521 alone", "ratio", "CPU ms each", "P-521 CPU ms")
		for _, name := range slices.Sorted(maps.Keys(gateways)) {
			s := gateways[name]
			row(name, s.Speed, s.Limit, s.Ratio, s.CPU, s.Alone)
		}
	}
	webhooks("WEBHOOKS", r.Webhooks)
	webhooks("WEBHOOKS, THE GATEWAY ON CORES OF ITS OWN", r.WebhooksApart)
	if len(r.Targets) > 0 {
		row("\nTARGET", "got", "want", "")
		for _, t := range r.Targets {
			want, met := "≥ "+short(t.Least), "met"
			if t.Most > 0 {
				want = "≤ " + short(t.Most)
			}
			if !t.Met {
				met = "NOT MET"
			}
			row(t.What, t.Got, want, met)
		}
	}
	w.Flush()
}

func short(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// write keeps the numbers and the picture of them.
func (r *report) write(folder string, out io.Writer) error {
	r.Machine.LoadEnd = loadAverage()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("-out: %w", err)
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"bench.json": append(text, '\n'), "bench.svg": r.plot()} {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return fmt.Errorf("-out: %w", err)
		}
		fmt.Fprintln(out, "wrote", path)
	}
	return nil
}
