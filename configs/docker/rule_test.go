package docker_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"cardflow/configs/docker"
)

// rules are what every deployment has to keep. Each answers the faults it finds in one service.
var rules = map[string]func(p *types.Project, s types.ServiceConfig) faults{
	"pinned":   pinned,
	"confined": confined,
	"watched":  watched,
	"bounded":  bounded,
	"private":  private,
	"secret":   secret,
	"mounted":  mounted,
	"ordered":  ordered,
	"built":    built,
}

// faults collects what is wrong.
type faults []string

func (f *faults) must(ok bool, format string, args ...any) {
	if !ok {
		*f = append(*f, fmt.Sprintf(format, args...))
	}
}

var (
	imageName = regexp.MustCompile(`^([a-z0-9-]+/)?[a-z0-9-]+:(\S+)$`) // of the default registry: no host is named
	version   = regexp.MustCompile(`^\d+\.\d+`)
	someUser  = regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`)
)

// isJob: it does its work and ends.
func isJob(s types.ServiceConfig) bool { return s.Restart == types.RestartPolicyNo }

// pinned: the images are of known versions, and nobody can put his own in their place.
func pinned(_ *types.Project, s types.ServiceConfig) (f faults) {
	match := imageName.FindStringSubmatch(s.Image)
	f.must(match != nil, "image %q is not name:tag", s.Image)
	switch {
	case match == nil:
	case docker.Ours(s) == "":
		f.must(version.MatchString(match[2]), "image %s has no version", s.Image)
		f.must(s.Build == nil, "image %s is built here under somebody else's name", s.Image)
	default:
		f.must(s.PullPolicy == types.PullPolicyNever || s.PullPolicy == types.PullPolicyBuild, "image %s could be pulled from whoever takes the name", s.Image)
	}
	return f
}

// confined: whoever breaks into a container is nobody there, and changes nothing.
func confined(_ *types.Project, s types.ServiceConfig) (f faults) {
	f.must(s.ReadOnly, "its root can be written to")
	f.must(someUser.MatchString(s.User), "its user is %q, not uid:gid of somebody", s.User)
	f.must(slices.Equal(s.CapDrop, []string{"ALL"}) && len(s.CapAdd) == 0, "it keeps capabilities: drop %v, add %v", s.CapDrop, s.CapAdd)
	f.must(slices.Contains(s.SecurityOpt, "no-new-privileges:true"), "it may gain privileges")
	f.must(!s.Privileged && len(s.Devices) == 0 && s.Pid == "" && s.Ipc == "" && s.UserNSMode == "" && s.NetworkMode != "host", "it shares something with the host")
	for _, group := range s.GroupAdd {
		f.must(group != "0" && group != "root", "it is in root's group")
	}
	return f
}

// watched: somebody learns whether it works.
func watched(p *types.Project, s types.ServiceConfig) (f faults) {
	if isJob(s) {
		f.must(s.HealthCheck == nil, "a job is done or not; it has a health check")
		waited := false
		for _, other := range p.Services {
			waited = waited || other.DependsOn[s.Name].Condition == types.ServiceConditionCompletedSuccessfully
		}
		f.must(waited, "nobody waits for this job")
		return f
	}
	f.must(s.Restart == types.RestartPolicyUnlessStopped, "it is not started again: %q", s.Restart)
	h := s.HealthCheck
	f.must(h != nil && !h.Disable && len(h.Test) > 1 && h.Interval != nil && h.Timeout != nil && h.Retries != nil && h.StartPeriod != nil, "it has no whole health check")
	f.must(s.StopGracePeriod != nil, "it is not said how long it may take to stop")
	return f
}

// bounded: none of them takes the machine away from the others.
func bounded(_ *types.Project, s types.ServiceConfig) (f faults) {
	if s.Deploy == nil || s.Deploy.Resources.Limits == nil {
		return faults{"it has no limits"}
	}
	l := s.Deploy.Resources.Limits
	f.must(l.MemoryBytes >= 64<<20 && l.NanoCPUs > 0 && l.Pids > 0, "memory, processors or processes have no limit")
	f.must(s.Logging != nil && s.Logging.Options["max-size"] != "" && s.Logging.Options["max-file"] != "", "its log fills the disk")
	for _, t := range s.Tmpfs {
		f.must(strings.Contains(t, "size="), "%s fills the memory", t)
	}
	return f
}

// private: one service can be reached from outside, from this machine; all others from each other only.
func private(p *types.Project, s types.ServiceConfig) (f faults) {
	for _, port := range s.Ports {
		ip := net.ParseIP(port.HostIP)
		f.must(s.Name == "server", "it publishes port %s", port.Published)
		f.must(ip != nil && ip.IsLoopback(), "it publishes port %s on %q", port.Published, port.HostIP)
	}
	f.must(len(s.Networks) > 0 || s.NetworkMode == "none", "it is on no network that this file names")
	for name := range s.Networks {
		n, ok := p.Networks[name]
		f.must(ok && (n.Internal || name == "edge" && (s.Name == "server" || s.Name == "custodian")), "network %s leads out", name)
	}
	return f
}

var (
	secretName = regexp.MustCompile(`PASSWORD|PASSWD|PWD|SECRET|TOKEN|PRIVATE|CREDENTIAL`)
	secretFile = regexp.MustCompile(`/run/secrets/(\w+)`)
)

// secret: no secret stands in the file, in a variable or on a command line, and none has a default.
func secret(p *types.Project, s types.ServiceConfig) (f faults) {
	for name, value := range s.Environment {
		if value == nil {
			f.must(false, "%s comes from whatever shell starts it", name)
			continue
		}
		f.must(!secretName.MatchString(name) || strings.HasSuffix(name, "_FILE"), "%s is a secret in a variable", name)
		account, _, ok := strings.Cut(*value, "@tcp(")
		f.must(!ok || !strings.Contains(account, ":"), "%s has a password in it", name)
	}
	granted := map[string]bool{}
	for _, g := range s.Secrets {
		granted[g.Source] = true
		file := p.Secrets[g.Source]
		rel, err := filepath.Rel(p.WorkingDir, file.File)
		f.must(err == nil && file.Content == "" && file.Environment == "" && filepath.Dir(rel) == "secrets", "secret %s is not a file in secrets/", g.Source)
	}
	used := map[string]bool{}
	for _, match := range secretFile.FindAllStringSubmatch(said(s), -1) {
		used[match[1]] = true
		f.must(granted[match[1]], "it reads the secret %s, which it has not got", match[1])
	}
	for name := range granted {
		f.must(used[name], "it has the secret %s and does not read it", name)
	}
	return f
}

// said is everything that a service is told.
func said(s types.ServiceConfig) string {
	words := slices.Concat([]string(s.Entrypoint), []string(s.Command), docker.Environment(s))
	if s.HealthCheck != nil {
		words = append(words, s.HealthCheck.Test...)
	}
	return strings.Join(words, "\n")
}

// mounted: what it mounts is there, nobody writes to what is somebody else's.
func mounted(p *types.Project, s types.ServiceConfig) (f faults) {
	for _, c := range s.Configs {
		info, err := os.Stat(p.Configs[c.Source].File)
		f.must(err == nil && info.Mode().IsRegular(), "its file %s is not in the source: %v", c.Source, err)
		f.must(p.Configs[c.Source].Content == "", "its file %s stands in the deployment: a read-only container can't be given it", c.Source)
	}
	for _, v := range s.Volumes {
		f.must(v.Type == types.VolumeTypeVolume && v.Source != "", "it mounts %s %q of the machine", v.Type, v.Source)
		f.must(!strings.HasSuffix(v.Source, "-identity") || v.ReadOnly || s.Name == "material", "it may change the keys in %s", v.Source)
		filled := strings.HasSuffix(v.Source, "-identity") || v.Source == "material"
		f.must(!filled || s.Name == "material" || v.Volume != nil && v.Volume.NoCopy, "it may become the owner of %s before the job has filled it", v.Source)
		f.must(v.Source != "material" || isJob(s), "it sees everybody's keys")
		for _, other := range p.Services {
			for _, theirs := range other.Volumes {
				socket := v.Source == "custodian-socket" && (s.Name == "custodian" || v.ReadOnly)
				f.must(theirs.Source != v.Source || other.Name == s.Name || isJob(s) || isJob(other) || socket, "%s has its volume %s, too", other.Name, v.Source)
			}
		}
	}
	return f
}

// ordered: what it waits for can come, and it waits for its keys.
func ordered(p *types.Project, s types.ServiceConfig) (f faults) {
	for name, d := range s.DependsOn {
		other := p.Services[name]
		switch d.Condition {
		case types.ServiceConditionHealthy:
			f.must(!isJob(other) && other.HealthCheck != nil, "it waits for %s to be well, which never is", name)
		case types.ServiceConditionCompletedSuccessfully:
			f.must(isJob(other), "it waits for %s to end, which never does", name)
		default:
			f.must(false, "it waits for %s only to have been started", name)
		}
	}
	var after func(name string, seen map[string]bool) bool
	after = func(name string, seen map[string]bool) bool {
		for other := range p.Services[name].DependsOn {
			if other == "material" || !seen[other] && after(other, seen) {
				return true
			}
			seen[other] = true
		}
		return false
	}
	for _, v := range s.Volumes {
		f.must(!strings.HasSuffix(v.Source, "-identity") || s.Name == "material" || after(s.Name, map[string]bool{}), "it may start before it has keys")
	}
	return f
}

// built: an image of ours comes from the stage of its name, and somebody builds it, once.
func built(p *types.Project, s types.ServiceConfig) (f faults) {
	target := docker.Ours(s)
	if target == "" {
		return nil
	}
	builders := 0
	for _, other := range p.Services {
		if other.Image == s.Image && other.Build != nil {
			builders++
		}
	}
	f.must(builders == 1, "%d services build %s", builders, s.Image)
	if s.Build == nil {
		return f
	}
	f.must(s.PullPolicy == types.PullPolicyBuild, "it builds %s and may take another", s.Image)
	f.must(s.Build.Target == target, "%s is built from stage %s", s.Image, s.Build.Target)
	f.must(s.Build.Context == p.WorkingDir && filepath.ToSlash(s.Build.Dockerfile) == docker.Dockerfile, "it is built from %s in %s", s.Build.Dockerfile, s.Build.Context)
	for name := range s.Build.Args {
		f.must(name == "GOPROXY" || name == "GOSUMDB", "build argument %s would stay in the image's history", name)
	}
	return f
}
