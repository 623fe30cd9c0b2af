package main

import (
	"path/filepath"
	"time"

	"cardflow/custody"
	"cardflow/iccid"
)

// Config is everything an operator may set, in the sections of
// configs/embedded.yaml, which explains each key. The defaults are a trial on parts
// that run in this process: no file is needed to start. A Config from [Load] has been
// validated.
type Config struct {
	Mode    Mode   `yaml:"mode"`
	DataDir string `yaml:"data_dir"`

	HTTP      HTTPConfig      `yaml:"http"`
	Database  DatabaseConfig  `yaml:"database"`
	Redis     RedisConfig     `yaml:"redis"`
	Ledger    LedgerConfig    `yaml:"ledger"`
	WeChat    WeChatConfig    `yaml:"wechat"`
	Custody   CustodyConfig   `yaml:"custody"`
	Audit     AuditConfig     `yaml:"audit"`
	Vault     VaultConfig     `yaml:"vault"`
	Backup    BackupConfig    `yaml:"backup"`
	Session   SessionConfig   `yaml:"session"`
	Limits    LimitsConfig    `yaml:"limits"`
	Trade     TradeConfig     `yaml:"trade"`
	RealName  RealNameConfig  `yaml:"real_name"`
	Relay     RelayConfig     `yaml:"relay"`
	Imports   ImportsConfig   `yaml:"imports"`
	Numbering NumberingConfig `yaml:"numbering"`
	Log       LogConfig       `yaml:"log"`
}

// Mode says whether the conveniences of a trial are allowed, and nothing else: which
// database, Redis and ledger there are is said by their sections.
type Mode string

const (
	Trial      Mode = "trial"
	Production Mode = "production" // refuses whatever is unsafe, all at once
)

// HTTPConfig is the listener and what stands in front of it.
type HTTPConfig struct {
	Listen         string        `yaml:"listen"`
	PublicURL      string        `yaml:"public_url"`
	PreviewDir     string        `yaml:"preview_dir"`
	TLSInFront     bool          `yaml:"tls_in_front"`
	TrustedProxies []string      `yaml:"trusted_proxies"` // CIDR
	BodyLimit      Size          `yaml:"body_limit"`
	ReadTimeout    time.Duration `yaml:"read_timeout"`
	WriteTimeout   time.Duration `yaml:"write_timeout"`
	ShutdownGrace  time.Duration `yaml:"shutdown_grace"`
}

// DatabaseConfig is the business database. See [Config.SQLiteFile] for an empty DSN.
type DatabaseConfig struct {
	Driver         string `yaml:"driver"` // sqlite or mysql
	DSN            Secret `yaml:"dsn"`
	Password       Secret `yaml:"password"` // mysql: instead of one in the DSN
	CAFile         string `yaml:"ca_file"`  // mysql: speak TLS, and believe this authority only
	MaxConnections int    `yaml:"max_connections"`
}

// RedisConfig is the store of sessions and limits: in process, or a server.
type RedisConfig struct {
	Embedded  bool   `yaml:"embedded"`
	Addr      string `yaml:"addr"`
	Username  string `yaml:"username"`
	Password  Secret `yaml:"password"`
	TLS       bool   `yaml:"tls"`
	CAFile    string `yaml:"ca_file"`
	DB        int    `yaml:"db"`
	KeyPrefix string `yaml:"key_prefix"`
}

// LedgerConfig is the ledger. File is relative to the data directory.
type LedgerConfig struct {
	Kind          string        `yaml:"kind"` // embedded or fabric
	File          string        `yaml:"file"`
	Channel       string        `yaml:"channel"`
	BlockInterval time.Duration `yaml:"block_interval"`
	MaxBlockTxs   int           `yaml:"max_block_txs"`
	TimeWindow    time.Duration `yaml:"time_window"`
	Fabric        FabricConfig  `yaml:"fabric"`
}

// FabricConfig is how this platform reaches its Fabric network, and as whom. Files are
// relative to the data directory.
type FabricConfig struct {
	Profile          string        `yaml:"profile"`
	MSPID            string        `yaml:"msp_id"`
	CertFile         string        `yaml:"cert_file"`
	KeyFile          string        `yaml:"key_file"`
	EndorseTimeout   time.Duration `yaml:"endorse_timeout"`
	BroadcastTimeout time.Duration `yaml:"broadcast_timeout"`
	CommitTimeout    time.Duration `yaml:"commit_timeout"`
	QueryTimeout     time.Duration `yaml:"query_timeout"`
}

// WeChatConfig is the mini-program's account, or the sandbox instead of WeChat.
type WeChatConfig struct {
	Sandbox    bool            `yaml:"sandbox"`
	AppID      string          `yaml:"app_id"`
	AppSecret  Secret          `yaml:"app_secret"`
	BaseURL    string          `yaml:"base_url"`
	MiniPage   string          `yaml:"mini_page"`
	EnvVersion string          `yaml:"env_version"`
	Timeout    time.Duration   `yaml:"timeout"`
	Templates  TemplatesConfig `yaml:"templates"`
}

// CustodyConfig says how the root key is kept. The file is relative to the data directory.
type CustodyConfig struct {
	Process      Process          `yaml:"process"` // inside, or own
	Socket       string           `yaml:"socket"`
	ServerUser   string           `yaml:"server_user"`
	StampFile    string           `yaml:"stamp_file"`
	TLS          CustodyTLSConfig `yaml:"tls"`
	Kind         string           `yaml:"kind"` // file, shamir or pkcs11
	RootKeyFile  string           `yaml:"root_key_file"`
	Guards       bool             `yaml:"guards"`
	LoginAge     time.Duration    `yaml:"login_age"`
	StepUpAge    time.Duration    `yaml:"step_up_age"` // 0: off
	ProposalLife time.Duration    `yaml:"proposal_life"`
	PKCS11       PKCS11Config     `yaml:"pkcs11"`
}

// Process says where custody runs.
type Process string

const (
	Inside Process = "inside" // of the server
	Own    Process = "own"    // `server custodian`, which the server reaches by a socket
)

// BackupConfig says for which recovery key backups are made. The file is relative to the data directory.
type BackupConfig struct {
	KitFile string `yaml:"kit_file"`
}

// PKCS11Config says where a root key is that a token keeps.
type PKCS11Config struct {
	Module string `yaml:"module"` // of the vendor; a whole path
	Token  string `yaml:"token"`  // label
	Key    string `yaml:"key"`    // label
	PIN    Secret `yaml:"pin"`
}

// AuditConfig is how often the head of custody's audit is written to the ledger, and how
// long a server that stops waits for the last time.
type AuditConfig struct {
	AnchorInterval time.Duration `yaml:"anchor_interval"`
	StopTimeout    time.Duration `yaml:"stop_timeout"`
}

// VaultConfig says where the platform's own data key and the journals of openings are.
// Files are relative to the data directory.
type VaultConfig struct {
	DataKeyFile   string   `yaml:"data_key_file"`
	JournalFile   string   `yaml:"journal_file"`
	OtherJournals []string `yaml:"other_journals"` // of other servers, to read
}

// SessionConfig is how long a login lasts.
type SessionConfig struct {
	ConsumerTTL time.Duration `yaml:"consumer_ttl"`
	StaffTTL    time.Duration `yaml:"staff_ttl"`
	IdleTTL     time.Duration `yaml:"idle_ttl"`
}

// LimitsConfig is the guards against guessing and flooding.
type LimitsConfig struct {
	WrongCodes           Rate `yaml:"wrong_codes"`             // by one person
	WrongCodesPerAddress Rate `yaml:"wrong_codes_per_address"` // from one client address
	WrongCodesPlatform   Rate `yaml:"wrong_codes_platform"`    // by everybody together
	LookupsPerAddress    Rate `yaml:"lookups_per_address"`
	LookupsPlatform      Rate `yaml:"lookups_platform"`
	LoginsPerAddress     Rate `yaml:"logins_per_address"`
	LoginsPerAccount     Rate `yaml:"logins_per_account"`
	RequestsPerAddress   Rate `yaml:"requests_per_address"`
}

// TradeConfig bounds the life of an offer.
type TradeConfig struct {
	DefaultExpiry time.Duration `yaml:"default_expiry"`
	MaxExpiry     time.Duration `yaml:"max_expiry"`
	MinExpiry     time.Duration `yaml:"min_expiry"`
	SweepInterval time.Duration `yaml:"sweep_interval"`
}

// RealNameConfig says how a consumer's real name is registered with a carrier.
type RealNameConfig struct {
	Verifier string        `yaml:"verifier"` // sandbox or none
	Validity time.Duration `yaml:"validity"`
	Keep     time.Duration `yaml:"keep"`
	Attempts int           `yaml:"attempts"` // a day
}

// RelayConfig is the workers that carry signed requests to the ledger.
type RelayConfig struct {
	Workers      int           `yaml:"workers"`
	Lease        time.Duration `yaml:"lease"`
	Grace        time.Duration `yaml:"grace"`
	PollInterval time.Duration `yaml:"poll_interval"`
	BackoffMin   time.Duration `yaml:"backoff_min"`
	BackoffMax   time.Duration `yaml:"backoff_max"`
	AnswerWithin time.Duration `yaml:"answer_within"`
}

// ImportsConfig bounds a carrier's card files.
type ImportsConfig struct {
	Dir      string        `yaml:"dir"` // relative to the data directory
	MaxBytes Size          `yaml:"max_bytes"`
	MaxRows  int           `yaml:"max_rows"`
	Keep     time.Duration `yaml:"keep"`
}

// NumberingConfig adds to the built-in numbering plan, or overrides its entries.
type NumberingConfig struct {
	Issuers        []iccid.Issuer `yaml:"issuers"`
	MSISDNPrefixes []string       `yaml:"msisdn_prefixes"`
}

// LogConfig is what goes to standard error, and in which form.
type LogConfig struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// sandboxAppID is the account of a server that talks to no real WeChat.
const sandboxAppID = "wx0000000000000000"

// DefaultConfig is a trial on parts that run in this process. configs/embedded.yaml
// says the same.
func DefaultConfig() Config {
	return Config{
		Mode:    Trial,
		DataDir: "data",
		HTTP: HTTPConfig{
			Listen:        "127.0.0.1:8080",
			PublicURL:     "http://127.0.0.1:8080",
			BodyLimit:     1 << 20,
			ReadTimeout:   15 * time.Second,
			WriteTimeout:  60 * time.Second,
			ShutdownGrace: 20 * time.Second,
		},
		Database: DatabaseConfig{Driver: "sqlite"},
		Redis:    RedisConfig{Embedded: true, KeyPrefix: "cardflow:"},
		Ledger: LedgerConfig{
			Kind:          "embedded",
			File:          "ledger.db",
			Channel:       "cardflow",
			BlockInterval: 2 * time.Millisecond,
			MaxBlockTxs:   500,
			TimeWindow:    2 * time.Minute,
			Fabric: FabricConfig{
				MSPID:            organisation,
				EndorseTimeout:   10 * time.Second,
				BroadcastTimeout: 3 * time.Second,
				CommitTimeout:    8 * time.Second,
				QueryTimeout:     10 * time.Second,
			},
		},
		WeChat: WeChatConfig{
			Sandbox:    true,
			AppID:      sandboxAppID,
			BaseURL:    "https://api.weixin.qq.com",
			MiniPage:   "pages/trade/trade",
			EnvVersion: "release",
			Timeout:    5 * time.Second,
			Templates:  TemplatesConfig{usualTemplate, usualTemplate, usualTemplate},
		},
		Custody: CustodyConfig{Process: Inside, Socket: "custodian.sock", StampFile: "custodian.key", Kind: string(custody.InFile), RootKeyFile: "root.key", Guards: true, LoginAge: 24 * time.Hour, ProposalLife: 24 * time.Hour, PKCS11: PKCS11Config{Key: "cardflow-root"}},
		Audit:   AuditConfig{AnchorInterval: 5 * time.Minute, StopTimeout: 5 * time.Second},
		Vault:   VaultConfig{DataKeyFile: "data.key", JournalFile: "journal"},
		Backup:  BackupConfig{KitFile: "recovery.json"},
		Session: SessionConfig{
			ConsumerTTL: 7 * 24 * time.Hour,
			StaffTTL:    12 * time.Hour,
			IdleTTL:     2 * time.Hour,
		},
		Limits: LimitsConfig{
			WrongCodes:           Rate{5, 10 * time.Minute},
			WrongCodesPerAddress: Rate{30, 10 * time.Minute},
			WrongCodesPlatform:   Rate{2000, 10 * time.Minute},
			LookupsPerAddress:    Rate{60, time.Minute},
			LookupsPlatform:      Rate{6000, time.Minute},
			LoginsPerAddress:     Rate{30, time.Minute},
			LoginsPerAccount:     Rate{10, 15 * time.Minute},
			RequestsPerAddress:   Rate{1200, time.Minute},
		},
		Trade: TradeConfig{
			DefaultExpiry: 24 * time.Hour,
			MaxExpiry:     7 * 24 * time.Hour,
			MinExpiry:     time.Minute,
			SweepInterval: 5 * time.Second,
		},
		RealName: RealNameConfig{
			Verifier: "sandbox",
			Validity: 365 * 24 * time.Hour,
			Keep:     7 * 24 * time.Hour,
			Attempts: 5,
		},
		Relay: RelayConfig{
			Workers:      64,
			Lease:        30 * time.Second,
			Grace:        10 * time.Minute,
			PollInterval: 500 * time.Millisecond,
			BackoffMin:   200 * time.Millisecond,
			BackoffMax:   30 * time.Second,
			AnswerWithin: 5 * time.Second,
		},
		Imports: ImportsConfig{
			Dir:      "imports",
			MaxBytes: 128 << 20,
			MaxRows:  1_000_000,
			Keep:     30 * 24 * time.Hour,
		},
		Numbering: NumberingConfig{MSISDNPrefixes: iccid.DefaultMSISDNPrefixes()},
		Log:       LogConfig{Level: "info", Format: "text"},
	}
}

// Load reads the configuration: the defaults, then the file at path (none if path
// is empty), then the environment ("KEY=value" pairs, as os.Environ gives them).
// All faults of all three come back together, as a [Faults].
func Load(path string, env []string) (Config, error) {
	c := DefaultConfig()
	var faults Faults
	if path != "" {
		faults = append(faults, readFile(&c, path)...)
	}
	faults = append(faults, readEnvironment(&c, env)...)
	faults = append(faults, c.faults()...)
	if len(faults) > 0 {
		return c, faults
	}
	return c, nil
}

// Validate reports every value that is not allowed, as a [Faults], or nil.
func (c Config) Validate() error {
	if faults := c.faults(); len(faults) > 0 {
		return faults
	}
	return nil
}

// Path answers where a file of ours lies: a relative name is in the data directory.
func (c Config) Path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(c.DataDir, name)
}

// SQLiteFile answers the SQLite database: a DSN that is set is taken as it is, an
// empty one means a file in the data directory.
func (c Config) SQLiteFile() string {
	if dsn := c.Database.DSN.Reveal(); dsn != "" {
		return dsn
	}
	return c.Path("cardflow.db")
}

// Plan answers the numbering plan: the built-in one, with the operator's entries
// added or in place of those with the same prefix.
func (n NumberingConfig) Plan() (*iccid.Plan, error) {
	own := map[string]bool{}
	for _, issuer := range n.Issuers {
		own[issuer.Prefix] = true
	}
	issuers := n.Issuers
	for _, issuer := range iccid.DefaultPlan().Issuers() {
		if !own[issuer.Prefix] {
			issuers = append(issuers[:len(issuers):len(issuers)], issuer)
		}
	}
	return iccid.NewPlan(issuers)
}
