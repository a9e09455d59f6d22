package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"

	"payouts/internal/simulator"
)

// soon is the limit for what takes a second or a few; the machine may be busy.
const soon = time.Minute

const (
	merchant      = "a61acaef-ee05-4077-92f3-25543a11bd8d"
	merchantMinor = 1_000_000 // its balance at the provider, in minor units
	clientID      = "e2e"
	signingKid    = "9a3f3d1e-5b0a-4c52-8d0e-2f6f7f0a9c11"
	backendToken  = "backend-token"
	operatorToken = "operator-token"
	secondToken   = "second-operator-token"
)

// decisions are the shipped ones with short rests.
func decisions(rest string) string {
	return strings.ReplaceAll(`[
  {"reason": "insufficient_funds", "step": "try_again", "attempts": 5, "rest_min": "REST", "rest_max": "REST", "then": "release"},
  {"reason": "scheme_error", "step": "try_again", "attempts": 3, "rest_min": "REST", "rest_max": "REST", "then": "release"},
  {"reason": "server_error", "step": "try_again", "attempts": 3, "rest_min": "REST", "rest_max": "REST", "then": "release"}
]`, "REST", rest)
}

// plan is how a house is to be. A zero field takes the default its comment names.
type plan struct {
	database string             // DATABASE_URL; default: a new SQLite file
	env      map[string]string  // beside or instead of the harness's own; "" takes one away
	settings simulator.Settings // of the provider; URLs are filled in
	temporal string             // address of a server that the test runs itself; default: the shared server, with a namespace for this test
	rest     string             // between two attempts; default 1s
	movable  bool               // the programs are built with a clock that setAhead moves
	down     []string           // programs that are not started
}

// house is worker, starter and gateway as processes, and all they need.
type house struct {
	t         testing.TB
	dir       string
	env       map[string]string
	namespace string
	temporal  client.Client
	sim       *simulator.Simulator
	backend   caller
	operator  caller
	second    caller // another operator
	built     string // before the names of their binaries
	up        map[string]*process
	runs      int
	ahead     time.Duration // of the clock of its programs, where that is movable
}

// open sets a house up and waits until it is ready.
func open(t testing.TB, p plan) *house {
	t.Helper()
	h := &house{t: t, dir: t.ArtifactDir(), up: map[string]*process{}, namespace: "default"}
	if p.movable {
		h.built = movable
	}
	binary(t, h.built+"worker")
	if p.temporal == "" {
		p.temporal = sharedServer(t).addr
		h.namespace = "e2e-" + uuid.NewString()[:8]
		register(t, p.temporal, h.namespace)
	}
	h.temporal = dial(t, p.temporal, h.namespace)
	h.provider(p.settings)
	h.environment(p)
	if p.movable {
		h.env["MOVABLE_CLOCK_FILE"] = filepath.Join(h.dir, "clock")
		h.setAhead(0)
	}
	h.backend = caller{"http://" + h.env["STARTER_ADDR"], backendToken}
	h.operator = caller{"http://" + h.env["STARTER_ADDR"], operatorToken}
	h.second = caller{"http://" + h.env["STARTER_ADDR"], secondToken}
	for _, name := range []string{"worker", "starter", "gateway"} {
		if !slices.Contains(p.down, name) {
			h.start(name)
		}
	}
	for name := range h.up {
		h.awaitReady(name)
	}
	return h
}

// provider opens the simulator on a port of its own.
func (h *house) provider(settings simulator.Settings) {
	h.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		h.t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		h.t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		h.t.Fatal(err)
	}
	h.file("signing.pem", string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	h.env = map[string]string{"STARTER_ADDR": freeAddress(h.t), "GATEWAY_ADDR": freeAddress(h.t), "TRUELAYER_API_URL": "http://" + listener.Addr().String()}
	settings.PublicURL = h.env["TRUELAYER_API_URL"]
	settings.WebhookURL = "http://" + h.env["GATEWAY_ADDR"] + "/webhooks/truelayer"
	if settings.InsufficientFundsAfter == 0 {
		settings.InsufficientFundsAfter = simulator.Duration(200 * time.Millisecond)
	}
	h.sim, err = simulator.New(simulator.Options{
		ClientID: clientID, ClientSecret: "secret", Settings: settings,
		ClientKeys:       map[string]string{signingKid: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))},
		MerchantAccounts: []simulator.MerchantAccount{{ID: merchant, Currency: "GBP", OpeningBalanceInMinor: merchantMinor}},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	door := &http.Server{Handler: h.sim.Handler(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = door.Serve(listener) }()
	h.t.Cleanup(func() {
		_ = h.sim.Close() // lets go of requests that it holds
		_ = door.Close()
	})
}

// environment is the configuration of all three programs.
func (h *house) environment(p plan) {
	if p.rest == "" {
		p.rest = "1s"
	}
	sum := func(token string) string {
		hash := sha256.Sum256([]byte(token))
		return hex.EncodeToString(hash[:])
	}
	provider := h.env["TRUELAYER_API_URL"]
	maps.Copy(h.env, map[string]string{
		"HOME":                         h.dir,
		"DATABASE_URL":                 "sqlite:" + filepath.Join(h.dir, "payouts.db"),
		"SEAL_KEY_FILE":                h.file("seal.keys", "k1 "+base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n"),
		"API_TOKENS_FILE":              h.file("tokens", "casino backend "+sum(backendToken)+"\nolivia operator "+sum(operatorToken)+"\noscar operator "+sum(secondToken)+"\n"),
		"TRUELAYER_AUTH_URL":           provider,
		"TRUELAYER_JWKS_URL":           provider + "/.well-known/jwks",
		"TRUELAYER_CLIENT_ID":          clientID,
		"TRUELAYER_CLIENT_SECRET_FILE": h.file("secret", "secret\n"),
		"TRUELAYER_SIGNING_KEY_FILE":   filepath.Join(h.dir, "signing.pem"),
		"TRUELAYER_SIGNING_KID":        signingKid,
		"MERCHANT_ACCOUNTS":            "GBP=" + merchant,
		"DECISIONS_FILE":               h.file("decisions.json", decisions(p.rest)),
		"POLL_FIRST":                   "1s",
		"POLL_MAX":                     "5s",
		"SWEEP_EVERY":                  "1s",
		"PROVIDER_RPS":                 "200",
		"TEMPORAL_ADDRESS":             p.temporal,
		"TEMPORAL_NAMESPACE":           h.namespace,
		"worker":                       freeAddress(h.t), // each program's ADMIN_ADDR
		"starter":                      freeAddress(h.t),
		"gateway":                      freeAddress(h.t),
	})
	if p.database != "" {
		h.env["DATABASE_URL"] = p.database
	}
	maps.Copy(h.env, p.env)
}

// file writes a file of the house and answers with its path.
func (h *house) file(name, text string) string {
	h.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// start starts worker, starter or gateway, at the same address as before.
func (h *house) start(name string) {
	h.t.Helper()
	var args []string
	if name == "starter" {
		args = []string{"serve"}
	}
	h.up[name] = h.launched(name, args...)
}

// launched is a program, begun with the configuration of the house and these
// arguments.
func (h *house) launched(name string, args ...string) *process {
	h.t.Helper()
	var environment []string
	for key, value := range h.env {
		if value != "" && key == strings.ToUpper(key) {
			environment = append(environment, key+"="+value)
		}
	}
	environment = append(environment, "ADMIN_ADDR="+h.env[name])
	h.runs++
	return run(h.t, name, outputIn(h.dir, name, h.runs), environment, binary(h.t, h.built+name), args...)
}

// kill ends a program as a power cut would.
func (h *house) kill(name string) {
	h.up[name].kill()
	delete(h.up, name)
}

// restart starts a program that is down and waits until it is ready.
func (h *house) restart(name string) {
	h.t.Helper()
	h.start(name)
	h.awaitReady(name)
}

// awaitReady waits until a program says that it is safe to use; the worker
// only once its namespace is, so that no run begins before its attributes.
func (h *house) awaitReady(name string) {
	h.t.Helper()
	p := h.up[name]
	await(h.t, soon, func() bool {
		if !p.running() {
			h.t.Fatalf("%s ended: %v", name, p.err)
		}
		response, err := wire.Get("http://" + h.env[name] + "/readyz")
		if err != nil {
			return false
		}
		response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, because("%s is not ready", name))
	if name == "worker" {
		await(h.t, soon, func() bool { return strings.Contains(p.said(), "temporal namespace ready") }, because("the worker's namespace is not ready"))
	}
}

// players numbers players, so that a test can have many.
var players atomic.Int64

// player is somebody who won, with a bank account that is bound.
type player struct{ id, user, source string }

// wins credits a new player and binds an account.
func (h *house) wins(minor int64) player {
	h.t.Helper()
	p := player{fmt.Sprintf("player-%d", players.Add(1)), uuid.NewString(), uuid.NewString()}
	h.created(h.backend.call(http.MethodPost, "/v1/players/"+p.id+"/credits", uuid.NewString(),
		map[string]any{"amount_in_minor": minor, "currency": "GBP", "reason": "table 7"}))
	h.created(h.backend.call(http.MethodPut, "/v1/players/"+p.id+"/payment-sources/"+p.source, "", map[string]any{"user_id": p.user, "currency": "GBP"}))
	return p
}

func (h *house) created(a answer, err error) answer {
	h.t.Helper()
	if err != nil || a.status != http.StatusCreated {
		h.t.Fatalf("answered %s %v, want 201", a, err)
	}
	return a
}

// wish is the body that asks for a payout.
func (p player) wish(minor int64, reference string) map[string]any {
	return map[string]any{"player_id": p.id, "amount_in_minor": minor, "currency": "GBP",
		"beneficiary": map[string]any{"user_id": p.user, "payment_source_id": p.source, "reference": reference}}
}

// pays asks for a payout, and answers with its id.
func (h *house) pays(p player, minor int64, reference string) string {
	h.t.Helper()
	a := h.created(h.backend.call(http.MethodPost, "/v1/payouts", uuid.NewString(), p.wish(minor, reference)))
	var made payout
	if err := json.Unmarshal(a.body, &made); err != nil {
		h.t.Fatal(err)
	}
	return made.ID
}

// refunds lets a player pay in, asks for all of it back, and answers with the
// refund's id.
func (h *house) refunds(p player, minor int64, reference string) string {
	h.t.Helper()
	paid, err := h.sim.AddPayIn(simulator.PayIn{MerchantAccountID: merchant, AmountInMinor: minor, NoWebhook: true,
		UserID: p.user, PaymentSourceID: p.source, Metadata: map[string]string{"player_id": p.id}})
	if err != nil {
		h.t.Fatal(err)
	}
	a := h.created(h.backend.call(http.MethodPost, "/v1/refunds", uuid.NewString(), map[string]any{"payment_id": paid.ID,
		"amount_in_minor": minor, "currency": "GBP", "player_id": p.id, "reference": reference}))
	var made payout
	if err := json.Unmarshal(a.body, &made); err != nil {
		h.t.Fatal(err)
	}
	return made.ID
}

// payout reads a payout.
func (h *house) payout(id string) payout { return h.told("payouts", id) }

// told is what the API says of a payout or a refund.
func (h *house) told(kind, id string) payout {
	h.t.Helper()
	var p payout
	if err := h.backend.read("/v1/"+kind+"/"+id, &p); err != nil {
		h.t.Fatal(err)
	}
	return p
}

// awaitPayout waits until a payout is as wanted.
func (h *house) awaitPayout(id, what string, limit time.Duration, done func(payout) bool) payout {
	h.t.Helper()
	return h.awaitTold("payouts", id, what, limit, done)
}

// awaitTold waits until a payout or a refund is as wanted.
func (h *house) awaitTold(kind, id, what string, limit time.Duration, done func(payout) bool) payout {
	h.t.Helper()
	var p payout
	await(h.t, limit, func() bool { p = h.told(kind, id); return done(p) }, func() string {
		return fmt.Sprintf("%s %s is %s (next: %s, attempts %d), want %s\n%s", kind, id, p.Status, p.NextStep, len(p.Attempts), what, p.story())
	})
	return p
}

// balance is what a player has in GBP.
func (h *house) balance(player string) balance {
	h.t.Helper()
	var all struct{ Balances []balance }
	if err := h.backend.read("/v1/players/"+player+"/balances", &all); err != nil {
		h.t.Fatal(err)
	}
	if len(all.Balances) != 1 {
		h.t.Fatalf("player %s has %d balances", player, len(all.Balances))
	}
	return all.Balances[0]
}

// moves are the kinds of a payout's transactions in the books, in order, once
// they have their positions.
func (h *house) moves(id string, want int) string {
	h.t.Helper()
	var kinds []string
	await(h.t, soon, func() bool {
		kinds = nil
		for cursor := ""; ; {
			var page struct {
				Items []struct {
					Kind     string  `json:"kind"`
					PayoutID *string `json:"payout_id"`
				}
				Next *string `json:"next_cursor"`
			}
			if err := h.operator.read("/v1/ledger/transactions?limit=200&cursor="+cursor, &page); err != nil {
				h.t.Fatal(err)
			}
			for _, item := range page.Items {
				if item.PayoutID != nil && *item.PayoutID == id {
					kinds = append(kinds, item.Kind)
				}
			}
			if page.Next == nil {
				return len(kinds) >= want
			}
			cursor = *page.Next
		}
	}, func() string { return fmt.Sprintf("payout %s has the transactions %v, want %d", id, kinds, want) })
	return strings.Join(kinds, " ")
}

// end is how a scenario is to end.
type end struct {
	status, money, reason string
	moves                 string // its transactions in the books
	attempts              int    // default 1
	player                balance
	accepted, executed    int           // payouts that truly exist at the provider, and that were truly paid
	forgotten             bool          // Temporal has no run of it any more
	limit                 time.Duration // default soon
}

// open says that it is no end yet: something or somebody is waited for.
func (e end) open() bool { return e.status == "authorized" || e.status == "parked" }

// paidOut is the good end of a player's whole winnings.
var paidOut = end{status: "executed", money: "paid", moves: "reserve settle", accepted: 1, executed: 1}

// judge waits until the payout has nothing left to do, or waits as it should,
// and holds everything against the wanted end: what the API says, the player's
// balance, the books and their laws, the run, and what truly happened to money
// at the provider.
func (h *house) judge(p player, id string, want end) payout {
	h.t.Helper()
	if want.limit == 0 {
		want.limit = soon
	}
	want.attempts = max(want.attempts, 1)
	got := h.awaitPayout(id, want.status, want.limit, func(p payout) bool { return p.NextStep == "done" || want.open() && p.Status == want.status })
	bad := func(format string, args ...any) {
		h.t.Helper()
		h.t.Errorf("payout %s: %s\n%s", id, fmt.Sprintf(format, args...), got.story())
	}
	if got.Status != want.status || got.Money != want.money || got.reason() != want.reason || len(got.Attempts) != want.attempts {
		bad("ended %s %s %q after %d attempts, want %s %s %q after %d", got.Status, got.Money, got.reason(), len(got.Attempts),
			want.status, want.money, want.reason, want.attempts)
	}
	if !want.forgotten {
		h.awaitRun(got)
	}
	if moves := h.moves(id, len(strings.Fields(want.moves))); moves != want.moves {
		bad("the books say %q, want %q", moves, want.moves)
	}
	if has := h.balance(p.id); has != want.player {
		bad("the player has %+v, want %+v", has, want.player)
	}
	if accepted, executed := h.truth(simulator.FactAccepted, got), h.truth(simulator.FactExecuted, got); accepted != want.accepted || executed != want.executed {
		bad("at the provider %d payouts exist and %d were paid, want %d and %d", accepted, executed, want.accepted, want.executed)
	}
	h.sameBytes(got)
	h.lawful()
	return got
}

// truth counts what truly happened to the money of a payout. Facts name it in
// their metadata.
func (h *house) truth(kind string, p payout) int {
	n := 0
	for _, fact := range h.sim.MoneyFacts(kind) {
		if fact.Metadata["payout_id"] == p.ID {
			n++
		}
	}
	return n
}

// sameBytes holds that every send of an attempt had the same body.
func (h *house) sameBytes(p payout) {
	h.t.Helper()
	bodies := map[string]string{}
	for _, r := range h.sim.Journal().Requests {
		if r.IdempotencyKey == "" {
			continue
		}
		if first, seen := bodies[r.IdempotencyKey]; seen && first != r.BodySHA256 {
			h.t.Errorf("payout %s: the key %s was sent with two bodies", p.ID, r.IdempotencyKey)
		}
		bodies[r.IdempotencyKey] = r.BodySHA256
	}
}

// lawful holds the books against their laws.
func (h *house) lawful() {
	h.t.Helper()
	var check struct {
		OK         bool `json:"ok"`
		Invariants []struct {
			ID         string   `json:"id"`
			Violations int      `json:"violations"`
			Examples   []string `json:"examples"`
		}
	}
	if err := h.operator.read("/v1/ledger/check", &check); err != nil {
		h.t.Fatal(err)
	}
	if !check.OK || len(check.Invariants) < 10 {
		h.t.Errorf("the books are not ok, or %d laws are too few", len(check.Invariants))
	}
	for _, law := range check.Invariants {
		if law.Violations > 0 {
			h.t.Errorf("the books break %s %d times: %v", law.ID, law.Violations, law.Examples)
		}
	}
}
