package local

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
)

// Kind is what a server of a network is.
type Kind string

// The kinds.
const (
	KindOrderer   Kind = "orderer"
	KindPeer      Kind = "peer"
	KindChaincode Kind = "chaincode"
)

// Server is a server of a network.
type Server struct {
	Name string // host name
	Kind Kind
	Host string // where it is: the loopback, or a host of its name
	Port int    // of its service

	operations int // port of metrics and health; 0 if it has none
	admin      int // orderer: port of osnadmin. peer: port for chaincodes that it would start itself
	folder     string
	org        organisation
	chaincode  chaincode
}

// at is the address of one of its ports.
func (s Server) at(port int) string { return net.JoinHostPort(s.Host, strconv.Itoa(port)) }

// portsOfHost are the ports that a server has where it is a host of its own, as in configs/fabric.
var portsOfHost = map[Kind]struct{ service, admin, operations int }{
	KindOrderer:   {7050, 9443, 8443},
	KindPeer:      {7051, 7052, 9443},
	KindChaincode: {service: 9999},
}

// hostOf is where a server of this name is.
func (f *Fabric) hostOf(name string) string {
	if f.state.Hosts {
		return name
	}
	return Loopback
}

// The ports of a network, counted from its base port: ten for each node, and the rest for chaincode servers.
const (
	portsOfNetwork = 100
	portsOfNode    = 10
)

// Servers are all servers of the network: orderers, peers, chaincode servers.
func (f *Fabric) Servers() []Server {
	var list []Server
	port := f.state.BasePort
	node := func(name string, kind Kind, folder string) Server {
		s := Server{Name: name, Kind: kind, Host: f.hostOf(name), Port: port, admin: port + 1, operations: port + 2, folder: folder}
		port += portsOfNode
		if f.state.Hosts {
			own := portsOfHost[kind]
			s.Port, s.admin, s.operations = own.service, own.admin, own.operations
		}
		return s
	}
	for i := range orderers {
		list = append(list, node(orderer(i), KindOrderer, ordererFolder(f.crypto(), i)))
	}
	for _, o := range organisations {
		s := node(o.peer(), KindPeer, o.peerFolder(f.crypto()))
		s.org = o
		list = append(list, s)
	}
	for _, c := range f.state.Chaincodes {
		for _, o := range organisations {
			list = append(list, f.serverOf(c, o))
		}
	}
	return list
}

func (f *Fabric) servers(kind Kind) []Server {
	var list []Server
	for _, s := range f.Servers() {
		if s.Kind == kind {
			list = append(list, s)
		}
	}
	return list
}

// peerOf is an organisation's peer.
func (f *Fabric) peerOf(o organisation) Server {
	for _, s := range f.servers(KindPeer) {
		if s.org == o {
			return s
		}
	}
	panic("local: every organisation has a peer")
}

// process is how a server is started. A node's folder, as cryptogen lays it out, is its FABRIC_CFG_PATH: msp, tls, and the
// configuration of configs/fabric, which is the same for all. What differs is in the environment.
func (f *Fabric) process(s Server) Process {
	p := Process{Name: s.Name, Dir: s.folder}
	data := f.path("data", s.Name)
	switch s.Kind {
	case KindOrderer:
		p.Path = filepath.Join(f.tools, "orderer")
		p.Env = append(f.env(s.folder),
			"ORDERER_GENERAL_LISTENADDRESS="+Loopback,
			"ORDERER_GENERAL_LISTENPORT="+strconv.Itoa(s.Port),
			"ORDERER_ADMIN_LISTENADDRESS="+Address(s.admin),
			"ORDERER_OPERATIONS_LISTENADDRESS="+Address(s.operations),
			"ORDERER_FILELEDGER_LOCATION="+data,
			"ORDERER_CONSENSUS_WALDIR="+filepath.Join(data, "etcdraft", "wal"),
			"ORDERER_CONSENSUS_SNAPDIR="+filepath.Join(data, "etcdraft", "snapshot"),
		)
	case KindPeer:
		p.Path, p.Args = filepath.Join(f.tools, "peer"), []string{"node", "start"}
		p.Env = append(f.env(s.folder),
			"CORE_PEER_ID="+s.Name,
			"CORE_PEER_LOCALMSPID="+s.org.msp,
			"CORE_PEER_LISTENADDRESS="+Address(s.Port),
			"CORE_PEER_ADDRESS="+Address(s.Port),
			"CORE_PEER_CHAINCODELISTENADDRESS="+Address(s.admin),
			"CORE_PEER_GOSSIP_BOOTSTRAP="+Address(s.Port),
			"CORE_PEER_GOSSIP_EXTERNALENDPOINT="+Address(s.Port),
			"CORE_PEER_FILESYSTEMPATH="+data,
			"CORE_LEDGER_SNAPSHOTS_ROOTDIR="+filepath.Join(data, "snapshots"),
			"CORE_OPERATIONS_LISTENADDRESS="+Address(s.operations),
			"CORE_CHAINCODE_EXTERNALBUILDERS=[{name: ccaas_builder, path: "+strconv.Quote(f.path("config", "ccaas"))+"}]",
		)
		if f.state.TimeWindow != "" {
			p.Env = append(p.Env, "CORE_PEER_AUTHENTICATION_TIMEWINDOW="+f.state.TimeWindow)
		}
	case KindChaincode:
		p.Path = f.path("bin", s.chaincode.Program)
		p.Env = []string{
			"CHAINCODE_ID=" + s.chaincode.PackageIDs[s.org.msp],
			"CHAINCODE_SERVER_ADDRESS=" + Address(s.Port),
			"CHAINCODE_CONTRACT=" + s.chaincode.Name,
			"CHAINCODE_TLS_CERT=" + filepath.Join(s.folder, "server.crt"),
			"CHAINCODE_TLS_KEY=" + filepath.Join(s.folder, "server.key"),
			"CHAINCODE_CLIENT_CA_CERT=" + filepath.Join(s.org.peerFolder(f.crypto()), "tls", "ca.crt"),
		}
	}
	return p
}

// env is what every program of Fabric is given. Nothing is inherited: a CORE_ variable of somebody's shell must not change
// this network.
func (f *Fabric) env(config string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), // the external builder is a shell script
		"HOME=" + f.path("tmp"),
		"TMPDIR=" + f.path("tmp"),
		"FABRIC_CFG_PATH=" + config,
		"FABRIC_LOGGING_SPEC=orderer.consensus.etcdraft,gossip.channel=info:warn",
	}
}
