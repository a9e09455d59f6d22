package app

import (
	"time"

	"pgregory.net/rapid"

	"payouts/internal/payout"
	"payouts/internal/simulator"
)

// moments are when things happen, the dull first.
var moments = []time.Duration{time.Second, 10 * time.Second, time.Minute, 20 * time.Minute, 5 * time.Hour, 30 * time.Hour}

func pick[T any](r *rapid.T, name string, from ...T) T { return rapid.SampledFrom(from).Draw(r, name) }

func list[T any](r *rapid.T, name string, most int, one func(*rapid.T) T) []T {
	return rapid.SliceOfN(rapid.Custom(one), 0, most).Draw(r, name)
}

// seldom is true in one of n cases.
func seldom(r *rapid.T, name string, n int) bool { return rapid.IntRange(1, n).Draw(r, name) == n }

func drawScript(r *rapid.T) script {
	sc := script{
		Payouts: rapid.SliceOfN(rapid.Custom(drawLife), 1, 4).Draw(r, "payouts"),
		Weather: list(r, "weather", 2, drawSpell),
		Jumps: list(r, "jumps", 2, func(r *rapid.T) jump {
			return jump{pick(r, "at", moments...), pick(r, "by", time.Minute, time.Hour, 7*time.Hour, 80*time.Hour)}
		}),
		Claims: list(r, "claims", 2, drawClaim),
		Desk: list(r, "desk", 3, func(r *rapid.T) shift {
			return shift{At: pick(r, "at", 2*time.Hour, 8*time.Hour, 30*time.Hour, 80*time.Hour, stormLasts+30*time.Hour), Action: pick(r, "action", payout.Actions()...),
				Thinks: pick(r, "thinks", time.Minute, 10*time.Millisecond, 5*time.Hour)}
		}),
	}
	if seldom(r, "changes", 4) {
		sc.Changes = list(r, "changes", 2, func(r *rapid.T) change { return change{pick(r, "at", moments...), pick(r, "what", revokes, rotates)} })
	}
	if seldom(r, "shortage", 8) {
		sc.Shortage = pick(r, "until", time.Minute, 20*time.Minute, 5*time.Hour)
	}
	sc.Forgets = seldom(r, "forgets", 12)
	return sc
}

func drawLife(r *rapid.T) life {
	return life{
		Refund:   seldom(r, "refund", 4),
		Begins:   pick(r, "begins", 0, time.Second, time.Minute, 5*time.Hour),
		Attempts: list(r, "attempts", 3, drawAttempt),
		Mail: list(r, "mail", 4, func(r *rapid.T) fate {
			return fate{After: pick(r, "after", 300*time.Millisecond, 10*time.Second, time.Hour, 30*time.Hour), Copies: pick(r, "copies", 0, 0, 1, 3), Lost: seldom(r, "lost", 3)}
		}),
		Runs: list(r, "runs", 3, func(r *rapid.T) time.Duration {
			return pick(r, "lives", time.Hour, time.Minute, 10*time.Second, time.Second)
		}),
		Twin:      seldom(r, "twin", 6),
		Accidents: list(r, "accidents", 4, drawAccident),
	}
}

func drawAccident(r *rapid.T) accident {
	a := accident{Point: rapid.IntRange(0, 24).Draw(r, "point"), What: pick(r, "what", breaks, dies, overtaken, freezes)}
	if a.What == freezes {
		a.For = pick(r, "for", time.Second, 40*time.Second, 2*time.Minute, time.Hour, 5*time.Hour, 30*time.Hour)
	}
	return a
}

func drawSpell(r *rapid.T) spell {
	refuse := func(status int) simulator.Answer {
		return simulator.Answer{Kind: simulator.AnswerRefuse, Status: status}
	}
	s := spell{At: pick(r, "at", 0, time.Second, time.Minute, time.Hour), For: pick(r, "for", 10*time.Second, 10*time.Minute, 3*time.Hour)}
	s.Fault.Path = pick(r, "path", "/v3/pay*", "/v3/payouts", "/v3/payouts/*", "/connect/token", "/.well-known/jwks", "/v3/merchant-accounts/*", "*")
	s.Fault.Answer = pick(r, "answer", refuse(503), refuse(401), refuse(403), refuse(404), simulator.Answer{Kind: simulator.AnswerRefuse, Status: 429, RetryAfter: "70"},
		simulator.Answer{Kind: simulator.AnswerReset}, simulator.Answer{Kind: simulator.AnswerGarbled})
	return s
}

func drawClaim(r *rapid.T) claim {
	return claim{At: pick(r, "at", moments...), Payout: rapid.IntRange(0, 4).Draw(r, "payout"),
		Type: pick(r, "type", "executed", "failed", "attempt_failed", "made_up"), Reason: pick(r, "reason", "returned", "blocked", "")}
}

// drawAttempt is how the provider treats one attempt.
func drawAttempt(r *rapid.T) simulator.Rule {
	rule := simulator.Rule{Create: drawCreate(r), Path: drawPath(r)}
	if seldom(r, "get", 4) {
		get := pick(r, "answer", simulator.Answer{Kind: simulator.AnswerRefuse, Status: 404}, simulator.Answer{Kind: simulator.AnswerRefuse, Status: 500},
			simulator.Answer{Kind: simulator.AnswerGarbled}, simulator.Answer{Kind: simulator.AnswerCut})
		if get.Times = pick(r, "times", 1, 2, 4, 0); get.Times == 0 && get.Status != 404 {
			get.Times = 30 // an error is tried again so often that weeks of it take too long
		}
		rule.Get = &get
	}
	if seldom(r, "lag", 5) {
		rule.Lag = simulator.Duration(pick(r, "by", time.Second, time.Minute, 2*time.Hour))
	}
	if seldom(r, "echo", 10) {
		rule.Echo = pick(r, "of", map[string]any{"amount_in_minor": 1}, map[string]any{"currency": "EUR"}, map[string]any{"beneficiary": map[string]any{"user_id": "somebody else"}},
			map[string]any{"metadata": map[string]any{payout.MetadataAttempt: "7"}}, map[string]any{"metadata": nil}, map[string]any{"beneficiary": nil})
	}
	if seldom(r, "hook", 6) {
		rule.Webhooks = []simulator.Webhook{pick(r, "kind", simulator.Webhook{Sign: simulator.SignForged}, simulator.Webhook{Sign: simulator.SignTampered}, simulator.Webhook{Sign: simulator.SignWrongJKU},
			simulator.Webhook{Patch: map[string]any{"metadata": nil}}, simulator.Webhook{Patch: map[string]any{"failure_reason": "brand_new"}})}
	}
	return rule
}

func drawCreate(r *rapid.T) *simulator.Answer {
	a := simulator.Answer{Kind: pick(r, "create", simulator.AnswerNormal, simulator.AnswerNormal, simulator.AnswerNormal,
		simulator.AnswerAcceptThenReset, simulator.AnswerAcceptThenTimeout, simulator.AnswerAcceptThen5xx, simulator.AnswerAcceptThenCut, simulator.AnswerAcceptThenEmpty, simulator.AnswerAcceptThenGarbled,
		simulator.AnswerRefuse, simulator.AnswerRefuse, simulator.AnswerReset, simulator.AnswerTimeout, simulator.AnswerCut, simulator.AnswerGarbled)}
	a.Times = pick(r, "times", 1, 2, 5, 0)
	switch a.Kind {
	case simulator.AnswerNormal:
		return nil
	case simulator.AnswerRefuse:
		a.Status = pick(r, "status", 400, 401, 403, 404, 408, 409, 422, 425, 429, 500, 503)
		a.Remember = a.Status == 400 && seldom(r, "remember", 2)
		if a.Times == 0 && (a.Status == 401 || a.Status == 403) {
			a.Times = 30 // what was surely not sent is tried again for ever
		}
	}
	return &a
}

// drawPath is the way after pending; nil is the honest one.
func drawPath(r *rapid.T) []simulator.Step {
	step := func(status string) simulator.Step {
		s := simulator.Step{Status: status, After: simulator.Duration(pick(r, "after", moments...))}
		if status == simulator.StatusFailed {
			s.Reason = string(pick(r, "reason", append(payout.Reasons(), "brand_new")...))
		}
		return s
	}
	back := func() simulator.Step {
		s := simulator.Step{Status: simulator.StatusFailed, After: simulator.Duration(pick(r, "back", time.Second, time.Minute, 30*time.Hour, 20*24*time.Hour)),
			Reason: pick(r, "why", "returned", "returned", "blocked", "brand_new"), Show: pick(r, "show", "", "", simulator.ShowWebhook, simulator.ShowStatement)}
		s.ReturnUnknown = s.Show == simulator.ShowStatement && seldom(r, "unknown", 3)
		return s
	}
	const authorized, executed, failed, pending = simulator.StatusAuthorized, simulator.StatusExecuted, simulator.StatusFailed, simulator.StatusPending
	switch pick(r, "path", "", "executed", "failed", "failed late", "returned", "returned", "flaps", "novel", "never", "failed, then executed", "novel for ever") {
	case "executed":
		return []simulator.Step{step(authorized), step(executed)}
	case "failed":
		return []simulator.Step{step(failed)}
	case "failed late":
		return []simulator.Step{step(authorized), step(failed)}
	case "returned":
		return []simulator.Step{step(authorized), step(executed), back()}
	case "flaps":
		return []simulator.Step{step(authorized), step(pending), step(authorized), step(pick(r, "end", executed, failed))}
	case "novel":
		return []simulator.Step{step("submitted"), step(pick(r, "end", executed, failed))}
	case "never":
		return []simulator.Step{step(authorized)}
	case "failed, then executed":
		return []simulator.Step{step(failed), step(executed)}
	case "novel for ever":
		return []simulator.Step{step("submitted")}
	}
	return nil
}
