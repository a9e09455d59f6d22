package simulator

import (
	"bytes"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// html is what a gateway in the way might say.
const html = "<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>"

// padding is what a body is padded with, again and again.
var padding = bytes.Repeat([]byte(" "), 32<<10)

// give answers a request as scripted. The good answer is what an honest
// provider would have said: normal sends it, cut sends half of it.
func (s *Simulator) give(w http.ResponseWriter, r *http.Request, a Answer, status int, good []byte) {
	noteOf(r).shape(a.Kind)
	if a.AnswerAfter > 0 {
		s.hold(r, time.Duration(a.AnswerAfter))
	}
	for name, value := range a.Header {
		w.Header().Set(name, value)
	}
	if a.RetryAfter != "" {
		w.Header().Set("Retry-After", a.RetryAfter)
	}
	if a.ShouldRetry != "" {
		w.Header().Set("Tl-Should-Retry", a.ShouldRetry)
	}
	switch strings.TrimPrefix(a.Kind, acceptThen) {
	case AnswerTimeout:
		s.hold(r, time.Duration(a.For))
		panic(http.ErrAbortHandler) // closes the connection without an answer
	case AnswerReset:
		reset(w)
		panic(http.ErrAbortHandler)
	case AnswerCut:
		good = promise(w, or(a.Status, status), good)
		_, _ = w.Write(good[:len(good)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case AnswerTrickle:
		for _, c := range promise(w, or(a.Status, status), good) {
			s.hold(r, time.Duration(or(a.For, Duration(100*time.Millisecond))))
			if _, err := w.Write([]byte{c}); err != nil || s.ctx.Err() != nil || r.Context().Err() != nil {
				panic(http.ErrAbortHandler)
			}
			_ = http.NewResponseController(w).Flush()
		}
	case AnswerEmpty:
		w.WriteHeader(or(a.Status, status))
	case AnswerGarbled:
		a.Status = or(a.Status, status)
		a.Body = or(a.Body, html)
		a.ContentType = or(a.ContentType, "text/html")
		s.write(w, a)
	case "5xx":
		a.Status = or(a.Status, http.StatusBadGateway)
		s.write(w, a)
	case AnswerRefuse:
		a.Status = or(a.Status, http.StatusBadRequest)
		s.write(w, a)
	default:
		media := "application/json; charset=utf-8"
		if status >= 400 {
			media = "application/problem+json"
		}
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		_, _ = w.Write(good)
	}
}

// promise sends the head of an answer whose body will not come as it should.
func promise(w http.ResponseWriter, status int, good []byte) []byte {
	if len(good) < 2 {
		good = []byte(`{"items":[]}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(good)))
	w.WriteHeader(status)
	return good
}

// write sends the answer's body, or its problem document.
func (s *Simulator) write(w http.ResponseWriter, a Answer) {
	body := []byte(a.Body)
	if a.Body == "" {
		body = a.problem().text(w.Header().Get(traceHeader))
		a.ContentType = or(a.ContentType, "application/problem+json")
	}
	w.Header().Set("Content-Type", or(a.ContentType, "application/json"))
	w.WriteHeader(a.Status)
	for left := a.Pad; left > 0; left -= int64(len(padding)) {
		if _, err := w.Write(padding[:min(left, int64(len(padding)))]); err != nil {
			return // the client has had enough
		}
	}
	_, _ = w.Write(body)
}

func (a Answer) problem() problem {
	p := problemFor(a.Status)
	p.Type, p.Title, p.Detail = or(a.Type, p.Type), or(a.Title, p.Title), or(a.Detail, p.Detail)
	p.Errors = a.Errors
	return p
}

// hold keeps a request waiting: for d, or without end when d is 0; at most
// until the client goes away or the simulator closes.
func (s *Simulator) hold(r *http.Request, d time.Duration) {
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
	case <-r.Context().Done():
	case <-s.ctx.Done():
	}
}

// work takes its time whether or not the client is still there.
func (s *Simulator) work(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
}

// reset drops the connection so that the client sees a reset, not an end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // HTTP/2 or a recorder: the abort that follows must do
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func or[T comparable](v, instead T) T {
	var zero T
	if v == zero {
		return instead
	}
	return v
}
