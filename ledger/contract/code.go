package contract

// The codes of refusals. They are part of the contract: terminals act on them.
const (
	// The request itself.
	BadArguments     = "BAD_ARGUMENTS"     // not decodable, too large, or a field out of its bounds
	UnknownFunction  = "UNKNOWN_FUNCTION"  // no such function
	AlreadyApplied   = "ALREADY_APPLIED"   // this very act is on the ledger: details.txId; a success for whoever asks twice
	RequestExpired   = "REQUEST_EXPIRED"   // notAfter has passed
	NotAfterTooFar   = "NOT_AFTER_TOO_FAR" // notAfter is later than policy allows
	SignatureInvalid = "SIGNATURE_INVALID" // a signature does not fit request and key
	SignatureMissing = "SIGNATURE_MISSING" // fewer or other signers than the function demands

	// Identity.
	NotInitialised      = "NOT_INITIALISED"      // Init has not been called
	AlreadyInitialised  = "ALREADY_INITIALISED"  // Init is called once
	WrongOrganisation   = "WRONG_ORGANISATION"   // Init by another organisation than the pinned one
	ParticipantUnknown  = "PARTICIPANT_UNKNOWN"  //
	ParticipantExists   = "PARTICIPANT_EXISTS"   //
	ParticipantFrozen   = "PARTICIPANT_FROZEN"   // nothing moves to or from him
	RoleForbidden       = "ROLE_FORBIDDEN"       // the signer's role may not do this
	KeyUnknown          = "KEY_UNKNOWN"          //
	KeyExists           = "KEY_EXISTS"           // a public key belongs to one participant, once
	KeyInactive         = "KEY_INACTIVE"         // suspended, revoked, rotated or past its validity
	KeyFunction         = "KEY_FUNCTION"         // the key is not for this function
	PossessionUnproven  = "POSSESSION_UNPROVEN"  // the new key did not sign for itself
	TransitionForbidden = "TRANSITION_FORBIDDEN" // e.g. resume after revoke
	VersionMismatch     = "VERSION_MISMATCH"     // the record has changed since: details.version
	PolicyUnknown       = "POLICY_UNKNOWN"       //
	IssuerUnknown       = "ISSUER_UNKNOWN"       // no carrier holds this prefix
	SequencePassed      = "SEQUENCE_PASSED"      // an anchor that is not newer than the last

	// Lots.
	LotUnknown      = "LOT_UNKNOWN"        //
	LotExists       = "LOT_EXISTS"         // a lot hash is used once
	NotOwner        = "NOT_OWNER"          // the signer does not own an input
	InputSpent      = "INPUT_SPENT"        // details.children: the lots that hold its cards now
	LotInTrade      = "LOT_IN_TRADE"       //
	LotRetired      = "LOT_RETIRED"        //
	LotFrozen       = "LOT_FROZEN"         //
	NotFrozen       = "NOT_FROZEN"         // nothing that this role could unfreeze
	AlreadyFrozen   = "ALREADY_FROZEN"     //
	OpeningMissing  = "OPENING_MISSING"    // details.lot or details.trade
	OpeningMismatch = "OPENING_MISMATCH"   // an opening does not give the signed hash
	PartitionWrong  = "PARTITION_MISMATCH" // outputs are not exactly the cards of the inputs
	LotsDiffer      = "LOTS_DIFFER"        // inputs of several issuers, rules or persons
	TooManySegments = "TOO_MANY_SEGMENTS"  //
	AlreadyIssued   = "ALREADY_ISSUED"     // a card of this lot was issued before
	IssueKeyWrong   = "ISSUE_KEY_WRONG"    // not the pinned issue key

	// Trades.
	TradeUnknown     = "TRADE_UNKNOWN"      //
	TradeExists      = "TRADE_EXISTS"       //
	TradeEnded       = "TRADE_ENDED"        // details.state, details.txId
	TradeExpired     = "TRADE_EXPIRED"      //
	TradeNotExpired  = "TRADE_NOT_EXPIRED"  // Release before expiry
	SelfTrade        = "SELF_TRADE"         // receiver = seller
	NotReceiver      = "NOT_RECEIVER"       // a NAMED trade for someone else
	NotSeller        = "NOT_SELLER"         //
	CodeWrong        = "CODE_WRONG"         // the code does not open the code hash
	TicketMissing    = "TICKET_MISSING"     // BEARER without a valid ticket of the platform
	RealNameRequired = "REAL_NAME_REQUIRED" // no valid approval of this consumer by this carrier
	CapExceeded      = "CAP_EXCEEDED"       // more cards of one carrier than one person may hold
	NotReturnable    = "NOT_RETURNABLE"     // not the trade that brought these cards, or too late
)
