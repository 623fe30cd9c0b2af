package fabric

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"gopkg.in/yaml.v3"
)

// profile is a connection profile as it is given to the SDK.
type profile struct {
	text  []byte
	peers []string // of the channel, in the profile's order
	msps  []string // MSP IDs of its organisations
}

// readProfile reads a profile and makes of it what the SDK can be trusted with.
//
//   - Relative paths begin where the profile stands. The SDK would begin at the working directory.
//   - The parts about users, stores and logging are dropped: the identity comes from the configuration, nothing is to be
//     kept on disk, and an unknown log level would be a panic.
func readProfile(file, channel string) (*profile, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	var whole map[string]any
	if err := yaml.Unmarshal(text, &whole); err != nil {
		return nil, fmt.Errorf("profile %s: %w", file, err)
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	resolve(whole, dir)
	client, _ := whole["client"].(map[string]any)
	for _, name := range []string{"credentialStore", "cryptoconfig", "BCCSP", "logging"} {
		delete(client, name)
	}
	var known struct {
		Channels map[string]struct {
			Orderers []string  `yaml:"orderers"`
			Peers    yaml.Node `yaml:"peers"`
		} `yaml:"channels"`
		Organizations map[string]struct {
			MSPID string `yaml:"mspid"`
		} `yaml:"organizations"`
	}
	if err := yaml.Unmarshal(text, &known); err != nil {
		return nil, fmt.Errorf("profile %s: %w", file, err)
	}
	p := &profile{}
	for _, o := range known.Organizations {
		p.msps = append(p.msps, o.MSPID)
	}
	c, ok := known.Channels[channel]
	if !ok {
		return nil, fmt.Errorf("profile %s: there is no channels.%s", file, channel)
	}
	for i := 0; i+1 < len(c.Peers.Content); i += 2 { // a mapping: keys and values in turn
		p.peers = append(p.peers, c.Peers.Content[i].Value)
	}
	// What the SDK would pass over in silence, and fail on much later.
	var faults []error
	if len(p.peers) == 0 {
		faults = append(faults, fmt.Errorf("profile %s: channels.%s.peers is empty", file, channel))
	}
	if len(c.Orderers) == 0 {
		// Orderers of the whole network, or of an organisation, are no orderers of the channel to the SDK.
		faults = append(faults, fmt.Errorf("profile %s: channels.%s.orderers is empty", file, channel))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if p.text, err = yaml.Marshal(whole); err != nil {
		return nil, fmt.Errorf("profile %s: %w", file, err)
	}
	return p, nil
}

// resolve makes the paths in a tree absolute. A path that begins with a variable is the SDK's to fill in.
func resolve(node any, dir string) {
	switch n := node.(type) {
	case map[string]any:
		for key, value := range n {
			path, ok := value.(string)
			if ok && strings.EqualFold(key, "path") && path != "" && !filepath.IsAbs(path) && !strings.HasPrefix(path, "$") {
				n[key] = filepath.Join(dir, path)
				continue
			}
			resolve(value, dir)
		}
	case []any:
		for _, each := range n {
			resolve(each, dir)
		}
	}
}
