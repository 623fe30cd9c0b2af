package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"cardflow/cmd/stack/local"
)

// fullCommand runs a command, usually a server, on everything that it stands on in production. Data, keys and ports stay
// in the folder, and the next start goes on with them.
type fullCommand struct {
	Dir          string            `default:"data/full" type:"path" help:"Folder of the servers and their data." placeholder:"DIR"`
	Endorsement  local.Endorsement `enum:"2-of-3,3-of-3," default:"" help:"Of a new network: 2-of-3, the carrier and one of the others (the default); 3-of-3: all." placeholder:"2-of-3"`
	BatchTimeout time.Duration     `help:"How long a block of a new network waits for more transactions; 200ms by default." placeholder:"200ms"`
	Probes       bool              `help:"Deploy the conformance suite's contracts, too. For tests and measurements only: they obey anybody."`
	Custodian    string            `help:"CardFlow's server, to be run as custodian beside the command: its server.yaml leads there." placeholder:"PROGRAM"`
	Demo         bool              `help:"Let the custodian take the demo's people, for serve --demo."`
	Clean        bool              `help:"Remove what the folder holds, and begin anew."`
	Command      []string          `arg:"" optional:"" passthrough:"partial" help:"Command to run, after --. STACK_DIR is the folder; its server.yaml configures a server."`
}

// folderVariable names the folder of the servers to the command.
const folderVariable = "STACK_DIR"

func (c *fullCommand) Run(env *environment) (err error) {
	if c.Command, err = afterDashes(c.Command); err != nil {
		return err
	}
	if c.Clean {
		if err := c.clean(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	return among(env, c.Dir, true, c.Command, func() (started, error) {
		full, err := local.StartFull(env.ctx, local.FullConfig{
			Dir: c.Dir, Endorsement: c.Endorsement, BatchTimeout: c.BatchTimeout, Probes: c.Probes, Say: env.say.of,
		})
		if err != nil {
			return started{}, err
		}
		config := filepath.Join(full.Dir, "server.yaml")
		if err := c.configure(env, full, config); err != nil {
			return started{}, err
		}
		fmt.Fprintf(env.say.to, "\n  MariaDB, Redis and Fabric serve. A second server on them:\n"+
			"  CARDFLOW_HTTP_LISTEN=127.0.0.1:8081 bin/server --config %s \\\n    --data %s serve\n\n", short(config), short(filepath.Join(full.Dir, "server-2")))
		with := started{variables: []string{folderVariable + "=" + full.Dir}}
		if c.Custodian != "" {
			with.vital = []string{local.CustodianName}
		}
		return with, nil
	})
}

// configure writes what a server is configured by, and starts its custodian, if it has one.
func (c *fullCommand) configure(env *environment, full *local.Full, config string) error {
	if c.Custodian == "" {
		return full.WriteServerConfig(config)
	}
	custodian := filepath.Join(full.Dir, "custodian.yaml")
	if err := full.WriteApartConfigs(config, custodian); err != nil {
		return err
	}
	var args []string
	if c.Demo {
		args = append(args, "--demo")
	}
	if err := full.StartCustodian(env.ctx, c.Custodian, custodian, args...); err != nil {
		return fmt.Errorf("custodian: %w", err)
	}
	env.say.of("custodian")("log in %s", short(filepath.Join(full.Dir, "log", "custodian.log")))
	return nil
}

// clean removes a folder that a full set of servers was made in, and no other.
func (c *fullCommand) clean() error {
	if _, err := os.Stat(c.Dir); os.IsNotExist(err) {
		return nil
	}
	for _, part := range []string{"mariadb", "redis"} {
		if _, err := os.Stat(filepath.Join(c.Dir, part)); err != nil {
			return fmt.Errorf("--clean: %s holds no servers of ours: %w", short(c.Dir), err)
		}
	}
	if err := local.StopTree(c.Dir, grace); err != nil {
		return err
	}
	return os.RemoveAll(c.Dir)
}

// short is a file's name from here, if that is shorter.
func short(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if name, err := filepath.Rel(here, path); err == nil && len(name) < len(path) {
		return name
	}
	return path
}
