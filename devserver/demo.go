package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"payouts/internal/cli"
	"payouts/internal/simulator"
)

const (
	demoPlayer = "player-42"
	demoUser   = "57e9ae89-01fd-4779-8775-5b7de9a85a64"
	demoSource = "c93bf50c-1c9c-40f1-80c9-cc55c0402fe8"
)

// demonstrateOnce shows the examples at the first start of a folder: a restart
// shows that what was there is there, and adds nothing to it.
func (h *house) demonstrateOnce(ctx context.Context, sim *simulator.Simulator, out io.Writer) {
	done := filepath.Join(h.dir, "demo.done")
	_, err := os.Stat(done)
	switch {
	case h.quiet:
	case err == nil:
		say(out, "the two example payouts were made at the first start; delete %s to see them again", done)
	default:
		h.demonstrate(ctx, sim, out)
		if ctx.Err() == nil {
			if err := os.WriteFile(done, nil, 0o600); err != nil {
				say(out, "cannot write %s: %v", done, err)
			}
		}
	}
}

// demonstrate does what a game backend and its operator would: it pays in,
// credits, binds, pays out once with success and once without, with the very
// commands it prints.
func (h *house) demonstrate(ctx context.Context, sim *simulator.Simulator, out io.Writer) {
	if _, err := sim.AddPayIn(simulator.PayIn{
		Currency: "GBP", AmountInMinor: 5_000, UserID: demoUser, PaymentSourceID: demoSource, Metadata: map[string]string{"player_id": demoPlayer},
	}); err != nil {
		say(out, "the example pay-in was refused by the simulator: %v", err)
		return
	}
	say(out, "\nA player paid in £50.00 from a bank account, and won. The backend credits the winnings and binds the account:")
	h.command(ctx, out, "credit", demoPlayer, "--amount", "30000.00", "--currency", "GBP", "--reason", "jackpot", "--key", newID())
	h.command(ctx, out, "source", demoPlayer, demoSource, "--user", demoUser, "--currency", "GBP")

	if ctx.Err() != nil {
		return
	}
	say(out, "\nA payout, and what happens to it:")
	h.command(ctx, out, "pay", demoPlayer, "--amount", "10.00", "--currency", "GBP", "--reference", "Winnings 1", "--source", demoSource, "--user", demoUser, "--wait", "--key", newID())

	if ctx.Err() != nil {
		return
	}
	say(out, "\nA payout larger than the merchant account: it fails as insufficient_funds on every attempt, and the player is credited back.")
	say(out, "(Between attempts a real house rests minutes; here seconds.)")
	h.command(ctx, out, "pay", demoPlayer, "--amount", "20000.00", "--currency", "GBP", "--reference", "Winnings 2", "--source", demoSource, "--user", demoUser, "--wait", "--key", newID())
	h.command(ctx, out, "balance", demoPlayer)
}

// command prints a command of the starter and runs it.
func (h *house) command(ctx context.Context, out io.Writer, args ...string) {
	if ctx.Err() != nil {
		return
	}
	shown := make([]string, len(args))
	for i, a := range args {
		if shown[i] = a; strings.Contains(a, " ") {
			shown[i] = fmt.Sprintf("%q", a)
		}
	}
	say(out, "\n$ starter %s", strings.Join(shown, " "))
	environment := map[string]string{"STARTER_URL": "http://" + h.starterAddr, "STARTER_TOKEN": h.secrets.backendToken}
	cli.Starter(ctx, args, cli.Terminal{Getenv: func(name string) string { return environment[name] }, Out: out, Err: out})
}

func (h *house) sayWhere(out io.Writer) {
	say(out, `
Everything is up. Ctrl-C stops it; what is in %[1]s survives a restart.

  Temporal UI   http://%[2]s      payouts: http://%[2]s/namespaces/default/workflows?query=WorkflowType%%21%%3D%%22Sweep%%22
  API           http://%[3]s      OpenAPI 3.1: http://%[3]s/openapi.json
  webhooks      http://%[4]s/webhooks/truelayer
  provider      http://%[5]s/control/   (the simulator: make it fail, see its journal)
  logs          %[1]s/house.log

Tokens:  backend %[6]s
         operator %[7]s (sees every player; also the books: curl -s -H "Authorization: Bearer …" http://%[3]s/v1/ledger/check)
         second   %[11]s (another operator: one proposes what to do about a case, the other approves)

A payout of your own, by command line:

  export STARTER_URL=http://%[3]s STARTER_TOKEN=%[6]s
  go run ./starter credit %[8]s --amount 12.50 --currency GBP --reason "table 7"
  go run ./starter pay %[8]s --amount 12.50 --currency GBP --reference "My payout" --wait

and by curl:

  curl -s http://%[3]s/v1/payouts -H "Authorization: Bearer %[6]s" -H "Content-Type: application/json" -H "Idempotency-Key: $(date +%%s%%N)" \
    -d '{"player_id":"%[8]s","amount_in_minor":1000,"currency":"GBP","beneficiary":{"user_id":"%[9]s","payment_source_id":"%[10]s","reference":"By curl"}}'
  curl -s http://%[3]s/v1/players/%[8]s/balances -H "Authorization: Bearer %[6]s"
`, h.dir, h.uiAddr, h.starterAddr, h.gatewayAddr, h.simulatorAddr, h.secrets.backendToken, h.secrets.operatorToken, demoPlayer, demoUser, demoSource, h.secrets.secondToken)
}
