// Package cli is how people use the programs: what each takes on its command
// line, and the starter's commands, which speak to its API and to nothing
// else.
package cli
