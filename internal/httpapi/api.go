package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/zap"

	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// Ledger is what the API asks of the books. Caller "" sees everybody's.
type Ledger interface {
	Credit(ctx context.Context, m payout.Movement) (t ledger.Transaction, replayed bool, err error)
	Debit(ctx context.Context, m payout.Movement) (t ledger.Transaction, replayed bool, err error)
	Balances(ctx context.Context, caller, playerID string) ([]ledger.Balance, error)
	BindSource(ctx context.Context, s payout.Source) (bound bool, err error)
	Sources(ctx context.Context, caller, playerID string) ([]payout.Source, error)
	Accept(ctx context.Context, r payout.Request, merchantAccountID string, bindFirstUse bool) (p ledger.Payout, replayed bool, err error)
	AcceptedBefore(ctx context.Context, r payout.Request) (p ledger.Payout, found bool, err error)
	AcceptRefund(ctx context.Context, r payout.RefundRequest, merchantAccountID string) (p ledger.Payout, replayed bool, err error)
	RefundAcceptedBefore(ctx context.Context, r payout.RefundRequest) (p ledger.Payout, found bool, err error)
	BookedBefore(ctx context.Context, kind ledger.TransactionKind, m payout.Movement) (t ledger.Transaction, found bool, err error)
	Payout(ctx context.Context, caller string, kind payout.Kind, id payout.ID) (ledger.Payout, error)
	Payouts(ctx context.Context, kind payout.Kind, f ledger.Filter) (items []ledger.Payout, nextCursor string, err error)
	Cases(ctx context.Context, f ledger.CaseFilter) (items []ledger.Case, nextCursor string, err error)
	Case(ctx context.Context, id string) (ledger.Case, error)
	Propose(ctx context.Context, p payout.Proposal) (r ledger.Resolution, replayed bool, err error)
	Decide(ctx context.Context, a payout.Approval) (r ledger.Resolution, news payout.Stored, err error)
	Inbox(ctx context.Context, f ledger.InboxFilter) (items []ledger.InboxItem, nextCursor string, err error)
	Audit(ctx context.Context, cursor int64, limit int) ([]ledger.AuditLine, error)
	Transactions(ctx context.Context, cursor int64, limit int) ([]ledger.Transaction, error)
	Check(ctx context.Context) ([]ledger.Invariant, error)
}

// Options is what NewAPI needs. All fields are required unless marked.
type Options struct {
	Ledger       Ledger
	Callers      Callers
	Limits       payout.Limits
	BindFirstUse bool // optional: a payout binds its payment source when nobody has
	// Start starts the run of an accepted payout or refund; safe to repeat.
	// When it fails it is accepted all the same: the sweeper starts it.
	Start func(ctx context.Context, p ledger.Payout) error
	// Wake tells the run of a payout or refund that people decided about it;
	// safe to repeat. When it fails, the sweeper repeats it.
	Wake    func(ctx context.Context, s payout.Stored) error
	Logger  *zap.Logger
	Metrics *Metrics         // optional
	Now     func() time.Time // optional: the clock of the books; default time.Now
}

// startWithin bounds how long a caller waits for the run to start or to be
// told.
const startWithin = 2 * time.Second

type api struct {
	Options
	huma huma.API
}

// NewAPI is the door for game backends and people.
func NewAPI(o Options) http.Handler {
	if o.Now == nil {
		o.Now = time.Now
	}
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Payouts", "1")
	config.Info.Description = about
	config.OpenAPIPath, config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", "", nil
	config.AllowAdditionalPropertiesByDefault = true // answers grow; requests say otherwise
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {
		Type: "http", Scheme: "bearer", Description: "A token of API_TOKENS_FILE; its role decides what it may do."}}
	config.Security = []map[string][]string{{"token": {}}}
	config.Tags = tags
	a := &api{o, humago.New(mux, config)}
	a.huma.UseMiddleware(a.admit)
	a.players()
	a.payouts()
	a.refunds()
	a.cases()
	a.watch()
	a.books()

	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // huma's own refusals: admit and add leave it nothing to refuse
		delete(a.huma.OpenAPI().Components.Schemas.Map(), unused)
	}
	document, err := json.MarshalIndent(a.huma.OpenAPI(), "", "  ")
	if err != nil {
		panic(fmt.Sprintf("httpapi: write the OpenAPI document: %v", err)) // a fault in this package's types
	}
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(document)
	})
	explainProblems(mux)
	return observe(o.Metrics, o.Logger, "api", strayProblems(mux))
}

// route is what an endpoint adds to what all have in common.
type route struct {
	method, path string
	name         string // operation id
	tag          string
	summary      string
	about        string
	roles        []Role // who may; empty: everybody with a token
	body         any    // a request struct, as an example; nil: no body
	created      bool   // answers 201, and 200 to a repeat
	once         bool   // a repeat is refused
	problems     []kind // beside those every endpoint has
}

type bodyKey struct{}

// bodyFrom is the body that admit read.
func bodyFrom(ctx context.Context) []byte {
	body, _ := ctx.Value(bodyKey{}).([]byte)
	return body
}

// add registers an endpoint. Parameters are plain text and bodies are read by
// decode, so that whatever is wrong is told in one form, together.
func add[I, O any](a *api, rt route, do func(context.Context, *I) (*O, error)) {
	op := huma.Operation{
		Method: rt.method, Path: rt.path, OperationID: rt.name, Tags: []string{rt.tag}, Summary: rt.summary,
		Description: rt.about, SkipValidateParams: true, Responses: map[string]*huma.Response{},
		Metadata: map[string]any{"roles": rt.roles},
	}
	problems := append([]kind{unauthorized, internalError}, rt.problems...)
	if len(rt.roles) > 0 {
		problems = append(problems, forbidden)
	}
	if rt.body != nil {
		problems = append(problems, malformedBody, bodyTooLarge, unsupportedMedia)
	}
	if rt.created {
		op.DefaultStatus = http.StatusCreated
	}
	a.documentProblems(&op, problems)
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := do(ctx, in)
		if err == nil {
			return out, nil
		}
		p := problemOf(err)
		if p.Status >= 500 {
			a.Logger.Error("request not served", zap.String("operation", rt.name), zap.String("caller", callerFrom(ctx).Name), payoutField(askedAbout(ctx, rt, in)), zap.Error(err))
		}
		return nil, p
	})
	documented := a.operation(rt.method, rt.path)
	if rt.body != nil {
		documented.RequestBody = a.requestBody(rt.body) // after Register, which would read and judge the body itself
	}
	if rt.created {
		documentCreated(documented, !rt.once)
	}
}

// askedAbout is the payout or refund that a request is about; "" for none. The
// id of one that is asked for follows from who asks, and the key.
func askedAbout(ctx context.Context, rt route, input any) payout.ID {
	switch in := input.(type) {
	case *IDPath:
		if strings.HasPrefix(rt.path, "/v1/payouts/") || strings.HasPrefix(rt.path, "/v1/refunds/") {
			return payout.ID(in.ID)
		}
	case *KeyHeader:
		switch rt.path {
		case "/v1/payouts":
			return payout.Request{Caller: callerFrom(ctx).Name, IdempotencyKey: in.IdempotencyKey}.ID()
		case "/v1/refunds":
			return payout.RefundRequest{Caller: callerFrom(ctx).Name, IdempotencyKey: in.IdempotencyKey}.ID()
		}
	}
	return ""
}

// admit lets a request in: token, role, parameters, body; in this order.
func (a *api) admit(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	caller, problem := authenticate(a.Callers, r)
	if problem != nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="payouts"`)
		writeProblem(w, problem)
		return
	}
	op := ctx.Operation()
	if roles, _ := op.Metadata["roles"].([]Role); len(roles) > 0 && !slices.Contains(roles, caller.Role) {
		writeProblem(w, forbidden.problem(fmt.Sprintf("this needs the role %s; your token has the role %q", anyOf(roles), caller.Role)))
		return
	}
	if wrong := checkParameters(op, r); len(wrong) > 0 {
		writeProblem(w, invalid(wrong))
		return
	}
	inside := context.WithValue(ctx.Context(), callerKey{}, caller)
	if op.RequestBody != nil {
		body, problem := readBody(w, r)
		if problem != nil {
			writeProblem(w, problem)
			return
		}
		inside = context.WithValue(inside, bodyKey{}, body)
	}
	next(huma.WithContext(ctx, inside))
}

// checkParameters refuses query parameters that this endpoint does not have
// (a mistyped filter would show everything) and whatever is given twice.
func checkParameters(op *huma.Operation, r *http.Request) payout.Problems {
	var wrong payout.Problems
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return payout.Problems{{Field: "query", Want: "want name=value pairs joined by &, percent-encoded"}}
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		known := slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.In == "query" && p.Name == name })
		switch {
		case !known:
			wrong = append(wrong, payout.Problem{Field: shown(name), Want: "is not a parameter here; remove it or correct its name"})
		case len(query[name]) > 1:
			wrong = append(wrong, payout.Problem{Field: name, Want: "want one value; it is given twice"})
		}
	}
	if len(r.Header.Values("Idempotency-Key")) > 1 {
		wrong = append(wrong, payout.Problem{Field: "Idempotency-Key", Want: "want one header; it is given twice"})
	}
	return wrong
}

// strayProblems answers what no route takes with a problem document too.
func strayProblems(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		stray := statusOnly{header: http.Header{}}
		h.ServeHTTP(&stray, r)
		if allow := stray.header.Get("Allow"); stray.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", allow)
			writeProblem(w, methodNotAllowed.problem(fmt.Sprintf("%s is not among %s", r.Method, allow)))
			return
		}
		writeProblem(w, notFound.problem("there is no such path; /openapi.json lists those there are"))
	})
}

// statusOnly keeps what the mux would have answered and writes nothing.
type statusOnly struct {
	header http.Header
	status int
}

func (s *statusOnly) Header() http.Header         { return s.header }
func (s *statusOnly) Write(b []byte) (int, error) { return len(b), nil }
func (s *statusOnly) WriteHeader(status int)      { s.status = status }
