// Package docker reads docker-compose.yml and the Dockerfile in this folder for tests: there may be no Docker where they
// run, and a deployment that nobody has run should at least be held against the programs, the files and the rules that it
// depends on. Nothing that is deployed links it.
package docker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// File is the deployment, in the source's folder.
const File = "docker-compose.yml"

// Required are values for the variables that have no default.
func Required() map[string]string {
	return map[string]string{
		"CARDFLOW_PUBLIC_URL":    "https://cards.example.com",
		"CARDFLOW_WECHAT_APP_ID": "wx0123456789abcdef",
	}
}

// Load reads the deployment as `docker compose` does, from the source's folder root with an environment, overridden by
// more documents of the same kind.
func Load(ctx context.Context, root string, env map[string]string, overrides ...string) (*types.Project, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	details := types.ConfigDetails{
		WorkingDir:  root,
		Environment: env,
		ConfigFiles: []types.ConfigFile{{Filename: filepath.Join(root, File)}},
	}
	for i, text := range overrides {
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{
			Filename: filepath.Join(root, fmt.Sprintf("override-%d.yml", i)), Content: []byte(text),
		})
	}
	return loader.LoadWithContext(ctx, details)
}

// Command is what a service's container runs, the program and its arguments: its own, else its image's. An entrypoint of
// its own does away with the image's command as well. Of somebody else's image only the service's own part is known.
func Command(service types.ServiceConfig, stages []Stage) ([]string, error) {
	entrypoint, command := []string(service.Entrypoint), []string(service.Command)
	if entrypoint == nil && Ours(service) != "" {
		stage, err := stageOf(service, stages)
		if err != nil {
			return nil, err
		}
		entrypoint = stage.Entrypoint
		if command == nil {
			command = stage.Command
		}
	}
	return slices.Concat(entrypoint, command), nil
}

// ours begins the names of the images that are built here; the target follows.
const ours = "cardflow/"

// Ours is the Dockerfile's target of a service's image, "" if it is somebody else's image.
func Ours(service types.ServiceConfig) string {
	name, ok := strings.CutPrefix(service.Image, ours)
	if !ok {
		return ""
	}
	target, _, _ := strings.Cut(name, ":")
	return target
}

func stageOf(service types.ServiceConfig, stages []Stage) (Stage, error) {
	target := Ours(service)
	for _, s := range stages {
		if target != "" && s.Name == target {
			return s, nil
		}
	}
	return Stage{}, fmt.Errorf("service %s: no stage builds its image %s", service.Name, service.Image)
}

// Environment is a service's, in the form of os.Environ.
func Environment(service types.ServiceConfig) []string {
	var env []string
	for name, value := range service.Environment {
		if value != nil {
			env = append(env, name+"="+*value)
		}
	}
	slices.Sort(env)
	return env
}

// Read reads a file of the source's folder.
func Read(root string, elem ...string) (string, error) {
	text, err := os.ReadFile(filepath.Join(append([]string{root}, elem...)...))
	return string(text), err
}
