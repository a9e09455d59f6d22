// Package payout is the vocabulary of the house: money, ids, statuses and
// their arrows, reasons and the decision table, steps, requests, and the four
// answers a provider can give. It imports nothing of ours, touches nothing
// outside, and every other room speaks in its words.
package payout
