package truelayer

import (
	"math"
	"net/http"
	"strings"

	"payouts/internal/payout"
)

// sight is all of an exchange that its answer is judged by.
type sight struct {
	began   bool     // a byte of the request may have left
	status  int      // of the HTTP answer; 0: none came
	id      string   // the well-formed id a whole answer gave
	problem *problem // a real error document of theirs
	again   string   // Tl-Should-Retry: "true", "false" or ""
}

// row is one line of the table: what an answer that fits it means.
type row struct {
	name     string
	from, to int // HTTP status; 0: no answer
	fits     func(sight) bool
	answer   payout.Answer
	effect   effect
}

// effect is what an answer changes beside the payout it answers.
type effect int

const (
	effectNone      effect = iota
	effectDropToken        // the token was rejected
	effectKeyReused        // the key belongs to another body: never send again
)

// answers is the one table that says what a create's outcome means. The first
// row that fits holds; the last fits everything, so that what nobody foresaw
// is unknown. Only created, refused and not sent need proof: a refusal and a
// 401 or 403 count only with an error document of theirs, because anything on
// the way can say "400" (docs/truelayer.md, "Errors"). Payouts and refunds are
// judged alike.
var answers = []row{
	{"nothing left", 0, 0, func(s sight) bool { return !s.began }, payout.AnswerNotSent, effectNone},
	{"no answer came", 0, 0, always, payout.AnswerUnknown, effectNone},

	{"created", 200, 299, func(s sight) bool { return s.id != "" }, payout.AnswerCreated, effectNone},
	{"taken in, but no id came", 200, 299, always, payout.AnswerUnknown, effectNone},
	{"redirect, never followed", 300, 399, always, payout.AnswerUnknown, effectNone},

	{"token of another audience", 400, 400, func(s sight) bool { return s.problem.ofAudience() }, payout.AnswerNotSent, effectDropToken},
	{"refused, yet asked to come again", 400, 400, func(s sight) bool { return s.problem != nil && s.again == "true" }, payout.AnswerUnknown, effectNone},
	{"refused", 400, 400, theirs, payout.AnswerRefused, effectNone},
	{"refused by a stranger", 400, 400, always, payout.AnswerUnknown, effectNone},
	{"not let in", 401, 401, theirs, payout.AnswerNotSent, effectDropToken},
	{"not let in by a stranger", 401, 401, always, payout.AnswerUnknown, effectDropToken},
	{"forbidden", 403, 403, theirs, payout.AnswerNotSent, effectDropToken},
	{"forbidden by a stranger", 403, 403, always, payout.AnswerUnknown, effectNone},

	{"key used for another body", 409, 422, reused, payout.AnswerUnknown, effectKeyReused},
	{"not found", 404, 404, always, payout.AnswerUnknown, effectNone},
	{"timed out there", 408, 408, always, payout.AnswerUnknown, effectNone},
	{"first sending still under way", 409, 409, always, payout.AnswerUnknown, effectNone},
	{"unprocessable", 422, 422, always, payout.AnswerUnknown, effectNone},
	{"too early", 425, 425, always, payout.AnswerUnknown, effectNone},
	{"too many requests", 429, 429, always, payout.AnswerUnknown, effectNone},
	{"fault there", 500, 599, always, payout.AnswerUnknown, effectNone},

	{"never foreseen", math.MinInt, math.MaxInt, always, payout.AnswerUnknown, effectNone},
}

func always(sight) bool   { return true }
func theirs(s sight) bool { return s.problem != nil }
func reused(s sight) bool { return s.problem != nil && s.problem.kind == "idempotency-key-reuse" }

// judge finds the row.
func judge(s sight) row {
	for _, r := range answers {
		if r.from <= s.status && s.status <= r.to && r.fits(s) {
			return r
		}
	}
	return answers[len(answers)-1]
}

// look reads what a reply to a create says, without deciding anything.
func look(r reply, began bool) sight {
	s := sight{began: began, status: r.status}
	if r.status == 0 {
		return s
	}
	s.again = strings.ToLower(strings.TrimSpace(r.header.Get("Tl-Should-Retry")))
	if !r.whole {
		return s // half an answer proves nothing
	}
	if r.status >= http.StatusOK && r.status < http.StatusMultipleChoices {
		s.id = readID(r.body)
		return s
	}
	s.problem = readProblem(r.status, r.body)
	return s
}

// readID reads the id of what was created; "" unless it can be asked for
// again.
func readID(body []byte) string {
	o, err := readObject(body)
	if err != nil {
		return ""
	}
	id, err := o.exact("id")
	if err != nil || !askable(id) {
		return ""
	}
	return id
}

// askable says that the id can stand in a path.
func askable(id string) bool { return visible.MatchString(id) && id != "." && id != ".." }
