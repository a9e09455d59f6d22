package ledgertest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"payouts/internal/payout"
)

// tampers are the cases that break the books on purpose.
var tampers = map[string]bool{"what was changed is found": true, "what was taken out is found": true, "what was put under or taken from a payout is found": true, "a balance that was changed is found": true}

// tampered does to the rows what no program of ours may: triggers off first.
func (h house) tampered(table, trigger, command string) {
	h.Helper()
	if h.Rows == nil {
		h.Skip("these books have no rows to tamper with")
	}
	drop := "DROP TRIGGER " + trigger
	if h.dialect() == "postgres" {
		drop += " ON " + table
	}
	for _, command := range []string{drop, command} {
		if _, err := h.Rows.ExecContext(h.ctx, command); err != nil {
			h.Fatalf("%s: %v", command, err)
		}
	}
}

func (h house) dialect() string {
	scheme, _, _ := strings.Cut(h.Options.URL, ":")
	return scheme
}

// broken lists the laws that Check finds broken.
func (h house) broken() string {
	h.Helper()
	laws, err := h.Check(h.ctx)
	h.must(err)
	var ids []string
	for _, law := range laws {
		if law.Violations > 0 {
			ids = append(ids, law.ID)
			if len(law.Examples) == 0 {
				h.Fatalf("%s tells no example", law.ID)
			}
		}
	}
	return strings.Join(ids, " ")
}

var sealing = group{
	"positions are dense and chained": func(h house) {
		for range 4 {
			id := h.accepted(1000)
			h.created(id)
			h.heard(id, 1, "executed", "")
		}
		if list, err := h.Transactions(h.ctx, 0, 100); err != nil || len(list) != 0 || list == nil {
			h.Fatalf("listed before they are sealed: %v, %v", list, err)
		}
		n, err := h.SealPositions(h.ctx, 5)
		h.must(err)
		if n != 5 {
			h.Fatalf("sealed %d, want 5", n)
		}
		list := h.transactions()
		if len(list) != 12 {
			h.Fatalf("%d transactions, want 12", len(list))
		}
		hashes := map[string]bool{}
		for i, t := range list {
			if t.Position != int64(i+1) || len(t.Hash) != 64 || hashes[t.Hash] {
				h.Fatalf("transaction %d is %+v", i, t)
			}
			hashes[t.Hash] = true
		}
		page, err := h.Transactions(h.ctx, 7, 3)
		h.must(err)
		if len(page) != 3 || page[0] != list[7] || page[2] != list[9] {
			h.Fatalf("the page is %+v", page)
		}
		if again := h.transactions(); fmt.Sprint(again) != fmt.Sprint(list) {
			h.Fatal("what was sealed changed")
		}
	},
	"many sealers while money moves": func(h house) {
		h.Fund(h, 1000)
		var wait sync.WaitGroup
		errs := make(chan error, 8)
		for i := range 4 {
			wait.Go(func() {
				var err error
				for n := 0; n < 15 && err == nil; n++ {
					_, _, err = h.Credit(h.ctx, credit(fmt.Sprint(i, "/", n), 1))
				}
				errs <- err
			})
			wait.Go(func() {
				var err error
				for n := 0; n < 15 && err == nil; n++ {
					_, err = h.SealPositions(h.ctx, 7)
				}
				errs <- err
			})
		}
		wait.Wait()
		for range cap(errs) {
			h.must(<-errs)
		}
		if list := h.transactions(); len(list) != 61 || list[60].Position != 61 {
			h.Fatalf("%d transactions, want 61", len(list))
		}
	},
	"what was changed is found": func(h house) {
		for _, column := range []string{"amount_in_minor = amount_in_minor + 1", "to_account = 'house:fees'", "evidence_id = 'other'", "attempt = 7", "effective_at = 1", "reason = 'other'", "hash = 'x'", "currency = 'EUR'"} {
			h.Run(column, func(h house) {
				key := strings.ReplaceAll(column, " ", "")
				_, _, err := h.Credit(h.ctx, credit(key+"1", 500))
				h.must(err)
				_, _, err = h.Credit(h.ctx, credit(key+"2", 500))
				h.must(err)
				h.transactions()
				if broken := h.broken(); broken != "" {
					h.Fatalf("broken before: %s", broken)
				}
				before := h.count("SELECT MAX(position) FROM transactions")
				var id, was string
				name, _, _ := strings.Cut(column, " ")
				h.must(h.Rows.QueryRowContext(h.ctx, fmt.Sprintf("SELECT id, CAST(%s AS TEXT) FROM transactions WHERE position = %d", name, before-1)).Scan(&id, &was))
				if h.dialect() == "postgres" {
					h.tamperedOnce("ALTER TABLE transactions DISABLE TRIGGER transactions_stay", "ALTER TABLE transactions DISABLE TRIGGER transactions_sealed", "UPDATE transactions SET "+column+" WHERE id = '"+id+"'")
				} else {
					h.tamperedOnce("DROP TRIGGER IF EXISTS transactions_stay", "DROP TRIGGER IF EXISTS transactions_sealed", "UPDATE transactions SET "+column+" WHERE id = '"+id+"'")
				}
				if broken := h.broken(); !strings.Contains(broken, "positions_are_chained") {
					h.Fatalf("found %q", broken)
				}
				if name != "amount_in_minor" && name != "attempt" && name != "effective_at" {
					was = "'" + was + "'"
				}
				h.tamperedOnce("UPDATE transactions SET " + name + " = " + was + " WHERE id = '" + id + "'") // back, for the next
			})
		}
	},
	"what was taken out is found": func(h house) {
		for i := range 3 {
			_, _, err := h.Credit(h.ctx, credit(fmt.Sprint(i), 500))
			h.must(err)
		}
		h.transactions()
		h.tampered("transactions", "transactions_remain", "DELETE FROM transactions WHERE position = 2")
		if broken := h.broken(); broken != "balances_are_sums positions_are_chained" {
			h.Fatalf("found %q", broken)
		}
	},
	"what was put under or taken from a payout is found": func(h house) {
		if h.Rows == nil {
			h.Skip("these books have no rows to tamper with")
		}
		id := h.accepted(1000)
		for law, command := range map[string]string{
			"requests_are_remembered": "UPDATE idempotency_keys SET result_id = 'x' WHERE result_id = '" + string(id) + "'",
			"versions_are_dense":      "INSERT INTO outbox (id, caller, subject_id, version, type, occurred_at, data) SELECT 'forged', caller, subject_id, 7, type, occurred_at, data FROM outbox",
			"lines_have_payouts":      "INSERT INTO timeline (payout_id, number, at, status, what) VALUES ('nobody', 1, 1, 'accepted', 'forged')",
		} {
			tx, err := h.Rows.BeginTx(h.ctx, nil)
			h.must(err)
			_, err = tx.ExecContext(h.ctx, command)
			h.must(errors.Join(err, tx.Commit()))
			if broken := h.broken(); !slices.Contains(strings.Fields(broken), law) {
				h.Errorf("%s: found %q", command, broken)
			}
		}
	},
	"sums of the house may be more than a number holds": func(h house) {
		for i := range 3 {
			m := credit(fmt.Sprint(i), math.MaxInt64/2)
			m.PlayerID = fmt.Sprint("rich-", i)
			_, _, err := h.Credit(h.ctx, m)
			h.must(err)
		}
		h.Lawful(h.TB)
	},
	"a balance that was changed is found": func(h house) {
		id := h.accepted(1000)
		_, err := h.Rows.ExecContext(h.ctx, "UPDATE balances SET held = held + 1")
		h.must(err)
		if broken := h.broken(); broken != "balances_are_sums held_is_open_payouts" {
			h.Fatalf("found %q", broken)
		}
		_, err = h.Rows.ExecContext(h.ctx, "UPDATE balances SET held = held - 1")
		h.must(err)
		_, err = h.Rows.ExecContext(h.ctx, "UPDATE payouts SET status = 'executed', money = 'paid', step = 'done' WHERE id = '"+string(id)+"'")
		h.must(err)
		if broken := h.broken(); broken != "held_is_open_payouts money_is_where_the_row_says" {
			h.Fatalf("found %q", broken)
		}
	},
}

func (h house) tamperedOnce(commands ...string) {
	h.Helper()
	for _, command := range commands {
		if _, err := h.Rows.ExecContext(h.ctx, command); err != nil {
			h.Fatalf("%s: %v", command, err)
		}
	}
}

// underway is a payout whose send has no answer yet, in books with rows to try
// things on.
func (h house) underway() payout.ID {
	h.Helper()
	if h.Rows == nil {
		h.Skip("these books have no rows")
	}
	id := h.accepted(1000)
	_, _, err := h.OpenSend(h.ctx, id, h.Clock.Now().Add(time.Hour))
	h.must(err)
	return id
}

// keeping tries to change what must stay.
var keeping = group{
	"SQL refuses whoever writes": func(h house) {
		if h.Rows == nil {
			h.Skip("these books have no rows")
		}
		id := h.accepted(1000)
		h.created(id)
		h.heard(id, 1, "executed", "")
		other := h.accepted(500) // open, for what is refused of an open one
		lost := h.failed(payout.ReasonInvalidIBAN)
		h.transactions()
		unsealed := h.accepted(1)
		where := " WHERE payout_id = '" + string(id) + "'"
		begin := func(id payout.ID, n int) string {
			return fmt.Sprintf("INSERT INTO attempts (payout_id, number, idempotency_key, body, status, created_at) SELECT payout_id, %d, 'forged', body, 'open', 1 FROM attempts WHERE payout_id = '%s'", n, id)
		}
		commands := []string{
			"UPDATE transactions SET amount_in_minor = 1" + where,
			"UPDATE transactions SET from_account = 'house:fees'" + where,
			"UPDATE transactions SET position = position + 1000" + where,
			"UPDATE transactions SET position = NULL, hash = NULL" + where,
			"UPDATE transactions SET position = 1000000 WHERE payout_id = '" + string(unsealed) + "'",
			"UPDATE transactions SET position = 1, hash = 'x' WHERE payout_id = '" + string(unsealed) + "'", // taken
			"INSERT INTO transactions (id, kind, from_account, to_account, amount_in_minor, currency, booked_at, effective_at, position) VALUES ('forged', 'credit', 'a', 'b', 1, 'GBP', 1, 1, 1000000)",
			"DELETE FROM transactions" + where,
			"UPDATE evidence SET provider_status = 'failed'" + where,
			"UPDATE evidence SET stored_at = stored_at" + where,
			"DELETE FROM evidence" + where,
			"UPDATE timeline SET what = 'nothing'" + where,
			"DELETE FROM timeline" + where,
			"UPDATE sends SET answer = 'not_sent'" + where,
			"UPDATE sends SET started_at = 1" + where,
			"DELETE FROM sends" + where,
			"UPDATE attempts SET body = 'x'" + where,
			"UPDATE attempts SET idempotency_key = 'x'" + where,
			"UPDATE attempts SET provider_payout_id = 'x'" + where,
			"UPDATE attempts SET provider_payout_id = NULL" + where,
			"UPDATE attempts SET closed_at = NULL" + where,
			"DELETE FROM attempts" + where,
			// An attempt beside one that is open, after one that never was, and before the first.
			begin(other, 2), begin(lost, 3), begin(other, 0), begin(other, 1),
			"UPDATE payouts SET amount_in_minor = 1 WHERE id = '" + string(other) + "'",
			"UPDATE payouts SET player_id = 'x' WHERE id = '" + string(other) + "'",
			"UPDATE payouts SET reference = 'x' WHERE id = '" + string(other) + "'",
			"UPDATE payouts SET status = 'failed' WHERE id = '" + string(id) + "'", // executed stays, or is returned
			"UPDATE payouts SET status = 'pending' WHERE id = '" + string(id) + "'",
			"DELETE FROM payouts WHERE id = '" + string(id) + "'",
			"UPDATE balances SET available = -1",
			"UPDATE balances SET held = -1",
			"UPDATE balances SET frozen = -1",
			// A second outcome, another amount, an outcome of nothing held, a
			// return of nothing paid, an exposure of what was settled, a
			// movement to itself, of nothing, into the wrong slot.
			transaction("release", id, "outcome", 1000, "a", "b"),
			transaction("settle", other, "outcome", 499, "a", "b"),
			transaction("settle", "nobody", "outcome", 500, "a", "b"),
			transaction("return", other, "return", 500, "a", "b"),
			transaction("return", lost, "return", 1000, "a", "b"),
			transaction("expose", id, "exposure/1", 1000, "a", "b"),
			transaction("settle", other, "outcome", 500, "a", "a"),
			transaction("credit", "", "", 0, "a", "b"),
			transaction("credit", "", "", -5, "a", "b"),
			transaction("settle", other, "return", 500, "a", "b"),
			transaction("settle", other, "", 500, "a", "b"),
			transaction("credit", other, "outcome", 500, "a", "b"),
			transaction("gift", "", "", 500, "a", "b"),
		}
		if h.dialect() == "postgres" { // SQLite refuses it by a reference, which is each connection's to switch on
			commands = append(commands, transaction("credit", "nobody", "", 500, "a", "b"))
		}
		for _, command := range commands {
			if _, err := h.Rows.ExecContext(h.ctx, command); err == nil {
				h.Errorf("not refused: %s", command)
			}
		}
		h.stands(id, payout.StatusExecuted, payout.MoneyPaid, payout.StepDone)
		h.owes(0, 1501, 0)
		tx, err := h.Rows.BeginTx(h.ctx, nil)
		h.must(err)
		_, err = tx.ExecContext(h.ctx, begin(lost, 2))
		h.must(errors.Join(err, tx.Rollback())) // what follows one that is closed is not refused
	},
	"what no step changes, nobody changes": func(h house) {
		id := h.underway()
		for table, steps := range map[string]string{ // what they may change while a payout, an attempt, a send and a transaction are open
			"payouts":  "status money failure_reason provider_status flaps claimed_status claimed_at attempt step next_step_at park_kind park_why due_at unread woken_at version updated_at status_at",
			"attempts": "provider_payout_id status failure_reason key_reused asked_at created_there_at closed_at accepted looked_at",
			"sends":    "answer answered_at detail", "transactions": "position hash",
		} {
			where := " WHERE payout_id = '" + string(id) + "'"
			if table == "payouts" {
				where = " WHERE id = '" + string(id) + "'"
			}
			rows, err := h.Rows.QueryContext(h.ctx, "SELECT * FROM "+table+where)
			h.must(err)
			columns, err := rows.ColumnTypes()
			h.must(errors.Join(err, rows.Close(), rows.Err()))
			for _, c := range columns {
				if slices.Contains(strings.Fields(steps), c.Name()) {
					continue
				}
				to := "'x'"
				switch kind := c.DatabaseTypeName(); {
				case c.Name() == "kind": // a word that it may hold, for both tables
					to = map[string]string{"payouts": "'refund'", "transactions": "'debit'"}[table]
				case strings.HasPrefix(kind, "INT"):
					to = c.Name() + " + 1"
				case kind == "BLOB":
					to = "x'00'"
				}
				_, err := h.Rows.ExecContext(h.ctx, "UPDATE "+table+" SET "+c.Name()+" = "+to+where)
				if err == nil || !strings.Contains(err.Error(), "ledger: ") {
					h.Errorf("%s.%s was changed, or no guard of ours refused it: %v", table, c.Name(), err)
				}
			}
		}
	},
	"a column holds only what it may": func(h house) {
		h.underway()
		const row = `INSERT INTO payouts (id, kind, caller, idempotency_key, player_id, amount_in_minor, currency, merchant_account_id, user_id, payment_source_id, reference, metadata,
			status, money, attempt, step, version, created_at, updated_at) VALUES ('forged', %s, 'game', 'forged', '` + Player + `', %s, 'GBP', 'm', 'u', 's', 'r', '{}', 'accepted', 'held', 1, 'create', 1, 1, 1)`
		for _, c := range []struct{ command, wrong, right string }{
			{"UPDATE payouts SET status = %s", "'settled'", "'pending'"}, {"UPDATE payouts SET money = %s", "'gone'", "'held'"},
			{"UPDATE payouts SET step = %s", "'pay'", "'wait'"}, {"UPDATE payouts SET unread = %s", "2", "1"}, {"UPDATE payouts SET unread = %s", "-1", "0"},
			{"UPDATE payouts SET attempt = %s", "0", "1"}, {"UPDATE payouts SET version = %s", "0", "1"},
			{fmt.Sprintf(row, "%s", "1"), "'gift'", ""}, {fmt.Sprintf(row, "'payout'", "%s"), "0", ""}, {fmt.Sprintf(row, "'payout'", "%s"), "-1", ""},
			{"UPDATE attempts SET status = %s", "'accepted'", "'created'"}, {"UPDATE attempts SET key_reused = %s", "2", "1"},
			{"UPDATE sends SET answer = %s", "'yes'", "'unknown'"},
			{`INSERT INTO evidence (id, payout_id, attempt, kind, provider_payout_id, provider_status, failure_reason, asked_at, stored_at, seal_key, body)
				SELECT 'forged', payout_id, 1, %s, '', '', '', 1, 1, '', body FROM attempts`, "'rumour'", "'person'"},
		} {
			if _, err := h.Rows.ExecContext(h.ctx, fmt.Sprintf(c.command, c.wrong)); err == nil {
				h.Errorf("not refused: "+c.command, c.wrong)
			}
			if c.right == "" {
				continue
			}
			if _, err := h.Rows.ExecContext(h.ctx, fmt.Sprintf(c.command, c.right)); err != nil {
				h.Errorf("refused: "+c.command+": %v", c.right, err)
			}
		}
	},
	"a slot is filled by what belongs there": func(h house) {
		if h.Rows == nil {
			h.Skip("these books have no rows")
		}
		id := h.accepted(1000)
		other := h.accepted(500) // settled, so that nothing else refuses its return
		h.created(other)
		h.heard(other, 1, "executed", "")
		slots := map[string][]string{"reserve": {"hold"}, "settle": {"outcome"}, "release": {"outcome"}, "freeze": {"outcome"}, "return": {"return"}, "expose": {"exposure/1"}}
		for _, kind := range []string{"credit", "debit", "reserve", "settle", "release", "freeze", "unfreeze", "return", "expose", "recover", "adjust"} {
			for _, slot := range []string{"", "hold", "outcome", "return", "exposure/1", "exposure/2", "x"} {
				belongs := slots[kind]
				if belongs == nil {
					belongs = []string{""}
				}
				if slices.Contains(belongs, slot) {
					continue
				}
				for to, pence := range map[payout.ID]int64{id: 1000, other: 500} {
					if _, err := h.Rows.ExecContext(h.ctx, transaction(kind, to, slot, pence, "a", "b")); err == nil {
						h.Errorf("%s fills the slot %q", kind, slot)
					}
				}
			}
		}
		tx, err := h.Rows.BeginTx(h.ctx, nil)
		h.must(err)
		_, err = tx.ExecContext(h.ctx, transaction("release", id, "outcome", 1000, "a", "b"))
		h.must(errors.Join(err, tx.Rollback())) // what belongs there is not refused
	},
	"a whole table is not emptied": func(h house) {
		if h.dialect() != "postgres" {
			h.Skip("SQLite has no TRUNCATE")
		}
		h.accepted(1000)
		for _, table := range []string{"transactions", "evidence", "timeline", "sends", "attempts", "payouts"} {
			if _, err := h.Rows.ExecContext(h.ctx, "TRUNCATE "+table+" CASCADE"); err == nil {
				h.Fatalf("%s was emptied", table)
			}
		}
	},
}

func transaction(kind string, id payout.ID, slot string, pence int64, from, to string) string {
	null := func(s string) string {
		if s == "" {
			return "NULL"
		}
		return "'" + s + "'"
	}
	return fmt.Sprintf("INSERT INTO transactions (id, kind, payout_id, attempt, slot, from_account, to_account, amount_in_minor, currency, booked_at, effective_at) VALUES ('forged', '%s', %s, 1, %s, '%s', '%s', %d, 'GBP', 1, 1)",
		kind, null(string(id)), null(slot), from, to, pence)
}
