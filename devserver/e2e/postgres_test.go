package e2e

import (
	"testing"

	"payouts/internal/ledger/ledgertest"
	"payouts/internal/simulator"
)

// PostgreSQL is started by ledgertest, which skips loudly where none is
// installed.

func TestPostgresExecutedByWebhook(t *testing.T) {
	t.Parallel()
	h := open(t, plan{database: ledgertest.PostgresAddress(t, ""), env: far})
	winner := h.wins(10_00)
	h.judge(winner, h.pays(winner, 10_00, "by webhook"), paidOut)
}

func TestPostgresCreateAnswerLost(t *testing.T) {
	t.Parallel()
	lostAnswers(open(t, plan{database: ledgertest.PostgresAddress(t, ""), settings: simulator.Settings{WebhooksOff: true}}))
}
