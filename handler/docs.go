package handler

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"sort"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

//go:embed openapi.yaml
var openAPI []byte

//go:embed docs.html
var docsTemplate string

//go:embed docs.css
var docsStyle string

//go:embed link.html
var linkTemplate string

// docs are the two pages that people read, made once at the start.
type docs struct {
	reference []byte // the API
	link      []byte // where a trade's QR code leads outside WeChat
	policy    string // of both: their own style and nothing else
}

// The part of openapi.yaml that the page shows.
type document struct {
	Info struct {
		Title       string `yaml:"title"`
		Version     string `yaml:"version"`
		Description string `yaml:"description"`
	} `yaml:"info"`
	Tags []struct {
		Name        string `yaml:"name"`
		Description string `yaml:"description"`
	} `yaml:"tags"`
	Paths      map[string]map[string]operation `yaml:"paths"`
	Components struct {
		Schemas yaml.Node `yaml:"schemas"`
	} `yaml:"components"`
}

type operation struct {
	Tags        []string    `yaml:"tags"`
	OperationID string      `yaml:"operationId"`
	Summary     string      `yaml:"summary"`
	English     string      `yaml:"x-en"`
	Roles       []string    `yaml:"x-roles"`
	Codes       []string    `yaml:"x-error-codes"`
	Description string      `yaml:"description"`
	Parameters  []parameter `yaml:"parameters"`
	RequestBody struct {
		Content map[string]content `yaml:"content"`
	} `yaml:"requestBody"`
	Responses map[string]response `yaml:"responses"`
	Method    string              `yaml:"-"`
	Path      string              `yaml:"-"`
}

type parameter struct {
	Ref         string `yaml:"$ref"`
	Name        string `yaml:"name"`
	In          string `yaml:"in"`
	Description string `yaml:"description"`
}

type response struct {
	Ref         string             `yaml:"$ref"`
	Description string             `yaml:"description"`
	Content     map[string]content `yaml:"content"`
}

type content struct {
	Example yaml.Node `yaml:"example"`
	Schema  struct {
		Ref string `yaml:"$ref"`
	} `yaml:"schema"`
}

// section is a tag with its operations.
type section struct {
	Name, Description string
	Operations        []operation
}

// madeDocs: the files are in the program, so once is enough for all servers of a process.
var madeDocs = sync.OnceValues(newDocs)

func newDocs() (*docs, error) {
	var d document
	if err := yaml.Unmarshal(openAPI, &d); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	var sections []section
	for _, tag := range d.Tags {
		s := section{Name: tag.Name, Description: tag.Description}
		for path, methods := range d.Paths {
			for method, o := range methods {
				if len(o.Tags) == 1 && o.Tags[0] == tag.Name {
					o.Method, o.Path = strings.ToUpper(method), path
					s.Operations = append(s.Operations, o)
				}
			}
		}
		sort.Slice(s.Operations, func(i, j int) bool {
			a, b := s.Operations[i], s.Operations[j]
			return a.Path < b.Path || a.Path == b.Path && a.Method < b.Method
		})
		sections = append(sections, s)
	}
	page, err := template.New("docs").Funcs(template.FuncMap{"yaml": show, "last": last}).Parse(docsTemplate)
	if err != nil {
		return nil, fmt.Errorf("docs.html: %w", err)
	}
	style := template.CSS(docsStyle)
	var reference, link bytes.Buffer
	schemas, err := schemasOf(d)
	if err != nil {
		return nil, err
	}
	if err := page.Execute(&reference, map[string]any{"Doc": d, "Sections": sections, "Schemas": schemas, "Style": style}); err != nil {
		return nil, fmt.Errorf("docs.html: %w", err)
	}
	linkPage, err := template.New("link").Parse(linkTemplate)
	if err != nil {
		return nil, fmt.Errorf("link.html: %w", err)
	}
	if err := linkPage.Execute(&link, map[string]any{"Style": style}); err != nil {
		return nil, fmt.Errorf("link.html: %w", err)
	}
	digest := sha256.Sum256([]byte(docsStyle))
	return &docs{
		reference: reference.Bytes(), link: link.Bytes(),
		policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) +
			"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}, nil
}

// namedText is a schema as the document writes it.
type namedText struct{ Name, Text string }

func schemasOf(d document) ([]namedText, error) {
	var out []namedText
	list := d.Components.Schemas.Content // of a mapping: name, value, name, value, …
	for i := 0; i+1 < len(list); i += 2 {
		text, err := show(*list[i+1])
		if err != nil {
			return nil, fmt.Errorf("openapi.yaml: %w", err)
		}
		out = append(out, namedText{list[i].Value, text})
	}
	return out, nil
}

// show writes a piece of the document as it stands there.
func show(n yaml.Node) (string, error) {
	if n.Kind == 0 {
		return "", nil
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&n); err != nil {
		return "", err
	}
	return b.String(), nil
}

// last is the name at the end of a reference.
func last(ref string) string { return ref[strings.LastIndex(ref, "/")+1:] }

// showOpenAPI is GET /openapi.yaml.
func showOpenAPI(c *call) error {
	return c.Blob(http.StatusOK, "application/yaml; charset=utf-8", openAPI)
}

// showDocs is GET /docs.
func showDocs(c *call) error { return c.html(c.docs.reference) }

// showLink is GET /t/{code}, where the plain QR code of a trade leads. The page is the same for every code: it looks
// nothing up, so it tells nothing.
func showLink(c *call) error { return c.html(c.docs.link) }

func (c *call) html(page []byte) error {
	c.Response().Header().Set("Content-Security-Policy", c.docs.policy)
	return c.HTMLBlob(http.StatusOK, page)
}
