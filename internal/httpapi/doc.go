// Package httpapi holds the HTTP doors: the API for game backends and people
// (api.go and one file per subject), the webhook door for the provider
// (webhook.go), the admin door for machines that watch (admin.go), and how a
// door is opened and closed (door.go).
//
// The API is described by its own types, served as OpenAPI 3.1 at
// /openapi.json. Whatever is refused is refused with a problem document
// (problem.go) naming every field and what would be right.
package httpapi
