package main

import (
	"cardflow/cmd/stack/local"
)

// hostsCommand makes and joins a Fabric network whose servers are hosts of their own: what the jobs of docker-compose.yml
// run.
type hostsCommand struct {
	Dir         string            `required:"" help:"Folder for all keys of all organisations, the genesis block, the packages." placeholder:"DIR"`
	Tools       string            `help:"Folder of Fabric's programs; built from this source by default." placeholder:"DIR"`
	Definition  string            `help:"The network's definition; configs/fabric of this source by default." placeholder:"DIR"`
	Endorsement local.Endorsement `env:"CARDFLOW_ENDORSEMENT" enum:"2-of-3,3-of-3," default:"" help:"2-of-3: the carrier and one of the others (the default of a new network); 3-of-3: all." placeholder:"2-of-3"`

	Make hostsMake `cmd:"" help:"Make keys, certificates, genesis block and packages, once, and give every host what it needs."`
	Join hostsJoin `cmd:"" help:"Have the hosts join the channel, deploy the contracts, wait until all can be used. Again is harmless."`
}

func (c *hostsCommand) config(env *environment) local.HostsConfig {
	return local.HostsConfig{Dir: c.Dir, Tools: c.Tools, Definition: c.Definition, Endorsement: c.Endorsement, Say: env.say.of("hosts")}
}

type hostsMake struct {
	Identities string `required:"" help:"Folder with a folder for each host, by its name, that takes what it needs." placeholder:"DIR"`
}

func (c *hostsMake) Run(env *environment, h *hostsCommand) error {
	config := h.config(env)
	config.Identities = c.Identities
	return local.MakeHosts(env.ctx, config)
}

type hostsJoin struct{}

func (c *hostsJoin) Run(env *environment, h *hostsCommand) error {
	return local.JoinHosts(env.ctx, h.config(env))
}
