package fabric

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"

	"github.com/golang/protobuf/proto"
	"github.com/hyperledger/fabric-protos-go/msp"
)

// Of the two signatures that ECDSA allows for each message, Fabric takes the one with the low S. Certificates are signed
// by tools that don't care: cryptogen leaves half of its CA certificates with a high S, and so does OpenSSL. The SDK
// rewrites those when it reads a channel's configuration, and then looks for the chain of the certificate as it was, to
// the root as it has become; crypto/x509 has come to refuse that, because the two are one CA. The SDK is left with no
// members and says that there are "no peers to connect to". So roots are rewritten here, before the SDK sees them,
// wherever the configuration holds one. An operator need not reissue anything.

// lowerMSP rewrites the roots in an organisation's configuration.
func lowerMSP(config *msp.MSPConfig) error {
	var f msp.FabricMSPConfig
	if err := proto.Unmarshal(config.Config, &f); err != nil {
		return err
	}
	var places []*[]byte
	for i := range f.RootCerts {
		places = append(places, &f.RootCerts[i])
	}
	for _, ou := range append(f.OrganizationalUnitIdentifiers, f.FabricNodeOus.GetClientOuIdentifier(), f.FabricNodeOus.GetPeerOuIdentifier(),
		f.FabricNodeOus.GetAdminOuIdentifier(), f.FabricNodeOus.GetOrdererOuIdentifier()) {
		if ou != nil {
			places = append(places, &ou.Certificate)
		}
	}
	for _, at := range places {
		*at = lowerRoot(*at)
	}
	text, err := proto.Marshal(&f)
	config.Config = text
	return err
}

// lowerRoot rewrites a certificate that signed itself with a high S. Any other text is answered as it is: whether it makes
// sense is for the SDK to say.
func lowerRoot(text []byte) []byte {
	block, _ := pem.Decode(text)
	if block == nil {
		return text
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !bytes.Equal(cert.RawSubject, cert.RawIssuer) {
		return text
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return text
	}
	sig, err := lowS(cert.Signature, key.Params().N)
	if err != nil || bytes.Equal(sig, cert.Signature) {
		return text
	}
	var whole struct {
		Signed, Algorithm asn1.RawValue
		Signature         asn1.BitString
	}
	if _, err := asn1.Unmarshal(block.Bytes, &whole); err != nil {
		return text
	}
	whole.Signature = asn1.BitString{Bytes: sig, BitLength: len(sig) * 8}
	der, err := asn1.Marshal(whole)
	if err != nil {
		return text
	}
	return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der})
}
