package request

// AuditExport is the platform's word that a file holds rows of custody's audit as they stood. No contract takes it: it is
// signed by a platform key so that whoever has the file, and trusts the key, can check it anywhere.
type AuditExport struct {
	Stream  string `json:"stream"`
	First   uint64 `json:"first"`  // number of the first row
	Last    uint64 `json:"last"`   // of the last one
	Before  string `json:"before"` // hash of the row before the first; hex
	Hash    string `json:"hash"`   // of the last row
	Anchors uint64 `json:"anchors"`
	Digest  string `json:"digest"` // hex SM3 of the file up to the line that holds this
}

// Contract and Function place the body; there is no such function.
func (AuditExport) Contract() string { return Identity }
func (AuditExport) Function() string { return "AuditExport" }
