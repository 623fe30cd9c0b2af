// Terminal is an enterprise terminal in a terminal: a software SE-SIM, a barcode scanner on standard input, and the platform's
// gateway. This file and its neighbours only ask, show, and wire package terminal to the machine.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"cardflow/terminal"
)

// commands is the command line.
type commands struct {
	Dir     string `help:"Where the terminal keeps its key and what it remembers." placeholder:"DIR" type:"path" env:"CARDFLOW_TERMINAL_DIR"`
	Lang    string `help:"Language: zh or en." enum:"zh,en" default:"zh" env:"CARDFLOW_TERMINAL_LANG"`
	JSON    bool   `name:"json" help:"JSON on standard output instead of text."`
	PINFile string `name:"pin-file" help:"Read the PIN from a file that only its owner may read, instead of asking." placeholder:"FILE" type:"path"`

	Enrol    enrolCommand    `cmd:"" help:"入网 · make a key, and show the platform a ticket for it."`
	Status   statusCommand   `cmd:"" help:"状态 · who this terminal is, and whether the platform takes it."`
	Stock    stockCommand    `cmd:"" help:"库存 · the cards that can be sold."`
	Parties  partiesCommand  `cmd:"" help:"单位 · to whom cards can be sold."`
	Out      outCommand      `cmd:"" help:"转出 · scan cards, check, sign, send."`
	Cancel   cancelCommand   `cmd:"" help:"撤回 · take back an offer that nobody has confirmed."`
	In       inCommand       `cmd:"" help:"转入 · what is offered, and whether the goods are what is offered."`
	Trace    traceCommand    `cmd:"" help:"追溯 · the life of a card."`
	Queue    queueCommand    `cmd:"" help:"队列 · what was signed, and what came of it."`
	Selftest selftestCommand `cmd:"" help:"自检 · this program against the published vectors, the gateway against the protocol."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// environment is what every command is given.
type environment struct {
	ctx    context.Context
	dir    string
	json   bool
	pins   string // file
	words  language
	stdin  io.Reader
	lines  *bufio.Reader // of stdin
	stdout io.Writer
	stderr io.Writer
	now    func() time.Time
	hushed bool // scans of an earlier time are counted again, and not told
}

// run runs a command line and answers the exit status: 0 done, 1 failed, 2 the command line is wrong.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var c commands
	exit := -1
	parser, err := kong.New(&c, kong.Name("terminal"), kong.Description("CardFlow 卡流转 企业终端 · the enterprise terminal."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { exit = code }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	k, err := parser.Parse(args)
	if exit >= 0 {
		return exit // --help
	}
	if err != nil {
		fmt.Fprintf(stderr, "terminal: %v\nTry: terminal --help\n", err)
		return 2
	}
	if c.Dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			fmt.Fprintf(stderr, "terminal: %v\nTry: --dir DIR\n", err)
			return 2
		}
		c.Dir = filepath.Join(home, ".cardflow-terminal")
	}
	e := &environment{
		ctx: ctx, dir: c.Dir, json: c.JSON, pins: c.PINFile, words: language(c.Lang), stdin: stdin, lines: bufio.NewReader(stdin), stdout: stdout, stderr: stderr,
		now: time.Now,
	}
	if err := k.Run(e); err != nil {
		e.complain(err)
		return 1
	}
	return 0
}

// complain says what went wrong, in JSON too where that was asked for.
func (e *environment) complain(err error) {
	code, message := e.words.sentence(err)
	if e.json {
		_ = e.print(map[string]any{"error": map[string]string{"code": code, "message": message}})
	}
	if code != "" {
		code = " [" + code + "]"
	}
	fmt.Fprintln(e.stderr, wrapped(message+code))
}

// session is a terminal that is unlocked.
type session struct {
	*terminal.Terminal
	close func()
}

// open opens the terminal of the directory, and asks for its PIN.
func (e *environment) open() (s session, err error) {
	sim, err := terminal.OpenStore(e.dir)
	if err != nil {
		return s, err
	}
	state, err := terminal.OpenState(terminal.StatePath(e.dir))
	if err != nil {
		return s, err
	}
	state.Watch(pass)
	s.close = func() {
		sim.Lock()
		_ = state.Close()
	}
	if s.Terminal, err = terminal.New(sim, state, e.now); err == nil {
		err = e.unlock(sim)
	}
	if err != nil {
		s.close()
	}
	return s, err
}

// unlock asks for the PIN until it is right, or nobody is there to be asked again.
func (e *environment) unlock(sim terminal.Store) error {
	for {
		pin, err := e.pin(e.words.say("ask-pin"))
		if err != nil {
			return err
		}
		err = sim.Unlock(pin)
		pin.Clear()
		if code := terminal.CodeOf(err); code != "PIN_WRONG" && code != "TOKEN_PIN_WRONG" || !e.asksPIN() {
			return err
		}
		_, message := e.words.sentence(err)
		fmt.Fprintln(e.stderr, wrapped(message))
	}
}
