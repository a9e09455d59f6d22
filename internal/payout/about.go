package payout

import "context"

type aboutKey struct{}

// About notes in ctx which payout or refund something is done for, for logs:
// a question to the provider names it by the provider's id only.
func About(ctx context.Context, id ID) context.Context { return context.WithValue(ctx, aboutKey{}, id) }

// AboutWhich is the payout or refund that something is done for; "" for none.
func AboutWhich(ctx context.Context) ID {
	id, _ := ctx.Value(aboutKey{}).(ID)
	return id
}
