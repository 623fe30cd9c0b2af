package local

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// MariaDBConfig says what a private MariaDB is for.
type MariaDBConfig struct {
	Dir  string // all that it consists of; another start on the same folder goes on with its data, port and passwords
	Tied bool   // see NewProcesses
	// Fast is for data that nobody will miss: what was acknowledged may be gone if the server dies, and nothing is written
	// for backups. Otherwise it is on the disk, and there is a binary log.
	Fast bool
}

// MariaDB is a private MariaDB server. It speaks TLS with whoever wants it.
type MariaDB struct {
	config    MariaDBConfig
	processes *Processes
	state     mariadbState
}

// mariadbState is what the next start has to know.
type mariadbState struct {
	Port           int
	ServerPassword string
	ApartPassword  string
	TestPassword   string
}

const (
	mariadbName = "mariadb"

	// The database of CardFlow's server, and its user's name. He may do anything in it, and nothing elsewhere.
	mariadbDatabase = "cardflow"
	// The user of a server beside a custodian, which is the one above then. What he may do that one says.
	mariadbApart = "cardflow_server"
	// The tests' user, who may do anything in databases whose names begin so.
	mariadbTests = "cardflow_test"
)

// StartMariaDB starts a MariaDB and waits until it serves. In an empty folder it makes one first.
func StartMariaDB(ctx context.Context, c MariaDBConfig) (*MariaDB, error) {
	processes, err := NewProcesses(c.Dir, c.Tied)
	if err != nil {
		return nil, err
	}
	c.Dir = processes.dir
	m := &MariaDB{config: c, processes: processes}
	err = remembered(filepath.Join(c.Dir, "mariadb.json"), &m.state, func() (err error) {
		m.state.ServerPassword, m.state.ApartPassword, m.state.TestPassword = rand.Text(), rand.Text(), rand.Text()
		m.state.Port, err = FreePorts(1)
		return err
	})
	if err == nil && m.state.ApartPassword == "" { // the folder is older than that user
		m.state.ApartPassword = rand.Text()
		err = remember(filepath.Join(c.Dir, "mariadb.json"), m.state)
	}
	if err == nil {
		err = certify(c.Dir)
	}
	if err == nil {
		err = m.install(ctx)
	}
	if err != nil {
		return nil, err
	}
	return m, m.Start(ctx)
}

// found is a program of a Debian package: many of them are where only an administrator's PATH leads.
func found(program, pkg string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/bin"} {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not here: install the Debian package %s", program, pkg)
}

// install makes the system tables. What a crash leaves half made is made anew.
func (m *MariaDB) install(ctx context.Context) error {
	data := m.data()
	if err := os.MkdirAll(m.temporary(), 0o700); err != nil {
		return err
	}
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	fresh := data + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	program, err := found("mariadb-install-db", "mariadb-server-core")
	if err != nil {
		return err
	}
	// Root comes in through the socket, as this machine's user, and in no other way.
	cmd := exec.CommandContext(ctx, program, append(m.common(fresh), "--skip-test-db", "--auth-root-authentication-method=socket")...)
	cmd.Env = plain()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	return os.Rename(fresh, data)
}

func (m *MariaDB) data() string      { return filepath.Join(m.config.Dir, "data") }
func (m *MariaDB) temporary() string { return filepath.Join(m.config.Dir, "tmp") }

// common are the options that the making and the running share.
func (m *MariaDB) common(data string) []string {
	// Servers sweep their temporary folder when they start: one that they share loses what another one needs.
	args := []string{"--no-defaults", "--datadir=" + data, "--tmpdir=" + m.temporary()}
	if os.Getuid() == 0 {
		args = append(args, "--user=root") // else it refuses; the folder is ours
	}
	return args
}

// Start starts the server again after Stop or Kill: the same data at the same address.
func (m *MariaDB) Start(ctx context.Context) error {
	program, err := found("mariadbd", "mariadb-server-core")
	if err != nil {
		return err
	}
	accounts, err := m.accounts()
	if err != nil {
		return err
	}
	dir := m.config.Dir
	args := append(m.common(m.data()),
		"--port="+strconv.Itoa(m.state.Port), "--bind-address="+Loopback, "--skip-name-resolve",
		"--socket=socket", // in the data folder: the name of a whole path may be too long for one
		"--pid-file="+filepath.Join(dir, "mariadb.pid"), "--init-file="+accounts,
		"--ssl-ca="+filepath.Join(dir, caFile), "--ssl-cert="+filepath.Join(dir, certFile), "--ssl-key="+filepath.Join(dir, keyFile),
		"--character-set-server=utf8mb4", "--max-connections=600", "--performance-schema=OFF", "--skip-log-warnings",
		"--innodb-buffer-pool-size=256M", "--innodb-stats-auto-recalc=OFF",
	)
	if m.config.Fast {
		args = append(args, "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync",
			"--skip-innodb-doublewrite", "--sync-frm=OFF", "--innodb-log-file-size=64M")
	} else {
		// Without the last one only an administrator might make the triggers of our migrations.
		args = append(args, "--log-bin=binlog", "--binlog-format=ROW", "--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1",
			"--expire-logs-days=1", "--log-bin-trust-function-creators=1")
	}
	if err := m.processes.Start(Process{Name: mariadbName, Path: program, Args: args, Env: plain()}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	return m.processes.WaitFor(ctx, mariadbName, func() error { return ping(m.DSN()) })
}

// startPatience is how long a server may take to come up: one that was killed reads its log first.
const startPatience = 90 * time.Second

// accounts writes down who may do what. The server runs it before it lets anyone in.
func (m *MariaDB) accounts() (file string, err error) {
	user := func(name, password string) string {
		return fmt.Sprintf("CREATE USER IF NOT EXISTS %s;\nALTER USER %[1]s IDENTIFIED BY '%s';\n", account(name), password)
	}
	// Who may do anything in some databases. A custodian and tests give others some of it.
	owner := func(name, password, databases string) string {
		return user(name, password) + fmt.Sprintf("GRANT ALL PRIVILEGES ON %s TO %s WITH GRANT OPTION;\n", databases, account(name))
	}
	text := "CREATE DATABASE IF NOT EXISTS " + mariadbDatabase + ";\n" +
		owner(mariadbDatabase, m.state.ServerPassword, mariadbDatabase+".*") +
		user(mariadbApart, m.state.ApartPassword) +
		owner(mariadbTests, m.state.TestPassword, "`"+strings.ReplaceAll(mariadbTests, "_", `\_`)+`\_%`+"`.*") +
		fmt.Sprintf("GRANT CREATE USER ON *.* TO %s;\n", account(mariadbTests))
	file = filepath.Join(m.config.Dir, "accounts.sql")
	return file, writeFile(file, []byte(text), 0o600)
}

func account(name string) string { return fmt.Sprintf("'%s'@'%s'", name, Loopback) }

func ping(dsn string) error {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Ping()
}

// Addr is host:port.
func (m *MariaDB) Addr() string { return Address(m.state.Port) }

// CA is the file of the certificate that vouches for the server.
func (m *MariaDB) CA() string { return filepath.Join(m.config.Dir, caFile) }

// DSN leads CardFlow's server to its database.
func (m *MariaDB) DSN() string {
	return m.dsn(mariadbDatabase, m.state.ServerPassword, mariadbDatabase)
}

// ApartDSN leads a server to its database that is beside a custodian; that is DSN's user, and gives ApartUser his rights.
func (m *MariaDB) ApartDSN() string {
	return m.dsn(mariadbApart, m.state.ApartPassword, mariadbDatabase)
}

// ApartUser is that server's user, as a GRANT names him.
func (m *MariaDB) ApartUser() string { return account(mariadbApart) }

// TestDSN leads tests to the server. They make databases there whose names begin with cardflow_test_.
func (m *MariaDB) TestDSN() string { return m.dsn(mariadbTests, m.state.TestPassword, "") }

func (m *MariaDB) dsn(user, password, database string) string {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.DBName = user, password, "tcp", m.Addr(), database
	return c.FormatDSN()
}

// Kill ends the server as a crash does.
func (m *MariaDB) Kill() error { return m.processes.Kill(mariadbName) }

// Stop ends it as an operator does.
func (m *MariaDB) Stop() error { return m.processes.Stop(30*time.Second, mariadbName) }

// Running reports whether it runs.
func (m *MariaDB) Running() bool { return m.processes.Running(mariadbName) }
