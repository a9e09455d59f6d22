package cli

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"payouts/internal/httpapi"
	"payouts/internal/ledger"
	"payouts/internal/payout"
)

// blocked is a payout of a thousand pounds that a regulatory stop ended.
func blocked(t *testing.T, url string, books *ledger.Ledger) (id payout.ID) {
	t.Helper()
	for _, command := range []string{"credit p1 --amount 2000.00 --currency GBP --reason won --key c", "source p1 s1 --user u1 --currency GBP"} {
		starter(t, url, command).expect(t, 0, "", "")
	}
	starter(t, url, "pay p1 --amount 1000.00 --currency GBP --reference WIN --key b").expect(t, 0, "£1,000.00", "")
	id = payout.NewID(payout.KindPayout, "game", "b")
	done := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	send, _, err := books.OpenSend(t.Context(), id, time.Now().Add(time.Hour))
	done(err)
	_, err = books.CloseSend(t.Context(), send, payout.Created{Answer: payout.AnswerCreated, ProviderID: "their-1", Raw: []byte("{}")})
	done(err)
	_, err = books.Judge(t.Context(), id, payout.Heard{By: "test", Words: []payout.Asked{{Attempt: 1, Word: payout.Word{ProviderID: "their-1", Status: "failed",
		Reason: payout.ReasonBlocked, Money: payout.Money{Minor: 100000, Currency: "GBP"}, AskedAt: time.Now(), DecidedAt: time.Now(), Raw: []byte("{}")}}}})
	done(err)
	_, err = books.Freeze(t.Context(), id)
	done(err)
	return id
}

// Two people decide a case by the commands that each command prints.
func TestDecide(t *testing.T) {
	url, books := newHouse(t)
	starterOf(t, url, "ann", "cases").expect(t, 0, "no cases", "")
	id := blocked(t, url, books)
	cases := starterOf(t, url, "ann", "cases")
	cases.expect(t, 0, "ID…blocked…open…compliance…£1,000.00…p1…", "")
	caseID := regexp.MustCompile(`[0-9a-f-]{36}`).FindString(cases.out)
	starterOf(t, url, "ann", "cases --kind slow").expect(t, 0, "no cases", "")
	starterOf(t, url, "ann", "cases --payout "+string(id)).expect(t, 0, caseID, "")

	// Whoever sees the payout sees that a person decides; an operator also why.
	starter(t, url, "show "+string(id)).expect(t, 0, "frozen: set aside…next      a person decides: starter case "+caseID+"…case      "+caseID, "")
	starterOf(t, url, "ann", "show "+string(id)).expect(t, 0, "a person decides: starter case "+caseID+"…compliance acts: may the frozen money be let go?", "")
	if r := starter(t, url, "show "+string(id)); strings.Contains(r.out, "compliance acts") || strings.Contains(r.out, "next      nothing") {
		t.Errorf("a backend sees:\n%s", r.out)
	}

	shown := starterOf(t, url, "ann", "case "+caseID)
	shown.expect(t, 0, "case "+caseID+"…asks      blocked: may the frozen money be let go?…why …since …open…acts      compliance…version "+
		"…payout "+string(id)+"…£1,000.00 to p1…failed (the provider says failed)…attempts…at the provider their-1…evidence, newest first…get …failed, blocked…"+
		"release_frozen  Money under a regulatory stop becomes spendable.…next…starter resolve "+caseID+" release_frozen --reason '…starter resolve "+caseID+" keep_frozen", "")

	proposed := starterOf(t, url, "ann", "resolve "+caseID+" release_frozen --reason 'cleared by the bank' --ticket TL-7")
	proposed.expect(t, 0, "proposal 1 of case "+caseID+": release_frozen waits for another person…starter approve "+caseID+" 1",
		"blocked, £1,000.00 of p1, payout "+string(id)+", at version …if it is wrong: Money under a regulatory stop")
	if again := starterOf(t, url, "ann", "resolve "+caseID+" release_frozen --reason 'cleared by the bank' --ticket TL-7"); again.out != proposed.out {
		t.Errorf("the same again says %s; want %s", again.out, proposed.out)
	}
	starterOf(t, url, "bob", "case "+caseID).expect(t, 0, "release_frozen, £1,000.00, proposed by ann …\"cleared by the bank\", the provider's ticket TL-7…proposed…starter approve "+caseID+" 1   # by another person than ann", "")
	starterOf(t, url, "ann", "approve "+caseID+" 1").expect(t, 1, "", "Another person must decide (403)")
	starterOf(t, url, "bob", "approve "+caseID+" 1 --version 1").expect(t, 1, "", "It moved on since you looked (409)")
	starterOf(t, url, "bob", "approve "+caseID+" 2").expect(t, 1, "", "case "+caseID+" has no proposal 2; starter case "+caseID+" shows those it has")
	starterOf(t, url, "bob", "approve "+caseID+" 1").expect(t, 0, "proposal 1 of case "+caseID+" is approved…starter case "+caseID,
		"1: release_frozen, £1,000.00, proposed by ann …cleared by the bank…at version …if it is wrong: Money under a regulatory stop")
	starterOf(t, url, "bob", "case "+caseID).expect(t, 0, "decided by bob…approved…next\n  it is being carried out", "")

	asking, err := books.Read(t.Context(), id)
	if err == nil {
		_, err = books.Judge(t.Context(), id, payout.Heard{Inbox: asking.Inbox, Approved: asking.Approved, By: "ReconcilePayout"})
	}
	if err != nil {
		t.Fatal(err)
	}
	starterOf(t, url, "bob", "case "+caseID).expect(t, 0, "closed …release_frozen by ann and bob…done …£1,000.00 is the player's again…next\n  nothing: it is closed", "")
	starterOf(t, url, "ann", "cases").expect(t, 0, "no cases", "")
	starterOf(t, url, "ann", "cases --all").expect(t, 0, caseID+"…closed", "")
	starterOf(t, url, "ann", "show "+string(id)).expect(t, 0, "next      nothing", "")
	starterOf(t, url, "ann", "resolve "+caseID+" keep_frozen --reason x").expect(t, 1, "", "The case is closed (409)")

	starterOf(t, url, "ann", "inbox").expect(t, 0, "no events", "")
	starterOf(t, url, "ann", "audit").expect(t, 0, "WHO…ann…propose…"+caseID+"…"+string(id)+"…release_frozen…bob…approve…done…is the player's again", "")
	starterOf(t, url, "ann", "audit --limit 1").expect(t, 0, "propose…more: add --cursor 1", "")
	for _, command := range []string{"cases --all", "case " + caseID, "inbox", "audit"} {
		if r := starterOf(t, url, "ann", command+" --json"); r.code != 0 || !json.Valid([]byte(r.out)) {
			t.Errorf("%s --json prints %s", command, r.out)
		}
	}
}

// A rejection, with --json all along.
func TestReject(t *testing.T) {
	url, books := newHouse(t)
	blocked(t, url, books)
	var list httpapi.CaseList
	if err := json.Unmarshal([]byte(starterOf(t, url, "ann", "cases --json").out), &list); err != nil || len(list.Items) != 1 {
		t.Fatalf("%v: %+v", err, list)
	}
	caseID, version := list.Items[0].ID, list.Items[0].Version
	var r httpapi.Resolution
	for _, step := range []struct{ who, command, status string }{
		{"ann", fmt.Sprintf("resolve %s keep_frozen --reason wait --version %d --json", caseID, version), "proposed"},
		{"bob", "approve " + caseID + " 1 --reject --json", "rejected"},
	} {
		said := starterOf(t, url, step.who, step.command)
		if err := json.Unmarshal([]byte(said.out), &r); err != nil || said.code != 0 || r.Status != step.status {
			t.Errorf("%s: %d %v %s%s", step.command, said.code, err, said.out, said.err)
		}
	}
	starterOf(t, url, "bob", "case "+caseID).expect(t, 0, "keep_frozen…decided by bob…rejected…next\n  starter resolve "+caseID+" release_frozen", "")
}

// Every event is seen, and on demand those of one payout, or of nobody.
func TestInbox(t *testing.T) {
	url, books := newHouse(t)
	id := blocked(t, url, books)
	for _, theirs := range []string{"their-1", "their-own"} {
		if _, err := books.StoreNews(t.Context(), payout.News{EventID: "event of " + theirs, Type: "payout_failed", ProviderID: theirs, Status: "failed", Body: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
	starterOf(t, url, "ann", "inbox").expect(t, 0, "RECEIVED…payout_failed…their-own…"+string(id)+"…their-1", "")
	for filter, want := range map[string]string{"--unmatched": "nobody's  their-own", "--payout " + string(id): string(id) + "  their-1"} {
		r := starterOf(t, url, "ann", "inbox "+filter)
		if r.expect(t, 0, want, ""); strings.Count(r.out, "payout_failed") != 1 {
			t.Errorf("%s shows:\n%s", filter, r.out)
		}
	}
}

// Every kind of case asks in words, and has a way on.
func TestEveryCaseAsks(t *testing.T) {
	for _, kind := range payout.CaseKinds() {
		if kind.InWords() == "" {
			t.Errorf("%s asks nothing", kind)
		}
		if len(payout.Offers(kind)) == 0 && closes[kind] == "" {
			t.Errorf("%s has no action and does not say what closes it", kind)
		}
		for _, o := range payout.Offers(kind) {
			if o.Needs != "" && flags[o.Needs] == "" {
				t.Errorf("%s needs %s, which has no flag", o.Action, o.Needs)
			}
		}
	}
}

// What a person can do next, as it is typed.
func TestOnwards(t *testing.T) {
	needs := "provider_payout_id"
	open := httpapi.Case{ID: "c", Status: "open", Kind: "mismatch", Version: 3}
	with := func(change func(*httpapi.Case)) httpapi.Case { c := open; change(&c); return c }
	for name, test := range map[string]struct {
		c    httpapi.Case
		want string
	}{
		"actions": {with(func(c *httpapi.Case) {
			c.Actions = []httpapi.Offer{{Action: "created_as", Needs: &needs}, {Action: "dismiss"}}
		}), "starter resolve c created_as --provider-payout-id ID --reason '…'\nstarter resolve c dismiss --reason '…'"},
		"proposed": {with(func(c *httpapi.Case) {
			c.Resolutions = []httpapi.Resolution{{Number: 1, Status: "void"}, {Number: 2, Status: "proposed", Version: 3, ProposedBy: "ann"}}
		}), "starter approve c 2   # by another person than ann; --reject refuses it"},
		"proposed and stale": {with(func(c *httpapi.Case) {
			c.Resolutions = []httpapi.Resolution{{Number: 1, Status: "proposed", Stale: true, ProposedBy: "ann"}}
		}), "starter approve c 1 --reject   # by another person than ann; it was made before the payout moved on or the case asked more: then propose anew"},
		"approved":          {with(func(c *httpapi.Case) { c.Resolutions = []httpapi.Resolution{{Number: 1, Status: "approved"}} }), "it is being carried out; look again with: starter case c"},
		"nothing just now":  {open, "nothing may be proposed just now; what the provider says may answer it"},
		"treasury":          {with(func(c *httpapi.Case) { c.Kind = "shortage" }), "put money into the merchant account; the next payout executed from it closes it"},
		"closed, with more": {with(func(c *httpapi.Case) { c.Status = "closed"; c.Actions = []httpapi.Offer{{Action: "dismiss"}} }), "nothing: it is closed"},
	} {
		if got := strings.Join(onwards(test.c), "\n"); got != test.want {
			t.Errorf("%s: %s; want %s", name, got, test.want)
		}
	}
}

// What is long or said often does not hide the rest: each thing that a case asks
// has its line, and the same answer is shown once.
func TestACaseWithMuchToSay(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC) }
	pending, executed, id := "pending", "executed", "their-1"
	asked := at(9)
	c := httpapi.Case{ID: "c", Status: "closed", Kind: "contradiction", Why: "the first\nthe second",
		Evidence: []httpapi.Evidence{
			{Attempt: 1, Kind: "get", ProviderStatus: &executed, ProviderPayoutID: &id, AskedAt: &asked, StoredAt: at(10)},
			{Attempt: 1, Kind: "get", ProviderStatus: &pending, StoredAt: at(8)}, {Attempt: 1, Kind: "get", ProviderStatus: &pending, StoredAt: at(7)},
			{Attempt: 1, Kind: "get", ProviderStatus: &pending, StoredAt: at(6)}, {Attempt: 1, Kind: "create", ProviderStatus: &pending, StoredAt: at(5)},
		},
		NotNow:      []string{"never_created: enter a ticket of the provider (provider_ticket)"},
		Resolutions: []httpapi.Resolution{{Number: 1, Action: "dismiss", Status: "proposed", ProposedBy: "ann", ProposedAt: at(9)}},
	}
	var shown strings.Builder
	tellCase(&shown, c)
	tellKnown(&shown, c)
	if row := inARow(c.Why); row != "the first; and: the second" {
		t.Errorf("a list says %q", row)
	}
	for _, want := range []string{
		"\n  why       the first\n            the second\n",
		"\n  2026-01-02 03:09:00Z  get        attempt 1  executed, at the provider their-1\n" +
			"  2026-01-02 03:08:00Z  get        attempt 1  pending (3 times since 2026-01-02 03:06:00Z)\n" +
			"  2026-01-02 03:05:00Z  create     attempt 1  pending\n",
		"never_created: enter a ticket of the provider (--ticket NUMBER)\n",
		"\n     proposed, and nobody decided: the case is closed\n",
	} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("want %q in\n%s", want, shown.String())
		}
	}
}

func TestAge(t *testing.T) {
	for seconds, want := range map[int64]string{0: "0s", 119: "119s", 120: "2m", 7199: "119m", 7200: "2h", 172799: "47h", 172800: "2d", 8640000: "100d"} {
		if got := age(seconds); got != want {
			t.Errorf("%d seconds are %s; want %s", seconds, got, want)
		}
	}
}
