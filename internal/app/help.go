package app

import (
	"fmt"
	"slices"
	"strings"
)

// HelpFor lists the configuration of a program, for --help.
func HelpFor(p Program) string {
	var text strings.Builder
	text.WriteString("Configuration, by environment variables:\n\n")
	for _, v := range Variables() {
		if slices.Contains(v.Programs, p) {
			fmt.Fprintf(&text, "%s (%s)\n\n  %s\n\n", v.Name, need(v, p), strings.ReplaceAll(v.Meaning, "`", ""))
		}
	}
	return text.String()
}

func need(v Variable, p Program) string {
	switch shipped := v.DefaultFor(p); {
	case shipped != "":
		return "default " + shipped
	case v.Required:
		return "required"
	}
	return "optional"
}

// Document is docs/configuration.md.
func Document() string {
	var text strings.Builder
	text.WriteString(`# Configuration

By environment variables. An empty variable counts as not set. When a program starts it checks all of them at once and
says of each mistake which variable it is and what to do. Durations are written as Go writes them: 90s, 15m, 26h.

This file is generated from the table in internal/app/variables.go: ` + "`go test ./internal/app -run Document -write`" + `

| variable | default | worker | starter | gateway | meaning |
| --- | --- | --- | --- | --- | --- |
`)
	for _, v := range Variables() {
		shipped := ""
		if v.Default != "" {
			shipped = "`" + v.Default + "`"
		}
		fmt.Fprintf(&text, "| `%s` | %s |", v.Name, shipped)
		for _, p := range Programs() {
			switch {
			case !slices.Contains(v.Programs, p):
				text.WriteString(" |")
			case v.Required:
				text.WriteString(" required |")
			default:
				text.WriteString(" yes |")
			}
		}
		fmt.Fprintf(&text, " %s |\n", strings.ReplaceAll(v.Meaning, "|", "\\|"))
	}
	text.WriteString("\nThe command line of the starter reads `STARTER_URL` (where the API is, default `http://127.0.0.1:8080`) and\n`STARTER_TOKEN` (your token).\n")
	return text.String()
}
