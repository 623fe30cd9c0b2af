package transfer

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"cardflow/model"
)

// The directory of staff, as whoever runs the server keeps it. It says who may log in, and what shows that two accounts
// are one person's: custody's two-person rule goes by it.

// DirectoryEntry is a member of staff.
type DirectoryEntry struct {
	PersonView
	State       string // active, disabled
	StaffNumber string
	HasMobile   bool // the number itself is not kept
	CreatedAt   time.Time
	LastLoginAt time.Time
}

// Directory lists all members of staff, by username.
func (s *Service) Directory(ctx context.Context) (entries []DirectoryEntry, err error) {
	err = s.DB.Read(ctx, func(tx *model.Tx) error {
		people, err := tx.PeopleOf("")
		if err != nil {
			return err
		}
		entries = nil
		for _, p := range people {
			org, err := tx.Participant(p.ParticipantID)
			if err != nil {
				return err
			}
			i, err := tx.Identity(p.ID)
			if err != nil {
				return err
			}
			entries = append(entries, DirectoryEntry{
				PersonView: personView(p, org), State: string(p.State), StaffNumber: i.StaffNumber, HasMobile: i.MobileIndex != "",
				CreatedAt: p.CreatedAt.Time(), LastLoginAt: p.LastLoginAt.Time(),
			})
		}
		return nil
	})
	return entries, err
}

// PersonChange is what is to be changed of an account; nil leaves it as it is.
type PersonChange struct {
	StaffNumber *string
	Mobile      *string
	Active      *bool // may log in, and be served where he has
	// Note, if not nil, writes down elsewhere that the person of this ID is changed: both stand, or neither.
	Note func(tx *model.Tx, person string) error
}

// ChangePerson changes an account. Errors: PERSON_UNKNOWN, IDENTITY_INVALID.
func (s *Service) ChangePerson(ctx context.Context, username string, c PersonChange) error {
	if c.StaffNumber != nil && *c.StaffNumber != "" && !staffNumber.MatchString(*c.StaffNumber) {
		return fail("IDENTITY_INVALID")
	}
	var mobile string
	if c.Mobile != nil {
		var err error
		if mobile, err = s.mobileIndex(*c.Mobile); err != nil {
			return err
		}
	}
	return s.DB.Write(ctx, func(tx *model.Tx) error {
		p, err := tx.PersonByUsername(username)
		if errors.Is(err, model.ErrNotFound) {
			return fail("PERSON_UNKNOWN")
		}
		if err != nil {
			return err
		}
		i, err := tx.Identity(p.ID)
		if err == nil && c.Note != nil {
			err = c.Note(tx, p.ID)
		}
		if err != nil {
			return err
		}
		if c.StaffNumber != nil {
			i.StaffNumber = *c.StaffNumber
		}
		if c.Mobile != nil {
			i.MobileIndex = mobile
		}
		if c.StaffNumber != nil || c.Mobile != nil {
			i.UpdatedAt = s.now()
			if err := tx.SetIdentity(i); err != nil {
				return err
			}
		}
		if c.Active == nil || *c.Active == (p.State == model.PersonActive) {
			return nil
		}
		to := model.PersonDisabled
		if *c.Active {
			to = model.PersonActive
		}
		return tx.MovePerson(p.ID, p.State, to)
	})
}

var (
	staffNumber = regexp.MustCompile(`^[0-9A-Za-z-]{1,32}$`)
	mobile      = regexp.MustCompile(`^1[0-9]{10}$`)
)

// mobileIndex is the keyed hash of a mobile number, however it is written; none for none.
func (s *Service) mobileIndex(number string) (string, error) {
	if number == "" {
		return "", nil
	}
	number = strings.NewReplacer(" ", "", "-", "").Replace(number)
	number = strings.TrimPrefix(number, "+86")
	if !mobile.MatchString(number) {
		return "", fail("IDENTITY_INVALID")
	}
	return s.Vault.Index("mobile", number), nil
}
