package local

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
)

// lowerRoots rewrites every self-signed certificate under a folder of PEM files to the form with the low S.
//
// ECDSA allows two signatures for each message, (r, s) and (r, n-s). Fabric takes the one with the low s, and its MSPs
// rewrite certificates on reading. cryptogen writes either, as chance has it. fabric-sdk-go then compares a root as it was
// with the root as it has become, finds two certificates of one name, and ends with "no peers to connect to" or "no
// endorsement combination can be satisfied". So it has to be done before the genesis block: afterwards the certificates
// stand in the channel's configuration. Both forms are valid signatures of the same CA; no key is needed for it.
func lowerRoots(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".pem") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		low, err := lowerRoot(text)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if low == nil {
			return nil
		}
		return writeFile(path, low, 0o644)
	})
}

// lowerRoot answers a certificate's PEM with a low S, nil if there is nothing to rewrite.
func lowerRoot(text []byte) ([]byte, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, nil // a key
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || cert.CheckSignatureFrom(cert) != nil {
		return nil, nil // somebody else has signed it
	}
	var signature struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(cert.Signature, &signature); err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	n := key.Params().N
	if signature.S.Cmp(new(big.Int).Rsh(n, 1)) <= 0 {
		return nil, nil
	}
	signature.S.Sub(n, signature.S)
	bits, err := asn1.Marshal(signature)
	if err != nil {
		return nil, err
	}
	var parts struct {
		Signed, Algorithm asn1.RawValue
		Signature         asn1.BitString
	}
	if _, err := asn1.Unmarshal(cert.Raw, &parts); err != nil {
		return nil, err
	}
	parts.Signature = asn1.BitString{Bytes: bits, BitLength: 8 * len(bits)}
	der, err := asn1.Marshal(parts)
	if err != nil {
		return nil, err
	}
	rewritten, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if err := rewritten.CheckSignatureFrom(rewritten); err != nil {
		return nil, errors.Join(errors.New("the rewritten certificate is not valid"), err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}
