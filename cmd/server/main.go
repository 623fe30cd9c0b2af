// Server is CardFlow's backend in one binary. This file and its neighbours only
// read the configuration and wire the other packages together.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"

	"cardflow/custody"
	"cardflow/transfer"
	"cardflow/transfer/cardfile"
)

// commands is the command line.
type commands struct {
	Config string `help:"Configuration file (YAML). Without one everything runs in this process, for a trial; see configs/embedded.yaml." placeholder:"FILE" type:"path"`
	Data   string `help:"Data directory; overrides the configuration's data_dir." placeholder:"DIR" type:"path"`

	Serve     serveCommand     `cmd:"" default:"withargs" help:"Run the server (the default)."`
	Custodian custodianCommand `cmd:"" help:"Run custody in a process of its own, which the servers on this machine reach by a socket, others by mutual TLS."`
	Demo      demoCommand      `cmd:"" help:"Play the whole story on a fresh data directory and check it."`
	Proposals proposalsCommand `cmd:"" help:"Dangerous acts that take two people: propose, look, decide."`
	Quotas    quotasCommand    `cmd:"" help:"How many signatures a day: look, lower, propose more."`
	People    peopleCommand    `cmd:"" help:"The directory of staff: who may log in, and which accounts are one person's."`
	Devices   devicesCommand   `cmd:"" help:"An organisation's terminals: list, give a ticket, suspend, report lost, revoke, replace."`
	Fsck      fsckCommand      `cmd:"" help:"Compare database and ledger row by row. The server must be stopped."`
	Audit     auditCommand     `cmd:"" help:"Custody's audit: verify, list, export."`
	Keys      keysCommand      `cmd:"" help:"Custodial keys: list, find, show, suspend, resume, rotate, revoke, destroy."`
	Gateway   gatewayCommand   `cmd:"" name:"gateway-key" help:"Keys by which terminals are answered: list, rotate, retire."`
	Migrate   migrateCommand   `cmd:"" help:"Bring the database to this version's schema."`
	Bench     benchCommand     `cmd:"" help:"Measure; figures and curves go to docs/performance."`
	Check     checkCommand     `cmd:"" name:"config" help:"Check the configuration and name all its faults."`
	Unseal    unsealCommand    `cmd:"" help:"Bring a share of the root key to the running server, or lift an emergency stop."`
	Seal      sealCommand      `cmd:"" help:"Emergency stop: no server signs any more, until somebody unseals."`
	Root      rootCommand      `cmd:"" help:"The root key: make it, look at it, rotate it."`
	Backup    backupCommand    `cmd:"" help:"Put what must not be lost into one encrypted file; begin anew from it; prove that one can."`
	Health    healthCommand    `cmd:"" help:"Ask the server, or the custodian, that runs with this configuration whether it is ready: status 0 if so."`

	Completion kongcompletion.Completion `cmd:"" help:"Make the shell complete this program's commands and flags: bash, zsh, fish."`
}

// xlsCommand is the hidden command by which the server starts itself to read a .xls file in a process of its own.
const xlsCommand = "read-xls"

func main() {
	if len(os.Args) > 1 && os.Args[1] == xlsCommand {
		os.Exit(cardfile.XLSMain(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
	}
	onDisk := custody.KeepOffDisk() // before any key is read, whatever the command
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr, onDisk))
}

// environment is what every command is given.
type environment struct {
	ctx    context.Context
	config Config
	logger *slog.Logger
	stdin  io.Reader
	asks   *asker // see there
	stdout io.Writer
	stderr io.Writer
	onDisk error // why what is in memory may get onto a disk: see [custody.KeepOffDisk]
}

// run runs a command line and answers the exit status: 0 done, 1 failed, 2 the command line or configuration is wrong.
func run(ctx context.Context, args, env []string, stdout, stderr io.Writer, onDisk error) int {
	var c commands
	exit := -1
	parser, err := kong.New(&c, kong.Name("server"), kong.Description("CardFlow 卡流转: hand-overs of IoT SIM cards, on a ledger, signed by both sides."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exit = code }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	kongcompletion.Register(parser)
	if exit >= 0 {
		return exit // a shell asked how a line might go on
	}
	k, err := parser.Parse(args)
	if exit >= 0 {
		return exit // --help
	}
	if err != nil {
		fmt.Fprintf(stderr, "server: %v\nTry: server --help\n", err)
		return 2
	}
	config, err := Load(c.Config, env)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	if c.Data != "" {
		config.DataDir = c.Data
	}
	logs := config.Log
	if terminal(stderr) {
		logs = beside(k.Command(), logs)
	}
	if err := k.Run(&environment{ctx: ctx, config: config, logger: newLogger(logs, stderr), stdin: os.Stdin, stdout: stdout, stderr: stderr, onDisk: onDisk}); err != nil {
		fmt.Fprintf(stderr, "server: %v\n", err)
		if c := (*custody.Error)(nil); errors.As(err, &c) {
			fmt.Fprintln(stderr, c.Message)
		}
		if t := (*transfer.Error)(nil); errors.As(err, &t) {
			fmt.Fprintln(stderr, t.Message())
		}
		return 1
	}
	return 0
}

// beside is what a command logs on a terminal where it talks with somebody: what a server notes of its day would run into
// that.
func beside(command string, c LogConfig) LogConfig {
	if name, _, _ := strings.Cut(command, " "); name != "serve" && name != "custodian" && c.Level == "info" {
		c.Level = "warn"
	}
	return c
}

func newLogger(c LogConfig, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Level)); err != nil {
		level = slog.LevelInfo // the configuration was validated
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// checkCommand is `server config`: loading has checked everything.
type checkCommand struct {
	JSON bool `name:"json" help:"JSON instead of text."`
}

// Run implements the command.
func (c checkCommand) Run(e *environment) error {
	if c.JSON {
		return printJSON(e.stdout, map[string]any{"sound": true})
	}
	fmt.Fprintln(e.stdout, "the configuration is sound")
	return nil
}
