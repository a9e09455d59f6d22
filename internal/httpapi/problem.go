package httpapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"payouts/internal/payout"
)

// Problem is a refusal as RFC 9457 writes it.
type Problem struct {
	Type   string       `json:"type" doc:"What kind of problem, stable; resolves on this server to an explanation" example:"/problems/invalid-request"`
	Title  string       `json:"title" doc:"The kind of problem in words; the same for every problem of this type" example:"The request is not valid"`
	Status int          `json:"status" doc:"The HTTP status" example:"400"`
	Detail string       `json:"detail" doc:"What happened this time" example:"1 field is wrong"`
	Errors []WrongField `json:"errors,omitempty" nullable:"false" doc:"Every field that is wrong and what would be right"`

	cause error // for our log only
}

// WrongField is one field, parameter or header that cannot be taken.
type WrongField struct {
	Field string `json:"field" doc:"Its name, with the names around it: beneficiary.reference" example:"amount_in_minor"`
	Want  string `json:"want" doc:"What is wrong, or would be right; for people" example:"want a whole number of minor units (pence, cents) from 1 to 100000000"`
}

func (p *Problem) Error() string {
	text := p.Title + ": " + p.Detail
	for _, e := range p.Errors {
		text += "; " + e.Field + ": " + e.Want
	}
	return text
}

// Unwrap gives the cause, which is logged and never shown.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus and ContentType are what huma asks an error for.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is the media type of RFC 9457, whatever the caller accepts.
func (p *Problem) ContentType(string) string { return problemJSON }

const problemJSON = "application/problem+json"

// problemPath is where the types live: a type is a path on this server, the
// same on every host, so that it can be compared as text and also be opened.
const problemPath = "/problems/"

// A kind is one type of problem. Its slug is wire format: add, never rename.
type kind struct {
	slug    string
	status  int
	title   string
	meaning string // for people who open the type
}

var (
	malformedBody = kind{"malformed-body", 400, "The body cannot be read",
		"The body is not one JSON object in UTF-8, names a field twice, or has something after its end. Nothing was written. Send one well-formed object."}
	invalidRequest = kind{"invalid-request", 400, "The request is not valid",
		"Fields, parameters or headers are missing, unknown, of the wrong type, or outside what is taken. Nothing was written. errors names each one and what would be right; correct them and ask again, with the same Idempotency-Key if you like: refused requests are not remembered."}
	unauthorized = kind{"unauthorized", 401, "No valid token",
		"The request carries no bearer token, or one that is not known here. Send the header Authorization: Bearer <token>."}
	forbidden = kind{"forbidden", 403, "Not with this role",
		"The token is known, but its role may not do this. Game backends (role backend) write and see their own players, payouts and refunds; operators read everything and decide cases; support and auditors read."}
	notFound = kind{"not-found", 404, "Not found",
		"There is no such thing here, or it belongs to another caller. A player belongs to the caller that first named it."}
	methodNotAllowed = kind{"method-not-allowed", 405, "Method not allowed",
		"The path exists, the method does not. The header Allow lists the methods."}
	keyReused = kind{"idempotency-key-reused", 409, "This Idempotency-Key was used for another request",
		"The same caller used this Idempotency-Key at this endpoint with another body; errors names a field that differs. Nothing was written. Use a new key for a new wish, and the same key and body to repeat one."}
	bodyTooLarge = kind{"body-too-large", 413, "The body is too large",
		"The body is longer than is taken here. Nothing was written."}
	unsupportedMedia = kind{"unsupported-media-type", 415, "The body must be JSON",
		"Send the body as JSON in UTF-8, uncompressed, with the header Content-Type: application/json."}
	balanceTooLow = kind{"balance-too-low", 422, "The balance is too low",
		"The player has less available than asked for. Nothing was written, nothing is held. Held money of open payouts is not available."}
	sourceRefused = kind{"payment-source-refused", 422, "The payment source cannot be paid to",
		"Money goes only back to an account that paid in: the payment source must be bound to this player, with the same user_id and currency. Nothing was written. Bind it first with PUT /v1/players/{player_id}/payment-sources/{payment_source_id}."}
	balanceTooLarge = kind{"balance-too-large", 422, "The balance would not fit",
		"The sum would not fit 64 bits of minor units. Nothing was written."}
	samePerson = kind{"same-person", 403, "Another person must decide",
		"Nobody approves his own proposal. Nothing was written. Ask another operator: starter approve, with his own token."}
	staleVersion = kind{"stale-version", 409, "It moved on since you looked",
		"A resolution is bound to the version that the person looked at, and the payout or the case has another by now. Nothing was written. Read the case again, and decide again by what it shows."}
	caseClosed = kind{"case-closed", 409, "The case is closed",
		"News or people answered it already; closed_by says which. Nothing was written."}
	proposalOpen = kind{"proposal-open", 409, "Another proposal is open",
		"A case has one open proposal at a time, and this one has another, which waits for its second person or is being carried out. Nothing was written. Approve or reject that one, or wait until it is done."}
	alreadyDecided = kind{"already-decided", 409, "The proposal is decided",
		"It was approved or rejected already, perhaps by your own request whose answer was lost; the case shows by whom. Nothing was written."}
	actionNotOffered = kind{"action-not-offered", 422, "The action does not answer this case",
		"The case lists the actions it may be resolved with as things are now, and why others do not hold. Nothing was written. detail says what is missing."}
	internalError = kind{"internal-error", 500, "Something went wrong here",
		"The fault is ours and is in our log. It is not known whether something was written: repeat the request with the same Idempotency-Key, where it takes one, and the same body; that is always safe."}
	kinds = []kind{malformedBody, invalidRequest, unauthorized, forbidden, notFound, methodNotAllowed, keyReused,
		bodyTooLarge, unsupportedMedia, balanceTooLow, sourceRefused, balanceTooLarge, samePerson, staleVersion, caseClosed, proposalOpen, alreadyDecided, actionNotOffered, internalError}
)

// refusals are what the books say to a person who decides.
var refusals = map[payout.RefusalKind]kind{
	payout.RefusalStale: staleVersion, payout.RefusalClosed: caseClosed, payout.RefusalOpen: proposalOpen,
	payout.RefusalDecided: alreadyDecided, payout.RefusalSamePerson: samePerson, payout.RefusalNotOffered: actionNotOffered,
}

func (k kind) problem(detail string, errs ...payout.Problem) *Problem {
	p := &Problem{Type: problemPath + k.slug, Title: k.title, Status: k.status, Detail: detail}
	for _, e := range errs {
		p.Errors = append(p.Errors, WrongField(e))
	}
	return p
}

// invalid is a request with wrong fields.
func invalid(errs payout.Problems) *Problem {
	detail := "1 field is wrong"
	if len(errs) != 1 {
		detail = fmt.Sprintf("%d fields are wrong", len(errs))
	}
	return invalidRequest.problem(detail+"; nothing was written", errs...)
}

// problemOf turns what the ledger says into a problem document. What it does
// not know is our fault.
func problemOf(err error) *Problem {
	var (
		known    *Problem
		conflict *payout.KeyConflict
		refused  payout.Problems
		decision *payout.Refusal
	)
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &conflict):
		return keyReused.problem("nothing was written", payout.Problem{
			Field: conflict.Field, Want: "want the same value as in the first request with this Idempotency-Key, or a new key"})
	case errors.As(err, &decision) && refusals[decision.Kind].slug != "":
		return refusals[decision.Kind].problem(decision.Why + "; nothing was written")
	case errors.As(err, &refused):
		return sourceRefused.problem("nothing was written", refused...)
	case errors.Is(err, payout.ErrBalanceTooLow):
		return balanceTooLow.problem("the player has less available than asked for; nothing was written", payout.Problem{
			Field: "amount_in_minor", Want: "want at most the player's available balance in this currency"})
	case errors.Is(err, payout.ErrNotFound):
		return notFound.problem("there is no such thing here, or it belongs to another caller")
	case errors.Is(err, payout.ErrOverflow):
		return balanceTooLarge.problem("nothing was written", payout.Problem{
			Field: "amount_in_minor", Want: "want an amount whose sum with the balance fits 64 bits"})
	}
	p := internalError.problem("repeat the request as it was; that is always safe")
	p.cause = err
	return p
}

func writeProblem(w http.ResponseWriter, p *Problem) {
	w.Header().Set("Content-Type", problemJSON)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the caller is gone: nobody is left to tell
}

// explainProblems serves the types to whoever opens one.
func explainProblems(mux *http.ServeMux) {
	page := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = w.Write([]byte(text))
		}
	}
	var all strings.Builder
	for _, k := range kinds {
		text := fmt.Sprintf("%s%s (HTTP %d)\n%s.\n\n%s\n", problemPath, k.slug, k.status, k.title, k.meaning)
		mux.HandleFunc("GET "+problemPath+k.slug, page(text))
		all.WriteString(text + "\n")
	}
	mux.HandleFunc("GET "+problemPath+"{$}", page(all.String()))
}
