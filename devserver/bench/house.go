package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"payouts/internal/httpapi"
	"payouts/internal/ledger"
)

// house is worker, starter and gateway as processes, on books of their own.
type house struct {
	name     string
	dir      string
	books    *rows
	env      map[string]string
	programs []*process // starter, gateway, then the workers
	wire     *http.Client

	mu      sync.Mutex
	waiting map[string]chan struct{} // by payout: closed once it is executed
}

const backendToken = "bench-backend-token"

// The rate of provider calls is not what is measured.
const providerRPS = "10000"

// open makes the files of a house and fills its books. An empty address is an
// SQLite file of its own.
func (b *bench) open(ctx context.Context, name, address string, stored int) (_ *house, err error) {
	dir := filepath.Join(b.dir, strings.NewReplacer(" ", "-", ",", "").Replace(name))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if address == "" {
		address = "sqlite:" + filepath.Join(dir, "books.db")
	}
	sealKey := "k1 " + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n"
	sum := sha256.Sum256([]byte(backendToken))
	for name, text := range map[string]string{"seal.keys": sealKey, "tokens": caller + " backend " + hex.EncodeToString(sum[:]) + "\n", "secret": "secret\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	if _, err := newKey(filepath.Join(dir, "signing.pem")); err != nil {
		return nil, err
	}
	provider := "http://" + b.providerAddress()
	h := &house{name: name, dir: dir, waiting: map[string]chan struct{}{}, wire: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	h.env = map[string]string{
		"HOME": dir, "DATABASE_URL": address, "SEAL_KEY_FILE": filepath.Join(dir, "seal.keys"), "API_TOKENS_FILE": filepath.Join(dir, "tokens"),
		"TRUELAYER_API_URL": provider, "TRUELAYER_AUTH_URL": provider, "TRUELAYER_JWKS_URL": provider + "/.well-known/jwks",
		"TRUELAYER_CLIENT_ID": "bench", "TRUELAYER_CLIENT_SECRET_FILE": filepath.Join(dir, "secret"),
		"TRUELAYER_SIGNING_KEY_FILE": filepath.Join(dir, "signing.pem"), "TRUELAYER_SIGNING_KID": webhookKid,
		"MERCHANT_ACCOUNTS": "GBP=" + merchant, "PROVIDER_RPS": providerRPS, "POLL_FIRST": silence.String(),
	}
	seal, err := ledger.ReadSeal(strings.NewReader(sealKey))
	if err != nil {
		return nil, err
	}
	if h.books, err = openRows(ctx, address, seal); err != nil {
		return nil, err
	}
	if err := b.fill(ctx, name, h.books, stored); err != nil {
		h.books.close()
		return nil, err
	}
	return h, nil
}

// begin starts the programs of a house, in a namespace of its own.
func (b *bench) begin(ctx context.Context, h *house) (err error) {
	h.env["TEMPORAL_ADDRESS"] = b.address
	if h.env["TEMPORAL_NAMESPACE"], err = b.register(ctx, filepath.Base(h.dir)); err != nil {
		return err
	}
	for _, name := range []string{"STARTER_ADDR", "GATEWAY_ADDR"} {
		if h.env[name], err = freeAddress(); err != nil {
			return err
		}
	}
	for _, program := range []string{"starter", "gateway", "worker"} {
		if err := b.join(ctx, h, program); err != nil {
			return err
		}
	}
	go h.watch(ctx)
	return nil
}

func (b *bench) fill(ctx context.Context, name string, books *rows, stored int) error {
	began := time.Now()
	defer func() {
		b.say("%s: %d payouts are stored, and the books are lawful (%s)", name, stored, time.Since(began).Round(time.Second))
	}()
	return books.fill(ctx, stored, func(n int) {
		if n%20_000 < stored/players {
			b.say("%s: %d of %d payouts stored", name, n, stored)
		}
	})
}

// join starts a program of the house; a worker may be joined several times.
func (b *bench) join(ctx context.Context, h *house, program string) error {
	admin, err := freeAddress()
	if err != nil {
		return err
	}
	environment := []string{"ADMIN_ADDR=" + admin}
	for name, value := range h.env {
		environment = append(environment, name+"="+value)
	}
	path, args := filepath.Join(b.bin, program), []string(nil)
	switch program {
	case "starter":
		args = []string{"serve"}
	case "gateway":
		// From the bench's own file, in which its limit is measured: by where a linker
		// put the code, a verification took 1.2 or 2.2 ms on an AMD EPYC.
		path, args = b.self, []string{"gateway"}
	}
	p, err := launch(ctx, h.dir, fmt.Sprintf("%s-%d", program, len(h.programs)), environment, path, args...)
	if err != nil {
		return err
	}
	h.programs = append(h.programs, p)
	if err := p.await(ctx, func() bool { return httpapi.IsReady(ctx, admin) }); err != nil {
		return err
	}
	if program != "worker" {
		return nil
	}
	return p.await(ctx, func() bool {
		text, _ := os.ReadFile(p.log)
		return bytes.Contains(text, []byte("temporal namespace ready"))
	})
}

// workers makes it so many workers.
func (b *bench) workers(ctx context.Context, h *house, want int) error {
	for len(h.programs)-2 > want {
		h.programs[len(h.programs)-1].stop()
		h.programs = h.programs[:len(h.programs)-1]
	}
	for len(h.programs)-2 < want {
		if err := b.join(ctx, h, "worker"); err != nil {
			return err
		}
	}
	return nil
}

// memory is what each program occupies, in MiB.
func (h *house) memory() map[string]float64 {
	return map[string]float64{"starter": mebibytes(h.programs[0].rss()), "gateway": mebibytes(h.programs[1].rss()), "worker": mebibytes(h.programs[2].rss())}
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }

func (h *house) close() {
	for _, p := range h.programs {
		p.stop()
	}
	h.books.close()
}

// asks asks for a payout and answers with its id, once it is held.
func (h *house) asks(ctx context.Context, n int) (string, error) {
	p := playerNumber(n)
	body, err := json.Marshal(map[string]any{"player_id": p.id, "amount_in_minor": pence, "currency": "GBP", "metadata": map[string]string{"gateway": h.env["GATEWAY_ADDR"]},
		"beneficiary": map[string]any{"user_id": p.user, "payment_source_id": p.source, "reference": reference}})
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+h.env["STARTER_ADDR"]+"/v1/payouts", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer "+backendToken)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", uuid.NewString())
	response, err := h.wire.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	var held struct{ ID string }
	if response.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("%s: asked for a payout and was answered %s: %s", h.name, response.Status, text)
	}
	return held.ID, json.Unmarshal(text, &held)
}

// pays asks for a payout and answers once it is executed and reconciled.
func (h *house) pays(ctx context.Context, n int) error {
	id, err := h.asks(ctx, n)
	if err != nil {
		return err
	}
	return h.awaitExecuted(ctx, id)
}

func (h *house) awaitExecuted(ctx context.Context, id string) error {
	over := make(chan struct{})
	h.mu.Lock()
	h.waiting[id] = over
	h.mu.Unlock()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		h.mu.Lock()
		delete(h.waiting, id)
		h.mu.Unlock()
		return fmt.Errorf("%s: payout %s is not executed: %w", h.name, id, ctx.Err())
	}
}

// watchEvery is how often the rows are looked at. What that adds to a wait is
// small beside it, and latencies are read from the rows' own times.
const watchEvery = 20 * time.Millisecond

// watch looks in the books which payouts are executed: those of the newest
// transactions that are a settle. Their ids begin with the time, so that a look reads
// what the last seconds brought; to ask by the payouts' own ids took the database as
// long as a fifth of what a payout does. Who had to wait between id and commit is
// found by a longer look, now and then.
func (h *house) watch(ctx context.Context) {
	const back, farBack, farEach = time.Second, 30 * time.Second, 50
	for n := 0; ctx.Err() == nil; n++ {
		pause(ctx, watchEvery)
		h.mu.Lock()
		none := len(h.waiting) == 0
		h.mu.Unlock()
		if none {
			continue
		}
		since := time.Now().Add(-back)
		if n%farEach == 0 {
			since = time.Now().Add(-farBack)
		}
		settled, err := h.books.texts(ctx, "SELECT payout_id FROM transactions WHERE id > ? AND id < ? AND kind = 'settle'",
			idsFrom(since), idsFrom(time.Now().Add(time.Minute))) // the ids of copies are anywhere
		if err != nil {
			continue // it is looked at again
		}
		h.mu.Lock()
		for _, id := range settled {
			if over, there := h.waiting[id]; there {
				close(over)
				delete(h.waiting, id)
			}
		}
		h.mu.Unlock()
	}
}

// idsFrom is below every version 7 UUID of that moment or later.
func idsFrom(at time.Time) string {
	millis := fmt.Sprintf("%012x", at.UnixMilli())
	return millis[:8] + "-" + millis[8:]
}

// texts reads a query of one column.
func (r *rows) texts(ctx context.Context, query string, args ...any) (list []string, err error) {
	found, err := r.raw.QueryContext(ctx, r.sql(query), args...)
	if err != nil {
		return nil, err
	}
	defer found.Close()
	for found.Next() {
		var text string
		if err := found.Scan(&text); err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, found.Err()
}
