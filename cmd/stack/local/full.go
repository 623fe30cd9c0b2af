package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"gopkg.in/yaml.v3"
)

// FullConfig says what a full set of private servers is for.
type FullConfig struct {
	Dir          string // all that it consists of; another start on the same folder goes on where it was
	Tied         bool   // see NewProcesses
	Fast         bool   // for data that nobody will miss: see MariaDBConfig and RedisConfig
	Endorsement  Endorsement
	BatchTimeout time.Duration
	Probes       bool                  // see FabricConfig
	Say          func(part string) Say // of each part; nil says nothing
}

// Full is everything that CardFlow's server stands on in production: MariaDB, Redis and a Fabric network.
type Full struct {
	Dir     string
	tied    bool
	MariaDB *MariaDB
	Redis   *Redis
	Fabric  *Fabric
}

// StartFull starts the three side by side and waits until all serve. What is not there yet is made first. After an error
// some may run: StopTree stops them.
func StartFull(ctx context.Context, c FullConfig) (*Full, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	if c.Say == nil {
		c.Say = func(string) Say { return func(string, ...any) {} }
	}
	f := &Full{Dir: dir, tied: c.Tied}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		f.MariaDB, err = StartMariaDB(ctx, MariaDBConfig{Dir: filepath.Join(dir, "mariadb"), Tied: c.Tied, Fast: c.Fast})
		if err == nil {
			c.Say("mariadb")("at %s", f.MariaDB.Addr())
		}
		return err
	})
	group.Go(func() (err error) {
		f.Redis, err = StartRedis(ctx, RedisConfig{Dir: filepath.Join(dir, "redis"), Tied: c.Tied, Fast: c.Fast})
		if err == nil {
			c.Say("redis")("at %s", f.Redis.Addr())
		}
		return err
	})
	group.Go(func() (err error) {
		f.Fabric, err = StartFabric(ctx, FabricConfig{
			Dir: filepath.Join(dir, "fabric"), Tied: c.Tied, Endorsement: c.Endorsement, BatchTimeout: c.BatchTimeout, Probes: c.Probes, Say: c.Say("fabric"),
		})
		return err
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return f, nil
}

// WriteServerConfig writes the configuration of a server on these engines: TLS to MariaDB and Redis, the accounts with no
// more rights than a server needs, keys and card files in folders that all servers share. It holds passwords, so only its
// owner may read it. Each server adds a data directory and an address of its own (--data, CARDFLOW_HTTP_LISTEN).
func (f *Full) WriteServerConfig(path string) error {
	return f.write(path, "server-1", f.MariaDB.DSN(), map[string]any{"root_key_file": filepath.Join(f.Dir, "keys", "root.key")})
}

// WriteApartConfigs writes those of servers and of their custodian, which reach each other by a socket: each has a user of the
// database and a data directory of its own, and only the custodian's names the root key. For a trial that has the root key
// in a file: whoever runs both as one system user keeps nothing from the server.
func (f *Full) WriteApartConfigs(server, custodian string) error {
	socket := filepath.Join(f.Dir, "custodian.sock")
	return errors.Join(
		f.write(server, "server-1", f.MariaDB.ApartDSN(), map[string]any{"process": "own", "socket": socket}),
		f.write(custodian, "custodian", f.MariaDB.DSN(), map[string]any{
			"process": "own", "socket": socket, "server_user": f.MariaDB.ApartUser(), "root_key_file": filepath.Join(f.Dir, "keys", "root.key"),
		}))
}

func (f *Full) write(path, data, dsn string, custody map[string]any) error {
	for _, dir := range []string{"keys", "imports"} {
		if err := os.MkdirAll(filepath.Join(f.Dir, dir), 0o700); err != nil {
			return err
		}
	}
	certificate, key := f.Fabric.Gateway()
	text, err := yaml.Marshal(map[string]any{
		"mode":     "trial",
		"data_dir": filepath.Join(f.Dir, data),
		"database": map[string]any{"driver": "mysql", "dsn": dsn, "ca_file": f.MariaDB.CA()},
		"redis": map[string]any{
			"embedded": false, "addr": f.Redis.TLSAddr(), "username": RedisUser, "password": f.Redis.UserPassword(), "tls": true, "ca_file": f.Redis.CA(),
		},
		"ledger":  map[string]any{"kind": "fabric", "channel": Channel, "fabric": map[string]any{"profile": f.Fabric.Profile(), "cert_file": certificate, "key_file": key}},
		"custody": custody,
		"vault":   map[string]any{"data_key_file": filepath.Join(f.Dir, "keys", "data.key")},
		"imports": map[string]any{"dir": filepath.Join(f.Dir, "imports")},
	})
	if err != nil {
		return err
	}
	text = append([]byte("# Written by stack; see configs/production.yaml for what each key means. It holds passwords.\n"), text...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return fmt.Errorf("server's configuration: %w", err)
	}
	return nil
}

// CustodianName is the custodian's record in the folder.
const CustodianName = "custodian"

// StartCustodian starts a program (CardFlow's server) as custodian, by the configuration that WriteApartConfigs wrote, and waits
// until it takes calls.
func (f *Full) StartCustodian(ctx context.Context, program, config string, args ...string) error {
	const name = CustodianName
	program, err := exec.LookPath(program)
	if err == nil {
		program, err = filepath.Abs(program)
	}
	if err != nil {
		return err
	}
	processes, err := NewProcesses(f.Dir, f.tied)
	if err != nil {
		return err
	}
	if err := processes.Start(Process{Name: name, Path: program, Args: append([]string{"--config", config, name}, args...), Env: plain()}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return processes.WaitFor(ctx, name, func() error {
		c, err := net.Dial("unix", filepath.Join(f.Dir, "custodian.sock"))
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// Gateway names the certificate and the key (PEM) of the identity by which the platform's server submits.
func (f *Fabric) Gateway() (certificate, key string) {
	user := platform.userMSP(f.crypto(), "User1")
	return filepath.Join(user, "signcerts", "User1@"+platform.domain+"-cert.pem"), filepath.Join(user, "keystore", "priv_sk")
}
