package protocol

import (
	"errors"
	"regexp"
	"strings"
)

// Ticket lets one device be enrolled, once. An administrator's console shows its text, and a person carries it to the
// terminal; so it also says by which key the gateway must answer. Its secret doesn't print.
type Ticket struct {
	Participant string
	Gateway     string // key ID
	secret      string
}

// ErrTicket: a text that is no ticket.
var ErrTicket = errors.New("not an enrolment ticket")

// ticketText: tag, participant, secret (26 characters of base 32, 128 bits), gateway key.
var ticketText = regexp.MustCompile(`^CFT1\.([a-z0-9][a-z0-9_.-]{2,62})\.([a-z2-7]{26})\.([0-9a-f]{32})$`)

// NewTicket is a ticket with a secret of 26 characters of lower-case base 32.
func NewTicket(participant, secret, gateway string) (Ticket, error) {
	t := Ticket{participant, gateway, secret}
	_, err := ParseTicket(t.Text())
	return t, err
}

// ParseTicket reads a ticket as a person pastes it, with spaces and line breaks around and inside. Errors: ErrTicket.
func ParseTicket(text string) (Ticket, error) {
	m := ticketText.FindStringSubmatch(strings.Join(strings.Fields(text), ""))
	if m == nil {
		return Ticket{}, ErrTicket
	}
	return Ticket{Participant: m[1], secret: m[2], Gateway: m[3]}, nil
}

// Text is the ticket as it is shown, once.
func (t Ticket) Text() string {
	return strings.Join([]string{"CFT1", t.Participant, t.secret, t.Gateway}, ".")
}

// Secret is what the platform has a keyed hash of.
func (t Ticket) Secret() string { return t.secret }

// String hides the secret.
func (t Ticket) String() string { return "[ticket of " + t.Participant + "]" }

// GoString hides the secret.
func (t Ticket) GoString() string { return t.String() }
