package handler_test

import (
	"bytes"
	"mime/multipart"
	"strings"
	"testing"

	"cardflow/handler"
	"cardflow/transfer"
)

// form is a multipart form with one file, and its content type.
func form(name, content string) ([]byte, string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary("boundary-of-the-form"); err != nil {
		panic(err)
	}
	f, err := w.CreateFormFile("file", name)
	if err != nil {
		panic(err)
	}
	f.Write([]byte(content))
	w.Close()
	return b.Bytes(), w.FormDataContentType()
}

func (r *rig) uploadAsk(token, query string, body []byte, kind string) ask {
	a := post("/card-imports"+query, token, body)
	a.header = map[string]string{"Content-Type": kind}
	return a
}

func TestImportStreamsOneFile(t *testing.T) {
	r := newRig(t)
	token := r.staff("carrier")
	content := strings.Repeat("89860112345678900016,460001234567890\n", 10_000)
	body, kind := form("卡 表.csv", content)
	r.want(202, "", r.uploadAsk(token, "?issue=true&partial=false&retailPolicy=REAL_NAME&restrictions=NO_SMS&restrictions=NO_VOICE", body, kind))
	if len(r.service.uploads) != 1 || r.service.uploads[0] != content {
		t.Error("the file did not arrive whole")
	}
	in := r.service.input.(transfer.ImportInput)
	if in.FileName != "卡 表.csv" || !in.Issue || in.Partial || in.RetailPolicy != "REAL_NAME" || strings.Join(in.Restrictions, ",") != "NO_SMS,NO_VOICE" {
		t.Errorf("the import was given %+v", in)
	}
}

// TestImportRefusesBadForms: nothing that isn't one whole file becomes an import.
func TestImportRefusesBadForms(t *testing.T) {
	whole, kind := form("cards.csv", strings.Repeat("x", 5000))
	head, tail := "--boundary-of-the-form\r\n", "\r\n--boundary-of-the-form--\r\n"
	second := strings.TrimSuffix(string(whole), "--\r\n") + "\r\nContent-Disposition: form-data; name=\"more\"\r\n\r\nx" + tail
	for name, c := range map[string]struct {
		body, kind, query string
		status            int
		code              string
	}{
		"cut off":           {string(whole[:3000]), kind, "", 400, "BODY_TRUNCATED"},
		"no end of form":    {strings.TrimSuffix(string(whole), tail), kind, "", 400, "BODY_TRUNCATED"},
		"nothing":           {"", kind, "", 400, "BODY_TRUNCATED"},
		"empty form":        {"--boundary-of-the-form--\r\n", kind, "", 400, "FILE_REQUIRED"},
		"a field, no file":  {head + "Content-Disposition: form-data; name=\"file\"\r\n\r\nx" + tail, kind, "", 400, "FILE_REQUIRED"},
		"another name":      {head + "Content-Disposition: form-data; name=\"data\"; filename=\"a.csv\"\r\n\r\nx" + tail, kind, "", 400, "FILE_REQUIRED"},
		"two parts":         {second, kind, "", 400, "FILE_REQUIRED"},
		"JSON":              {"{}", "application/json", "", 415, "CONTENT_TYPE_UNSUPPORTED"},
		"no boundary":       {string(whole), "multipart/form-data", "", 415, "CONTENT_TYPE_UNSUPPORTED"},
		"too large":         {string(whole) + strings.Repeat("x", 80<<10), kind, "", 400, "CARD_FILE_TOO_LARGE"},
		"a strange flag":    {string(whole), kind, "?issue=yes", 400, "QUERY_INVALID"},
		"an unknown option": {string(whole), kind, "?all=true", 400, "QUERY_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(c *handler.Config) { c.ImportLimit = 6000 })
			r.want(c.status, c.code, r.uploadAsk(r.staff("carrier"), c.query, []byte(c.body), c.kind))
			if len(r.service.uploads) != 0 {
				t.Error("an import began")
			}
		})
	}
}

// TestImportTooLargeOnTheWay: a file that doesn't say how long it is is stopped when it is too long.
func TestImportTooLargeOnTheWay(t *testing.T) {
	r := newRig(t, func(c *handler.Config) { c.ImportLimit = 1000 })
	body, kind := form("cards.csv", strings.Repeat("x", 200<<10))
	req := r.request(r.uploadAsk(r.staff("carrier"), "", body, kind))
	req.ContentLength = -1
	got := r.serve(req)
	if got.status != 400 || got.code(t) != "CARD_FILE_TOO_LARGE" || len(r.service.uploads) != 0 {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestImportFaultsAreAFile(t *testing.T) {
	r := newRig(t)
	token := r.staff("carrier")
	got := r.want(200, "", get("/card-imports/import-1/errors.csv", token))
	if got.header.Get("Content-Type") != "text/csv; charset=utf-8" || !strings.Contains(got.header.Get("Content-Disposition"), "attachment") || string(got.body) != "行,列,值,原因\n" {
		t.Errorf("%v %s", got.header, got.body)
	}
	r.want(200, "", get("/card-imports/import-empty/errors.csv", token))
	r.want(404, "IMPORT_NOT_FOUND", get("/card-imports/import-9/errors.csv", token))
	// Half a file must not look like a whole one: the connection is cut.
	defer func() {
		if v := recover(); v == nil {
			t.Error("half a file ended like a whole one")
		}
	}()
	r.do(get("/card-imports/import-broken/errors.csv", token))
}

func TestIssueTakesCardsOneByOne(t *testing.T) {
	r := newRig(t)
	token := r.staff("carrier")
	r.want(202, "", r.wish("/lots", token, fields{"cards": []fields{{"iccid": oneCard, "imsi": "460001234567890", "msisdn": "1064123456789"}}, "restrictions": []string{"NO_SMS"}}))
	in := r.service.input.(transfer.IssueInput)
	if len(in.Cards) != 1 || in.Cards[0].IMSI != "460001234567890" || in.Cards[0].MSISDN != "1064123456789" || in.Restrictions[0] != "NO_SMS" {
		t.Errorf("%+v", in)
	}
	r.want(400, "CARDS_REQUIRED", r.wish("/lots", token, fields{}))
	r.want(400, "FIELD_INVALID", r.wish("/lots", token, fields{"cards": []fields{{"imsi": "1"}}}))
	r.want(400, "FIELD_INVALID", r.wish("/lots", token, `{"segments":[{"start":898601}]}`))
}

func TestLotActsTakeSubsets(t *testing.T) {
	r := newRig(t)
	token := r.staff("carrier")
	r.want(202, "", r.wish("/lots/"+lotHash+"/freeze", token, fields{"segments": []fields{{"iccid": oneCard}}}))
	if spans := r.service.input.([]transfer.Span); len(spans) != 1 || spans[0].Start != oneCard || spans[0].End != oneCard {
		t.Errorf("%v", spans)
	}
	r.want(202, "", r.wish("/lots/"+lotHash+"/retire", token, nil))
	if spans := r.service.input.([]transfer.Span); len(spans) != 0 {
		t.Errorf("%v", spans)
	}
	r.want(404, "LOT_UNKNOWN", r.wish("/lots/"+strings.Repeat("0", 64)+"/freeze", token, nil))
	r.want(400, "FIELD_INVALID", r.wish("/lots/"+lotHash+"/freeze", token, fields{"segments": []fields{{"start": oneCard}}}))
	r.want(400, "FIELD_INVALID", r.wish("/lots/"+lotHash+"/freeze", token, fields{"segments": []fields{{"start": oneCard, "end": oneCard, "iccid": oneCard}}}))
}
