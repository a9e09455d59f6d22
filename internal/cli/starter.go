package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"

	"github.com/google/uuid"

	"payouts/internal/app"
	"payouts/internal/httpapi"
)

// commands is the starter's command line.
type commands struct {
	Serve   serveCommand   `cmd:"" help:"Serve the API for game backends and people."`
	Credit  creditCommand  `cmd:"" help:"Credit a player's winnings."`
	Debit   debitCommand   `cmd:"" help:"Take from a player's balance."`
	Source  sourceCommand  `cmd:"" help:"Bind the account a player paid in from."`
	Sources sourcesCommand `cmd:"" help:"List the accounts a player can be paid out to."`
	Balance balanceCommand `cmd:"" help:"Show what a player has."`
	Pay     payCommand     `cmd:"" help:"Pay a player out."`
	Refund  refundCommand  `cmd:"" help:"Give a pay-in back, wholly or in part."`
	Show    showCommand    `cmd:"" help:"Show a payout or refund: where the money is, what happened, what happens next."`
	List    listCommand    `cmd:"" help:"List payouts or refunds, newest first."`
	Cases   casesCommand   `cmd:"" help:"List what people are asked."`
	Case    caseCommand    `cmd:"" help:"Show a case: what is asked, what is known, what may be decided and at which risk."`
	Resolve resolveCommand `cmd:"" help:"Propose how to resolve a case. Another person approves."`
	Approve approveCommand `cmd:"" help:"Approve or reject what another person proposed."`
	Inbox   inboxCommand   `cmd:"" help:"List what the provider told us."`
	Audit   auditCommand   `cmd:"" help:"List what people decided, and what was done in their names."`
	Doctor  doctorCommand  `cmd:"" help:"Check the configuration of all programs against the real thing, and say what to change."`
	Replay  replayCommand  `cmd:"" help:"Replay runs of a running cluster against this build, before it takes traffic."`
}

const starterAbout = `Takes requests for payouts and refunds, shows them, and takes what people decide.

All commands but serve, doctor and replay go through the API: STARTER_URL says where it is (default ` + defaultURL + `), STARTER_TOKEN is your token. Exit codes: 0 done; 1 refused, or with --wait not executed; 2 wrong command line or configuration; 3 no answer from the API.`

// Starter runs the starter's command line and returns its exit code.
func Starter(ctx context.Context, args []string, t Terminal) int {
	return run(ctx, "starter", starterAbout, &commands{}, args, t)
}

type serveCommand struct{}

// Help lists the configuration under `starter serve --help`.
func (serveCommand) Help() string { return app.HelpFor(app.Starter) }

func (serveCommand) Run(ctx context.Context, t Terminal) error {
	return serve(ctx, t, app.Starter, app.RunStarter)
}

// output is what every command that asks the API takes.
type output struct {
	JSON bool `help:"Print what the API answers, for machines."`
}

// show prints the answer as JSON, or in words.
func (o output) show(t Terminal, raw []byte, words func()) {
	if !o.JSON {
		words()
		return
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, raw, "", "  ") != nil {
		pretty.Write(raw)
	}
	fmt.Fprintln(t.Out, string(bytes.TrimSpace(pretty.Bytes())))
}

// keyed is what every command that writes takes.
type keyed struct {
	Key string `placeholder:"KEY" help:"Idempotency key: repeating a command with the same key never does it twice. Without it a new one is made and printed."`
}

// use settles the key, and prints a new one before anything is sent.
func (k *keyed) use(t Terminal) string {
	if k.Key == "" {
		k.Key = uuid.NewString()
		fmt.Fprintf(t.Err, "idempotency key %s\n", k.Key)
	}
	return k.Key
}

// lost says how to find out what became of a request without an answer.
func (k *keyed) lost(t Terminal, err error) error {
	var unseen *unreachable
	var no *refused
	if errors.As(err, &unseen) || (errors.As(err, &no) && no.Status >= 500) {
		fmt.Fprintf(t.Err, "It may have been taken all the same. The same command with --key %s finds out and never does it twice.\n", k.Key)
	}
	return err
}

type movement struct {
	output
	keyed
	Amount
	Player string `arg:"" help:"Your id of the player."`
	Reason string `required:"" placeholder:"TEXT" help:"Why, for people who read the books."`
}

type (
	creditCommand struct{ movement }
	debitCommand  struct{ movement }
)

func (c *creditCommand) Run(ctx context.Context, t Terminal) error {
	return c.book(ctx, t, "credits", "credited")
}

func (c *debitCommand) Run(ctx context.Context, t Terminal) error {
	return c.book(ctx, t, "debits", "debited")
}

func (m *movement) book(ctx context.Context, t Terminal, endpoint, done string) error {
	money, err := m.money()
	if err != nil {
		return err
	}
	api, err := newAPI(t)
	if err != nil {
		return err
	}
	var answer httpapi.Movement
	raw, err := api.call(ctx, http.MethodPost, playerPath(m.Player, endpoint), m.use(t),
		httpapi.MovementRequest{Amount: money.Minor, Currency: string(money.Currency), Reason: m.Reason}, &answer)
	if err != nil {
		return m.lost(t, err)
	}
	m.show(t, raw, func() { fmt.Fprintf(t.Out, "%s %s: %s\n", done, m.Player, money) })
	return nil
}

type sourceCommand struct {
	output
	Player   string `arg:"" help:"Your id of the player."`
	Source   string `arg:"" help:"The provider's id of the account that paid in (payment_source_id)."`
	User     string `required:"" placeholder:"ID" help:"The provider's id of the user that paid in."`
	Currency string `required:"" placeholder:"GBP" help:"The currency of that account."`
}

func (c *sourceCommand) Run(ctx context.Context, t Terminal) error {
	api, err := newAPI(t)
	if err != nil {
		return err
	}
	var answer httpapi.Source
	raw, err := api.call(ctx, http.MethodPut, playerPath(c.Player, "payment-sources/"+url.PathEscape(c.Source)), "",
		httpapi.SourceRequest{UserID: c.User, Currency: c.Currency}, &answer)
	if err != nil {
		return err
	}
	c.show(t, raw, func() { fmt.Fprintf(t.Out, "bound %s to %s in %s\n", c.Source, c.Player, c.Currency) })
	return nil
}

type sourcesCommand struct {
	output
	Player string `arg:"" help:"Your id of the player."`
}

func (c *sourcesCommand) Run(ctx context.Context, t Terminal) error {
	api, err := newAPI(t)
	if err != nil {
		return err
	}
	var list httpapi.Sources
	raw, err := api.call(ctx, http.MethodGet, playerPath(c.Player, "payment-sources"), "", nil, &list)
	if err != nil {
		return err
	}
	c.show(t, raw, func() {
		if len(list.Items) == 0 {
			fmt.Fprintf(t.Out, "%s has no account bound here; bind one with `starter source`\n", c.Player)
			return
		}
		w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SOURCE\tUSER\tCURRENCY")
		for _, s := range list.Items {
			fmt.Fprintf(w, "%s\t%s\t%s\n", s.PaymentSourceID, s.UserID, s.Currency)
		}
		w.Flush()
	})
	return nil
}

type balanceCommand struct {
	output
	Player string `arg:"" help:"Your id of the player."`
}

func (c *balanceCommand) Run(ctx context.Context, t Terminal) error {
	api, err := newAPI(t)
	if err != nil {
		return err
	}
	var b httpapi.Balances
	raw, err := api.call(ctx, http.MethodGet, playerPath(c.Player, "balances"), "", nil, &b)
	if err != nil {
		return err
	}
	c.show(t, raw, func() {
		if len(b.Balances) == 0 {
			fmt.Fprintf(t.Out, "%s has no balance here\n", c.Player)
			return
		}
		w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(w, "AVAILABLE\tHELD\tFROZEN\t")
		for _, b := range b.Balances {
			fmt.Fprintf(w, "%s\t%s\t%s\t\n", amount(b.Available, b.Currency), amount(b.Held, b.Currency), amount(b.Frozen, b.Currency))
		}
		w.Flush()
	})
	return nil
}

func playerPath(player, rest string) string {
	return "/v1/players/" + url.PathEscape(player) + "/" + rest
}
