package cardflow_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// checks are what TestHouse applies: each answers the faults it finds.
var checks = map[string]func(*tree) []string{
	"folders":            checkFolders,
	"imports":            checkImports,
	"doors":              checkDoors,
	"links":              checkLinks,
	"comments":           checkComments,
	"gofmt":              checkGofmt,
	"unfinished":         checkUnfinished,
	"machines":           checkMachines,
	"documents":          checkDocuments,
	"links in documents": checkDocumentLinks,
	"migrations":         checkMigrations,
}

// tree is the source tree as a checkout has it: what .gitignore names is left out.
type tree struct {
	module  string
	rules   rules
	folders []string          // at the top
	files   map[string][]byte // text files by slash path
	others  map[string]bool   // files that are not text
	source  map[string]*ast.File
}

// rules are the tables of the design document.
type rules struct {
	places    []string
	mayImport map[string][]string // package or pattern → packages, or {"*"} for everything
	doors     map[string][]string // outside module → packages
	neverLink map[string][]string // program → outside modules
}

var moduleLine = regexp.MustCompile(`(?m)^module (\S+)$`)

// readTree reads what the checks look at. A Go file that doesn't parse is left to
// the gofmt check; rules that can't be read are an error.
func readTree(fsys fs.FS) (*tree, error) {
	t := &tree{files: map[string][]byte{}, others: map[string]bool{}, source: map[string]*ast.File{}}
	ignored, err := readIgnored(fsys)
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name == ".":
			return nil
		case name == ".git" || ignored(name, entry.IsDir()):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case entry.IsDir():
			if !strings.Contains(name, "/") {
				t.folders = append(t.folders, name)
			}
			return nil
		case !entry.Type().IsRegular():
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a test of another package ran beside us and cleaned up
		}
		if err != nil {
			return err
		}
		if bytes.IndexByte(text, 0) >= 0 {
			t.others[name] = true
			return nil
		}
		t.files[name] = text
		if isGo(name) {
			if file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly|parser.ParseComments); err == nil {
				t.source[name] = file
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	module := moduleLine.FindSubmatch(t.files["go.mod"])
	if module == nil {
		return nil, fmt.Errorf("go.mod names no module")
	}
	t.module = string(module[1])
	t.rules, err = readRules(t.files[rulesFile])
	return t, err
}

// isGo reports whether the go command would compile the file: it passes over
// testdata and names that begin with a dot or an underscore.
func isGo(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == "testdata" || part[0] == '.' || part[0] == '_' {
			return false
		}
	}
	return strings.HasSuffix(name, ".go")
}

// readIgnored understands the plain half of .gitignore, and refuses the rest
// rather than to guess.
func readIgnored(fsys fs.FS) (func(name string, dir bool) bool, error) {
	text, err := fs.ReadFile(fsys, ".gitignore")
	if err != nil {
		return nil, err
	}
	var patterns []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '!' || strings.Contains(line, "**") {
			return nil, fmt.Errorf(".gitignore: %q is more than this test understands", line)
		}
		patterns = append(patterns, line)
	}
	return func(name string, dir bool) bool {
		for _, pattern := range patterns {
			plain, onlyDir := strings.CutSuffix(pattern, "/")
			subject := path.Base(name)
			if strings.Contains(plain, "/") {
				plain, subject = strings.TrimPrefix(plain, "/"), name
			}
			if ok, _ := path.Match(plain, subject); ok && (dir || !onlyDir) {
				return true
			}
		}
		return false
	}, nil
}

var (
	quoted   = regexp.MustCompile("`([^`]+)`")
	rowLine  = regexp.MustCompile(`^\|([^|]+)\|([^|]+)\|`)
	headLine = regexp.MustCompile(`^## (.+)$`)
)

// readRules reads the four tables, each under its heading.
func readRules(text []byte) (rules, error) {
	r := rules{mayImport: map[string][]string{}, doors: map[string][]string{}, neverLink: map[string][]string{}}
	tables := map[string][][2]string{}
	heading, rows := "", 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if head := headLine.FindStringSubmatch(line); head != nil {
			heading, rows = head[1], 0
		}
		if row := rowLine.FindStringSubmatch(line); row != nil {
			if rows++; rows > 2 { // after the title and the dashes
				tables[heading] = append(tables[heading], [2]string{strings.TrimSpace(row[1]), strings.TrimSpace(row[2])})
			}
		}
	}
	for _, row := range tables["What stands where"] {
		r.places = append(r.places, names(row[0])...)
	}
	for heading, into := range map[string]map[string][]string{
		"Who imports whom":                    r.mayImport,
		"One door for each dangerous library": r.doors,
		"What never meets in one program":     r.neverLink,
	} {
		for _, row := range tables[heading] {
			right := names(row[1])
			switch {
			case row[1] == "nothing":
			case row[1] == "everything":
				right = []string{"*"}
			case len(right) == 0:
				return r, fmt.Errorf("%s: %q in %q is neither names nor nothing nor everything", rulesFile, row[1], heading)
			}
			for _, name := range names(row[0]) {
				if _, twice := into[name]; twice {
					return r, fmt.Errorf("%s: %s stands twice in %q", rulesFile, name, heading)
				}
				into[name] = right
			}
		}
		if len(into) == 0 {
			return r, fmt.Errorf("%s: no table under %q", rulesFile, heading)
		}
	}
	for left, right := range r.mayImport {
		for _, name := range right {
			if name != "*" && r.rowOf(name) != name {
				return r, fmt.Errorf("%s: %s may import %s, which has no row", rulesFile, left, name)
			}
		}
	}
	for module, right := range r.doors {
		for _, name := range right {
			if r.rowOf(name) == "" {
				return r, fmt.Errorf("%s: %s is let into %s, which has no row", rulesFile, module, name)
			}
		}
	}
	return r, nil
}

func names(cell string) []string {
	var all []string
	for _, match := range quoted.FindAllStringSubmatch(cell, -1) {
		all = append(all, match[1])
	}
	return all
}

// rowOf answers the row by which a package lives: its own, a pattern's, or its
// nearest parent's; empty when there is none.
func (r rules) rowOf(pkg string) string {
	for ; pkg != "."; pkg = path.Dir(pkg) {
		if _, ok := r.mayImport[pkg]; ok {
			return pkg
		}
		for pattern := range r.mayImport {
			if ok, _ := path.Match(pattern, pkg); ok {
				return pattern
			}
		}
	}
	return ""
}

// within reports whether an import path is the module or lies in it.
func within(imported, module string) bool {
	return imported == module || strings.HasPrefix(imported, module+"/")
}

// imports answers what a file imports.
func imports(file *ast.File) []string {
	var all []string
	for _, spec := range file.Imports {
		if imported, err := strconv.Unquote(spec.Path.Value); err == nil {
			all = append(all, imported)
		}
	}
	return all
}

// sources answers the Go files in order, tests only if asked for.
func (t *tree) sources(tests bool) []string {
	var all []string
	for name := range t.source {
		if tests || !strings.HasSuffix(name, "_test.go") {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

func checkFolders(t *tree) (faults []string) {
	for _, folder := range t.folders {
		if !slices.Contains(t.rules.places, folder) {
			faults = append(faults, fmt.Sprintf("%s/ has no place in %s", folder, rulesFile))
		}
	}
	return faults
}

func checkImports(t *tree) (faults []string) {
	for _, name := range t.sources(false) {
		pkg := path.Dir(name)
		row := t.rules.rowOf(pkg)
		if row == "" {
			faults = append(faults, fmt.Sprintf("%s: package %s has no row in %s", name, pkg, rulesFile))
			continue
		}
		may := t.rules.mayImport[row]
		for _, imported := range imports(t.source[name]) {
			if !within(imported, t.module) || slices.Contains(may, "*") {
				continue
			}
			target := strings.TrimPrefix(imported, t.module+"/")
			if other := t.rules.rowOf(target); other != row && !slices.Contains(may, other) {
				faults = append(faults, fmt.Sprintf("%s: %s imports %s; %s allows it %v", name, pkg, target, rulesFile, may))
			}
		}
	}
	return faults
}

func checkDoors(t *tree) (faults []string) {
	for _, name := range t.sources(true) {
		for _, imported := range imports(t.source[name]) {
			for module, doors := range t.rules.doors {
				if within(imported, module) && !slices.Contains(doors, path.Dir(name)) {
					faults = append(faults, fmt.Sprintf("%s imports %s, which only %v may", name, imported, doors))
				}
			}
		}
	}
	return faults
}

// checkLinks follows a program's imports through our packages. What a library
// links in turn it doesn't see: none that we use brings a Fabric SDK along.
func checkLinks(t *tree) (faults []string) {
	direct := map[string][]string{}
	for _, name := range t.sources(false) {
		direct[path.Dir(name)] = append(direct[path.Dir(name)], imports(t.source[name])...)
	}
	for program, forbidden := range t.rules.neverLink {
		seen, queue := map[string]bool{program: true}, []string{program}
		for len(queue) > 0 {
			pkg := queue[0]
			queue = queue[1:]
			for _, imported := range direct[pkg] {
				if slices.ContainsFunc(forbidden, func(module string) bool { return within(imported, module) }) {
					faults = append(faults, fmt.Sprintf("%s links %s, through %s", program, imported, pkg))
				}
				if ours, ok := strings.CutPrefix(imported, t.module+"/"); ok && !seen[ours] {
					seen[ours] = true
					queue = append(queue, ours)
				}
			}
		}
	}
	return faults
}

// checkComments wants one comment per package that says what it promises. The
// command's own may begin as its author likes.
func checkComments(t *tree) (faults []string) {
	commented := map[string]bool{}
	for _, name := range t.sources(true) {
		file := t.source[name]
		dir, pkg := path.Dir(name), file.Name.Name
		if strings.HasSuffix(name, "_test.go") && dir != "." {
			continue
		}
		text := file.Doc.Text()
		commented[dir] = commented[dir] || strings.HasPrefix(text, "Package "+pkg+" ") || pkg == "main" && text != ""
	}
	for dir, ok := range commented {
		if !ok {
			faults = append(faults, fmt.Sprintf("package %s has no package comment", dir))
		}
	}
	return faults
}

func checkGofmt(t *tree) (faults []string) {
	for name, text := range t.files {
		if !isGo(name) {
			continue
		}
		if formatted, err := format.Source(text); err != nil {
			faults = append(faults, fmt.Sprintf("%s: %v", name, err))
		} else if !bytes.Equal(formatted, text) {
			faults = append(faults, fmt.Sprintf("%s: gofmt would change it", name))
		}
	}
	return faults
}

// grep answers file:line for each match that is not excused.
func (t *tree) grep(pattern *regexp.Regexp, excused func(name, match string) bool) (faults []string) {
	for name, text := range t.files {
		for _, at := range pattern.FindAllSubmatchIndex(text, -1) {
			match := string(text[at[2]:at[3]])
			if !excused(name, match) {
				line := 1 + bytes.Count(text[:at[2]], []byte("\n"))
				faults = append(faults, fmt.Sprintf("%s:%d: %s", name, line, match))
			}
		}
	}
	return faults
}

// Brackets keep the patterns from matching themselves.
var (
	unfinished = regexp.MustCompile(`\b(TO[D]O|FIX[M]E|X[X]X)\b`)
	machines   = regexp.MustCompile(`(?:^|[^\w.~/*-])(/(?:root|work)/[\w./-]*)`)
	registries = regexp.MustCompile(`(?i)\b((?:proxy|sum|index)\.golang\.org|goproxy\.\w+|registry\.\w+\.(?:org|com)|(?:registry-1|index)\.docker\.io|pypi\.org|files\.pythonhosted\.org|mirrors\.\w+\.(?:com|cn|edu\.cn)|deb\.debian\.org)\b`)
)

func checkUnfinished(t *tree) []string {
	return t.grep(unfinished, func(name, _ string) bool { return name == "go.sum" }) // its hashes may spell anything
}

func checkMachines(t *tree) []string {
	// The route that rotates the root key, written under its group.
	faults := t.grep(machines, func(_, match string) bool { return match == "/root/rotate" })
	return append(faults, t.grep(registries, func(string, string) bool { return false })...)
}

var document = regexp.MustCompile(`^docs/design/(\d{3})-[a-z0-9-]+\.md$`)

func checkDocuments(t *tree) (faults []string) {
	numbered := map[int]string{}
	last := 0
	for name := range t.files {
		if path.Dir(name) != "docs/design" {
			continue
		}
		match := document.FindStringSubmatch(name)
		if match == nil {
			faults = append(faults, fmt.Sprintf("%s is not named NNN-title.md", name))
			continue
		}
		number, _ := strconv.Atoi(match[1])
		if other, twice := numbered[number]; twice {
			faults = append(faults, fmt.Sprintf("%s and %s have one number", name, other))
		}
		numbered[number] = name
		last = max(last, number)
	}
	for number := 1; number <= last; number++ {
		if numbered[number] == "" {
			faults = append(faults, fmt.Sprintf("docs/design has no document %03d", number))
		}
	}
	return faults
}

var (
	codeBlock    = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```|`[^`\n]*`")
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)[^)]*\)`)
)

func checkDocumentLinks(t *tree) (faults []string) {
	for name, text := range t.files {
		if !strings.HasSuffix(name, ".md") {
			continue
		}
		// Code is blanked, not cut: line numbers stay right.
		text = codeBlock.ReplaceAllFunc(text, func(code []byte) []byte {
			return bytes.Repeat([]byte("\n"), bytes.Count(code, []byte("\n")))
		})
		for _, at := range markdownLink.FindAllSubmatchIndex(text, -1) {
			target, _, _ := strings.Cut(string(text[at[2]:at[3]]), "#")
			if target == "" || strings.Contains(target, ":") {
				continue
			}
			if target = path.Join(path.Dir(name), target); !t.has(target) {
				line := 1 + bytes.Count(text[:at[2]], []byte("\n"))
				faults = append(faults, fmt.Sprintf("%s:%d: %s is not there", name, line, target))
			}
		}
	}
	return faults
}

var migration = regexp.MustCompile(`^model/migrations/(\w+)/(\d{5})_\w+\.sql$`)

// checkMigrations wants each number once in each engine's folder: two branches may have taken the same one, and no database
// can be brought up to date then.
func checkMigrations(t *tree) (faults []string) {
	numbered := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(t.files)) {
		match := migration.FindStringSubmatch(name)
		if match == nil {
			continue
		}
		if other, twice := numbered[match[1]+match[2]]; twice {
			faults = append(faults, fmt.Sprintf("%s and %s have one number", name, other))
		}
		numbered[match[1]+match[2]] = name
	}
	return faults
}

// has reports whether a file, or a folder with files in it, is in the tree.
func (t *tree) has(name string) bool {
	if _, ok := t.files[name]; ok || name == "." || t.others[name] {
		return true
	}
	for file := range t.files {
		if strings.HasPrefix(file, name+"/") {
			return true
		}
	}
	return false
}
