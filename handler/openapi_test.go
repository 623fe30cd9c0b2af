package handler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"cardflow/handler"
	"cardflow/transfer"
)

// document is openapi.yaml, loaded once: compiling its schemas takes a while.
var document = sync.OnceValues(func() (*openapi3.T, error) {
	return openapi3.NewLoader().LoadFromFile("openapi.yaml")
})

func loadDocument(t testing.TB) *openapi3.T {
	t.Helper()
	d, err := document()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDocumentIsValid(t *testing.T) {
	d := loadDocument(t)
	if err := d.Validate(context.Background(), openapi3.EnableExamplesValidation(), openapi3.EnableMultiError(), openapi3.EnableSchemaFormatValidation()); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(d.OpenAPI, "3.1.") {
		t.Errorf("version %s", d.OpenAPI)
	}
}

// operation finds the operation of a request: its pattern as the table has it.
func operation(t testing.TB, method, path string) (*openapi3.Operation, *openapi3.PathItem, string, map[string]string) {
	t.Helper()
	d := loadDocument(t)
	var best, params = "", map[string]string(nil)
	for _, pattern := range slices.Sorted(maps.Keys(d.Paths.Map())) {
		m := patternOf(pattern).FindStringSubmatch(path)
		if m == nil || best != "" && strings.Count(best, "{") <= strings.Count(pattern, "{") {
			continue
		}
		best, params = pattern, map[string]string{}
		for i, name := range nameInPattern.FindAllStringSubmatch(pattern, -1) {
			params[name[1]] = m[i+1]
		}
	}
	if best == "" {
		return nil, nil, "", nil
	}
	item := d.Paths.Value(best)
	return item.GetOperation(method), item, best, params
}

var nameInPattern = regexp.MustCompile(`\{(\w+)\}`)

var patterns sync.Map

func patternOf(pattern string) *regexp.Regexp {
	if p, ok := patterns.Load(pattern); ok {
		return p.(*regexp.Regexp)
	}
	var b strings.Builder
	for i, part := range nameInPattern.Split(pattern, -1) {
		if i > 0 {
			b.WriteString("([^/]+)")
		}
		b.WriteString(regexp.QuoteMeta(part))
	}
	p := regexp.MustCompile("^" + b.String() + "$")
	patterns.Store(pattern, p)
	return p
}

// seen is which answers of the document the tests have met.
var seen sync.Map

// checkDocumented holds an answer against the document: its status, its type, its body against the schema, and, for an
// error, whether the route lists the code.
func checkDocumented(t testing.TB, r *http.Request, got answer) {
	t.Helper()
	o, item, pattern, params := operation(t, r.Method, r.URL.Path)
	if o == nil {
		if got.status != http.StatusNotFound && got.status != http.StatusMethodNotAllowed {
			t.Errorf("%s %s is not in the document and answers %d", r.Method, r.URL.Path, got.status)
		}
		return
	}
	name := r.Method + " " + pattern
	if got.status == 499 {
		return // there is nobody to read it
	}
	seen.Store(fmt.Sprintf("%s %d", name, got.status), true)
	body := got.body
	err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{
			Request: r, PathParams: params,
			Route: &routers.Route{Spec: loadDocument(t), Path: pattern, PathItem: item, Method: r.Method, Operation: o},
		},
		Status: got.status, Header: got.header, Body: io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: !strings.HasPrefix(got.header.Get("Content-Type"), "application/json")},
	})
	if err != nil {
		t.Errorf("%s answers %d %s, which the document does not allow: %v", name, got.status, body, err)
		return
	}
	if got.status >= 400 && !strings.Contains(string(body), `"checks"`) {
		var e struct{ Error struct{ Code string } }
		if err := json.Unmarshal(body, &e); err != nil {
			t.Errorf("%s: %s: %v", name, body, err)
		}
		if !slices.Contains(codes(o), e.Error.Code) {
			t.Errorf("%s answers %s, which the document does not list", name, e.Error.Code)
		}
	}
}

// codes are the error codes that an operation lists.
func codes(o *openapi3.Operation) []string { return words(o.Extensions["x-error-codes"]) }

func words(v any) []string {
	var out []string
	list, _ := v.([]any)
	for _, w := range list {
		out = append(out, w.(string))
	}
	return out
}

// TestDocumentAndRoutesAgree, both ways: paths, methods, roles, query parameters, keys, bodies, security.
func TestDocumentAndRoutesAgree(t *testing.T) {
	d := loadDocument(t)
	left := map[string]*openapi3.Operation{}
	for pattern, item := range d.Paths.Map() {
		for method, o := range item.Operations() {
			left[method+" "+pattern] = o
		}
	}
	ids := map[string]bool{}
	for _, r := range handler.Routes() {
		name := r.Method + " " + r.Pattern
		o := left[name]
		if o == nil {
			t.Errorf("%s is not in the document", name)
			continue
		}
		delete(left, name)
		if ids[o.OperationID] || o.OperationID == "" || o.Summary == "" || o.Extensions["x-en"] == nil || len(o.Tags) != 1 {
			t.Errorf("%s: operationId, summary, x-en and one tag must be there", name)
		}
		ids[o.OperationID] = true
		same(t, name+" roles", words(o.Extensions["x-roles"]), r.Roles)
		if open := o.Security != nil && len(*o.Security) == 0; open != (len(r.Roles) == 0) {
			t.Errorf("%s: security", name)
		}
		var query, path []string
		key := false
		for _, p := range o.Parameters {
			switch p.Value.In {
			case "query":
				query = append(query, p.Value.Name)
			case "path":
				path = append(path, p.Value.Name)
			case "header":
				key = p.Value.Name == "Idempotency-Key" && p.Value.Required
			}
		}
		same(t, name+" query", query, r.Query)
		var named []string
		for _, n := range nameInPattern.FindAllStringSubmatch(r.Pattern, -1) {
			named = append(named, n[1])
		}
		same(t, name+" path", path, named)
		if key != r.Wish {
			t.Errorf("%s: Idempotency-Key %v, the table says %v", name, key, r.Wish)
		}
		if json := o.RequestBody != nil && o.RequestBody.Value.Content["application/json"] != nil; json != r.JSON {
			t.Errorf("%s: JSON body %v, the table says %v", name, json, r.JSON)
		}
	}
	for name := range left {
		t.Errorf("%s is in the document and nowhere else", name)
	}
}

// TestDocumentListsErrors: a route's codes and its error statuses say the same, and every code of ours is listed.
func TestDocumentListsErrors(t *testing.T) {
	d := loadDocument(t)
	listed := map[string]bool{}
	for pattern, item := range d.Paths.Map() {
		for method, o := range item.Operations() {
			var byCode, byAnswer []string
			for _, c := range codes(o) {
				listed[c] = true
				status := handler.StatusOfCode(c)
				if status == 0 {
					t.Errorf("%s %s lists %s, which doesn't exist", method, pattern, c)
				}
				byCode = append(byCode, fmt.Sprint(status))
			}
			for status := range o.Responses.Map() {
				if status >= "400" {
					byAnswer = append(byAnswer, status)
				}
			}
			slices.Sort(byCode)
			same(t, method+" "+pattern+" error statuses", byAnswer, slices.Compact(byCode))
		}
	}
	for _, c := range words(d.Components.Schemas["ActError"].Value.Extensions["x-error-codes"]) {
		listed[c] = true
	}
	transfer.Codes(func(c string, kind transfer.Kind, _ string) {
		if !listed[c] && kind != transfer.Internal {
			t.Errorf("%s is listed neither for a route nor, if it only comes up in acts, imports and jobs, at the schema ActError", c)
		}
	})
	for _, c := range handler.OwnCodes() {
		if !listed[c] && c != "METHOD_NOT_ALLOWED" && c != "REQUEST_ABANDONED" {
			t.Errorf("no route lists %s", c)
		}
	}
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: the document says %q, the code %q", what, got, want)
	}
}

// TestEveryCodeHasOneStatus: no code means two things, none is without a status.
func TestEveryCodeHasOneStatus(t *testing.T) {
	own := handler.OwnCodes()
	transfer.Codes(func(code string, kind transfer.Kind, message string) {
		if slices.Contains(own, code) {
			t.Errorf("%s is made twice", code)
		}
		if !handler.HasStatus(kind) || message == "" {
			t.Errorf("%s: kind %d has no status, or there is no sentence", code, kind)
		}
	})
	for _, c := range own {
		if handler.StatusOfCode(c) == 0 {
			t.Errorf("%s has no status", c)
		}
	}
}

// TestMain makes sure, at the end of a whole run, that every success of the document was really met.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 && !filtered() {
		d, err := document()
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for pattern, item := range d.Paths.Map() {
			for method, o := range item.Operations() {
				for status := range o.Responses.Map() {
					if _, ok := seen.Load(method + " " + pattern + " " + status); !ok && status < "400" {
						fmt.Printf("no test has met %s %s %s\n", method, pattern, status)
						code = 1
					}
				}
			}
		}
	}
	os.Exit(code)
}

// filtered reports whether this run has only some of the tests.
func filtered() bool {
	return slices.ContainsFunc(os.Args, func(a string) bool {
		return strings.HasPrefix(a, "-test.run=") || strings.HasPrefix(a, "-test.fuzz=") || strings.HasPrefix(a, "-test.list=") || strings.HasPrefix(a, "-test.skip=")
	})
}
