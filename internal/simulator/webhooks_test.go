package simulator

import (
	"crypto/ecdsa"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// genuine checks a webhook's signature by the words of the reference, with the
// key set fetched from the jku; it shares no code with sign and verify.
func genuine(t *testing.T, h *house, n news) bool {
	t.Helper()
	parts := strings.Split(n.header.Get("Tl-Signature"), ".")
	if len(parts) != 3 {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	var jose map[string]string
	if err := json.Unmarshal(text, &jose); err != nil {
		t.Fatal(err)
	}
	if jose["alg"] != "ES512" || jose["tl_version"] != "2" || jose["tl_headers"] != "X-TL-Webhook-Timestamp" || jose["jku"] != h.url+"/.well-known/jwks" {
		return false
	}
	key := keysOf(t, []byte(h.get("/.well-known/jwks").text))(jose["kid"])
	if key == nil {
		return false
	}
	payload := "POST " + n.path + "\nX-TL-Webhook-Timestamp: " + n.header.Get("X-TL-Webhook-Timestamp") + "\n" + string(n.text)
	sum := sha512.Sum512([]byte(parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))))
	value, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(value) != 132 {
		return false
	}
	return ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(value[:66]), new(big.Int).SetBytes(value[66:]))
}

func TestWebhookIsSignedAndWhole(t *testing.T) {
	h := open(t)
	id := h.pay(1000, "R")
	h.sim.Advance(time.Minute)
	n := h.inbox.wait(t, 1)[0]
	if !genuine(t, h, n) {
		t.Errorf("signature does not verify: %v", n.header)
	}
	if ts := n.header.Get("X-TL-Webhook-Timestamp"); len(ts) != len("2020-05-18T10:17:47Z") || !strings.HasSuffix(ts, "Z") {
		t.Errorf("timestamp %q", ts)
	}
	b := n.body
	if b["type"] != "payout_executed" || b["payout_id"] != id || b["event_version"] != 1.0 || b["scheme_id"] != "internal_transfer" ||
		b["merchant_account_id"] != gbpAccount || b["current_balance_in_minor"] != 99_000.0 || b["available_balance_in_minor"] != 99_000.0 ||
		b["executed_at"] != "2026-11-20T12:00:01.223Z" {
		t.Errorf("got %s", n.text)
	}
	if _, err := uuid.Parse(b["event_id"].(string)); err != nil {
		t.Errorf("event_id: %v", err)
	}
	if who := b["beneficiary"].(map[string]any); who["type"] != "payment_source" || who["payment_source_id"] != "source-1" || who["user_id"] != "user-1" {
		t.Errorf("beneficiary %v", who)
	}
	if m := b["metadata"].(map[string]any); m["payout_id"] != "ours-1" {
		t.Errorf("metadata %v", m)
	}
	var set struct{ Keys []jwk }
	if err := json.Unmarshal([]byte(h.get("/.well-known/jwks").text), &set); err != nil || len(set.Keys) != 2 || set.Keys[0].Kty != "RSA" {
		t.Errorf("key set: %+v, %v", set, err)
	}
	until(t, "nothing pending", func() bool { return h.sim.PendingWebhooks() == 0 })
}

func TestWebhookIsRepeatedUntilTaken(t *testing.T) {
	h := open(t)
	h.inbox.refuse = 3
	h.pay(1000, "R")
	h.sim.Advance(2 * time.Second)
	for tries := 1; tries <= 4; tries++ {
		until(t, "the next try", func() bool { return len(h.sim.Journal().Webhooks) >= tries })
		h.sim.Advance(4 * time.Second) // the longest rest so far
	}
	got := h.inbox.wait(t, 4)
	for _, n := range got {
		if n.body["event_id"] != got[0].body["event_id"] || !genuine(t, h, n) {
			t.Errorf("a try differs: %s", n.text)
		}
	}
	until(t, "nothing pending", func() bool { return h.sim.PendingWebhooks() == 0 })
	h.sim.Advance(time.Hour)
	if n := len(h.inbox.all()); n != 4 {
		t.Errorf("%d tries", n)
	}
}

func TestWebhookIsGivenUpAfterThreeDays(t *testing.T) {
	h := open(t, func(o *Options) { o.Settings.WebhookMax = Duration(2 * time.Hour) })
	h.inbox.refuse = 1 << 30
	h.pay(1000, "R")
	h.sim.Advance(2 * time.Second)
	tries := 0
	for range 500 {
		tries++
		until(t, "a try", func() bool { return len(h.sim.Journal().Webhooks) >= tries })
		if h.sim.PendingWebhooks() == 0 {
			break
		}
		h.sim.Advance(2 * time.Hour)
	}
	if h.sim.PendingWebhooks() != 0 || tries < 36 {
		t.Errorf("%d pending after %d tries", h.sim.PendingWebhooks(), tries)
	}
}

func TestScriptedWebhooks(t *testing.T) {
	h := open(t)
	for reference, hooks := range map[string][]Webhook{
		"lost":   {{Lost: true}},
		"twice":  {{Event: "payout_failed", Lost: true}, {Duplicates: 2}},
		"late":   {{Late: Duration(time.Hour)}},
		"forged": {{Sign: SignForged}}, "none": {{Sign: SignNone}}, "unknown": {{Sign: SignUnknownKid}},
		"jku": {{Sign: SignWrongJKU}}, "tampered": {{Sign: SignTampered}},
		"patched": {{Patch: map[string]any{"payout_id": "nobody", "beneficiary": nil}}},
	} {
		h.script(Rule{Match: Match{Reference: reference}, Webhooks: hooks})
	}
	pay := func(reference string) (seen []news) {
		before := len(h.inbox.all())
		h.pay(10, reference)
		h.sim.Advance(10 * time.Second)
		until(t, "all tries", func() bool { return h.sim.PendingWebhooks() == 0 || reference == "late" })
		return h.inbox.all()[before:]
	}
	if got := pay("lost"); len(got) != 0 {
		t.Errorf("lost: %d came", len(got))
	}
	if got := pay("twice"); len(got) != 3 || got[0].body["event_id"] != got[2].body["event_id"] {
		t.Errorf("twice: %d came", len(got))
	}
	for _, reference := range []string{"forged", "none", "unknown", "jku", "tampered"} {
		if got := pay(reference); len(got) != 1 || genuine(t, h, got[0]) {
			t.Errorf("%s: %d came, or it verifies", reference, len(got))
		}
	}
	if got := pay("patched"); len(got) != 1 || !genuine(t, h, got[0]) || got[0].body["payout_id"] != "nobody" || got[0].body["beneficiary"] != nil {
		t.Errorf("patched: %v", got)
	}
	if got := pay("late"); len(got) != 0 || h.sim.PendingWebhooks() != 1 {
		t.Errorf("late: %d came", len(got))
	}
	before := len(h.inbox.all())
	h.sim.Advance(time.Hour)
	h.inbox.wait(t, before+1)
	h.token = h.getToken("payments")

	until(t, "nothing pending", func() bool { return h.sim.PendingWebhooks() == 0 })
	if err := h.sim.Configure(func(g *Settings) { g.WebhooksOff = true }); err != nil {
		t.Fatal(err)
	}
	before = len(h.inbox.all())
	h.pay(10, "plain")
	h.sim.Advance(time.Minute)
	j := h.sim.Journal().Webhooks
	if last := j[len(j)-1]; last.Err != "lost" || last.Type != "payout_executed" || len(h.inbox.all()) != before {
		t.Errorf("webhooks off: %+v", last)
	}
}

func TestWebhookBeforeTheAnswer(t *testing.T) {
	h := open(t, func(o *Options) { o.Clock = nil })
	h.script(Rule{HoldAnswerForWebhook: true, Delay: &Delay{Authorize: 1, Execute: 1}})
	id := h.pay(1000, "R")
	got := h.inbox.all()
	if len(got) != 1 || got[0].body["payout_id"] != id {
		t.Errorf("when the answer came, %d webhooks had come", len(got))
	}
}

func TestKeyRotationAndAnyEvent(t *testing.T) {
	h := open(t)
	send := func() news {
		t.Helper()
		before := len(h.inbox.all())
		if _, err := h.sim.SendWebhook(map[string]any{"type": "payout_failed", "payout_id": uuid.NewString()}, Webhook{}); err != nil {
			t.Fatal(err)
		}
		return h.inbox.wait(t, before+1)[before]
	}
	if _, err := h.sim.SendWebhook(nil, Webhook{Sign: SignRotated}); err == nil {
		t.Error("signed with a rotated key before any was rotated")
	}
	if _, err := h.sim.Script(Rule{Webhooks: []Webhook{{Sign: SignRotated}}}); err == nil {
		t.Error("scripted to sign with a rotated key before any was rotated")
	}
	old := send()
	if !genuine(t, h, old) {
		t.Error("before the rotation: not genuine")
	}
	if _, err := h.sim.RotateWebhookKey(true); err != nil {
		t.Fatal(err)
	}
	if fresh := send(); !genuine(t, h, fresh) || !genuine(t, h, old) {
		t.Error("old key kept: not genuine")
	}
	if _, err := h.sim.RotateWebhookKey(false); err != nil {
		t.Fatal(err)
	}
	if fresh := send(); !genuine(t, h, fresh) || genuine(t, h, old) {
		t.Error("old key dropped: wrong verdict")
	}
	kids := len(h.inbox.all())
	if _, err := h.sim.SendWebhook(nil, Webhook{Sign: SignRotated}); err != nil {
		t.Fatal(err)
	}
	if stale := h.inbox.wait(t, kids+1)[kids]; genuine(t, h, stale) || stale.header.Get("Tl-Signature") == "" {
		t.Error("signed with a rotated key: genuine")
	}
	if _, err := h.sim.SendWebhook(nil, Webhook{Sign: "crayon"}); err == nil {
		t.Error("unknown way of signing was taken")
	}
}

func TestWebhookPathIsSignedAsConfigured(t *testing.T) {
	h := open(t)
	if err := h.sim.Configure(func(g *Settings) { g.WebhookURL = h.inbox.url + "/hooks/tl/?token=1" }); err != nil {
		t.Fatal(err)
	}
	h.pay(1000, "R")
	h.sim.Advance(time.Minute)
	if n := h.inbox.wait(t, 1)[0]; n.path != "/hooks/tl/" || !genuine(t, h, n) {
		t.Errorf("path %s", n.path)
	}
	if a := h.do(func() *http.Request { r := h.request("GET", "/nowhere", "", ""); return r }()); a.status != 404 {
		t.Errorf("unknown path: %d", a.status)
	}
}
