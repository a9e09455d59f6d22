// Package ops holds what watches the house: the alert rules and the dashboard.
// It is a module of its own, since its tests evaluate the rules with
// Prometheus' own engine, whose OpenTelemetry is newer than the one that the
// Temporal server builds with. Nothing imports it.
package ops
