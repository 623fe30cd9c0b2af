package transfer

import (
	"context"
	"regexp"
	"strings"
	"time"
)

// Messages of the platform's to consumers, outside of the app (订阅消息). What may be said is a closed list: neither a name nor a
// number nor a code can get into one, whoever asks for it. Each tells that something is over; the app tells the rest.

// MessageKinds are what a consumer lets be sent to him, one message at a time: how his real name was decided about, what came of a
// confirmation, what came of a return.
var MessageKinds = []string{"real_name", "confirmation", "return"}

// Event is what a message tells: its kind, and what has come of it.
type Event string

// The events.
const (
	RealNameApproved   Event = "real_name.approved"
	RealNameRefused    Event = "real_name.refused"
	ConfirmationDone   Event = "confirmation.committed"
	ConfirmationFailed Event = "confirmation.failed"
	ReturnTaken        Event = "return.confirmed"
	ReturnDeclined     Event = "return.declined"
	ReturnExpired      Event = "return.released"
)

// Kind is what has to be let be sent for it.
func (e Event) Kind() string {
	kind, _, _ := strings.Cut(string(e), ".")
	return kind
}

// Message is one to be sent.
type Message struct {
	Participant string
	Event       Event
	Subject     string // what it happened to: an act, a registration, a trade
	At          time.Time
}

// MessageText is a message in words, within what WeChat takes.
type MessageText struct {
	Result string // at most 5 Chinese characters
	Time   string // China's
	Note   string // at most 20 characters
	Page   string // of the mini-program, with its parameters
}

// messageTexts are their words and pages.
var messageTexts = map[Event]MessageText{
	RealNameApproved:   {Result: "已通过", Note: "实名登记已通过，可以确认收卡了", Page: "pages/registrations/registrations"},
	RealNameRefused:    {Result: "未通过", Note: "实名登记未通过，点开看原因", Page: "pages/registrations/registrations"},
	ConfirmationDone:   {Result: "收卡成功", Note: "卡已登记在您名下，点开看凭证", Page: "pages/progress/progress?id="},
	ConfirmationFailed: {Result: "收卡失败", Note: "没有确认成功，点开看原因", Page: "pages/progress/progress?id="},
	ReturnTaken:        {Result: "退卡成功", Note: "卖家已收到，卡已不在您名下", Page: "pages/inbox/inbox"},
	ReturnDeclined:     {Result: "退卡被拒", Note: "卖家没有收，卡还是您的", Page: "pages/inbox/inbox"},
	ReturnExpired:      {Result: "退卡过期", Note: "卖家没有按时确认，卡还是您的", Page: "pages/inbox/inbox"},
}

var subjectID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Text is what a message says. ok is false if there is no such message.
func (m Message) Text() (t MessageText, ok bool) {
	t, ok = messageTexts[m.Event]
	t.Time = m.At.In(china).Format("2006年1月2日 15:04")
	if strings.HasSuffix(t.Page, "=") {
		t.Page += m.Subject
		ok = ok && subjectID.MatchString(m.Subject)
	}
	return t, ok
}

// Delivery is what has become of a message.
type Delivery string

// The ends of a message.
const (
	MessageSent    Delivery = "sent"
	MessageRefused Delivery = "refused" // he doesn't want it any more, or isn't known any more: normal
	MessageFailed  Delivery = "failed"  // it can't be sent as it is: a template is wrong, or missing
	MessageAway    Delivery = "away"    // no answer: it may have been sent, and isn't sent again
	MessageLate    Delivery = "late"    // it was not sent: by now he knows
)

// Deliveries are all of them.
var Deliveries = []Delivery{MessageSent, MessageRefused, MessageFailed, MessageAway, MessageLate}

// Messenger sends messages. It knows who is behind a pseudonym, as nobody else here does. An error is MessageAway.
type Messenger interface {
	Message(ctx context.Context, m Message) (Delivery, error)
}
