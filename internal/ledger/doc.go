// Package ledger is what we believe about money: an append-only, double-entry
// ledger and the rows of payouts, attempts, sends, evidence, inbox, outbox and
// cases, on SQLite or PostgreSQL. The rows are the authority; every run of a
// workflow may be lost, doubled or replayed, and the books are still right.
//
// A method that changes anything does so in one transaction, repeats what it
// checks inside it, and is safe to call again: the second call finds the first
// one's work and answers with the row's position. Package ledgertest is the
// promise that both databases keep.
package ledger
