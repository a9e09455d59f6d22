package simulator

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	traceHeader = "Tl-Trace-Id"
	bodyLimit   = 1 << 20 // bytes of a request body that are read
	keptAnswer  = 16 << 10
)

func (s *Simulator) routes() http.Handler {
	api := http.NewServeMux()
	api.HandleFunc("POST /connect/token", s.serveToken)
	api.HandleFunc("GET /.well-known/jwks", s.serveJWKS)
	api.HandleFunc("POST /test-signature", s.testSignature)
	api.HandleFunc("POST /v3/payouts", s.createPayout)
	api.HandleFunc("GET /v3/payouts/{id}", s.getPayout)
	api.HandleFunc("GET /v3/payments/{payment}", s.getPayment)
	api.HandleFunc("POST /v3/payments/{payment}/refunds", s.createRefund)
	api.HandleFunc("GET /v3/payments/{payment}/refunds", s.listRefunds)
	api.HandleFunc("GET /v3/payments/{payment}/refunds/{id}", s.getRefund)
	api.HandleFunc("GET /v3/merchant-accounts", s.listAccounts)
	api.HandleFunc("GET /v3/merchant-accounts/{account}", s.getAccount)
	api.HandleFunc("GET /v3/merchant-accounts/{account}/transactions", s.listTransactions)
	api.HandleFunc("GET /v3/merchant-accounts/{account}/payment-sources", s.listSources)
	api.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { writeProblem(w, notFound) })

	all := http.NewServeMux()
	all.Handle("/control/", s.controlRoutes())
	all.Handle("/", s.observe(api))
	return all
}

// note is what the journal will say about a request under way.
type note struct {
	journal *journal
	request *Request
}

type noteKey struct{}
type bodyKey struct{}

func noteOf(r *http.Request) note    { return r.Context().Value(noteKey{}).(note) }
func bodyOf(r *http.Request) []byte  { return r.Context().Value(bodyKey{}).([]byte) }
func (n note) refuse(why string)     { n.journal.amend(func() { n.request.Why = why }) }
func (n note) shape(kind string)     { n.journal.amend(func() { n.request.Shape = kind }) }
func (n note) transfer(id string)    { n.journal.amend(func() { n.request.TransferID = id }) }
func (n note) finish(rec *recording) { n.journal.amend(func() { rec.into(n.request) }) }

// observe reads the whole body, writes the request into the journal before
// anything is done, lets a fault answer first, and records what was answered.
func (s *Simulator) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
		trace := strings.ReplaceAll(uuid.NewString(), "-", "")
		w.Header().Set(traceHeader, trace)

		req := &Request{
			At: s.Now(), Method: r.Method, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery,
			IdempotencyKey: r.Header.Get("Idempotency-Key"), TraceID: trace, Header: r.Header.Clone(),
		}
		req.Header.Del("Authorization") // a secret
		if len(body) > 0 {
			sum := sha256.Sum256(body)
			req.BodySHA256 = hex.EncodeToString(sum[:])
			if r.URL.Path != "/connect/token" {
				req.Body = string(body)
			}
		}
		s.journal.arrive(req)
		n := note{s.journal, req}
		rec := &recording{ResponseWriter: w}
		defer n.finish(rec) // also when the answer is an abort

		var tooLarge *http.MaxBytesError
		switch {
		case errors.As(err, &tooLarge):
			writeProblem(rec, bodyTooLarge)
			return
		case err != nil:
			n.refuse("body: " + err.Error())
			panic(http.ErrAbortHandler)
		}
		ctx := context.WithValue(r.Context(), noteKey{}, n)
		r = r.WithContext(context.WithValue(ctx, bodyKey{}, body))
		if a := s.fault(r.Method, r.URL.Path); a != nil {
			if a.Delay > 0 {
				s.hold(r, time.Duration(a.Delay))
			}
			if a.Kind != AnswerNormal {
				s.give(rec, r, *a, http.StatusOK, nil)
				return
			}
		}
		next.ServeHTTP(rec, r)
	})
}

// recording keeps a copy of what is answered.
type recording struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recording) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recording) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recording) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	r.body.Write(p[:min(len(p), max(0, keptAnswer-r.body.Len()))])
	return r.ResponseWriter.Write(p)
}

func (r *recording) into(req *Request) {
	req.Done = true
	req.Status = r.status
	if req.Path != "/connect/token" { // its answer is a secret
		req.Answer = r.body.String()
	}
}

// testSignature answers whether token and signature are right.
func (s *Simulator) testSignature(w http.ResponseWriter, r *http.Request) {
	if s.authorized(w, r) && s.signed(w, r) {
		w.WriteHeader(http.StatusNoContent)
	}
}
