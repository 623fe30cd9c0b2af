package transfer_test

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"cardflow/model"
	"cardflow/transfer"
)

const secret = "correct horse battery"

// staff adds a person to the retailer, whose password is hashed with the least work that there is: under the race
// detector the real one takes its time, and each hash says how it was made.
func (r *rig) staff(name string) {
	r.t.Helper()
	salt := []byte("sixteen bytes ok")
	e := base64.RawStdEncoding
	cheap := "$argon2id$v=19$m=8,t=1,p=1$" + e.EncodeToString(salt) + "$" + e.EncodeToString(argon2.IDKey([]byte(secret), salt, 1, 8, 1, 32))
	defer func() {
		check(r.t, r.db.Write(r.ctx, func(tx *model.Tx) error {
			p, err := tx.PersonByUsername(name)
			if err != nil {
				return err
			}
			return tx.SetPassword(p.ID, cheap, true)
		}))
	}()
	check(r.t, r.AddPerson(r.ctx, transfer.NewPerson{Username: name, Password: secret, MustChange: true, Organisation: retailer.Participant, Roles: []string{"retailer"}}))
}

// failed is what so many wrong passwords leave behind; a real one takes its time.
func (r *rig) failed(who transfer.Caller, n int) {
	r.t.Helper()
	for range n {
		check(r.t, r.db.Write(r.ctx, func(tx *model.Tx) error {
			_, err := tx.NoteFailedLogin(who.Person, 10, 0)
			return err
		}))
	}
}

func TestLogin(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.staff("Li.Si")
	who, person, err := r.Login(r.ctx, "lI.sI", secret)
	check(t, err)
	if who.Participant != retailer.Participant || who.Role != retailer.Role || who.Person == "" || person.OrganisationName != "小店" || !person.MustChangePassword {
		t.Errorf("%+v %+v", who, person)
	}
	again, err := r.Person(r.ctx, who)
	check(t, err)
	if again.Username != "li.si" {
		t.Errorf("%+v", again)
	}
	for _, c := range []struct{ name, password string }{
		{"li.si", "wrong horse battery"}, {"li.si", ""}, {"nobody", secret}, {"", ""}, {"li.si", secret + " "}, {"li.si' --", secret}, {"\xff", "\xff"},
	} {
		if who, _, err := r.Login(r.ctx, c.name, c.password); !errors.Is(err, transfer.ErrLogin) || who.Participant != "" {
			t.Errorf("%q, %q: %+v, %v", c.name, c.password, who, err)
		}
	}
	for _, c := range []struct {
		what, password, code string
		user                 string
	}{
		{"a short password", "123456789", "PASSWORD_WEAK", "a"},
		{"an endless one", strings.Repeat("a", 257), "PASSWORD_WEAK", "b"},
		{"ten Chinese characters", "这是一个很长的密码啊", "", "c"},
		{"a name that is taken", secret, "PERSON_EXISTS", "LI.SI"},
	} {
		err := r.AddPerson(r.ctx, transfer.NewPerson{Username: c.user, Password: c.password, Organisation: retailer.Participant, Roles: []string{"retailer"}})
		wants(t, c.what, err, c.code)
	}
	if err := r.AddPerson(r.ctx, transfer.NewPerson{Username: "d", Password: secret, Organisation: retailer.Participant, Roles: []string{"king"}}); err == nil {
		t.Error("a role that there is not")
	}
}

// Ten wrong passwords lock the account for a while, even for who knows the right one; a good login counts from nought.
func TestLoginLocks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.staff("li.si")
	wrong := func() {
		t.Helper()
		if _, _, err := r.Login(r.ctx, "li.si", "wrong horse battery"); !errors.Is(err, transfer.ErrLogin) {
			t.Fatal(err)
		}
	}
	good := func() error { _, _, err := r.Login(r.ctx, "li.si", secret); return err }
	who, _, err := r.Login(r.ctx, "li.si", secret)
	check(t, err)
	r.failed(who, 8)
	wrong()
	check(t, good())
	r.failed(who, 8)
	wrong()
	wrong()
	if err := good(); !errors.Is(err, transfer.ErrLogin) {
		t.Fatalf("not locked: %v", err)
	}
	r.clock.forward(14 * time.Minute)
	if err := good(); !errors.Is(err, transfer.ErrLogin) {
		t.Fatalf("not locked any more: %v", err)
	}
	r.clock.forward(2 * time.Minute)
	check(t, good())
}

func TestLoginOfADisabledPerson(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.staff("li.si")
	who, person, err := r.Login(r.ctx, "li.si", secret)
	check(t, err)
	check(t, r.db.Write(r.ctx, func(tx *model.Tx) error { return tx.MovePerson(person.ID, model.PersonActive, model.PersonDisabled) }))
	if _, _, err := r.Login(r.ctx, "li.si", secret); !errors.Is(err, transfer.ErrLogin) {
		t.Errorf("logged in: %v", err)
	}
	_, err = r.Person(r.ctx, who)
	wants(t, "his session", err, "FORBIDDEN")
	if err := r.ChangePassword(r.ctx, who, secret, "another horse battery"); err == nil {
		t.Error("changed the password of a disabled account")
	}
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.staff("li.si")
	who, _, err := r.Login(r.ctx, "li.si", secret)
	check(t, err)
	const next = "another horse battery"
	if err := r.ChangePassword(r.ctx, who, "wrong horse battery", next); !errors.Is(err, transfer.ErrLogin) {
		t.Errorf("without the old one: %v", err)
	}
	wants(t, "a weak one", r.ChangePassword(r.ctx, who, secret, "short"), "PASSWORD_WEAK")
	wants(t, "the same again", r.ChangePassword(r.ctx, who, secret, secret), "PASSWORD_SAME")
	check(t, r.ChangePassword(r.ctx, who, secret, next))
	if _, _, err := r.Login(r.ctx, "li.si", secret); !errors.Is(err, transfer.ErrLogin) {
		t.Errorf("the old one: %v", err)
	}
	_, person, err := r.Login(r.ctx, "li.si", next)
	check(t, err)
	if person.MustChangePassword {
		t.Error("still to be changed")
	}
	ann := r.consumer("ann")
	wants(t, "a consumer has none", r.ChangePassword(r.ctx, ann, "", next), "FORBIDDEN")
}

// Guessing at the old password of an open session locks the account too.
func TestChangePasswordLocks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.staff("li.si")
	who, _, err := r.Login(r.ctx, "li.si", secret)
	check(t, err)
	r.failed(who, 9)
	for _, old := range []string{"wrong horse battery", secret} {
		if err := r.ChangePassword(r.ctx, who, old, "another horse battery"); !errors.Is(err, transfer.ErrLogin) {
			t.Errorf("with %q: %v", old, err)
		}
	}
}

// A login without an account is checked against a hash that takes as long.
func TestStrangersTakeTheTimeOfAPassword(t *testing.T) {
	t.Parallel()
	real, err := transfer.HashPassword(secret)
	check(t, err)
	parameters := func(hash string) string {
		return hash[:strings.LastIndexByte(hash[:strings.LastIndexByte(hash, '$')], '$')]
	}
	if parameters(transfer.Nobody) != parameters(real) || len(transfer.Nobody) != len(real) {
		t.Errorf("a stranger's hash is %s, a person's %s", parameters(transfer.Nobody), parameters(real))
	}
	if !strings.HasPrefix(real, "$argon2id$v=19$m=65536,t=3,p=1$") {
		t.Errorf("hashed as %s", parameters(real))
	}
	if again, err := transfer.HashPassword(secret); err != nil || again == real {
		t.Errorf("one salt for two: %v", err)
	}
}

// One WeChat account is one participant, however often and at how many places at once he comes; the same openid of
// another app is somebody else.
func TestConsumerFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ids := make([]string, 20)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			c, err := r.ConsumerFor(r.ctx, "wx", "eve")
			if err != nil {
				t.Error(err)
			}
			ids[i] = c.Participant
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || !strings.HasPrefix(id, "c-") {
			t.Fatalf("participants %q and %q", ids[0], id)
		}
	}
	other, err := r.ConsumerFor(r.ctx, "wx-2", "eve")
	check(t, err)
	if other.Participant == ids[0] {
		t.Error("two apps, one participant")
	}
	eve := r.registered("eve")
	if eve.Participant != ids[0] {
		t.Error("another one")
	}
	p, err := r.Profile(r.ctx, eve)
	check(t, err)
	if p.Name != "" || p.Role != "consumer" {
		t.Errorf("%+v", p)
	}
	r.noneUnfinished()
	r.fsck()
}

// A registration that the ledger refuses is asked for again when the person comes back.
func TestRegistrationIsAskedForAgain(t *testing.T) {
	t.Parallel()
	f := &faulty{}
	r := newRigWith(t, f.wrap)
	f.next("Register", 1, refusing("KEY_INACTIVE"))
	eve := r.consumer("eve")
	r.until("it has failed", func() bool {
		p, err := r.Profile(r.ctx, eve)
		check(t, err)
		return p.State == "pending"
	})
	if again := r.registered("eve"); again.Participant != eve.Participant {
		t.Error("another participant")
	}
	r.fsck()
}

// Bootstrap and the registration of organisations can be asked for any number of times, by two servers at once too.
func TestBootstrapAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	height, err := r.file.Height(r.ctx)
	check(t, err)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := r.Bootstrap(r.ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	r.organisations()
	if after, err := r.file.Height(r.ctx); err != nil || after != height {
		t.Errorf("%d blocks more, %v", after-height, err)
	}
}

// A ledger that was made with another data key is not used.
func TestBootstrapWithAnotherDataKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other := newDiary(t).vault
	r.config = func(c *transfer.Config) { c.Vault = other }
	check(t, os.Remove(r.path("journal"))) // which is sealed with the right one
	r.reopen(t)
	ctx, cancel := context.WithTimeout(r.ctx, 20*time.Second)
	defer cancel()
	if err := r.Bootstrap(ctx); err == nil || !strings.Contains(err.Error(), "another data key") {
		t.Fatalf("%v", err)
	}
}
