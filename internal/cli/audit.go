package cli

import (
	"context"
	"fmt"
	"net/http"
	"text/tabwriter"

	"payouts/internal/httpapi"
)

type auditCommand struct {
	output
	paging
}

func (c *auditCommand) Run(ctx context.Context, t Terminal) error {
	api, err := newAPI(t)
	if err != nil {
		return err
	}
	var page httpapi.AuditList
	raw, err := api.call(ctx, http.MethodGet, c.query("/v1/audit", nil), "", nil, &page)
	if err != nil {
		return err
	}
	c.show(t, raw, func() {
		if len(page.Items) == 0 {
			fmt.Fprintln(t.Out, "nobody decided anything")
			return
		}
		w := tabwriter.NewWriter(t.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "#\tAT\tWHO\tDID\tCASE\tPAYOUT\tDETAIL")
		for _, line := range page.Items {
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", line.Position, when(line.At), line.Who, line.What, text(line.CaseID, "-"), text(line.PayoutID, "-"), line.Detail)
		}
		w.Flush()
		more(t, page.NextCursor)
	})
	return nil
}
