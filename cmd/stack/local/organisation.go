package local

import (
	"fmt"
	"path/filepath"
)

// Channel is the channel's name.
const Channel = "cardflow"

// organisation is a member of the channel, with one peer.
type organisation struct {
	name   string
	msp    string
	domain string
}

// The organisations of configs/fabric/configtx.yaml, in an order that is also that of their ports.
var (
	carrier   = organisation{"Carrier", "CarrierMSP", "carrier.cardflow.example"}
	platform  = organisation{"Platform", "PlatformMSP", "platform.cardflow.example"}
	regulator = organisation{"Regulator", "RegulatorMSP", "regulator.cardflow.example"}

	organisations = []organisation{carrier, platform, regulator}
)

const (
	ordererMSP    = "OrdererMSP"
	ordererDomain = "orderer.cardflow.example"
	orderers      = 3
)

func (o organisation) peer() string { return "peer0." + o.domain }

// folder is where cryptogen puts what belongs to an organisation.
func (o organisation) folder(crypto string) string {
	return filepath.Join(crypto, "peerOrganizations", o.domain)
}

// peerFolder holds msp and tls of its peer.
func (o organisation) peerFolder(crypto string) string {
	return filepath.Join(o.folder(crypto), "peers", o.peer())
}

// userMSP is the identity of one of its people: "Admin" or "User1".
func (o organisation) userMSP(crypto, user string) string {
	return filepath.Join(o.folder(crypto), "users", user+"@"+o.domain, "msp")
}

func orderer(i int) string { return fmt.Sprintf("orderer%d.%s", i, ordererDomain) }

// ordererFolder holds msp and tls of an orderer.
func ordererFolder(crypto string, i int) string {
	return filepath.Join(crypto, "ordererOrganizations", ordererDomain, "orderers", orderer(i))
}

// Endorsement is how many organisations have to endorse a transaction.
type Endorsement string

// The endorsement policies that CardFlow's chaincodes are deployed with.
const (
	TwoOfThree   Endorsement = "2-of-3" // the carrier and one of the others: goes on while either of those is down
	ThreeOfThree Endorsement = "3-of-3" // nothing is written without all three
)

// Policy is the signature policy, as `peer lifecycle chaincode` takes it.
func (e Endorsement) Policy() (string, error) {
	switch e {
	case TwoOfThree:
		return "AND('CarrierMSP.peer', OR('PlatformMSP.peer','RegulatorMSP.peer'))", nil
	case ThreeOfThree:
		return "AND('CarrierMSP.peer','PlatformMSP.peer','RegulatorMSP.peer')", nil
	}
	return "", fmt.Errorf("endorsement is %q, not %s or %s", e, TwoOfThree, ThreeOfThree)
}
