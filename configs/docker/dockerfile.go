package docker

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// Dockerfile is the one that builds every image of ours, in the source's folder.
const Dockerfile = "configs/docker/Dockerfile"

// Stage is one stage of a Dockerfile. Its name is the target by which it is built.
type Stage struct {
	Name, Base string
	User       string
	Entrypoint []string
	Command    []string
	Copies     []Copy
	Runs       []string
	Env        map[string]string
}

// Copy is a COPY instruction.
type Copy struct {
	From    string // stage; "" for the build context
	Flags   []string
	Sources []string
	Target  string
}

var (
	fromLine = regexp.MustCompile(`^FROM (\S+) AS (\S+)$`)
	pair     = regexp.MustCompile(`(\w+)=("[^"]*"|\S+)`)
)

// ParseDockerfile reads the instructions that ours has, and refuses others rather than to pass them over.
func ParseDockerfile(text string) ([]Stage, error) {
	var stages []Stage
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		if line == "" || line[0] == '#' {
			continue
		}
		begun := i + 1
		for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, `\`) + strings.TrimSpace(lines[i])
		}
		verb, rest, _ := strings.Cut(line, " ")
		if verb == "FROM" {
			match := fromLine.FindStringSubmatch(line)
			if match == nil {
				return nil, fmt.Errorf("line %d: %q is not FROM image AS name", begun, line)
			}
			stages = append(stages, Stage{Base: match[1], Name: match[2], Env: map[string]string{}})
			continue
		}
		if len(stages) == 0 {
			return nil, fmt.Errorf("line %d: %s before the first FROM", begun, verb)
		}
		if err := stages[len(stages)-1].add(verb, strings.TrimSpace(rest)); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", begun, verb, err)
		}
	}
	return stages, nil
}

func (s *Stage) add(verb, rest string) error {
	switch verb {
	case "ARG", "WORKDIR":
	case "USER":
		s.User = rest
	case "ENV":
		for _, match := range pair.FindAllStringSubmatch(rest, -1) {
			s.Env[match[1]] = strings.Trim(match[2], `"`)
		}
	case "RUN":
		s.Runs = append(s.Runs, rest)
	case "ENTRYPOINT":
		return json.Unmarshal([]byte(rest), &s.Entrypoint)
	case "CMD":
		return json.Unmarshal([]byte(rest), &s.Command)
	case "COPY":
		var c Copy
		words := strings.Fields(rest)
		for len(words) > 0 && strings.HasPrefix(words[0], "--") {
			if from, ok := strings.CutPrefix(words[0], "--from="); ok {
				c.From = from
			} else {
				c.Flags = append(c.Flags, words[0])
			}
			words = words[1:]
		}
		if len(words) < 2 {
			return fmt.Errorf("%q has no source and target", rest)
		}
		c.Sources, c.Target = words[:len(words)-1], words[len(words)-1]
		s.Copies = append(s.Copies, c)
	default:
		return fmt.Errorf("this reader does not know it")
	}
	return nil
}

// Ignored answers what .dockerignore, with this text, keeps from the builder: the last line that fits a name, or a folder that
// it is in, decides, and lets it through if it begins with "!". It understands plain names, and names behind
// **/; anything else is an error.
func Ignored(text string) (func(name string) bool, error) {
	type pattern struct {
		plain              string
		anywhere, admitted bool
	}
	var patterns []pattern
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		var p pattern
		p.plain, p.admitted = strings.CutPrefix(line, "!")
		if p.plain, p.anywhere = strings.CutPrefix(p.plain, "**/"); strings.ContainsAny(p.plain, "!?[]\\") || strings.Contains(p.plain, "**") {
			return nil, fmt.Errorf(".dockerignore: %q is more than this reader understands", line)
		}
		patterns = append(patterns, p)
	}
	return func(name string) bool {
		kept := false
		for _, p := range patterns {
			for at := name; at != "."; at = path.Dir(at) { // a folder takes along what is in it
				subject := at
				if p.anywhere {
					subject = path.Base(at)
				}
				if ok, _ := path.Match(p.plain, subject); ok {
					kept = !p.admitted
				}
			}
		}
		return kept
	}, nil
}
