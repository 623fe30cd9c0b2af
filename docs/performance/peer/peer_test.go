// Package peer measures an existing signer beside ours: the transit engine of HashiCorp Vault. README.md says what the rows mean, and
// what they do not compare.
package peer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/audit"
	auditfile "github.com/hashicorp/vault/builtin/audit/file"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/helper/namespace"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/sdk/helper/consts"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/file"
	"github.com/hashicorp/vault/vault"
)

const (
	signers = 64  // as many keys, and as many who wait at once, as in custody's BenchmarkSign
	length  = 140 // bytes of a message, as long as a confirmation
)

// BenchmarkPeer compares Vault's signatures with the bare calls that sign and verify, on all cores, for many who wait at once.
func BenchmarkPeer(b *testing.B) {
	message := make([]byte, length)
	if _, err := rand.Read(message); err != nil {
		b.Fatal(err)
	}
	var raw figures
	b.Run("raw", func(b *testing.B) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		report := spent(b)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				digest := sha256.Sum256(message)
				sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
				if err == nil {
					err = verified(&key.PublicKey, message, sig)
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
		raw = report()
	})
	v := open(b)
	v.measure(b, "sign", &raw, func(owner int, message []byte) error {
		sig, err := v.sign(v.direct, owner, message)
		if err != nil {
			return err
		}
		der, err := base64.StdEncoding.DecodeString(sig[strings.LastIndexByte(sig, ':')+1:])
		if err != nil {
			return err
		}
		return verified(v.public[owner], message, der)
	})
	v.measure(b, "sign-verify", &raw, func(owner int, message []byte) error {
		return v.signAndVerify(v.direct, owner, message)
	})
	server := httptest.NewServer(vaulthttp.Handler.Handler(&vault.HandlerProperties{Core: v.core}))
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: signers}}
	defer client.CloseIdleConnections()
	v.measure(b, "http", &raw, func(owner int, message []byte) error {
		return v.signAndVerify(v.over(client, server.URL), owner, message)
	})
}

func verified(public *ecdsa.PublicKey, message, sig []byte) error {
	digest := sha256.Sum256(message)
	if !ecdsa.VerifyASN1(public, digest[:], sig) {
		return errors.New("the signature doesn't verify")
	}
	return nil
}

// measure lets all ask at once, each with a message of its own.
func (v *signer) measure(b *testing.B, name string, raw *figures, ask func(owner int, message []byte) error) {
	b.Run(name, func(b *testing.B) {
		logged := v.logged(b)
		var n atomic.Int64
		var mu sync.Mutex
		var took []time.Duration
		b.SetParallelism(signers / 2)
		report := spent(b)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				i := n.Add(1)
				message := fmt.Appendf(nil, "%0*d", length, i)
				began := time.Now()
				if err := ask(int(i%signers), message); err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
		got := report()
		if b.Failed() {
			return
		}
		// What wasn't written down was not measured.
		if least := int64(b.N) * 2 * length; v.logged(b)-logged < least {
			b.Fatalf("%d bytes of audit for %d signatures", v.logged(b)-logged, b.N)
		}
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		if raw.rate > 0 { // it was not left out
			b.ReportMetric(100*got.rate/raw.rate, "%-of-raw")
			b.ReportMetric(100*raw.cpu/got.cpu, "%-of-raw-by-cpu")
		}
	})
}

// figures are how many were done in a second, and the µs of processor that each took: these stay the same when others use the
// machine, too.
type figures struct{ rate, cpu float64 }

// spent starts the clock, and answers what stops it and reports.
func spent(b *testing.B) (report func() figures) {
	b.Helper()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	b.ResetTimer()
	return func() figures {
		b.StopTimer()
		got := figures{rate: float64(b.N) / b.Elapsed().Seconds(), cpu: float64((used() - before).Microseconds()) / float64(b.N)}
		b.ReportMetric(got.rate, "signatures/s")
		b.ReportMetric(got.cpu, "cpu-µs/each")
		return got
	}
}

// signer is an unsealed Vault with a key for each owner, and the token of an application that may use them.
type signer struct {
	core   *vault.Core
	token  string
	log    string
	public []*ecdsa.PublicKey
}

// ask sends one request and answers the data of its response.
type ask func(path string, data map[string]any) (map[string]any, error)

// open sets Vault up as one would who runs it: storage and audit on the disk, sealed with shares, a token that may sign and verify only.
func open(b *testing.B) *signer {
	b.Helper()
	dir := b.TempDir()
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Error})
	storage, err := file.NewFileBackend(map[string]string{"path": filepath.Join(dir, "storage")}, logger)
	if err != nil {
		b.Fatal(err)
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:        storage,
		LogicalBackends: map[string]logical.Factory{"transit": transit.Factory},
		AuditBackends:   map[string]audit.Factory{"file": auditfile.Factory},
		BuiltinRegistry: noPlugins{},
		DisableMlock:    true, // a machine may not let us, and it changes no speed
		Logger:          logger,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := core.ShutdownWait(); err != nil {
			b.Error(err)
		}
	})
	shares := &vault.SealConfig{SecretShares: 3, SecretThreshold: 2}
	made, err := core.Initialize(context.Background(), &vault.InitParams{BarrierConfig: shares, RecoveryConfig: &vault.SealConfig{}})
	if err != nil {
		b.Fatal(err)
	}
	for _, share := range made.SecretShares[:shares.SecretThreshold] {
		if _, err := core.Unseal(slices.Clone(share)); err != nil {
			b.Fatal(err)
		}
	}
	if core.Sealed() {
		b.Fatal("two shares don't unseal it")
	}

	v := &signer{core: core, token: made.RootToken, log: filepath.Join(dir, "audit.log")}
	operator := func(path string, data map[string]any) {
		if _, err := v.direct(path, data); err != nil {
			b.Fatal(err)
		}
	}
	operator("sys/audit/file", map[string]any{"type": "file", "options": map[string]any{"file_path": v.log}})
	operator("sys/mounts/transit", map[string]any{"type": "transit"})
	for i := range signers {
		path := "transit/keys/" + owner(i)
		operator(path, map[string]any{"type": "ecdsa-p256"})
		answer, err := v.handle(logical.ReadOperation, path, nil)
		if err != nil {
			b.Fatal(err)
		}
		v.public = append(v.public, publicKey(b, answer.Data))
	}
	operator("sys/policies/acl/signer", map[string]any{"policy": `path "transit/sign/*" { capabilities = ["update"] }
path "transit/verify/*" { capabilities = ["update"] }`})
	granted, err := v.handle(logical.UpdateOperation, "auth/token/create",
		map[string]any{"policies": []string{"signer"}, "period": "24h", "no_parent": true})
	if err != nil || granted.Auth == nil {
		b.Fatalf("no token for the application: %v, %v", granted, err)
	}
	v.token = granted.Auth.ClientToken
	return v
}

func owner(i int) string { return fmt.Sprintf("c-%04d", i) }

// publicKey reads the key of the first version.
func publicKey(b *testing.B, answer map[string]any) *ecdsa.PublicKey {
	b.Helper()
	text, err := json.Marshal(answer["keys"])
	if err != nil {
		b.Fatal(err)
	}
	var versions map[string]struct {
		PublicKey string `json:"public_key"`
	}
	if err := json.Unmarshal(text, &versions); err != nil {
		b.Fatal(err)
	}
	block, _ := pem.Decode([]byte(versions["1"].PublicKey))
	if block == nil {
		b.Fatalf("no public key in %s", text)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		b.Fatal(err)
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok {
		b.Fatalf("a key of another kind: %T", key)
	}
	return public
}

// handle is a request in this process, as BenchmarkSign asks custody.
func (v *signer) handle(operation logical.Operation, path string, data map[string]any) (*logical.Response, error) {
	answer, err := v.core.HandleRequest(namespace.RootContext(context.Background()), &logical.Request{
		Operation: operation, Path: path, ClientToken: v.token, Data: data,
		Connection: &logical.Connection{RemoteAddr: "127.0.0.1"},
	})
	switch {
	case err != nil:
		return nil, err
	case answer == nil:
		return &logical.Response{}, nil
	case answer.IsError():
		return nil, answer.Error()
	}
	return answer, nil
}

// direct asks in this process.
func (v *signer) direct(path string, data map[string]any) (map[string]any, error) {
	answer, err := v.handle(logical.UpdateOperation, path, data)
	if err != nil {
		return nil, err
	}
	return answer.Data, nil
}

// over asks through the HTTP API.
func (v *signer) over(client *http.Client, url string) ask {
	return func(path string, data map[string]any) (map[string]any, error) {
		body, err := json.Marshal(data)
		if err != nil {
			return nil, err
		}
		r, err := http.NewRequest(http.MethodPut, url+"/v1/"+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		r.Header.Set(consts.AuthHeaderName, v.token)
		r.Header.Set("X-Vault-Request", "true")
		answer, err := client.Do(r)
		if err != nil {
			return nil, err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			return nil, err
		}
		if answer.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("%s: %s", answer.Status, text)
		}
		var got struct {
			Data map[string]any `json:"data"`
		}
		if err := json.Unmarshal(text, &got); err != nil {
			return nil, err
		}
		return got.Data, nil
	}
}

func (v *signer) sign(ask ask, i int, message []byte) (string, error) {
	answer, err := ask("transit/sign/"+owner(i)+"/sha2-256", map[string]any{"input": base64.StdEncoding.EncodeToString(message)})
	if err != nil {
		return "", err
	}
	sig, ok := answer["signature"].(string)
	if !ok {
		return "", fmt.Errorf("no signature in %v", answer)
	}
	return sig, nil
}

func (v *signer) signAndVerify(ask ask, i int, message []byte) error {
	sig, err := v.sign(ask, i, message)
	if err != nil {
		return err
	}
	answer, err := ask("transit/verify/"+owner(i)+"/sha2-256", map[string]any{
		"input": base64.StdEncoding.EncodeToString(message), "signature": sig,
	})
	if err != nil {
		return err
	}
	if valid, _ := answer["valid"].(bool); !valid {
		return fmt.Errorf("the signature doesn't verify: %v", answer)
	}
	return nil
}

// logged answers how long the audit is.
func (v *signer) logged(b *testing.B) int64 {
	b.Helper()
	info, err := os.Stat(v.log)
	if err != nil {
		b.Fatal(err)
	}
	return info.Size()
}

// noPlugins is the registry of a Vault that has the engines it was given, and no others: all of them would link the clients
// of every cloud and database.
type noPlugins struct{}

func (noPlugins) Contains(string, consts.PluginType) bool { return false }

func (noPlugins) Get(string, consts.PluginType) (func() (any, error), bool) { return nil, false }

func (noPlugins) Keys(consts.PluginType) []string { return nil }

func (noPlugins) DeprecationStatus(string, consts.PluginType) (consts.DeprecationStatus, bool) {
	return consts.Unknown, false
}
