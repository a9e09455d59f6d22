// Package truelayer speaks to the payment provider: it lets us in, signs what
// we send, asks, and proves that what comes in was sent by them. It is the
// only room that knows their words; towards the house it speaks the words of
// package payout. The facts it relies on stand in docs/truelayer.md, each with
// its source.
//
//	client.go       what it needs, checked at once
//	token.go        access tokens
//	sign.go         the signature format, both ways
//	transport.go    one request, at most once, and whether a byte of it left
//	pace.go         the budget all calls share
//	body.go         what a create says, byte for byte
//	beneficiary.go  who is paid: all the kinds they take
//	create.go       asking for a payout or a refund
//	answers.go      what an answer means: the one table
//	read.go         asking about what exists
//	payment.go      pay-ins and their refunds
//	statement.go    what moved on a merchant account
//	words.go        their JSON, read without guessing
//	verify.go       is this event theirs
//	jwks.go         the keys they sign with
//	event.go        what a verified event says
package truelayer
