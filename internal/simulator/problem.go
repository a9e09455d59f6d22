package simulator

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// fieldErrors are the messages of an invalid-parameters problem by field path.
type fieldErrors map[string][]string

func (e fieldErrors) add(path, message string) { e[path] = append(e[path], message) }

// problem is an RFC 9457 document as the provider words it.
type problem struct {
	Type    string      `json:"type"`
	Title   string      `json:"title"`
	Status  int         `json:"status"`
	Detail  string      `json:"detail"`
	TraceID string      `json:"trace_id"`
	Errors  fieldErrors `json:"errors,omitempty"`
}

const problemTypes = "https://docs.truelayer.com/docs/error-types#"

// Every problem the provider is known to answer with.
//
//	Source: docs/truelayer.md, "Errors"
var (
	invalidParameters = problem{Type: "invalid-parameters", Title: "Invalid Parameters", Status: 400, Detail: "The request body was invalid."}
	noBearer          = problem{Type: "unauthenticated", Title: "Unauthenticated", Status: 401, Detail: "A Bearer token must be provided in the Authorization header."}
	invalidToken      = problem{Type: "unauthenticated", Title: "Unauthenticated", Status: 401, Detail: "Authorization: The JWT was not able to be validated"}
	invalidAudience   = problem{Type: "unauthenticated", Title: "Unauthenticated", Status: 401, Detail: "Authorization: The JWT was not able to be validated: InvalidAudience"}
	invalidSignature  = problem{Type: "unauthenticated", Title: "Unauthenticated", Status: 401, Detail: "Tl-Signature verification failed: signature validation failed"}
	noSignature       = problem{Type: "unauthenticated", Title: "Unauthenticated", Status: 401, Detail: "Invalid request signature."}
	forbidden         = problem{Type: "forbidden", Title: "Forbidden", Status: 403, Detail: "The token used for Authorization is not unauthorized to perform the request."}
	notFound          = problem{Type: "not-found", Title: "Not Found", Status: 404, Detail: "Resource could not be found."}
	payoutNotFound    = problem{Type: "not-found", Title: "Not Found", Status: 404, Detail: "Payout could not be found."}
	keyInFlight       = problem{Type: "idempotency-key-concurrency-conflict", Title: "Idempotency-Key Concurrency Conflict", Status: 409, Detail: "The Idempotency-Key value is being used for a concurrent request."}
	bodyTooLarge      = problem{Type: "invalid-parameters", Title: "Payload Too Large", Status: 413, Detail: "The request body was too large."}
	keyReuse          = problem{Type: "idempotency-key-reuse", Title: "Idempotency-Key Reuse", Status: 422, Detail: "The Idempotency-Key value has already been used for a different request."}
	rateLimit         = problem{Type: "rate-limit-exceeded", Title: "Rate Limit Exceeded", Status: 429, Detail: "Too many requests, please try again later."}
	unknownError      = problem{Type: "unknown-error", Title: "Unknown Error", Status: 500, Detail: "An error occurred. Please contact customer support."}
	providerError     = problem{Type: "provider-error", Title: "Provider Error", Status: 502, Detail: "Provider is temporarily unavailable, please retry."}
)

// problemFor is the usual problem of a status, for scripts that name only that.
func problemFor(status int) problem {
	for _, p := range []problem{
		invalidParameters, invalidToken, forbidden, notFound, keyInFlight, bodyTooLarge,
		keyReuse, rateLimit, unknownError, providerError,
	} {
		if p.Status == status {
			return p
		}
	}
	return problem{Type: "unknown-error", Title: http.StatusText(status), Status: status, Detail: http.StatusText(status) + "."}
}

// text is the document as sent.
func (p problem) text(traceID string) []byte {
	p.Type = problemTypes + p.Type
	p.TraceID = traceID
	return encode(p)
}

func writeProblem(w http.ResponseWriter, p problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.text(w.Header().Get(traceHeader)))
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(encode(body))
}

// encode leaves <, > and & as they are: a provider does not escape them.
func encode(v any) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("simulator: encode: " + err.Error()) // our own types always encode
	}
	return bytes.TrimRight(out.Bytes(), "\n")
}
