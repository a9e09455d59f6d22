package cli

import (
	"context"
	"fmt"
	"net/http"
	"text/tabwriter"

	"payouts/internal/httpapi"
)

type inboxCommand struct {
	output
	Payout    string `placeholder:"ID" help:"Only about this payout or refund."`
	Unmatched bool   `help:"Only events that nobody owns and no step has read."`
	paging
}

func (c *inboxCommand) Run(ctx context.Context, t Terminal) error {
	api, err := newAPI(t)
	if err != nil {
		return err
	}
	unmatched := ""
	if c.Unmatched {
		unmatched = "true"
	}
	var page httpapi.InboxList
	raw, err := api.call(ctx, http.MethodGet, c.query("/v1/inbox", map[string]string{"payout_id": c.Payout, "unmatched": unmatched}), "", nil, &page)
	if err != nil {
		return err
	}
	c.show(t, raw, func() {
		if len(page.Items) == 0 {
			fmt.Fprintln(t.Out, "no events")
			return
		}
		w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "RECEIVED\tTYPE\tPAYOUT\tAT THE PROVIDER\tREPEATS\tREAD BY")
		for _, i := range page.Items {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", when(i.ReceivedAt), i.Type, text(i.PayoutID, "nobody's"), text(i.ProviderPayoutID, "-"), i.Repeats, text(i.AppliedBy, "nobody yet"))
		}
		w.Flush()
		more(t, page.NextCursor)
	})
	return nil
}
