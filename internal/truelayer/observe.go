package truelayer

import (
	"context"
	"net/http"
	"time"

	"payouts/internal/payout"
)

// Call is one exchange with the provider, for those who count. It holds
// nothing the provider wrote.
type Call struct {
	Op     string        // what it was for; a fixed word, such as "create payout"
	Answer payout.Answer // of a create by the table of answers; of the others AnswerOK, AnswerNo, or the table's not sent and unknown
	Status int           // HTTP; 0: no answer came
	Took   time.Duration // from before the dialling to the end of the answer
}

// What a call that creates nothing may come to, beside not_sent and unknown.
const (
	AnswerOK payout.Answer = "ok" // a whole yes
	AnswerNo payout.Answer = "no" // a 4xx: not found, not let in, not understood
)

// CallAnswers lists every answer a Call may have.
func CallAnswers() []payout.Answer {
	return []payout.Answer{AnswerOK, AnswerNo, payout.AnswerCreated, payout.AnswerRefused, payout.AnswerNotSent, payout.AnswerUnknown}
}

// answered puts what came back under one word. It decides nothing: creates are
// concluded, and reads are read, from the reply itself.
func answered(ctx context.Context, in call, r reply) payout.Answer {
	began := true
	if t, followed := ctx.Value(trailKey{}).(*trail); followed {
		began = t.began.Load()
	}
	switch {
	case in.create:
		return judge(look(r, began)).answer
	case !began:
		return payout.AnswerNotSent
	case r.status >= http.StatusOK && r.status < http.StatusMultipleChoices && r.whole:
		return AnswerOK
	case r.status >= http.StatusBadRequest && r.status < http.StatusInternalServerError && r.status != http.StatusTooManyRequests:
		return AnswerNo
	}
	return payout.AnswerUnknown
}
