// Package ledgertest is the promise that every ledger keeps: one suite, judged
// by outcome, that the books on SQLite and on PostgreSQL pass alike. It also
// opens books for other rooms' tests: SQLite in a temporary file, PostgreSQL
// in a real server that lives as long as the test process.
package ledgertest
