package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"time"

	"cardflow/cmd/stack/local"
)

// fabricCommand starts, stops and asks a Fabric network.
type fabricCommand struct {
	Dir string `default:"data/fabric" type:"path" help:"The network's folder." placeholder:"DIR"`

	Up      fabricUp      `cmd:"" help:"Start the network; make it first, if there is none in the folder."`
	Down    fabricDown    `cmd:"" help:"Stop it. Keys and data stay; with --clean they go."`
	Status  fabricStatus  `cmd:"" help:"List its servers. Exit status 0 if all run, else 1."`
	Peer    fabricPeer    `cmd:"" help:"Run Fabric's peer command as an organisation's administrator."`
	Build   fabricBuild   `cmd:"" help:"Build Fabric's programs, if they have not been yet. up does so by itself."`
	Upgrade fabricUpgrade `cmd:"" help:"Replace chaincodes by what the source is now, under the next sequence number."`
}

type fabricBuild struct{}

func (c *fabricBuild) Run(env *environment) error {
	return local.BuildFabric(env.ctx, env.say.of("fabric"))
}

type fabricUp struct {
	Endorsement  local.Endorsement `enum:"2-of-3,3-of-3," default:"" help:"2-of-3: the carrier and one of the others (the default of a new network); 3-of-3: all." placeholder:"2-of-3"`
	BatchTimeout time.Duration     `help:"How long a block waits for more transactions; a new network's default is 200ms." placeholder:"200ms"`
	Ports        int               `help:"The network takes 100 ports from this one on; free ones by default." placeholder:"BASE"`
	Probes       bool              `help:"Deploy the conformance suite's contracts, too. For tests only: they obey anybody."`
}

func (c *fabricUp) Run(env *environment, f *fabricCommand) error {
	network, err := local.StartFabric(env.ctx, local.FabricConfig{
		Dir: f.Dir, Endorsement: c.Endorsement, BatchTimeout: c.BatchTimeout, BasePort: c.Ports, Probes: c.Probes, Say: env.say.of("fabric"),
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(env.stdout, "\n  The network is up. Its connection profile, for the server:\n  %s\n", network.Profile())
	return nil
}

type fabricDown struct {
	Clean bool `help:"Remove the network with its keys and data."`
}

func (c *fabricDown) Run(env *environment, f *fabricCommand) error {
	say := env.say.of("fabric")
	if c.Clean {
		if err := local.RemoveFabric(env.ctx, f.Dir); err != nil {
			return err
		}
		say("stopped, and removed from %s", f.Dir)
		return nil
	}
	if err := local.StopFabric(env.ctx, f.Dir); err != nil {
		return err
	}
	say("stopped; keys and data stay in %s", f.Dir)
	return nil
}

type fabricStatus struct{}

func (c *fabricStatus) Run(env *environment, f *fabricCommand) error {
	network, err := local.OpenFabric(f.Dir)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(env.ctx, time.Minute)
	defer cancel()
	down := 0
	fmt.Fprintf(env.stdout, "  %-40s %8s %6s  %s\n", "SERVER", "PROCESS", "PORT", "STATE")
	for _, s := range network.Status(ctx) {
		state, pid := "serves", fmt.Sprint(s.Pid)
		switch {
		case s.Pid == 0:
			down++
			state, pid = "does not run", "-"
		case s.Fault != "":
			down++
			state = "does not answer"
		case s.Leader:
			state = fmt.Sprintf("%d blocks, leads", s.Height)
		case s.Kind != local.KindChaincode:
			state = fmt.Sprintf("%d blocks", s.Height)
		}
		fmt.Fprintf(env.stdout, "  %-40s %8s %6d  %s\n", s.Name, pid, s.Port, state)
	}
	if down > 0 {
		return status(1)
	}
	return nil
}

type fabricPeer struct {
	As   string   `enum:"carrier,platform,regulator" default:"platform" help:"Organisation: carrier, platform or regulator." placeholder:"platform"`
	Args []string `arg:"" passthrough:"partial" help:"Its arguments, after --: for example lifecycle chaincode querycommitted -C cardflow."`
}

func (c *fabricPeer) Run(env *environment, f *fabricCommand) error {
	network, err := local.OpenFabric(f.Dir)
	if err != nil {
		return err
	}
	path, vars, err := network.PeerCommand(c.As)
	if err != nil {
		return err
	}
	if len(c.Args) > 0 && c.Args[0] == "--" {
		c.Args = c.Args[1:]
	}
	cmd := exec.CommandContext(env.ctx, path, c.Args...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = vars, os.Stdin, env.stdout, env.say.to
	return exitStatus(cmd.Run())
}

type fabricUpgrade struct {
	Chaincodes  []string          `arg:"" optional:"" help:"identity and ownership by default."`
	Endorsement local.Endorsement `enum:"2-of-3,3-of-3" default:"2-of-3" help:"The policy from then on: 2-of-3 or 3-of-3."`
}

func (c *fabricUpgrade) Run(env *environment, f *fabricCommand) error {
	network, err := local.OpenFabric(f.Dir)
	if err != nil {
		return err
	}
	if len(c.Chaincodes) == 0 {
		c.Chaincodes = []string{"identity", "ownership"}
	}
	say := env.say.of("fabric")
	for _, name := range c.Chaincodes {
		if err := network.Upgrade(env.ctx, name, c.Endorsement); err != nil {
			return err
		}
		say("%s upgraded, %s", name, c.Endorsement)
	}
	return nil
}
