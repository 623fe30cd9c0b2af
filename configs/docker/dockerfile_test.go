package docker_test

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cardflow/configs/docker"
)

func stages(t *testing.T) map[string]docker.Stage {
	t.Helper()
	list, err := docker.ParseDockerfile(read(t, filepath.FromSlash(docker.Dockerfile)))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]docker.Stage{}
	for _, s := range list {
		named[s.Name] = s
	}
	return named
}

// bases are what images of ours stand on: nothing, or what has no more than a shell.
var bases = regexp.MustCompile(`^(scratch|alpine:\d+\.\d+|golang:\d+\.\d+-bookworm)$`)

// TestStages: each image of ours is small, its user nobody; whatever is copied into it is there.
func TestStages(t *testing.T) {
	all := stages(t)
	ignored, err := docker.Ignored(read(t, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, s := range load(t, docker.Required()).Services {
		used[docker.Ours(s)] = true
	}
	for name, s := range all {
		if !bases.MatchString(s.Base) {
			t.Errorf("%s stands on %s", name, s.Base)
		}
		deployed := used[name]
		if deployed == strings.HasPrefix(s.Base, "golang:") {
			t.Errorf("%s stands on %s: deployed is %t", name, s.Base, deployed)
		}
		if deployed && (s.User != "10001:10001" || len(s.Entrypoint) == 0 || len(s.Runs) > 0) {
			t.Errorf("%s runs %v as %q, and %d commands were run in it", name, s.Entrypoint, s.User, len(s.Runs))
		}
		for _, c := range s.Copies {
			for _, source := range c.Sources {
				if c.From != "" {
					if _, ok := all[c.From]; !ok {
						t.Errorf("%s copies %s from %s, which is no stage", name, source, c.From)
					}
					continue
				}
				files, err := filepath.Glob(filepath.Join(root, source))
				if err != nil || len(files) == 0 {
					t.Errorf("%s copies %s, which is not there", name, source)
				}
				if source != "." && ignored(source) {
					t.Errorf("%s copies %s, which .dockerignore keeps back", name, source)
				}
			}
		}
	}
	for target := range used {
		if _, ok := all[target]; target != "" && !ok {
			t.Errorf("no stage is called %s", target)
		}
	}
}

var goVersion = regexp.MustCompile(`(?m)^go (\d+\.\d+)`)

// TestPrograms: what the images are made from can be built as they build it, without a C compiler, from what they are sent.
func TestPrograms(t *testing.T) {
	all := stages(t)
	ignored, err := docker.Ignored(read(t, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	want := "golang:" + goVersion.FindStringSubmatch(read(t, "go.mod"))[1] + "-bookworm"
	for _, name := range []string{"build", "fabric"} {
		if all[name].Base != want || all[name].Env["CGO_ENABLED"] != "0" || !strings.Contains(all[name].Env["GOFLAGS"], "-mod=readonly") {
			t.Errorf("%s builds in %s with %v, want %s", name, all[name].Base, all[name].Env, want)
		}
	}
	packages := regexp.MustCompile(`\./cmd/\S+`).FindAllString(strings.Join(all["build"].Runs, "\n"), -1)
	if len(packages) != 3 {
		t.Fatalf("the programs are %v", packages)
	}
	produced := map[string]bool{"data": true, "identities": true}
	for _, p := range packages {
		produced[filepath.Base(p)] = true
	}
	for tool := range strings.Lines(read(t, "configs", "fabric", "tools", "go.mod")) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(tool), "github.com/hyperledger/fabric/cmd/"); ok {
			produced[path] = true
		}
	}
	for name, s := range all {
		for _, c := range s.Copies {
			for _, source := range c.Sources {
				if out, ok := strings.CutPrefix(source, "/out/"); ok && !produced[out] {
					t.Errorf("%s copies %s, which nobody makes", name, source)
				}
			}
		}
		if len(s.Entrypoint) > 0 && !produced[filepath.Base(s.Entrypoint[0])] {
			t.Errorf("%s runs %v, which nobody makes", name, s.Entrypoint)
		}
	}

	// Without cgo a package of which nothing is left is an error; and no file of ours that is needed may be kept back.
	list := exec.Command("go", append([]string{"list", "-deps", "-json=ImportPath,Dir,GoFiles,EmbedFiles,Module,Standard,CgoFiles,DepsErrors,Error"}, packages...)...)
	list.Dir, list.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly -buildvcs=false")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, list.Stderr)
	}
	here, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var p struct {
			ImportPath, Dir               string
			GoFiles, EmbedFiles, CgoFiles []string
			DepsErrors                    []struct{ Err string }
			Error                         *struct{ Err string }
			Module                        *struct{ Main bool }
		}
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if p.Error != nil || len(p.DepsErrors) > 0 || len(p.CgoFiles) > 0 {
			t.Errorf("%s can't be built without C: %v %v %v", p.ImportPath, p.Error, p.DepsErrors, p.CgoFiles)
		}
		if p.Module == nil || !p.Module.Main {
			continue
		}
		for _, file := range slices.Concat(p.GoFiles, p.EmbedFiles) {
			rel, err := filepath.Rel(here, filepath.Join(p.Dir, file))
			if err != nil || ignored(filepath.ToSlash(rel)) {
				t.Errorf("%s is needed and kept back: %v", rel, err)
			}
			seen++
		}
	}
	if seen < 200 {
		t.Errorf("only %d files of ours were seen", seen)
	}
}

// TestFabricVersion: the images have the Fabric that tests run on, and say so.
func TestFabricVersion(t *testing.T) {
	match := regexp.MustCompile(`fabricVersion = "(\S+)"`).FindStringSubmatch(read(t, "cmd", "stack", "local", "tools.go"))
	if match == nil {
		t.Fatal("the version is not where it was")
	}
	if runs := strings.Join(stages(t)["fabric"].Runs, "\n"); !strings.Contains(runs, "metadata.Version=v"+match[1]+`"`) {
		t.Errorf("the images say another version than %s: %s", match[1], runs)
	}
}

// TestFoldersOfVolumes: a new volume takes its owner from the image's folder, so every volume of ours that is written to
// has one, where it is mounted first.
func TestFoldersOfVolumes(t *testing.T) {
	all := stages(t)
	owner := map[string]string{} // stage and folder → user
	for name, s := range all {
		for _, c := range s.Copies {
			for _, flag := range c.Flags {
				if user, ok := strings.CutPrefix(flag, "--chown="); ok {
					owner[name+" "+c.Target] = user
				}
			}
		}
	}
	made := map[string]bool{}
	for _, host := range regexp.MustCompile(`for host in ([^;]+);`).FindAllStringSubmatch(strings.Join(all["build"].Runs, "\n"), -1) {
		for _, name := range strings.Fields(host[1]) {
			made["/identities/"+name] = true
		}
	}
	for name, s := range load(t, docker.Required()).Services {
		target := docker.Ours(s)
		if target == "" {
			continue
		}
		for _, v := range s.Volumes {
			switch {
			case v.ReadOnly:
			case strings.HasPrefix(v.Target, "/identities/"):
				if !made[v.Target] || owner[target+" /identities"] != s.User {
					t.Errorf("%s: nobody made %s", name, v.Target)
				}
				delete(made, v.Target)
			case owner[target+" "+v.Target] != s.User:
				t.Errorf("%s writes to %s, which would be %q's", name, v.Target, owner[target+" "+v.Target])
			}
		}
	}
	if len(made) > 0 {
		t.Errorf("these folders have no volume: %v", slices.Sorted(maps.Keys(made)))
	}
}

func TestParseDockerfile(t *testing.T) {
	good := "# x\nFROM scratch AS a\nUSER 1:2\nENV A=1 B=\"c d\"\nRUN one \\\n    two\nCOPY --from=b --chown=1:2 /x /y /z/\nENTRYPOINT [\"/p\", \"q\"]\nCMD [\"r\"]\n"
	list, err := docker.ParseDockerfile(good)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	s := list[0]
	if s.Name != "a" || s.Base != "scratch" || s.User != "1:2" || s.Env["A"] != "1" || s.Env["B"] != "c d" || !slices.Equal(s.Runs, []string{"one two"}) ||
		!slices.Equal(s.Entrypoint, []string{"/p", "q"}) || !slices.Equal(s.Command, []string{"r"}) || len(s.Copies) != 1 ||
		s.Copies[0].From != "b" || !slices.Equal(s.Copies[0].Flags, []string{"--chown=1:2"}) || !slices.Equal(s.Copies[0].Sources, []string{"/x", "/y"}) || s.Copies[0].Target != "/z/" {
		t.Errorf("read %+v", s)
	}
	for _, bad := range []string{"FROM scratch\n", "USER 1\n", "FROM a AS b\nADD x y\n", "FROM a AS b\nCOPY x\n", "FROM a AS b\nCMD serve\n"} {
		if _, err := docker.ParseDockerfile(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

func TestIgnored(t *testing.T) {
	ignored, err := docker.Ignored("# x\nbin\nconfigs/docker\n**/*.md\n**/testdata\n!a/testdata/kept.json\n**/*.bak\n")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"bin": true, "bin/server": true, "cmd/bin": false, "configs/docker/x": true, "configs/fabric": false, "README.md": true, "a/b/c.md": true,
		"a/testdata/x.go": true, "a/test.go": false, "a/testdata/kept.json": false, "b/testdata/kept.json": true, "a/testdata/kept.json.bak": true,
	} {
		if ignored(name) != want {
			t.Errorf("%s is kept back: %t", name, !want)
		}
	}
	for _, bad := range []string{"!!go.mod", "a/**/b", "[ab]"} {
		if _, err := docker.Ignored(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
