package handler

import (
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"strconv"
	"time"

	"cardflow/transfer"
)

// Carriers are what only the issuers of cards do.
type Carriers interface {
	// StartImport takes the file in and answers at once; reading it is work that goes on. idem may be empty; the digest
	// of the file is the use case's to take.
	StartImport(ctx context.Context, c transfer.Caller, idem transfer.Idem, in transfer.ImportInput) (importID string, err error)
	Import(ctx context.Context, c transfer.Caller, id string) (transfer.ImportView, error)
	// ImportFaults writes the bad rows as CSV.
	ImportFaults(ctx context.Context, c transfer.Caller, id string, w io.Writer) error
	Issue(ctx context.Context, c transfer.Caller, idem transfer.Idem, in transfer.IssueInput) (transfer.IssueResult, error)
	Retire(ctx context.Context, c transfer.Caller, idem transfer.Idem, lotHash string, subset []transfer.Span) (transfer.Act, error)
}

type importStarted struct {
	ImportID string `json:"importId"`
}

// slowestUpload is how long a card file may take to come in: 128 MiB at some 2 Mbit/s.
const slowestUpload = 10 * time.Minute

// startImport is POST /card-imports. The file streams through: it's never in memory as a whole.
func startImport(c *call) error {
	in := transfer.ImportInput{RetailPolicy: c.QueryParam("retailPolicy"), Restrictions: c.QueryParams()["restrictions"]}
	var err error
	if in.Issue, err = c.flag("issue"); err != nil {
		return err
	}
	if in.Partial, err = c.flag("partial"); err != nil {
		return err
	}
	upload, err := c.upload()
	if err != nil {
		return err
	}
	in.FileName, in.Body = upload.part.FileName(), upload
	idem := c.idem()
	idem.BodyDigest = "" // the file has not been read yet
	id, err := c.Service.StartImport(c.ctx(), c.caller(), idem, in)
	if upload.err != nil {
		return upload.err // why the file ended, rather than what the use case made of it
	}
	if err != nil {
		return err
	}
	return render(c, http.StatusAccepted, importStarted{id})
}

func (c *call) flag(name string) (bool, error) {
	switch c.QueryParam(name) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, queryInvalid(name)
}

// upload is the one file of a multipart form. It ends well only if the form does: a file that was cut off, or that is
// followed by something else, ends with an error and so becomes no import.
type upload struct {
	form *multipart.Reader
	part *multipart.Part
	err  error
}

func (c *call) upload() (*upload, error) {
	r := c.Request()
	kind, params, err := mediaType(r.Header)
	if err != nil {
		return nil, err
	}
	if kind != "multipart/form-data" || params["boundary"] == "" {
		return nil, refuse("CONTENT_TYPE_UNSUPPORTED")
	}
	const formRoom = 64 << 10 // for the form around the file
	if r.ContentLength > c.ImportLimit+formRoom {
		return nil, importTooLarge(c.ImportLimit)
	}
	// The server's own deadline is for requests of a megabyte. The network's clock is the machine's.
	control := http.NewResponseController(c.Response())
	for _, extend := range []func(time.Time) error{control.SetReadDeadline, control.SetWriteDeadline} {
		if err := extend(time.Now().Add(slowestUpload)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return nil, err
		}
	}
	u := &upload{form: multipart.NewReader(http.MaxBytesReader(c.Response(), r.Body, c.ImportLimit+formRoom), params["boundary"])}
	u.part, err = u.form.NextRawPart()
	switch {
	case err == io.EOF:
		return nil, refuse("FILE_REQUIRED")
	case err != nil:
		return nil, importError(err, c.ImportLimit)
	case u.part.FormName() != "file" || u.part.FileName() == "" || len(u.part.FileName()) > 255:
		return nil, refuse("FILE_REQUIRED")
	}
	return u, nil
}

// Read gives the file.
func (u *upload) Read(b []byte) (int, error) {
	if u.err != nil {
		return 0, u.err
	}
	n, err := u.part.Read(b)
	if err == io.EOF {
		if _, next := u.form.NextRawPart(); next == nil {
			u.err = refuse("FILE_REQUIRED")
		} else if next != io.EOF {
			u.err = importError(next, 0)
		}
		if u.err != nil {
			err = u.err
		}
	} else if err != nil {
		u.err = importError(err, 0)
		err = u.err
	}
	return n, err
}

func importError(err error, limit int64) error {
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		return importTooLarge(limit)
	}
	return refuse("BODY_TRUNCATED")
}

func importTooLarge(limit int64) error {
	r := refuse("CARD_FILE_TOO_LARGE")
	if limit > 0 {
		r.details = map[string]any{"limitBytes": limit}
	}
	return r
}

type importView struct {
	ID        string        `json:"id"`
	FileName  string        `json:"fileName"`
	State     string        `json:"state"`
	Rows      int64         `json:"rows"`
	Accepted  int64         `json:"accepted"`
	Rejected  int64         `json:"rejected"`
	Progress  float64       `json:"progress"` // 0 to 1
	Lots      []string      `json:"lots"`
	Error     *actErrorView `json:"error,omitempty"`
	CreatedAt time.Time     `json:"createdAt"`
	UpdatedAt time.Time     `json:"updatedAt"`
}

// showImport is GET /card-imports/{id}.
func showImport(c *call) error {
	i, err := c.Service.Import(c.ctx(), c.caller(), c.Param("id"))
	if err != nil {
		return err
	}
	return render(c, http.StatusOK, importView{
		ID: i.ID, FileName: i.FileName, State: i.State, Rows: i.Rows, Accepted: i.Accepted, Rejected: i.Rejected, Progress: i.Progress,
		Lots: texts(i.Lots), Error: viewActError(i.Error), CreatedAt: i.CreatedAt, UpdatedAt: i.UpdatedAt,
	})
}

// importFaults is GET /card-imports/{id}/errors.csv.
func importFaults(c *call) error {
	control := http.NewResponseController(c.Response())
	if err := control.SetWriteDeadline(time.Now().Add(slowestUpload)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	out := &download{call: c, kind: "text/csv; charset=utf-8", name: "errors.csv"}
	if err := c.Service.ImportFaults(c.ctx(), c.caller(), c.Param("id"), out); err != nil {
		return err
	}
	out.begin()
	return nil
}

// download begins the answer at the first byte, so that an error before it is still told as one.
type download struct {
	*call
	kind, name string
}

func (d *download) begin() {
	if d.Response().Committed {
		return
	}
	h := d.Response().Header()
	h.Set("Content-Type", d.kind)
	h.Set("Content-Disposition", `attachment; filename="`+d.name+`"`)
	d.Response().WriteHeader(http.StatusOK)
}

// Write sends a piece.
func (d *download) Write(b []byte) (int, error) {
	d.begin()
	return d.Response().Write(b)
}

type issueView struct {
	Lots          []lotView `json:"lots"`
	Confirmations []actView `json:"confirmations"` // of what is on its way
}

// issue is POST /lots: lots made by hand.
func issue(c *call) error {
	in, err := bind[struct {
		Segments     []spanInput `json:"segments"`
		Cards        []cardInput `json:"cards"`
		Restrictions []string    `json:"restrictions"`
		RetailPolicy string      `json:"retailPolicy"`
	}](c)
	if err != nil {
		return err
	}
	if len(in.Segments) == 0 && len(in.Cards) == 0 {
		return refuse("CARDS_REQUIRED")
	}
	if err := bounded(64, "retailPolicy", in.RetailPolicy); err != nil {
		return err
	}
	spans, err := spansOf(in.Segments)
	if err != nil {
		return err
	}
	for i, card := range in.Cards {
		if err := bounded(64, "iccid", card.ICCID, "imsi", card.IMSI, "msisdn", card.MSISDN); err != nil {
			return err
		}
		if card.ICCID == "" {
			return field("cards["+strconv.Itoa(i)+"].iccid", "必填")
		}
	}
	made, err := c.Service.Issue(c.ctx(), c.caller(), c.idem(), transfer.IssueInput{
		Segments: spans, Cards: each(in.Cards, func(i cardInput) transfer.CardDetail { return transfer.CardDetail(i) }),
		Restrictions: in.Restrictions, RetailPolicy: in.RetailPolicy,
	})
	if err != nil {
		return err
	}
	return render(c, http.StatusAccepted, issueView{each(made.Lots, viewLot), each(made.Acts, viewAct)})
}

type cardInput struct {
	ICCID  string `json:"iccid"`
	IMSI   string `json:"imsi"`
	MSISDN string `json:"msisdn"`
}

// retire is POST /lots/{hash}/retire.
func retire(c *call) error { return c.onLot(c.Service.Retire) }

// onLot makes a call on a lot, or on some of its cards.
func (c *call) onLot(do func(context.Context, transfer.Caller, transfer.Idem, string, []transfer.Span) (transfer.Act, error)) error {
	in, err := bind[struct {
		Segments []spanInput `json:"segments"`
	}](c)
	if err != nil {
		return err
	}
	spans, err := spansOf(in.Segments)
	if err != nil {
		return err
	}
	return c.accepted(do(c.ctx(), c.caller(), c.idem(), c.Param("hash"), spans))
}
