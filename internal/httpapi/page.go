package httpapi

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"payouts/internal/payout"
)

// Page is one page of a list.
type Page[T any] struct {
	Items      []T     `json:"items" nullable:"false"`
	NextCursor *string `json:"next_cursor" doc:"Ask again with it as cursor for the next page; null on the last"`
}

// Positions is one page of what has dense positions, oldest first.
type Positions[T any] struct {
	Items      []T     `json:"items" nullable:"false"`
	NextCursor *string `json:"next_cursor" doc:"The last position of this page; null when there may be no more. To follow, ask again with the last position you have seen as cursor"`
}

// PageInput is exported for huma, which fills only exported fields.
type PageInput struct {
	Limit  string `query:"limit" doc:"Page size, 1 to 200; without it 50" example:"50"`
	Cursor string `query:"cursor" doc:"next_cursor of the page before"`
}

type positionsInput struct {
	Cursor string `query:"cursor" doc:"Positions after this one; without it from the beginning" example:"17"`
	Limit  string `query:"limit" doc:"Page size, 1 to 200; without it 50" example:"50"`
}

// IDPath is the id a path names.
type IDPath struct {
	ID string `path:"id" format:"uuid" doc:"The id" example:"0cd1b0f7-71bc-5d24-b209-95259dadcc20"`
}

// output is an answer that is a body and nothing else.
type output[B any] struct{ Body B }

// page shows items as one page.
func page[T, V any](items []T, next string, view func(T) V) Page[V] {
	return Page[V]{views(items, view), orNull(next)}
}

// positions reads one page by position.
func positions[T, V any](ctx context.Context, in *positionsInput, read func(_ context.Context, after int64, limit int) ([]T, error),
	at func(T) int64, view func(T) V) (Positions[V], error) {
	var wrong payout.Problems
	limit, after := limitOf(&wrong, in.Limit), int64(0)
	if in.Cursor != "" {
		var err error
		if after, err = strconv.ParseInt(in.Cursor, 10, 64); err != nil || after < 0 {
			wrong = append(wrong, payout.Problem{Field: "cursor", Want: "want a position: a whole number from 0"})
		}
	}
	if err := together(nil, wrong); err != nil {
		return Positions[V]{}, err
	}
	items, err := read(ctx, after, limit)
	if err != nil {
		return Positions[V]{}, invalidParameter(err)
	}
	list := Positions[V]{Items: views(items, view)}
	if n := len(items); n == limit {
		list.NextCursor = orNull(strconv.FormatInt(at(items[n-1]), 10))
	}
	return list, nil
}

func views[T, V any](items []T, view func(T) V) []V {
	list := make([]V, len(items)) // never nil: an empty list is [], not null
	for i, item := range items {
		list[i] = view(item)
	}
	return list
}

const (
	defaultLimit = 50
	maxLimit     = 200
)

// limitOf reads a page size.
func limitOf(p *payout.Problems, text string) int {
	if text == "" {
		return defaultLimit
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		*p = append(*p, payout.Problem{Field: "limit", Want: fmt.Sprintf("want a whole number from 1 to %d; without it %d", maxLimit, defaultLimit)})
	}
	return n
}

// read gives the id in its one spelling.
func (in *IDPath) read(p *payout.Problems) string { return idOf(p, "id", in.ID) }

// idOf reads an id that must be one of ours by its form.
func idOf(p *payout.Problems, field, text string) string {
	id, err := payout.ParseID(text)
	if err != nil {
		*p = append(*p, payout.Problem{Field: field, Want: "want a UUID such as 0cd1b0f7-71bc-5d24-b209-95259dadcc20"})
	}
	return string(id)
}

// invalidParameter is what the ledger refuses in a list: a parameter, such as
// a cursor that is not one of its own.
func invalidParameter(err error) error {
	var wrong payout.Problems
	if errors.As(err, &wrong) {
		return invalid(wrong)
	}
	return err
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// anyOf lists values for people: "a, b or c".
func anyOf[T ~string](values []T) string {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	if n := len(names) - 1; n > 0 {
		return strings.Join(names[:n], ", ") + " or " + names[n]
	}
	return strings.Join(names, "")
}
