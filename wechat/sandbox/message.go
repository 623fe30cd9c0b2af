package sandbox

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// maxMessages are kept; the oldest go first.
const maxMessages = 1000

// Message is a subscribe message as it was sent.
type Message struct {
	OpenID     string            `json:"openid"`
	TemplateID string            `json:"templateId"`
	Page       string            `json:"page"`
	State      string            `json:"state"` // formal, trial, developer
	Data       map[string]string `json:"data"`
	SentAt     time.Time         `json:"sentAt"`
}

var openID = regexp.MustCompile(`^o[0-9A-Za-z_-]{27}$`)

// fieldLimits are the lengths in characters that WeChat allows, by the kind that a field's name begins with.
var fieldLimits = map[string]int{"thing": 20, "character_string": 32, "phrase": 5, "name": 10, "number": 32, "letter": 32, "symbol": 5}

// send keeps a message. Everybody has consented to everything here; a refusal (43101) is a fault to be scripted.
func (s *Sandbox) send(r *http.Request) (any, error) {
	var in struct {
		ToUser     string `json:"touser"`
		TemplateID string `json:"template_id"`
		Page       string `json:"page"`
		State      string `json:"miniprogram_state"`
		Data       map[string]struct {
			Value any `json:"value"`
		} `json:"data"`
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	page, _, _ := strings.Cut(in.Page, "?")
	switch {
	case !openID.MatchString(in.ToUser):
		return nil, fail(40003)
	case in.TemplateID == "":
		return nil, fail(40037)
	case page != "" && !s.published(page):
		return nil, fail(41030)
	case len(in.Data) == 0:
		return nil, fail(47003)
	}
	data := make(map[string]string, len(in.Data))
	for key, field := range in.Data {
		value := fmt.Sprint(field.Value)
		limit, known := fieldLimits[strings.TrimRight(key, "0123456789")]
		if field.Value == nil || value == "" || known && utf8.RuneCountInString(value) > limit {
			e := fail(47003)
			e.ErrMsg += "! data." + key + ".value invalid"
			return nil, e
		}
		data[key] = value
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, Message{in.ToUser, in.TemplateID, in.Page, in.State, data, s.c.Now().UTC()})
	s.messages = s.messages[max(0, len(s.messages)-maxMessages):]
	return wxError{0, "ok"}, nil
}

// MessagesTo gives what was sent to the person of that name, oldest first.
func (s *Sandbox) MessagesTo(name string) []Message { return s.Messages(s.OpenID(name)) }

// Messages gives what was sent to openID, or to everybody if it is "", oldest first.
func (s *Sandbox) Messages(openID string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := []Message{}
	for _, m := range s.messages {
		if openID == "" || m.OpenID == openID {
			found = append(found, m)
		}
	}
	return found
}

func (s *Sandbox) getMessages(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, map[string]any{"items": s.Messages(r.URL.Query().Get("openid"))})
}
