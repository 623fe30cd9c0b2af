package adapter

import (
	"fmt"
	"io"
	"os"

	"cardflow/cmd/chaincode/pack"
)

// packageCommand makes the package that an organisation installs on its peer.
type packageCommand struct {
	Label      string `required:"" help:"What people call the package; up to its first underscore the contract's name: identity_1." placeholder:"LABEL"`
	Connect    string `required:"" help:"Where the peer reaches the server." placeholder:"HOST:PORT"`
	ServerName string `name:"server-name" help:"Name in the server's certificate, if it isn't that host." placeholder:"HOST"`
	RootCert   string `name:"root-cert" required:"" help:"Certificate of the CA that vouches for the server's (PEM)." placeholder:"FILE"`
	ClientCert string `name:"client-cert" help:"The peer's certificate, for servers with --client-ca (PEM)." placeholder:"FILE"`
	ClientKey  string `name:"client-key" help:"Its key (PEM). It is in the package, so keep that to yourselves." placeholder:"FILE"`
	Out        string `required:"" help:"Where the package goes." placeholder:"FILE"`
}

// run writes the package and says its ID.
func (c *packageCommand) run(stdout io.Writer) error {
	connection := pack.Connection{Address: c.Connect, Host: c.ServerName}
	for file, into := range map[string]*[]byte{c.RootCert: &connection.RootCA, c.ClientCert: &connection.ClientCert, c.ClientKey: &connection.ClientKey} {
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		*into = text
	}
	text, id, err := pack.Chaincode(c.Label, connection)
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.Out, text, 0o600); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, id)
	return err
}
