package handler

import (
	"context"
	"errors"
	"net/http"
	"time"

	"cardflow/transfer"
)

// RealNames are how a consumer says who he is, once for each carrier.
type RealNames interface {
	// SubmitRealName has it checked before it answers, if that doesn't take long.
	SubmitRealName(ctx context.Context, c transfer.Caller, idem transfer.Idem, in transfer.RealNameInput) (transfer.RealNameView, error)
	RealNames(ctx context.Context, c transfer.Caller) (transfer.RealNames, error)
	WithdrawRealName(ctx context.Context, c transfer.Caller, idem transfer.Idem, carrier string) (transfer.RealNameView, error)
}

// Approvers are the carrier's people who decide about that.
type Approvers interface {
	// Approvals are masked; Approval shows who it is, and notes who has looked.
	Approvals(ctx context.Context, c transfer.Caller, waiting bool, cursor string, limit int) (transfer.Page[transfer.ApprovalView], error)
	Approval(ctx context.Context, c transfer.Caller, id string) (transfer.ApprovalView, error)
	ApproveRealName(ctx context.Context, c transfer.Caller, idem transfer.Idem, id string) (transfer.Act, error)
	RefuseRealName(ctx context.Context, c transfer.Caller, idem transfer.Idem, id, reason, text string) (transfer.ApprovalView, error)
}

// reasonInput is why somebody says no.
type reasonInput struct {
	Reason string `json:"reason"`
	Text   string `json:"text"`
}

func (in reasonInput) check() error {
	return errors.Join(required("reason", in.Reason), bounded(64, "reason", in.Reason), bounded(2000, "text", in.Text))
}

type reasonView struct {
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
	Text    string `json:"text,omitempty"`
}

func viewReason(code, message, text string) *reasonView {
	if code == "" {
		return nil
	}
	return &reasonView{code, message, text}
}

type realNameView struct {
	ID          string      `json:"id,omitempty"`
	Carrier     partyView   `json:"carrier"`
	State       string      `json:"state"`
	Method      string      `json:"method,omitempty"`
	Reason      *reasonView `json:"reason,omitempty"`
	SubmittedAt time.Time   `json:"submittedAt,omitzero"`
	DecidedAt   *time.Time  `json:"decidedAt,omitempty"`
	ValidUntil  *time.Time  `json:"validUntil,omitempty"`
}

func viewRealName(v transfer.RealNameView) realNameView {
	return realNameView{
		ID: v.ID, Carrier: partyView{v.CarrierID, v.CarrierName}, State: v.State, Method: v.Method, Reason: viewReason(v.Reason, v.Message, v.Text),
		SubmittedAt: v.SubmittedAt, DecidedAt: v.DecidedAt, ValidUntil: v.ValidUntil,
	}
}

// submitRealName is POST /me/real-name.
func submitRealName(c *call) error {
	in, err := bind[struct {
		Carrier    string `json:"carrier"`
		Name       string `json:"name"`
		IDNumber   string `json:"idNumber"`
		Credential string `json:"credential"`
		Consent    bool   `json:"consent"`
	}](c)
	if err != nil {
		return err
	}
	if err := errors.Join(bounded(64, "carrier", in.Carrier), bounded(512, "name", in.Name, "idNumber", in.IDNumber), bounded(4096, "credential", in.Credential)); err != nil {
		return err
	}
	v, err := c.Service.SubmitRealName(c.ctx(), c.caller(), c.idem(), transfer.RealNameInput(in))
	if err != nil {
		return err
	}
	return render(c, http.StatusAccepted, viewRealName(v))
}

type realNamesView struct {
	State   string         `json:"state"`
	Consent consentView    `json:"consent"`
	Methods []string       `json:"methods"`
	Items   []realNameView `json:"items"`
}

type consentView struct {
	Version string `json:"version"`
	Text    string `json:"text"`
}

// showRealNames is GET /me/real-name.
func showRealNames(c *call) error {
	all, err := c.Service.RealNames(c.ctx(), c.caller())
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, realNamesView{
		State: all.State, Consent: consentView(transfer.Consent), Methods: texts(all.Methods), Items: each(all.Items, viewRealName),
	})
}

// realName is how a consumer stands, in a word.
func (c *call) realName(who transfer.Caller) (string, error) {
	all, err := c.Service.RealNames(c.ctx(), who)
	return all.State, err
}

// withdrawRealName is POST /me/real-name/withdraw.
func withdrawRealName(c *call) error {
	type input struct {
		Carrier string `json:"carrier"`
	}
	in, err := bind(c, func(in input) error { return bounded(64, "carrier", in.Carrier) })
	if err != nil {
		return err
	}
	v, err := c.Service.WithdrawRealName(c.ctx(), c.caller(), c.idem(), in.Carrier)
	if err != nil {
		return err
	}
	return render(c, http.StatusAccepted, viewRealName(v))
}

type approvalView struct {
	ID             string      `json:"id"`
	Kind           string      `json:"kind"`
	State          string      `json:"state"`
	Consumer       string      `json:"consumer"`
	Method         string      `json:"method"`
	Name           string      `json:"name,omitempty"`
	IDNumber       string      `json:"idNumber,omitempty"`
	Accounts       int64       `json:"accounts"`
	Verifier       string      `json:"verifier,omitempty"`
	Finding        string      `json:"finding,omitempty"`
	Reason         *reasonView `json:"reason,omitempty"`
	Decider        string      `json:"decider,omitempty"`
	ConfirmationID string      `json:"confirmationId,omitempty"`
	SubmittedAt    time.Time   `json:"submittedAt"`
	DecidedAt      *time.Time  `json:"decidedAt,omitempty"`
	ValidUntil     *time.Time  `json:"validUntil,omitempty"`
}

func viewApproval(v transfer.ApprovalView) approvalView {
	return approvalView{
		ID: v.ID, Kind: v.Kind, State: v.State, Consumer: v.Consumer, Method: v.Method, Name: v.Name, IDNumber: v.IDNumber, Accounts: v.Accounts,
		Verifier: v.Verifier, Finding: v.Finding, Reason: viewReason(v.Reason, "", v.Text), Decider: v.Decider, ConfirmationID: v.ConfirmationID,
		SubmittedAt: v.SubmittedAt, DecidedAt: v.DecidedAt, ValidUntil: v.ValidUntil,
	}
}

// listApprovals is GET /approvals.
func listApprovals(c *call) error {
	cursor, limit, err := c.page()
	if err != nil {
		return err
	}
	state := c.QueryParam("state")
	if state != "" && state != "waiting" && state != "all" {
		return queryInvalid("state")
	}
	page, err := c.Service.Approvals(c.ctx(), c.caller(), state != "all", cursor, limit)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, list[approvalView]{each(page.Items, viewApproval), page.Next})
}

// showApproval is GET /approvals/{id}.
func showApproval(c *call) error {
	v, err := c.Service.Approval(c.ctx(), c.caller(), c.Param("id"))
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, viewApproval(v))
}

// approveRealName is POST /approvals/{id}/approve.
func approveRealName(c *call) error {
	return c.accepted(c.Service.ApproveRealName(c.ctx(), c.caller(), c.idem(), c.Param("id")))
}

// refuseRealName is POST /approvals/{id}/refuse.
func refuseRealName(c *call) error {
	in, err := bind(c, reasonInput.check)
	if err != nil {
		return err
	}
	v, err := c.Service.RefuseRealName(c.ctx(), c.caller(), c.idem(), c.Param("id"), in.Reason, in.Text)
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, viewApproval(v))
}
