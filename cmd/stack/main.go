// Stack starts and stops private servers on this machine's loopback: what `make fabric-up` and the tests use. The work is
// in package local; here is the command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// commands is the command line.
type commands struct {
	Fabric fabricCommand `cmd:"" help:"A Fabric network: three organisations with a peer each, three orderers."`
	Hosts  hostsCommand  `cmd:"" help:"A Fabric network whose servers are hosts of their own, as in docker-compose.yml."`
	Probe  probeCommand  `cmd:"" help:"Ask a server's health page over TLS: status 0 if it is well."`
	Full   fullCommand   `cmd:"" help:"Start MariaDB, Redis and a Fabric network, run a command (a server) on them, stop them. Data stays."`
	Run    runCommand    `cmd:"" help:"Start private servers in a temporary folder, run a command with their addresses in its environment, stop them."`
	Exec   execCommand   `cmd:"" hidden:"" help:"Become another program once a line on file 3 says that this process is on record."`
	Guard  guardCommand  `cmd:"" hidden:"" help:"Wait until the standard input ends, then stop the servers of a folder and remove it."`
}

// environment is what every command is given.
type environment struct {
	ctx     context.Context // ends with the first SIGINT, SIGTERM or SIGHUP
	say     *progress
	stdout  io.Writer
	signals <-chan os.Signal // the same signals, one by one
}

// status is an exit status that is not a failure of our own.
type status int

func (s status) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	os.Exit(run(&environment{ctx: ctx, say: newProgress(os.Stderr), stdout: os.Stdout, signals: signals}, os.Args[1:]))
}

// run runs a command line and answers the exit status: 0 done, 1 failed, 2 the command line is wrong; of `run`, the
// command's own.
func run(env *environment, args []string) int {
	var c commands
	exit := -1
	parser, err := kong.New(&c, kong.Name("stack"), kong.Description("CardFlow's private servers, on loopback."),
		kong.Writers(env.stdout, env.say.to), kong.Exit(func(code int) { exit = code }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintln(env.say.to, err)
		return 1
	}
	k, err := parser.Parse(args)
	if exit >= 0 {
		return exit // --help
	}
	if err != nil {
		fmt.Fprintf(env.say.to, "stack: %v\nTry: stack --help\n", err)
		return 2
	}
	err = k.Run(env)
	var exitStatus status
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exitStatus):
		return int(exitStatus)
	default:
		fmt.Fprintf(env.say.to, "stack: %v\n", err)
		return 1
	}
}
