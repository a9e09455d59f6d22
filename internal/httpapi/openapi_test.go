package httpapi_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"payouts/internal/payout"
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
			// The example is taken as it stands, but for its source or its case.
			token, path := "game-token", strings.NewReplacer("{player_id}", "player-42", "{payment_source_id}", "62d7b5f2-8d3a-4c5d-9a2e-0c8f6a1b7e11",
				"{id}", "0cd1b0f7-71bc-4d24-b209-95259dadcc20", "{number}", "1").Replace(path)
			wanted := []int{201, 422}
			if strings.HasPrefix(path, "/v1/cases/") {
				token, wanted = "operator-token", []int{404}
			}
			example := op.RequestBody.Content["application/json"].Examples["example"].Value
			if got := h.ask(strings.ToUpper(method), path, token, string(example), "Idempotency-Key: example"); !slices.Contains(wanted, got.status) {
				t.Errorf("%s: the example %s answers %d %s", route, example, got.status, got.body)
			}
			_, repeat := op.Responses["200"]
			if decides := strings.HasSuffix(path, "/approvals"); op.Responses["201"].Description == "" || repeat == decides {
				t.Errorf("%s: what first and repeat are answered is not described", route)
			}
		}
	}
	slices.Sort(routes)
	want := []string{
		"GET /v1/audit", "GET /v1/cases", "GET /v1/cases/{id}", "GET /v1/inbox",
		"GET /v1/ledger/check", "GET /v1/ledger/transactions", "GET /v1/payouts", "GET /v1/payouts/{id}",
		"GET /v1/players/{player_id}/balances", "GET /v1/players/{player_id}/payment-sources", "GET /v1/refunds", "GET /v1/refunds/{id}",
		"POST /v1/cases/{id}/resolutions", "POST /v1/cases/{id}/resolutions/{number}/approvals",
		"POST /v1/payouts", "POST /v1/players/{player_id}/credits", "POST /v1/players/{player_id}/debits", "POST /v1/refunds",
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
	for _, name := range []string{"PayoutRequest", "RefundRequest", "ResolutionRequest", "ApprovalRequest"} {
		if _, ok := document.Components.Schemas[name]["additionalProperties"].(bool); !ok {
			t.Errorf("%s does not say that unknown fields are refused", name)
		}
	}
	// What may be named is named, whatever the vocabulary learns.
	described := fmt.Sprint(document.Components.Schemas["Case"], document.Components.Schemas["Offer"])
	for _, kind := range payout.CaseKinds() {
		if !strings.Contains(described, string(kind)) || !strings.Contains(described, kind.Team()) {
			t.Errorf("the kind %s, or its team %s, is not described", kind, kind.Team())
		}
	}
	for _, action := range payout.Actions() {
		if !strings.Contains(described, string(action)) {
			t.Errorf("the action %s is not described", action)
		}
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
	refund := h.must(201, h.ask("POST", "/v1/refunds", "game-token", refundWish(), "Idempotency-Key: k"))
	blocked, blockedCase := h.blocked("b")
	proposed := h.must(201, h.ask("POST", "/v1/cases/"+blockedCase.ID+"/resolutions", "operator-token",
		fmt.Sprintf(`{"action":"release_frozen","reason":"cleared","version":%d}`, blockedCase.Version)))
	unmatched := h.stranger("their-own")
	document := decoded(t, h.must(200, h.ask("GET", "/openapi.json", "", "")).body).(map[string]any)
	schemas := document["components"].(map[string]any)["schemas"].(map[string]any)
	for path, schema := range map[string]string{
		first.header.Get("Location"): "Payout", "/v1/payouts": "PayoutList", "/v1/players/p1/balances": "Balances", "/v1/players/p1/payment-sources": "Sources",
		refund.header.Get("Location"): "Refund", "/v1/refunds": "RefundList", "/v1/payouts/" + blocked.ID: "Payout",
		"/v1/cases": "CaseList", "/v1/cases/" + blockedCase.ID: "Case", "/v1/cases/" + unmatched.ID: "Case", "/v1/inbox": "InboxList", "/v1/audit": "AuditList",
		"/v1/ledger/check": "Check", "/v1/ledger/transactions": "TransactionList", "/v1/payouts/x": "Problem",
	} {
		answer := h.ask("GET", path, "operator-token", "")
		for _, wrong := range compare(schemas, map[string]any{"$ref": "#/components/schemas/" + schema}, decoded(t, answer.body), schema) {
			t.Errorf("GET %s: %s in %s", path, wrong, answer.body)
		}
	}
	for schema, body := range map[string][]byte{"Payout": first.body, "Refund": refund.body, "Resolution": proposed.body} {
		for _, wrong := range compare(schemas, map[string]any{"$ref": "#/components/schemas/" + schema}, decoded(t, body), schema) {
			t.Errorf("POST: %s in %s", wrong, body)
		}
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
