package httpapi_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// The document is OpenAPI 3.1, describes every route with words, roles'
// refusals and examples, and its references lead somewhere.
func TestOpenAPI(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	a := h.must(200, h.ask("GET", "/openapi.json", "", ""))
	var document struct {
		OpenAPI string
		Info    struct{ Title, Version, Description string }
		Paths   map[string]map[string]struct {
			OperationID, Summary string
			Parameters           []struct{ Name, In, Description string }
			RequestBody          *struct {
				Required bool
				Content  map[string]struct {
					Schema   map[string]any
					Examples map[string]struct{ Value json.RawMessage }
				}
			}
			Responses map[string]struct {
				Description string
				Headers     map[string]any
				Content     map[string]any
			}
		}
		Components struct {
			Schemas         map[string]map[string]any
			SecuritySchemes map[string]any
		}
		Security []any
	}
	a.read(t, &document)
	if !strings.HasPrefix(document.OpenAPI, "3.1") || document.Info.Title == "" || document.Info.Description == "" || len(document.Security) == 0 {
		t.Errorf("it begins %s %+v", document.OpenAPI, document.Info)
	}
	var routes []string
	for path, methods := range document.Paths {
		for method, op := range methods {
			route := strings.ToUpper(method) + " " + path
			routes = append(routes, route)
			if op.OperationID == "" || op.Summary == "" {
				t.Errorf("%s has no name or summary", route)
			}
			for _, p := range op.Parameters {
				if p.Description == "" {
					t.Errorf("%s: parameter %s is not described", route, p.Name)
				}
			}
			for _, status := range []string{"401", "500"} {
				if _, ok := op.Responses[status].Content["application/problem+json"]; !ok {
					t.Errorf("%s: %s is no problem document", route, status)
				}
			}
			if op.RequestBody == nil {
				continue
			}
			for _, status := range []string{"400", "403", "413", "415"} {
				if _, ok := op.Responses[status]; !ok {
					t.Errorf("%s: %s is not described", route, status)
				}
			}
			// The example is taken as it stands, but for its source.
			path := strings.NewReplacer("{player_id}", "player-42", "{payment_source_id}", "62d7b5f2-8d3a-4c5d-9a2e-0c8f6a1b7e11").Replace(path)
			example := op.RequestBody.Content["application/json"].Examples["example"].Value
			if got := h.ask(strings.ToUpper(method), path, "game-token", string(example), "Idempotency-Key: example"); got.status != 201 && got.status != 422 {
				t.Errorf("%s: the example %s answers %d %s", route, example, got.status, got.body)
			}
			if op.Responses["201"].Description == "" || op.Responses["200"].Description == "" && method == "post" {
				t.Errorf("%s: first and repeat are not both described", route)
			}
		}
	}
	slices.Sort(routes)
	want := []string{
		"GET /v1/ledger/check", "GET /v1/ledger/transactions", "GET /v1/payouts", "GET /v1/payouts/{id}",
		"GET /v1/players/{player_id}/balances", "GET /v1/players/{player_id}/payment-sources",
		"POST /v1/payouts", "POST /v1/players/{player_id}/credits", "POST /v1/players/{player_id}/debits",
		"PUT /v1/players/{player_id}/payment-sources/{payment_source_id}",
	}
	if !slices.Equal(routes, want) {
		t.Errorf("describes %q; want %q", routes, want)
	}
	for _, reference := range references(decoded(t, a.body)) {
		if _, ok := document.Components.Schemas[strings.TrimPrefix(reference, "#/components/schemas/")]; !ok {
			t.Errorf("%s leads nowhere", reference)
		}
	}
	if _, ok := document.Components.Schemas["PayoutRequest"]["additionalProperties"].(bool); !ok {
		t.Error("PayoutRequest does not say that unknown fields are refused")
	}
	for _, foreign := range []string{"$schema", "ErrorModel", "ErrorDetail"} {
		if strings.Contains(string(a.body), foreign) {
			t.Errorf("%s of the library leaks", foreign)
		}
	}
}

// What is answered has the fields, and only the fields, that the document
// describes.
func TestAnswersMatchTheDocument(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	first := h.must(201, h.ask("POST", "/v1/payouts", "game-token", wish(), "Idempotency-Key: k"))
	document := decoded(t, h.must(200, h.ask("GET", "/openapi.json", "", "")).body).(map[string]any)
	schemas := document["components"].(map[string]any)["schemas"].(map[string]any)
	for path, schema := range map[string]string{
		first.header.Get("Location"): "Payout", "/v1/payouts": "PayoutList", "/v1/players/p1/balances": "Balances", "/v1/players/p1/payment-sources": "Sources",
		"/v1/ledger/check": "Check", "/v1/ledger/transactions": "TransactionList", "/v1/payouts/x": "Problem",
	} {
		answer := h.ask("GET", path, "operator-token", "")
		for _, wrong := range compare(schemas, map[string]any{"$ref": "#/components/schemas/" + schema}, decoded(t, answer.body), schema) {
			t.Errorf("GET %s: %s in %s", path, wrong, answer.body)
		}
	}
	for _, wrong := range compare(schemas, map[string]any{"$ref": "#/components/schemas/Payout"}, decoded(t, first.body), "Payout") {
		t.Errorf("POST /v1/payouts: %s in %s", wrong, first.body)
	}
}

// compare holds a value against a schema: types, nulls, fields.
func compare(schemas map[string]any, schema map[string]any, value any, at string) (wrong []string) {
	if reference, ok := schema["$ref"].(string); ok {
		schema = schemas[strings.TrimPrefix(reference, "#/components/schemas/")].(map[string]any)
	}
	kind := ""
	switch v := value.(type) {
	case nil:
		kind = "null"
	case string:
		kind = "string"
	case bool:
		kind = "boolean"
	case float64:
		kind = "integer"
	case []any:
		kind = "array"
		for i, item := range v {
			wrong = append(wrong, compare(schemas, schema["items"].(map[string]any), item, fmt.Sprint(at, "[", i, "]"))...)
		}
	case map[string]any:
		kind = "object"
		properties, _ := schema["properties"].(map[string]any)
		for name, item := range v {
			if property, ok := properties[name].(map[string]any); ok {
				wrong = append(wrong, compare(schemas, property, item, at+"."+name)...)
			} else if _, ok := schema["additionalProperties"].(map[string]any); !ok {
				wrong = append(wrong, at+"."+name+" is not described")
			}
		}
		required, _ := schema["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				wrong = append(wrong, at+"."+name.(string)+" is missing")
			}
		}
	}
	if types := strings.Fields(strings.Trim(fmt.Sprint(schema["type"]), "[]")); !slices.Contains(types, kind) {
		wrong = append(wrong, fmt.Sprintf("%s is %s; described as %v", at, kind, types))
	}
	return wrong
}

func decoded(t *testing.T, body []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return v
}

// references collects every $ref.
func references(v any) (list []string) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			list = append(list, references(item)...)
		}
	case map[string]any:
		for name, item := range v {
			if text, ok := item.(string); ok && name == "$ref" {
				list = append(list, text)
			}
			list = append(list, references(item)...)
		}
	}
	return list
}
