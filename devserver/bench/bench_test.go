package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	_ "payouts/internal/cli" // what the programs are: when it changes, go test must not answer from its cache
	"payouts/internal/ledger/ledgertest"
)

// TestEveryNumberIsThere runs a bench of tiny counts and holds that every
// number it promises is in its file, whatever its size.
func TestEveryNumberIsThere(t *testing.T) {
	bin, out := t.TempDir(), t.TempDir()
	for path, name := range map[string]string{"payouts/worker": "worker", "payouts/starter": "starter", "payouts/gateway": "gateway", "..": "devserver", ".": "bench"} {
		if said, err := exec.Command("go", "build", "-o", filepath.Join(bin, name), path).CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", path, err, said)
		}
	}
	databases := []string{"sqlite", "postgres"}
	if ledgertest.PostgresPrograms() == "" {
		fmt.Fprintf(os.Stderr, "\n*** %s: NOT TESTED ON POSTGRESQL: %v ***\n", t.Name(), errNoPostgres)
		databases = databases[:1]
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "bench"), "-short", "-rounds", "1", "-round", "3s", "-few", "200", "-many", "400",
		"-transactions", "40", "-webhooks", "40", "-steady", "3s", "-in-flight", "8", "-lull", "1s", "-out", out)
	said, err := cmd.CombinedOutput()
	t.Logf("%s", said)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(out, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	positive := func(what string, numbers ...float64) {
		t.Helper()
		for _, n := range numbers {
			if n <= 0 {
				t.Errorf("%s: %v; want numbers above 0", what, numbers)
			}
		}
	}
	positive("machine and size", float64(r.Machine.Cores), float64(r.Size.Rounds), r.Size.RoundSeconds, float64(r.Size.Few), float64(r.Size.Many))
	positive("bare workflow", r.Bare.PerSecond.Median, r.Bare.Ours, r.Bare.CPU["temporal"])
	apart := 1 // whether the machine lets two sides have cores of their own
	if _, err := halve(); err != nil {
		fmt.Fprintf(os.Stderr, "\n*** %s: NOT TESTED APART: %v ***\n", t.Name(), err)
		apart = 0
	} else {
		positive("bare workflow, apart", r.BareApart.PerSecond.Median, r.BareApart.Ours, r.BareApart.CPU["temporal"])
	}
	positive("memory of Temporal", r.Memory["temporal"]["temporal"], r.Memory["temporal"]["bare worker"])
	for _, database := range databases {
		for _, stored := range []int{200, 400} {
			name := fmt.Sprintf("%s, %d stored", database, stored)
			p := r.Payouts[name]
			positive("payouts, "+name, p.PerSecond.Median, p.Ratio.Median, p.Ours, p.PerCPU, float64(len(p.Rounds)))
			for _, program := range slices.Concat(ours, []string{"temporal", "provider"}) {
				if _, there := p.CPU[program]; !there {
					t.Errorf("payouts, %s: no CPU of the %s", name, program)
				}
			}
		}
		if few := fmt.Sprintf("%s, 200 stored", database); apart > 0 {
			p, s := r.PayoutsApart[few], r.WebhooksApart[few]
			positive("payouts apart, "+few, p.PerSecond.Median, p.Ratio.Median, p.Ours, p.PerCPU, p.CPU["temporal"], p.CPU["worker"], float64(len(p.Rounds)))
			positive("webhooks apart, "+few, s.Speed.Median, s.Limit.Median, s.Ratio.Median, s.Alone.Median)
		}
		positive("growth, "+database, r.Growth[database].Median)
		if workers := r.Workers[database]; len(workers) != len(shortSize.workers) {
			t.Errorf("workers, %s: %d speeds, want %d", database, len(workers), len(shortSize.workers))
		} else {
			positive("workers, "+database, workers[0].PerSecond.Median, workers[len(workers)-1].PerSecond.Median)
		}
		l := r.Latency[database]
		for _, w := range []waits{l.RequestToHeld, l.RequestToExecuted, l.WebhookToSettled} {
			positive("latency, "+database, float64(w.Count), w.P50, w.P99)
		}
		for _, program := range ours {
			positive("memory, "+database+", "+program, r.Memory[database][program])
		}
		for _, w := range plainTables {
			s := r.Ledger[database][w.name]
			positive("ledger, "+database+", "+w.name, s.Speed.Median, s.Plain.Median, s.Ratio.Median, s.Full.Median, s.Growth.Median, s.CPU.Median, s.PlainCPU.Median)
			if s.Rows != len(w.rows) && w.name != settlement.name || s.Rows < len(w.rows) { // settling writes two lines of the timeline
				t.Errorf("ledger, %s: %s writes %d rows, want %d", database, w.name, s.Rows, len(w.rows))
			}
		}
		s := r.Webhooks[fmt.Sprintf("%s, 200 stored", database)]
		positive("webhooks, "+database, s.Speed.Median, s.Limit.Median, s.Ratio.Median, s.Alone.Median)
	}
	for _, target := range r.Targets {
		positive("target "+target.What, target.Least+target.Most)
	}
	// On each database two of payouts, one of growth and one of webhooks, and
	// apart one of payouts and one of webhooks; on PostgreSQL two of the ledger.
	if want := (4+2*apart)*len(databases) + 2*(len(databases)-1); len(r.Targets) != want {
		t.Errorf("%d targets, want %d", len(r.Targets), want)
	}
	picture, err := os.ReadFile(filepath.Join(out, "bench.svg"))
	if err != nil {
		t.Fatal(err)
	}
	for read := xml.NewDecoder(bytes.NewReader(picture)); ; {
		if _, err := read.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("bench.svg: %v", err)
		}
	}
}

func TestSpread(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		want   spread
	}{
		"none": {nil, spread{}},
		"one":  {[]float64{3}, spread{3, 3, 3}},
		"odd":  {[]float64{9, 1, 4}, spread{4, 1, 9}},
		"even": {[]float64{9, 1, 4, 6}, spread{5, 1, 9}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := spreadOf(c.values); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestWaits(t *testing.T) {
	var list []float64
	for n := range 1000 {
		list = append(list, float64(1000-n))
	}
	if got, want := waitsOf(list), (waits{1000, 501, 991}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
