package adapter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"cardflow/ledger/contract"
)

// Command is the command line that chaincode programs have in common. The variables are those that chaincode-as-a-service
// programs are usually given.
type Command struct {
	ID       string   `name:"id" env:"CHAINCODE_ID" help:"Package ID of the chaincode on the peer (label:hash)."`
	IDFile   string   `name:"id-file" env:"CHAINCODE_ID_FILE" help:"File that holds the package ID, for whoever learns it later than he says how this is started." placeholder:"FILE"`
	Address  string   `env:"CHAINCODE_SERVER_ADDRESS" help:"Address to listen on." placeholder:"HOST:PORT"`
	Contract string   `env:"CHAINCODE_CONTRACT" help:"Contract to serve. By default the one whose name is the package's label up to the first underscore."`
	Also     []string `env:"CHAINCODE_ALSO" help:"More contracts in this process, each at an address of its own." placeholder:"CONTRACT=ID@HOST:PORT"`

	TLSDisabled bool   `name:"tls-disabled" env:"CHAINCODE_TLS_DISABLED" help:"Serve without TLS. Only where nobody else reaches the address."`
	TLSCert     string `name:"tls-cert" env:"CHAINCODE_TLS_CERT" help:"Certificate (PEM)." placeholder:"FILE"`
	TLSKey      string `name:"tls-key" env:"CHAINCODE_TLS_KEY" help:"Its key (PEM)." placeholder:"FILE"`
	ClientCA    string `name:"client-ca" env:"CHAINCODE_CLIENT_CA_CERT" help:"Only peers with a certificate of these CAs may connect (PEM)." placeholder:"FILE"`

	LogFormat string        `name:"log-format" env:"CHAINCODE_LOG_FORMAT" enum:"text,json" default:"text" help:"text or json, on standard error."`
	Grace     time.Duration `env:"CHAINCODE_SHUTDOWN_GRACE" default:"5s" help:"How long calls may go on after SIGTERM."`

	Serve   struct{}       `cmd:"" default:"1" help:"Serve (the default)."`
	Health  struct{}       `cmd:"" help:"Ask the server that runs with these settings whether it takes calls: status 0 if so."`
	Package packageCommand `cmd:"" help:"Make the package that tells a peer where the server is, and print its ID."`
}

// Main runs the command line of a program that can serve some contracts, and answers the exit status: 0 done, 1 failed,
// 2 the command line is wrong. options are added to kong's: the program's name, and what more its grammar binds.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer, grammar any, c *Command, contracts func() []contract.Contract, options ...kong.Option) int {
	exit := -1
	parser, err := kong.New(grammar, append(options, kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))...)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	k, err := parser.Parse(args)
	if exit >= 0 {
		return exit // --help
	}
	wrong := func(err error) int {
		fmt.Fprintf(stderr, "%s: %v\nTry: %s --help\n", parser.Model.Name, err, parser.Model.Name)
		return 2
	}
	if err != nil {
		return wrong(err)
	}
	if k.Command() == "package" {
		err = c.Package.run(stdout)
	} else {
		served, files, wrongly := c.settings(contracts())
		switch {
		case wrongly != nil:
			return wrong(wrongly)
		case k.Command() == "health":
			err = c.health(ctx, served, files)
		default:
			err = c.serve(ctx, served, files, stderr)
		}
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", parser.Model.Name, err)
		return 1
	}
	return 0
}

// settings is what serve and health need.
func (c *Command) settings(contracts []contract.Contract) ([]Served, Files, error) {
	files := Files{c.TLSCert, c.TLSKey, c.ClientCA}
	served, err := c.served(contracts)
	if err == nil && !c.TLSDisabled && (files.Certificate == "" || files.Key == "") {
		err = errors.New("TLS needs --tls-cert and --tls-key (or --tls-disabled)")
	}
	return served, files, err
}

// served is what the command line asks for.
func (c *Command) served(contracts []contract.Contract) ([]Served, error) {
	var list []Served
	add := func(name, id, address string) error {
		i := slices.IndexFunc(contracts, func(c contract.Contract) bool { return c.Name() == name })
		if i < 0 {
			var names []string
			for _, c := range contracts {
				names = append(names, c.Name())
			}
			return fmt.Errorf("no contract %q here: there are %s", name, strings.Join(names, ", "))
		}
		if label, hash, ok := strings.Cut(id, ":"); !ok || label == "" || hash == "" {
			return fmt.Errorf("package ID %q of %s is not label:hash", id, name)
		}
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("address of %s: %w", name, err)
		}
		list = append(list, Served{contracts[i], id, address})
		return nil
	}
	if c.ID != "" || c.IDFile != "" || c.Address != "" || c.Contract != "" {
		id, err := c.id()
		if err != nil {
			return nil, err
		}
		name := c.Contract
		if name == "" {
			label, _, _ := strings.Cut(id, ":")
			name, _, _ = strings.Cut(label, "_")
		}
		if err := add(name, id, c.Address); err != nil {
			return nil, err
		}
	}
	for _, text := range c.Also {
		name, rest, ok := strings.Cut(text, "=")
		id, address, also := strings.Cut(rest, "@")
		if !ok || !also {
			return nil, fmt.Errorf("%q is not CONTRACT=ID@HOST:PORT", text)
		}
		if err := add(name, id, address); err != nil {
			return nil, err
		}
	}
	if len(list) == 0 {
		return nil, errors.New("what to serve? Give CHAINCODE_ID and CHAINCODE_SERVER_ADDRESS")
	}
	return list, nil
}

// id is the package ID that is given, or that a file holds.
func (c *Command) id() (string, error) {
	if c.IDFile == "" {
		return c.ID, nil
	}
	if c.ID != "" {
		return "", errors.New("the package ID is given twice: by --id and by --id-file")
	}
	text, err := os.ReadFile(c.IDFile)
	if err != nil {
		return "", fmt.Errorf("package ID: %w", err)
	}
	id := strings.TrimSpace(string(text))
	if strings.ContainsAny(id, " \t\r\n") || !strings.Contains(id, ":") { // not repeated: it may be a key that is meant for another flag
		return "", fmt.Errorf("%s does not hold a package ID, label:hash", c.IDFile)
	}
	return id, nil
}

func (c *Command) serve(ctx context.Context, served []Served, files Files, stderr io.Writer) error {
	var handler slog.Handler = slog.NewTextHandler(stderr, nil)
	if c.LogFormat == "json" {
		handler = slog.NewJSONHandler(stderr, nil)
	}
	var transport *tls.Config
	if !c.TLSDisabled {
		var err error
		if transport, err = files.Server(); err != nil {
			return err
		}
	}
	return Serve(ctx, served, transport, c.Grace, slog.New(handler))
}

// health asks every contract's address; a server that listens everywhere is asked on the loopback.
func (c *Command) health(ctx context.Context, served []Served, files Files) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var transport *tls.Config
	if !c.TLSDisabled {
		var err error
		if transport, err = files.Client(); err != nil {
			return err
		}
	}
	for _, s := range served {
		host, port, err := net.SplitHostPort(s.Address)
		if err != nil {
			return err
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		if err := Healthy(ctx, net.JoinHostPort(host, port), transport); err != nil {
			return fmt.Errorf("contract %s: %w", s.Contract.Name(), err)
		}
	}
	return nil
}
