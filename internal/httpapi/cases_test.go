package httpapi_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"payouts/internal/httpapi"
	"payouts/internal/payout"
)

// propose asks for an action on a case at its version, for a reason.
func (h *house) propose(token string, c httpapi.Case, action string, more ...string) answer {
	h.t.Helper()
	body := fmt.Sprintf(`{"action":%q,"reason":"because","version":%d%s}`, action, c.Version, strings.Join(more, ""))
	return h.ask("POST", "/v1/cases/"+c.ID+"/resolutions", token, body)
}

// decide says approve or reject to proposal n at the case's version.
func (h *house) decide(token string, c httpapi.Case, n int, decision string) answer {
	h.t.Helper()
	return h.ask("POST", fmt.Sprintf("/v1/cases/%s/resolutions/%d/approvals", c.ID, n), token, fmt.Sprintf(`{"decision":%q,"version":%d}`, decision, c.Version))
}

func (h *house) refusedAs(a answer, status int, slug string) {
	h.t.Helper()
	if p := h.problem(a); a.status != status || p.Type != "/problems/"+slug {
		h.t.Errorf("answered %d %s; want %d %s: %s", a.status, p.Type, status, slug, a.body)
	}
}

// A case shows what a person needs to decide.
func TestCaseIsShown(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	p, c := h.blocked("b")
	if c.Kind != "blocked" || c.Status != "open" || c.Team != "compliance" || *c.PayoutID != p.ID || *c.PayoutKind != "payout" || *c.PlayerID != "p1" ||
		*c.Amount != 1000 || *c.Currency != "GBP" || c.Why == "" || c.Version != p.Version || c.Subject != nil || c.ClosedAt != nil || c.ClosedBy != nil {
		t.Errorf("shown as %+v", c)
	}
	if time.Since(c.OpenedAt) > time.Minute || c.AgeSeconds > 60 {
		t.Errorf("opened at %s, %d seconds ago", c.OpenedAt, c.AgeSeconds)
	}
	var actions []string
	for _, o := range c.Actions {
		if actions = append(actions, o.Action); o.Risk == "" {
			t.Errorf("%s has no risk", o.Action)
		}
	}
	if want := []string{"release_frozen", "keep_frozen"}; !slices.Equal(actions, want) {
		t.Errorf("offers %v; want %v", actions, want)
	}
	if len(c.Evidence) != 2 || c.Evidence[0].Kind != "get" || *c.Evidence[0].ProviderStatus != "failed" || *c.Evidence[0].FailureReason != "blocked" ||
		*c.Evidence[0].ProviderPayoutID != "their-b" || c.Evidence[0].AskedAt == nil || c.Evidence[1].Kind != "create" {
		t.Errorf("evidence is %+v", c.Evidence)
	}
	if c.Resolutions == nil || len(c.Resolutions) != 0 || c.NotNow == nil {
		t.Errorf("an empty list is null: %+v", c)
	}

	// About no payout: nothing of a payout, but what it is about.
	s := h.stranger("their-own")
	if s.PayoutID != nil || s.PayoutKind != nil || s.PlayerID != nil || s.Amount != nil || s.Currency != nil || *s.Subject != "their-own" || s.Team != "operations" ||
		s.Version != 1 || s.Evidence == nil || len(s.Evidence) != 0 || len(s.Actions) != 1 || s.Actions[0].Action != "dismiss" {
		t.Errorf("shown as %+v", s)
	}
	h.blocked("another")
	h.ahead.Add(int64(2 * time.Hour))
	if aged := h.one(s.ID); aged.AgeSeconds < 7200 || aged.AgeSeconds > 7260 {
		t.Errorf("after two hours a case is %d seconds old", aged.AgeSeconds)
	}
	h.ahead.Add(-int64(24 * time.Hour)) // a clock that was set back makes nobody's age negative
	if aged := h.one(s.ID); aged.AgeSeconds != 0 {
		t.Errorf("before it was opened a case is %d seconds old", aged.AgeSeconds)
	}

	for query, want := range map[string][]string{
		"":                             {"blocked", "blocked", "unmatched_event"},
		"?status=open":                 {"blocked", "blocked", "unmatched_event"},
		"?status=closed":               {},
		"?kind=blocked":                {"blocked", "blocked"},
		"?payout_id=" + p.ID:           {"blocked"},
		"?payout_id=" + c.ID:           {},
		"?kind=slow&payout_id=" + p.ID: {},
	} {
		a := h.must(200, h.ask("GET", "/v1/cases"+query, "support-token", ""))
		var page httpapi.CaseList
		a.read(t, &page)
		kinds := []string{}
		for _, c := range page.Items {
			kinds = append(kinds, c.Kind)
		}
		if slices.Sort(kinds); !slices.Equal(kinds, want) {
			t.Errorf("%q lists %v; want %v", query, kinds, want)
		}
		for _, field := range []string{`"evidence"`, `"actions"`, `"resolutions"`, `"not_now"`} {
			if strings.Contains(string(a.body), field) {
				t.Errorf("%q lists %s: %s", query, field, a.body)
			}
		}
	}
	var first, second httpapi.CaseList
	h.must(200, h.ask("GET", "/v1/cases?limit=2", "auditor-token", "")).read(t, &first)
	if first.NextCursor == nil {
		t.Fatalf("a full page has no next: %+v", first)
	}
	h.must(200, h.ask("GET", "/v1/cases?limit=2&cursor="+*first.NextCursor, "auditor-token", "")).read(t, &second)
	seen := map[string]bool{}
	for _, c := range append(first.Items, second.Items...) {
		seen[c.ID] = true
	}
	if len(seen) != 3 || second.NextCursor != nil {
		t.Errorf("paged through %v, next %v; want all three and an end", seen, second.NextCursor)
	}
}

// One person proposes, another approves, the run is woken, and its step
// carries out what the row says; every deed is in the audit.
func TestTwoPeopleDecide(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	p, c := h.blocked("b")
	var r httpapi.Resolution
	first := h.must(201, h.propose("operator-token", c, "release_frozen", `,"provider_ticket":"TL-1"`))
	first.read(t, &r)
	if r.Number != 1 || r.Action != "release_frozen" || r.Status != "proposed" || r.ProposedBy != "ann" || r.Reason != "because" || *r.ProviderTicket != "TL-1" ||
		*r.Amount != 1000 || *r.Currency != "GBP" || r.Version != c.Version || r.ProviderPayoutID != nil || r.DecidedBy != nil || r.DecidedAt != nil || r.EndedAt != nil || r.Outcome != nil {
		t.Errorf("proposed as %s", first.body)
	}
	again := h.must(200, h.propose("operator-token", c, "release_frozen", `,"provider_ticket":"TL-1"`))
	if again.header.Get("Idempotent-Replayed") != "true" || first.header.Get("Idempotent-Replayed") != "" || string(again.body) != string(first.body) {
		t.Errorf("repeated as %v %s; want %s", again.header, again.body, first.body)
	}
	if len(h.woken) != 0 {
		t.Errorf("a proposal wakes %v", h.woken)
	}

	before := h.dump()
	stale := c
	stale.Version++
	h.refusedAs(h.propose("operator-token", c, "keep_frozen"), 409, "proposal-open")
	h.refusedAs(h.propose("second-token", c, "release_frozen"), 409, "proposal-open")
	h.refusedAs(h.decide("operator-token", c, 1, "approve"), 403, "same-person")
	h.refusedAs(h.decide("operator-token", c, 1, "reject"), 403, "same-person")
	h.refusedAs(h.decide("second-token", stale, 1, "approve"), 409, "stale-version")
	h.refusedAs(h.decide("second-token", c, 2, "approve"), 404, "not-found")
	if h.dump() != before || len(h.woken) != 0 {
		t.Errorf("a refusal wrote, or woke %v", h.woken)
	}

	h.must(201, h.decide("second-token", c, 1, "approve")).read(t, &r)
	if r.Status != "approved" || *r.DecidedBy != "bob" || r.DecidedAt == nil || r.EndedAt != nil {
		t.Errorf("approved as %+v", r)
	}
	if len(h.woken) != 1 || string(h.woken[0].PayoutID) != p.ID || h.woken[0].Kind != payout.KindPayout || !h.woken[0].Late {
		t.Errorf("woke %+v; want the late run of %s", h.woken, p.ID)
	}
	h.refusedAs(h.decide("second-token", c, 1, "approve"), 409, "already-decided")
	h.expectFrozen("p1", 1000)

	h.carriesOut(p.ID)
	h.expectFrozen("p1", 0)
	c = h.one(c.ID)
	if len(c.Resolutions) != 1 || c.Resolutions[0].Status != "done" || c.Resolutions[0].Outcome == nil || c.Status != "closed" || c.ClosedAt == nil || c.ClosedBy == nil {
		t.Errorf("carried out as %+v", c)
	}
	if len(c.Actions) != 0 || c.Evidence[0].Kind != "person" {
		t.Errorf("a closed case offers %v on %+v", c.Actions, c.Evidence)
	}
	h.refusedAs(h.propose("operator-token", c, "release_frozen"), 409, "case-closed")

	var audit httpapi.AuditList
	h.must(200, h.ask("GET", "/v1/audit", "auditor-token", "")).read(t, &audit)
	var deeds []string
	for i, line := range audit.Items {
		deeds = append(deeds, line.Who+" "+line.What)
		if line.Position != int64(i+1) || *line.CaseID != c.ID || *line.PayoutID != p.ID || line.Detail == "" {
			t.Errorf("audited as %+v", line)
		}
	}
	if len(deeds) != 3 || deeds[0] != "ann propose" || deeds[1] != "bob approve" {
		t.Errorf("the audit has %q", deeds)
	}
	var page httpapi.AuditList
	if h.must(200, h.ask("GET", "/v1/audit?limit=2", "operator-token", "")).read(t, &page); len(page.Items) != 2 || *page.NextCursor != "2" {
		t.Errorf("a page of the audit is %+v", page)
	}
	if h.must(200, h.ask("GET", "/v1/audit?limit=2&cursor=2", "operator-token", "")).read(t, &page); len(page.Items) != 1 || page.NextCursor != nil || page.Items[0].Position != 3 {
		t.Errorf("the audit goes on with %+v", page)
	}
	var check httpapi.Check
	if h.must(200, h.ask("GET", "/v1/ledger/check", "auditor-token", "")).read(t, &check); !check.OK {
		t.Errorf("the books are broken: %+v", check.Invariants)
	}
}

func (h *house) expectFrozen(player string, frozen int64) {
	h.t.Helper()
	var b httpapi.Balances
	h.must(200, h.ask("GET", "/v1/players/"+player+"/balances", "support-token", "")).read(h.t, &b)
	if len(b.Balances) != 1 || b.Balances[0].Frozen != frozen || b.Balances[0].Available+b.Balances[0].Frozen != 100000 {
		h.t.Errorf("%s has %+v; want %d frozen of 100000", player, b.Balances, frozen)
	}
}

// A rejected proposal leaves the case open for another, and wakes nobody.
func TestRejected(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	_, c := h.blocked("b")
	h.must(201, h.propose("operator-token", c, "release_frozen"))
	var r httpapi.Resolution
	if h.must(201, h.decide("second-token", c, 1, "reject")).read(t, &r); r.Status != "rejected" || r.EndedAt == nil {
		t.Errorf("rejected as %+v", r)
	}
	h.refusedAs(h.decide("second-token", c, 1, "approve"), 409, "already-decided")
	if h.must(201, h.propose("operator-token", c, "keep_frozen")).read(t, &r); r.Number != 2 {
		t.Errorf("the next proposal is %+v", r)
	}
	if c = h.one(c.ID); len(c.Resolutions) != 2 || c.Status != "open" || len(h.woken) != 0 {
		t.Errorf("after a rejection the case is %+v, and %v was woken", c, h.woken)
	}
}

// A case about no payout is carried out at once: there is no run to wake.
func TestDismissed(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	c := h.stranger("their-own")
	h.must(201, h.propose("operator-token", c, "dismiss"))
	var r httpapi.Resolution
	if h.must(201, h.decide("second-token", c, 1, "approve")).read(t, &r); r.Status != "done" || r.EndedAt == nil || r.Amount != nil {
		t.Errorf("dismissed as %+v", r)
	}
	h.ahead.Add(int64(24 * time.Hour)) // it was open for a moment, and stays so
	if c = h.one(c.ID); c.Status != "closed" || len(h.woken) != 0 || c.AgeSeconds > 60 {
		t.Errorf("dismissed, the case is %+v, and %v was woken", c, h.woken)
	}
	h.refusedAs(h.ask("POST", "/v1/cases/"+c.ID+"/resolutions", "operator-token", `{"action":"dismiss","reason":"again","version":2}`), 409, "case-closed")
}

// What does not answer the case, or was looked at before something happened,
// is refused, and the answer says why.
func TestNotOffered(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	_, c := h.blocked("b")
	before := h.dump()
	a := h.propose("operator-token", c, "dismiss")
	h.refusedAs(a, 422, "action-not-offered")
	if !strings.Contains(string(a.body), "dismiss does not answer a case of kind blocked; want release_frozen or keep_frozen") {
		t.Errorf("says %s", a.body)
	}
	c.Version--
	h.refusedAs(h.propose("operator-token", c, "release_frozen"), 409, "stale-version")
	c.ID = "0cd1b0f7-71bc-4d24-b209-95259dadcc20"
	h.refusedAs(h.propose("operator-token", c, "release_frozen"), 404, "not-found")
	h.refusedAs(h.decide("second-token", c, 1, "approve"), 404, "not-found")
	if h.dump() != before {
		t.Error("a refusal wrote")
	}
}

// A proposal that was made before the case asked more is shown as stale, and can
// only be rejected.
func TestStale(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	_, c := h.blocked("b")
	h.must(201, h.propose("operator-token", c, "release_frozen"))
	if c = h.one(c.ID); c.Resolutions[0].Stale {
		t.Error("it is stale at once")
	}
	h.tamper("UPDATE cases SET why = why || ' and more', version = version + 1")
	if c = h.one(c.ID); !c.Resolutions[0].Stale {
		t.Error("it is not stale though the case asks more")
	}
	refusal := h.decide("second-token", c, 1, "approve")
	h.refusedAs(refusal, 409, "stale-version")
	if !strings.Contains(string(refusal.body), "since ann made proposal 1; reject it") {
		t.Errorf("says %s", refusal.body)
	}
	h.must(201, h.decide("second-token", c, 1, "reject"))
	h.refusedAs(h.propose("operator-token", c, "release_frozen", fmt.Sprintf(`,"questions":%d`, c.Questions-1)), 409, "stale-version") // as read before
	h.refusedAs(h.propose("operator-token", c, "release_frozen", `,"questions":-1`), 400, "invalid-request")
	h.must(201, h.propose("operator-token", c, "release_frozen", fmt.Sprintf(`,"questions":%d`, c.Questions)))
	for said, refused := range map[string]int{fmt.Sprintf(`{"decision":"approve","version":%d,"questions":%d}`, c.Version, c.Questions-1): 409, fmt.Sprintf(`{"decision":"approve","version":%d,"questions":-1}`, c.Version): 400} {
		if a := h.ask("POST", "/v1/cases/"+c.ID+"/resolutions/2/approvals", "second-token", said); a.status != refused {
			t.Errorf("%s is answered %d %s, want %d", said, a.status, a.body, refused)
		}
	}
	h.must(201, h.decide("second-token", c, 2, "approve"))
	if c = h.one(c.ID); c.Resolutions[0].Stale || c.Resolutions[1].Stale {
		t.Errorf("decided, and stale: %+v", c.Resolutions)
	}
}

// The approved row decides; waking is a consequence: when it fails, or the
// person hangs up, the decision stands. And it is bounded.
func TestWakeOutlivesThePerson(t *testing.T) {
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	var seen error
	var bounded bool
	h := newHouse(t, func(o *httpapi.Options) {
		o.Wake = func(ctx context.Context, _ payout.Stored) error {
			hangUp()
			_, bounded = ctx.Deadline()
			seen = ctx.Err()
			return errors.New("no Temporal")
		}
	})
	h.furnish()
	_, c := h.blocked("b")
	h.must(201, h.propose("operator-token", c, "release_frozen"))
	r := httptest.NewRequestWithContext(ctx, "POST", "/v1/cases/"+c.ID+"/resolutions/1/approvals", strings.NewReader(fmt.Sprintf(`{"decision":"approve","version":%d}`, c.Version)))
	r.Header = http.Header{"Authorization": {"Bearer second-token"}, "Content-Type": {"application/json"}}
	w := httptest.NewRecorder()
	h.api.ServeHTTP(w, r)
	if w.Code != 201 || seen != nil || !bounded {
		t.Errorf("answered %d %s; waking saw %v (bounded: %v)", w.Code, w.Body, seen, bounded)
	}
	if c = h.one(c.ID); c.Resolutions[0].Status != "approved" {
		t.Errorf("the decision is %+v", c.Resolutions)
	}
}

// The inbox shows every event, and on demand those that are nobody's.
func TestInbox(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	p, _ := h.blocked("b")
	for range 3 {
		_, err := h.ledger.StoreNews(t.Context(), payout.News{EventID: "e1", Type: "payout_failed", ProviderID: "their-b", PayoutID: payout.ID(p.ID), Attempt: 1, Status: "failed", Reason: "blocked", Body: []byte("{}")})
		h.done(err)
	}
	h.stranger("their-own")
	items := func(token, query string) (list []httpapi.InboxItem) {
		var page httpapi.InboxList
		h.must(200, h.ask("GET", "/v1/inbox"+query, token, "")).read(t, &page)
		if page.Items == nil {
			t.Errorf("%q lists null", query)
		}
		return page.Items
	}
	for query, want := range map[string]int{"": 2, "?unmatched=false": 2, "?unmatched=true": 1, "?payout_id=" + p.ID: 1, "?unmatched=true&payout_id=" + p.ID: 0} {
		if list := items("support-token", query); len(list) != want {
			t.Errorf("%q lists %+v; want %d", query, list, want)
		}
	}
	ours := items("auditor-token", "?payout_id="+p.ID)[0]
	if ours.EventID != "e1" || ours.Type != "payout_failed" || *ours.ProviderPayoutID != "their-b" || *ours.PayoutID != p.ID || *ours.Attempt != 1 || *ours.ClaimedStatus != "failed" ||
		*ours.FailureReason != "blocked" || ours.Repeats != 2 || ours.AppliedAt != nil || ours.AppliedBy != nil || ours.ReceivedAt.IsZero() {
		t.Errorf("shown as %+v", ours)
	}
	if theirs := items("operator-token", "?unmatched=true")[0]; theirs.PayoutID != nil || theirs.Attempt != nil || *theirs.ProviderPayoutID != "their-own" {
		t.Errorf("shown as %+v", theirs)
	}
}
