package fabric

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"time"

	"github.com/golang/protobuf/proto"
	"github.com/hyperledger/fabric-protos-go/msp"
	"github.com/hyperledger/fabric-sdk-go/pkg/common/providers/core"
	sdkmsp "github.com/hyperledger/fabric-sdk-go/pkg/common/providers/msp"
)

// identity is the gateway's: what it signs proposals and envelopes with. The SDK has one of its own, which keeps keys in a
// store on disk; this one keeps nothing and writes nothing.
type identity struct {
	mspID   string
	cert    []byte // PEM
	creator []byte // serialised: MSP ID and certificate
	key     *ecdsa.PrivateKey
	until   time.Time // the certificate is good
}

var _ sdkmsp.SigningIdentity = (*identity)(nil)

// readIdentity reads certificate and key, and checks that they belong together and are good at a time.
func readIdentity(mspID, certFile, keyFile string, now time.Time) (*identity, error) {
	cert, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	block, _ := pem.Decode(cert)
	if block == nil {
		return nil, fmt.Errorf("certificate %s: it is not PEM", certFile)
	}
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", certFile, err)
	}
	key, err := readKey(keyFile)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", keyFile, err)
	}
	switch {
	case !key.PublicKey.Equal(parsed.PublicKey):
		return nil, fmt.Errorf("key %s is not that of certificate %s", keyFile, certFile)
	case now.Before(parsed.NotBefore) || now.After(parsed.NotAfter):
		return nil, fmt.Errorf("certificate %s is good from %s to %s only", certFile, parsed.NotBefore.Format(time.RFC3339), parsed.NotAfter.Format(time.RFC3339))
	}
	// The bytes as they are in the file, newline and all: every gateway of the platform must come to the same creator.
	creator, err := proto.Marshal(&msp.SerializedIdentity{Mspid: mspID, IdBytes: cert})
	if err != nil {
		return nil, err
	}
	return &identity{mspID, cert, creator, key, parsed.NotAfter}, nil
}

// readKey reads an EC private key. Its errors hold nothing of it.
func readKey(file string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is not PEM")
	}
	if key, err := x509.ParseECPrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("it is neither a PKCS #8 nor an EC private key")
	}
	key, ok := any.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("it is not an EC private key")
	}
	return key, nil
}

// sign signs SHA-256 of a message. Of the two signatures that verify, peers and orderers take the one with the low S only.
func (i *identity) sign(message []byte) ([]byte, error) {
	digest := sha256.Sum256(message)
	sig, err := ecdsa.SignASN1(rand.Reader, i.key, digest[:])
	if err != nil {
		return nil, err
	}
	return lowS(sig, i.key.Params().N)
}

// lowS makes a DER signature the one with the low S.
func lowS(sig []byte, order *big.Int) ([]byte, error) {
	var v struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(sig, &v); err != nil || len(rest) > 0 {
		return nil, errors.New("signature is not DER")
	}
	if v.S.Cmp(new(big.Int).Rsh(order, 1)) <= 0 {
		return sig, nil
	}
	v.S.Sub(order, v.S)
	return asn1.Marshal(v)
}

// The SDK's view of it.

func (i *identity) Identifier() *sdkmsp.IdentityIdentifier {
	return &sdkmsp.IdentityIdentifier{MSPID: i.mspID, ID: "gateway"}
}
func (i *identity) Serialize() ([]byte, error)          { return bytes.Clone(i.creator), nil }
func (i *identity) EnrollmentCertificate() []byte       { return bytes.Clone(i.cert) }
func (i *identity) PublicVersion() sdkmsp.Identity      { return i }
func (i *identity) PrivateKey() core.Key                { return nil } // the signing manager has no use for it
func (i *identity) Sign(message []byte) ([]byte, error) { return i.sign(message) }
func (i *identity) Verify(message []byte, _ []byte) error {
	return errors.New("a gateway verifies nothing")
}

// signer is the SDK's signing manager: it has one key, whatever it is asked for.
type signer struct{ *identity }

func (s signer) Sign(message []byte, _ core.Key) ([]byte, error) { return s.sign(message) }
