package main

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// Fault is one thing wrong with the configuration. It never holds a value that was
// given: values may be secrets, and faults are logged.
type Fault struct {
	Key   string // dotted, as in http.listen; empty if it's about the whole file
	Where string // file and line, or the variable, if known
	What  string // what is allowed, or what to do
}

func (f Fault) String() string {
	s := f.What
	if f.Key != "" {
		s = f.Key + ": " + s
	}
	if f.Where != "" {
		s += " (" + f.Where + ")"
	}
	return s
}

// Faults is everything that is wrong, so that an operator mends it in one go.
type Faults []Fault

func (f Faults) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the configuration has %d fault(s):", len(f))
	for _, fault := range f {
		b.WriteString("\n  - " + fault.String())
	}
	return b.String()
}

// reader fills a Config from a YAML tree. It does what yaml's own decoder does and
// three things more: it names keys in dotted form, it goes on after a fault, and it
// never repeats a value.
type reader struct {
	file   string
	faults Faults
}

func (r *reader) fault(key string, node *yaml.Node, what string) {
	f := Fault{Key: key, What: what}
	if r.file != "" {
		f.Where = r.file
		if node != nil && node.Line > 0 {
			f.Where += ", line " + strconv.Itoa(node.Line)
		}
	}
	r.faults = append(r.faults, f)
}

func readFile(c *Config, path string) Faults {
	r := reader{file: path}
	text, err := os.ReadFile(path)
	if err != nil {
		return Faults{{What: "cannot be read: " + errors.Unwrap(err).Error(), Where: path}}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil // an empty file sets nothing
	case err != nil:
		// yaml's syntax errors tell the line and the kind, no values.
		return Faults{{What: strings.TrimPrefix(err.Error(), "yaml: "), Where: path}}
	}
	if decoder.Decode(new(yaml.Node)) != io.EOF {
		r.fault("", nil, "holds more than one YAML document, or something after the first one")
	}
	r.structure(reflect.ValueOf(c).Elem(), "", document.Content[0])
	return r.faults
}

// structure sets the fields of a struct from a mapping; keys that it lacks keep
// their defaults.
func (r *reader) structure(into reflect.Value, key string, node *yaml.Node) {
	if node.Kind != yaml.MappingNode {
		if key != "" || node.Tag != "!!null" { // a file of comments is an empty file
			r.fault(key, node, "should be a section with keys below it")
		}
		return
	}
	seen := map[string]bool{}
	for i := 0; i < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		dotted := join(key, name.Value)
		field, ok := fieldOf(into, name.Value)
		switch {
		case !ok:
			r.fault(dotted, name, "is not a key; see configs/embedded.yaml for all of them")
		case seen[name.Value]:
			r.fault(dotted, name, "stands here twice")
		default:
			r.value(field, dotted, value)
		}
		seen[name.Value] = true
	}
}

func (r *reader) value(into reflect.Value, key string, node *yaml.Node) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	_, isText := into.Addr().Interface().(encoding.TextUnmarshaler)
	switch {
	case into.Kind() == reflect.Struct && !isText:
		r.structure(into, key, node)
	case into.Kind() == reflect.Slice:
		if node.Kind != yaml.SequenceNode {
			r.fault(key, node, "should be a list, such as [a, b], or [] for none")
			return
		}
		// The list replaces the default; it isn't added to it.
		into.Set(reflect.Zero(into.Type()))
		for i, item := range node.Content {
			element := reflect.New(into.Type().Elem()).Elem()
			r.value(element, fmt.Sprintf("%s[%d]", key, i), item)
			into.Set(reflect.Append(into, element))
		}
	case node.Kind != yaml.ScalarNode:
		r.fault(key, node, "should be one value, not a list or a section")
	case node.Tag == "!!null":
		r.fault(key, node, `has no value; write "" for an empty one, or leave the key out`)
	default:
		if err := setScalar(into, node.Value); err != nil {
			r.fault(key, node, err.Error())
		}
	}
}

// setScalar sets one value from its text. On error the value is left as it was.
func setScalar(into reflect.Value, text string) error {
	switch target := into.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return target.UnmarshalText([]byte(text))
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return errors.New("is not a duration: a number with its unit, such as 500ms, 30s, 10m or 24h")
		}
		*target = d
	case *bool:
		switch text {
		case "true":
			*target = true
		case "false":
			*target = false
		default:
			return errors.New("should be true or false")
		}
	case *int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return errors.New("is not a whole number")
		}
		*target = int(n)
	default: // what is left are strings of one type or another
		into.SetString(text)
	}
	return nil
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

// fieldOf finds the field with this yaml name.
func fieldOf(of reflect.Value, name string) (reflect.Value, bool) {
	for i := range of.NumField() {
		if of.Type().Field(i).Tag.Get("yaml") == name {
			return of.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// eachKey calls visit for every value that a file or a variable can set, in order.
func eachKey(of reflect.Value, key string, visit func(key string, value reflect.Value)) {
	for i := range of.NumField() {
		field, dotted := of.Field(i), join(key, of.Type().Field(i).Tag.Get("yaml"))
		if _, isText := field.Addr().Interface().(encoding.TextUnmarshaler); field.Kind() == reflect.Struct && !isText {
			eachKey(field, dotted, visit)
			continue
		}
		visit(dotted, field)
	}
}

const (
	envPrefix  = "CARDFLOW_"
	fileSuffix = "_FILE" // of a secret's variable
)

// foreign are variables in our name that are not ours: tests' own, and what
// Kubernetes sets for services that happen to be called cardflow or cardflow-redis.
var foreign = regexp.MustCompile(`^CARDFLOW_(TEST_.*|(.*_)?SERVICE_(HOST|PORT(_.*)?)|(.*_)?PORT(_\d+_(TCP|UDP|SCTP).*)?)$`)

// readEnvironment sets values from CARDFLOW_SECTION_KEY variables. A list is
// written with commas, or as YAML; everything else as in the file. An empty
// variable is set, and to the empty value.
//
// A secret may stand in a file instead, which CARDFLOW_SECTION_KEY_FILE names:
// containers are given theirs so, and a process's environment is easily shown.
func readEnvironment(c *Config, env []string) Faults {
	var r reader
	fields, keys, given := map[string]reflect.Value{}, map[string]string{}, map[string]bool{}
	eachKey(reflect.ValueOf(c).Elem(), "", func(key string, value reflect.Value) {
		name := variable(key)
		fields[name], keys[name] = value, key
	})
	for _, pair := range env {
		name, _, _ := strings.Cut(pair, "=")
		given[name] = true
	}
	for _, pair := range env {
		name, text, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || foreign.MatchString(name) {
			continue
		}
		field, ok := fields[name]
		before := len(r.faults)
		plain, isFile := strings.CutSuffix(name, fileSuffix)
		secret, isSecret := fields[plain]
		if isSecret {
			_, isSecret = secret.Addr().Interface().(*Secret)
		}
		switch {
		case !ok && isFile && isSecret && given[plain]:
			r.fault(keys[plain], nil, "is given twice: in "+plain+" and in this file; take one away")
		case !ok && isFile && isSecret:
			if what := readSecret(secret.Addr().Interface().(*Secret), text); what != "" {
				r.fault(keys[plain], nil, what)
			}
		case !ok:
			r.fault("", nil, "names no key: the variable of http.listen is "+variable("http.listen"))
		case field.Kind() == reflect.Slice:
			r.value(field, keys[name], listNode(text))
		default:
			if err := setScalar(field, text); err != nil {
				r.fault(keys[name], nil, err.Error())
			}
		}
		for i := range r.faults[before:] {
			r.faults[before+i].Where = name
		}
	}
	return r.faults
}

// readSecret takes a secret from a file, without the line's end that an editor
// leaves there, and answers what is wrong.
func readSecret(into *Secret, path string) (what string) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "its file cannot be read: " + errors.Unwrap(err).Error()
	}
	line := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if strings.ContainsAny(line, "\r\n") {
		return "its file should hold one line"
	}
	if err := into.UnmarshalText([]byte(line)); err != nil {
		return err.Error()
	}
	return ""
}

// variable answers the environment variable of a key: CARDFLOW_HTTP_LISTEN.
func variable(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// listNode reads a list that stands in a variable.
func listNode(text string) *yaml.Node {
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		var document yaml.Node
		if yaml.Unmarshal([]byte(text), &document) == nil {
			return document.Content[0]
		}
		return &yaml.Node{Kind: yaml.ScalarNode} // faulted as no list
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list.Content = append(list.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: item})
		}
	}
	return list
}
