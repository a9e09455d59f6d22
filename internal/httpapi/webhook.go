package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"payouts/internal/payout"
)

// WebhookPath is where the provider sends events.
const WebhookPath = "/webhooks/truelayer"

// maxWebhook is the longest event taken; theirs are below 4 KiB
// (docs/truelayer.md, "Webhooks").
const maxWebhook = 256 << 10

// wakeWithin bounds how long the provider waits for us to wake the run: it is
// told that the event is stored, and that is true already.
const wakeWithin = 2 * time.Second

// ErrNotAuthentic is what WebhookOptions.Verify wraps when an event is surely
// not the provider's. Any other error means that it could not find out. What
// it wraps beside says why, so this says only whose word it is.
var ErrNotAuthentic = errors.New("verify webhook")

// WebhookOptions is what NewWebhooks needs. All fields are required unless
// marked.
type WebhookOptions struct {
	// Verify proves that the exact bytes are the provider's, and reads them.
	// target is the path and query exactly as received: signatures cover it.
	Verify func(ctx context.Context, method, target string, header http.Header, body []byte) (payout.News, error)
	// Store keeps the news for ever, once per event.
	Store func(ctx context.Context, n payout.News) (payout.Stored, error)
	// Wake tells the payout's run that there is news. When it fails, the
	// sweeper repeats it.
	Wake    func(ctx context.Context, s payout.Stored) error
	Logger  *zap.Logger
	Metrics *Metrics // optional
}

// What may become of a webhook, as payouts_webhooks_total counts it. Wire
// format: add, never rename.
const (
	webhookStored       = "stored"
	webhookUnmatched    = "unmatched"     // stored, and about a payout that nobody here asked for, as far as is known
	webhookRepeat       = "repeat"        // the same event was stored before
	webhookNotAuthentic = "not_authentic" // 401
	webhookTooLarge     = "too_large"     // 413
	webhookUnread       = "unread"        // it ended early
	webhookUnverified   = "unverified"    // 503: no keys to verify it with
	webhookNotStored    = "not_stored"    // 503: no database to store it in
)

var webhookOutcomes = []string{webhookStored, webhookUnmatched, webhookRepeat, webhookNotAuthentic, webhookTooLarge, webhookUnread, webhookUnverified, webhookNotStored}

var (
	notAuthentic = kind{"not-authentic", http.StatusUnauthorized, "Not authentic",
		"The event does not carry a valid signature of the payment provider. Nothing was stored."}
	notStored = kind{"not-stored", http.StatusServiceUnavailable, "Not stored",
		"The event could not be verified or stored just now. Send it again."}
)

// NewWebhooks is the door for the provider. It verifies, stores, answers, and
// wakes the run; it never acts on what an event says.
func NewWebhooks(o WebhookOptions) http.Handler {
	mux, door := http.NewServeMux(), webhooks{o}
	o.Metrics.awaitWebhooks()
	mux.HandleFunc("POST "+WebhookPath, door.take)
	mux.HandleFunc("POST "+WebhookPath+"/{$}", door.take) // the console's address may end in a slash; the signature covers it as sent
	return observe(o.Metrics, o.Logger, "webhooks", strayProblems(mux))
}

type webhooks struct{ WebhookOptions }

func (h webhooks) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWebhook))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		h.refuse(w, webhookTooLarge, bodyTooLarge.problem(fmt.Sprintf("the body is longer than %d bytes", maxWebhook)))
		return
	case err != nil:
		h.refuse(w, webhookUnread, malformedBody.problem("the body ended early"))
		return
	}

	news, err := h.Verify(r.Context(), r.Method, r.RequestURI, r.Header, body)
	switch {
	case errors.Is(err, ErrNotAuthentic):
		h.Logger.Warn("webhook not authentic", zap.String("remote", r.RemoteAddr), zap.Error(err))
		h.refuse(w, webhookNotAuthentic, notAuthentic.problem("nothing was stored"))
		return
	case err != nil:
		h.Logger.Error("webhook not verified", zap.Error(err))
		h.refuse(w, webhookUnverified, notStored.problem("the provider's keys are not at hand; send it again"))
		return
	}

	h.Metrics.authentic()
	stored, err := h.Store(r.Context(), news)
	if err != nil {
		h.Logger.Error("webhook not stored", zap.String("event_id", news.EventID), zap.String("type", news.Type), payoutField(news.PayoutID), zap.Error(err))
		h.refuse(w, webhookNotStored, notStored.problem("it could not be stored; send it again"))
		return
	}
	h.Metrics.webhook(outcomeOf(news, stored))
	if stored.Wake {
		h.wake(r.Context(), stored)
	}
	w.WriteHeader(http.StatusOK)
}

// payoutField names a payout or refund in a log, where it is known.
func payoutField(id payout.ID) zap.Field {
	if id == "" {
		return zap.Skip()
	}
	return zap.String("payout_id", string(id))
}

// outcomeOf says what became of an event that is stored.
func outcomeOf(n payout.News, s payout.Stored) string {
	switch {
	case s.Repeat:
		return webhookRepeat
	case s.PayoutID == "" && n.ProviderID != "":
		return webhookUnmatched
	}
	return webhookStored
}

// wake tells the run. It goes on when the provider hangs up: the row says
// that the run was told, so only the sweeper would tell it again.
func (h webhooks) wake(ctx context.Context, s payout.Stored) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wakeWithin)
	defer cancel()
	if err := h.Wake(ctx, s); err != nil {
		h.Logger.Warn("run not woken; the sweeper repeats it", zap.String("payout_id", string(s.PayoutID)), zap.String("inbox_id", s.InboxID), zap.Error(err))
	}
}

func (h webhooks) refuse(w http.ResponseWriter, outcome string, p *Problem) {
	h.Metrics.webhook(outcome)
	writeProblem(w, p)
}
