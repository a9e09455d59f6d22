package truelayer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"payouts/internal/payout"
)

// Look reads the statement of a merchant account from look.From until now, and
// for a refund also the list of its pay-in's refunds, to their ends. It answers
// with the lines that carry the payout's metadata, and with every return.
//
//	Repeats: safe; lines booked late appear later
//	Errors:  the first one ends it: a part is never an answer
//	Clock:   AskedAt is ours, before the first request left
//	Source:  docs/truelayer.md, "Merchant accounts", "Refunds"
func (c *Client) Look(ctx context.Context, look payout.Look, alive func()) (payout.Looked, error) {
	found := payout.Looked{AskedAt: c.now()}
	if look.Kind == payout.KindRefund {
		refunds, err := c.Refunds(ctx, look.PaymentID)
		if err != nil && !errors.Is(err, payout.ErrNotFound) { // of a pay-in they do not know there is nothing
			return payout.Looked{}, fmt.Errorf("look: %w", err)
		}
		for _, w := range refunds {
			if w.Metadata[payout.MetadataPayoutID] == string(look.PayoutID) {
				found.Lines = append(found.Lines, payout.Line{ProviderID: w.ProviderID, PayoutID: look.PayoutID, Attempt: attemptOf(w.Metadata),
					Status: w.Status, Money: w.Money, At: w.DecidedAt, Raw: w.Raw})
			}
		}
	}
	read := 0
	for line, err := range c.Statement(ctx, look.MerchantAccountID, look.From, found.AskedAt) {
		if err != nil {
			return payout.Looked{}, fmt.Errorf("look: %w", err)
		}
		if read++; read%500 == 0 {
			alive()
		}
		ours := line.Metadata[payout.MetadataPayoutID] == string(look.PayoutID)
		if !ours && line.ReturnFor == "" {
			continue
		}
		raw, err := json.Marshal(line)
		if err != nil {
			return payout.Looked{}, fmt.Errorf("look: %w", err)
		}
		out := payout.Line{ProviderID: line.PayoutID + line.RefundID, Status: line.Status, ReturnFor: line.ReturnFor, Money: line.Money, At: line.At, Raw: raw}
		if ours {
			out.PayoutID, out.Attempt = look.PayoutID, attemptOf(line.Metadata)
		}
		found.Lines = append(found.Lines, out)
	}
	return found, nil
}

func attemptOf(metadata map[string]string) int {
	n, err := strconv.Atoi(metadata[payout.MetadataAttempt])
	if err != nil || n < 1 {
		return 0
	}
	return n
}
