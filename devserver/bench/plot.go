package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"maps"
	"slices"
)

// A plot is panels of bars, one below the other: medians, with a line from the
// slowest round to the fastest.

const (
	plotWidth  = 860
	labelWidth = 260
	barHeight  = 18
	panelGap   = 44
)

type bar struct {
	label string
	spread
	fill string
}

const (
	ink    = "#24292f"
	colour = "#3b6ea5" // ours
	grey   = "#a8b3bd" // what it is held against
)

type drawing struct {
	bytes.Buffer
	y int
}

func (r *report) plot() []byte {
	var d drawing
	if len(r.Payouts) > 0 {
		d.panel("Payouts a second, at full load", payoutBars(r.Bare, r.Payouts))
		bars := []bar{{"bare workflow: worker", one(r.Bare.Ours), grey}, {"bare workflow: Temporal", one(r.Bare.CPU["temporal"]), grey}}
		for _, name := range slices.Sorted(maps.Keys(r.Payouts)) {
			for _, program := range slices.Sorted(maps.Keys(r.Payouts[name].CPU)) {
				fill := grey
				if slices.Contains(ours, program) {
					fill = colour
				}
				bars = append(bars, bar{name + ": " + program, one(r.Payouts[name].CPU[program]), fill})
			}
		}
		d.panel("CPU of one payout, ms", bars)
	}
	if len(r.PayoutsApart) > 0 {
		d.panel("Payouts a second, Temporal on cores of its own", payoutBars(r.BareApart, r.PayoutsApart))
	}
	var workers, waited, ledger []bar
	for _, database := range slices.Sorted(maps.Keys(r.Workers)) {
		for _, s := range r.Workers[database] {
			workers = append(workers, bar{fmt.Sprintf("%s, %d workers", database, s.Workers), s.PerSecond, colour})
		}
	}
	for _, database := range slices.Sorted(maps.Keys(r.Latency)) {
		l := r.Latency[database]
		for _, w := range []struct {
			name string
			waits
		}{{"request to held", l.RequestToHeld}, {"request to executed", l.RequestToExecuted}, {"webhook to settled", l.WebhookToSettled}} {
			waited = append(waited, bar{database + ", " + w.name, spread{w.P50, w.P50, w.P99}, colour})
		}
	}
	for _, database := range slices.Sorted(maps.Keys(r.Ledger)) {
		for _, kind := range plainTables {
			s := r.Ledger[database][kind.name]
			ledger = append(ledger, bar{fmt.Sprintf("%s, %s", database, kind.name), s.Speed, colour},
				bar{fmt.Sprintf("the same with %d stored", r.Size.Many), s.Full, colour}, bar{"plain inserts", s.Plain, grey})
		}
	}
	d.panel("Payouts a second, by workers", workers)
	d.panel("Latency in ms: median, line to p99", waited)
	d.panel("Ledger transactions a second", ledger)
	d.panel("Webhooks a second", webhookBars(r.Webhooks))
	d.panel("Webhooks a second, the gateway on cores of its own", webhookBars(r.WebhooksApart))
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12" fill="%s">`+"\n"+`<rect width="100%%" height="100%%" fill="white"/>`+"\n",
		plotWidth, d.y+panelGap/2, ink)
	out.Write(d.Bytes())
	out.WriteString("</svg>\n")
	return out.Bytes()
}

func payoutBars(bare payoutSpeed, houses map[string]payoutSpeed) []bar {
	bars := []bar{{"bare workflow", bare.PerSecond, grey}}
	for _, name := range slices.Sorted(maps.Keys(houses)) {
		bars = append(bars, bar{name, houses[name].PerSecond, colour})
	}
	return bars
}

func webhookBars(gateways map[string]intakeSpeed) (bars []bar) {
	for _, name := range slices.Sorted(maps.Keys(gateways)) {
		s := gateways[name]
		bars = append(bars, bar{name, s.Speed, colour}, bar{"P-521 verification alone", s.Limit, grey})
	}
	return bars
}

func one(v float64) spread { return spread{v, v, v} }

// panel draws bars from zero, all to one scale.
func (d *drawing) panel(title string, bars []bar) {
	if len(bars) == 0 {
		return
	}
	most := 0.0
	for _, b := range bars {
		most = max(most, b.Max)
	}
	scale := float64(plotWidth-labelWidth-70) / max(most, 1e-9)
	d.y += panelGap
	fmt.Fprintf(d, `<text x="12" y="%d" font-size="15" font-weight="bold">%s</text>`+"\n", d.y-12, escaped(title))
	for _, b := range bars {
		middle := d.y + barHeight/2
		fmt.Fprintf(d, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labelWidth-8, middle+4, escaped(b.label))
		fmt.Fprintf(d, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, labelWidth, d.y+2, b.Median*scale, barHeight-4, b.fill)
		if b.Max > b.Min {
			fmt.Fprintf(d, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-width="1.5"/>`, labelWidth+b.Min*scale, middle, labelWidth+b.Max*scale, middle, ink)
		}
		fmt.Fprintf(d, `<text x="%.1f" y="%d">%s</text>`+"\n", labelWidth+max(b.Median, b.Max)*scale+6, middle+4, short(b.Median))
		d.y += barHeight
	}
}

func escaped(text string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(text)) // a buffer takes everything
	return b.String()
}
