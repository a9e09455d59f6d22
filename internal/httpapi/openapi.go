package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

const about = `Pays players' winnings back to the account that paid in, gives pay-ins back, and carries every payout and refund to its end.

Amounts are whole numbers of minor units (1000 is ten pounds). Times are RFC 3339 in UTC. A field without a value is null, never left out, unless it says otherwise; new fields may appear in answers, unknown fields in requests are refused. Bodies are JSON objects of at most 64 KiB.

Credits, debits, payouts and refunds take an Idempotency-Key. Send a request again with the same key and body, as often as you like: the first answers 201, a repeat answers 200 with the header Idempotent-Replayed: true. The same key with another body is refused with 409. A refused request is not remembered. Binding a payment source and proposing a resolution take no key: the same again is answered with 200. A decision about a proposal is taken once.

Refusals are problem documents (RFC 9457, application/problem+json) with a stable type and errors naming every wrong field and what would be right. /problems/ explains each type.

Statuses: 400 for what cannot be read or is wrong in itself; 422 for what is well formed but not possible now (balance, payment source); 409 for a reused key, and for a case that has moved on or is decided; 403 for the wrong role, and for approving one's own proposal; 404 also for what belongs to another caller.`

var tags = []*huma.Tag{
	{Name: "payouts", Description: "Asking for a payout and following it"},
	{Name: "refunds", Description: "Giving a pay-in back and following it"},
	{Name: "players", Description: "What players have and where they can be paid out to"},
	{Name: "cases", Description: "What people are asked, and how two of them decide"},
	{Name: "watch", Description: "What the provider told us, and what people did"},
	{Name: "ledger", Description: "The books, for people who watch them"},
}

// operation is the documented operation of a route.
func (a *api) operation(method, path string) *huma.Operation {
	item := a.huma.OpenAPI().Paths[path]
	return map[string]*huma.Operation{http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put}[method]
}

// requestBody documents a body by its struct and an example of it.
func (a *api) requestBody(example any) *huma.RequestBody {
	plain, err := json.Marshal(example)
	if err != nil {
		panic(fmt.Sprintf("httpapi: example %T: %v", example, err))
	}
	return &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {
		Schema:   a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(example), true, ""),
		Examples: map[string]*huma.Example{"example": {Value: json.RawMessage(plain)}},
	}}}
}

// documentProblems tells which problems an operation answers with, by status.
func (a *api) documentProblems(op *huma.Operation, problems []kind) {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
	for _, k := range problems {
		status := strconv.Itoa(k.status)
		r := op.Responses[status]
		if r == nil {
			r = &huma.Response{Description: k.title, Content: map[string]*huma.MediaType{
				problemJSON: {Schema: schema, Examples: map[string]*huma.Example{}}}}
			op.Responses[status] = r
		} else {
			r.Description += ", or: " + k.title
		}
		r.Content[problemJSON].Examples[k.slug] = &huma.Example{
			Summary: k.title, Value: Problem{Type: problemPath + k.slug, Title: k.title, Status: k.status, Detail: k.title}}
	}
}

// documentCreated says what 201 means, and adds the answer to a repeat.
func documentCreated(op *huma.Operation, repeatable bool) {
	first := op.Responses["201"]
	first.Description = "Written now"
	if !repeatable {
		return
	}
	again := &huma.Response{Description: "Written before: a repeat", Headers: map[string]*huma.Param{}, Content: first.Content}
	for name, header := range first.Headers {
		again.Headers[name] = header
	}
	if mark, ok := first.Headers[replayedHeader]; ok {
		mark.Description = "true: this request was served before, with the same key and body"
		delete(first.Headers, replayedHeader)
	}
	op.Responses["200"] = again
}

const replayedHeader = "Idempotent-Replayed"
