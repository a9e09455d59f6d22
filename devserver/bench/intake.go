package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/google/uuid"
)

// intakeSpeed is how many webhooks a gateway takes in, each verified and
// stored, beside what verifying alone allows on the same cores.
type intakeSpeed struct {
	Speed spread `json:"per_second"`
	Limit spread `json:"limit_per_second"` // of P-521 verifications
	Ratio spread `json:"ratio"`            // round by round
	CPU   spread `json:"cpu_ms"`           // of the gateway, each
	Alone spread `json:"limit_cpu_ms"`     // of one verification
}

// intake measures the gateways of houses whose workers are stopped: news of
// payouts that are over would start late word. All events are about stored
// payouts; each is stored as a row of its own. The bench takes its stand before
// it verifies alone, and before it sends.
func (b *bench) intake(ctx context.Context, what string, houses []*house, stand func(alone bool) error) (map[string]intakeSpeed, error) {
	limit, limitCPU := []float64{}, []float64{}
	speeds, cpus := map[string][]float64{}, map[string][]float64{}
	for n := range b.size.rounds {
		if n == 0 {
			for _, h := range houses { // wakes runs that are over, once
				if _, _, err := b.takeIn(ctx, h, intakePayouts); err != nil {
					return nil, err
				}
			}
		}
		if err := stand(true); err != nil {
			return nil, err
		}
		perSecond, cpu, err := b.verifyAlone(ctx, b.size.webhooks)
		if err != nil {
			return nil, err
		}
		if err := stand(false); err != nil {
			return nil, err
		}
		limit, limitCPU = append(limit, perSecond), append(limitCPU, cpu)
		for _, h := range houses {
			taken, cpu, err := b.takeIn(ctx, h, b.size.webhooks)
			if err != nil {
				return nil, err
			}
			speeds[h.name], cpus[h.name] = append(speeds[h.name], taken), append(cpus[h.name], cpu)
			b.say("%s, round %d of %d: %-22s %6.0f webhooks a second (P-521 alone %.0f)", what, n+1, b.size.rounds, h.name, taken, perSecond)
		}
	}
	all := map[string]intakeSpeed{}
	for _, h := range houses {
		all[h.name] = intakeSpeed{spreadOf(speeds[h.name]), spreadOf(limit), ratio(speeds[h.name], limit), spreadOf(cpus[h.name]), spreadOf(limitCPU)}
	}
	return all, nil
}

// senders is how many webhooks are under way: enough to keep the gateway at work
// while others wait for the disk, few enough for a provider.
const senders = 24

// intakePayouts is how many payouts the events are about.
const intakePayouts = 100

// takeIn sends so many events to a gateway, signed before the clock runs.
func (b *bench) takeIn(ctx context.Context, h *house, n int) (perSecond, cpuEach float64, err error) {
	theirs, err := h.books.texts(ctx, "SELECT provider_payout_id FROM attempts WHERE status = 'executed' ORDER BY provider_payout_id LIMIT ?", intakePayouts)
	if err != nil || len(theirs) == 0 {
		return 0, 0, fmt.Errorf("payouts to send news about: %d, %w", len(theirs), err)
	}
	requests := make([]*http.Request, n)
	if _, err := many(ctx, n, func(_ context.Context, i int) error {
		body, err := json.Marshal(map[string]any{"type": "payout_executed", "event_id": uuid.NewString(), "event_version": 1, "payout_id": theirs[i%len(theirs)],
			"executed_at": stamp(time.Now()), "scheme_id": "faster_payments_service", "merchant_account_id": merchant,
			"metadata":    map[string]string{"payout_id": uuid.NewString(), "attempt": "1", "gateway": h.env["GATEWAY_ADDR"]},
			"beneficiary": map[string]string{"type": "payment_source", "payment_source_id": uuid.NewString(), "user_id": uuid.NewString()},
		})
		if err == nil {
			requests[i], err = b.events.request("http://"+h.env["GATEWAY_ADDR"], body)
		}
		return err
	}); err != nil {
		return 0, 0, err
	}
	before := h.programs[1].cpu()
	perSecond, err = by(ctx, senders, n, func(_ context.Context, i int) error {
		response, err := h.wire.Do(requests[i])
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode/100 != 2 {
			text, _ := io.ReadAll(response.Body)
			return fmt.Errorf("%s: a webhook was answered %s: %s", h.name, response.Status, text)
		}
		return nil
	})
	return perSecond, (h.programs[1].cpu() - before) / float64(n) * 1000, err
}

// verifyAlone verifies signatures on all cores that the bench may use, and does nothing else.
func (b *bench) verifyAlone(ctx context.Context, n int) (perSecond, cpuEach float64, err error) {
	digest := b.events.digest("2026-01-01T00:00:00Z", make([]byte, 600))
	r, s, err := ecdsa.Sign(rand.Reader, b.events.key, digest)
	if err != nil {
		return 0, 0, err
	}
	before := used(os.Getpid())
	perSecond, err = by(ctx, senders, n, func(context.Context, int) error {
		if !ecdsa.Verify(&b.events.key.PublicKey, digest, r, s) {
			return fmt.Errorf("a signature is not its own")
		}
		return nil
	})
	return perSecond, (used(os.Getpid()) - before) / float64(n) * 1000, err
}
