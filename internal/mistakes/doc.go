// Package mistakes makes deliberate mistakes in a copy of the house, one after
// the other, and holds that each turns a named test red: a test that cannot
// fail protects nothing. `make mistakes` makes them all; the ordinary tests
// only check that each still fits the code.
package mistakes
