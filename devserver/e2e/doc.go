// Package e2e is the end-to-end suite: the real worker, starter and gateway as
// processes, on a real Temporal server and a real database, against the
// simulator of the provider. Programs are killed, answers lost, webhooks
// forged; each scenario is judged by how it ends: the payout, the books, and
// the money that truly left at the provider.
//
// house_test.go sets a house up and judges how payouts end; run_test.go looks
// at their runs; situations_test.go brings payouts to every point of their
// life. The scenarios stand in the other files:
//
//	news_test.go      webhooks and polling
//	answer_test.go    creates whose answer is lost
//	failure_test.go   the provider's no, reason by reason
//	accident_test.go  terminated, reset and cancelled runs; programs killed, Temporal lost
//	clock_test.go     days of outage, and late word
//	temporal_test.go  what Temporal shows, and what a payout costs there
//	ui_test.go        what Temporal's UI shows to a person, in a real browser (browser_test.go)
//	door_test.go      the same request many times
//	postgres_test.go  the same on PostgreSQL
//	memory_test.go    what the idle programs need
//	devserver_test.go everything in one process
//	replay_test.go    a build is tried against the runs of a cluster
//	versions_test.go  builds roll forward and back with payouts in flight
//	record_test.go    records histories for package workflows; what they live through stands in recordings_test.go
package e2e
