package main

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"cardflow/custody"
	"cardflow/model"
	"cardflow/transfer"
)

// peopleCommand keeps the directory of staff. It works on the database itself, also beside a running server: it is there
// before anybody can log in. Whoever may run it is trusted with the directory, and the two-person rule is no stronger than
// that: see docs/custody.md.
type peopleCommand struct {
	List peopleList `cmd:"" help:"List accounts, and what shows whose they are."`
	Add  peopleAdd  `cmd:"" help:"Add an account; with --yes do it, and print its one-time password."`
	Set  peopleSet  `cmd:"" help:"Change an account; without --yes nothing is changed."`

	Password peoplePassword `cmd:"" help:"Change one's own password, the one-time password first of all."`
}

// noted writes into the audit who has changed the directory at this machine, and what.
func noted(act string, detail map[string]any) func(tx *model.Tx, person string) error {
	return func(tx *model.Tx, person string) error {
		return custody.Note(tx, model.MillisOf(time.Now()), operator(), act, person, detail)
	}
}

// directory opens what the directory needs: the database, and the data key for the hashes of mobile numbers.
func directory(e *environment) (*App, *transfer.Service, error) {
	app := &App{Config: e.config, Logger: e.logger, cancel: func() {}}
	if err := app.openDatabase(e.ctx, e.ctx); err != nil {
		return nil, nil, errors.Join(err, app.Close(e.ctx))
	}
	vault, err := transfer.OpenVault(e.config.Path(e.config.Vault.DataKeyFile), rand.Reader)
	if err != nil {
		return nil, nil, errors.Join(err, app.Close(e.ctx))
	}
	return app, transfer.New(transfer.Config{DB: app.DB, Vault: vault, Logger: e.logger}), nil
}

type peopleList struct {
	JSON bool `name:"json" help:"JSON instead of text."`
}

// Run implements the command.
func (c peopleList) Run(e *environment) error {
	app, service, err := directory(e)
	if err != nil {
		return err
	}
	defer app.Close(e.ctx)
	entries, err := service.Directory(e.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printDirectory(e.stdout, entries)
	}
	line := func(cells ...string) {
		fmt.Fprintln(e.stdout, pad(cells[0], 17)+pad(cells[1], 17)+pad(cells[2], 6)+pad(cells[3], 13)+pad(cells[4], 6)+cells[5])
	}
	line("用户名", "单位", "状态", "工号", "手机", "角色")
	for _, p := range entries {
		mobile, number := "-", "-"
		if p.HasMobile {
			mobile = "有"
		}
		if p.StaffNumber != "" {
			number = p.StaffNumber
		}
		state := map[string]string{"active": "在用", "disabled": "停用"}[p.State]
		line(p.Username, p.OrganisationID, state, number, mobile, strings.Join(p.Roles, ","))
	}
	return nil
}

// printDirectory shows what is not secret, under names of its own.
func printDirectory(w io.Writer, entries []transfer.DirectoryEntry) error {
	type person struct {
		ID           string    `json:"id"`
		Username     string    `json:"username"`
		Organisation string    `json:"organisation"`
		Roles        []string  `json:"roles"`
		State        string    `json:"state"`
		StaffNumber  string    `json:"staffNumber,omitempty"`
		HasMobile    bool      `json:"hasMobile"`
		CreatedAt    time.Time `json:"createdAt"`
		LastLoginAt  time.Time `json:"lastLoginAt,omitzero"`
	}
	people := make([]person, len(entries))
	for i, p := range entries {
		people[i] = person{p.ID, p.Username, p.OrganisationID, p.Roles, p.State, p.StaffNumber, p.HasMobile, p.CreatedAt, p.LastLoginAt}
	}
	return printJSON(w, people)
}

type peopleAdd struct {
	Username     string   `arg:"" help:"What the person logs in with."`
	Organisation string   `help:"The participant that the person belongs to; ops and auditors belong to the platform." default:"platform"`
	Roles        []string `help:"What the person may do: carrier, distributor, retailer, ops, auditor, regulator." required:""`
	StaffNumber  string   `help:"As the organisation gave it. Two accounts with one number are one person's."`
	Mobile       string   `help:"Mobile number, kept as a keyed hash. Likewise."`
	PasswordFile string   `help:"File with the one-time password, mode 0600. Without it one is made and printed." placeholder:"FILE" type:"path"`
	Yes          bool     `help:"Do it. Without it nothing is changed."`
	JSON         bool     `name:"json" help:"JSON instead of text."`
}

// Run implements the command.
func (c peopleAdd) Run(e *environment) error {
	if !c.Yes {
		return would(e.stdout, c.JSON, fmt.Sprintf("将为 %s 开通账号 %s，角色 %s。\n没有更改。加 --yes 才会办理。\n", c.Organisation, c.Username, strings.Join(c.Roles, ",")))
	}
	app, service, err := directory(e)
	if err != nil {
		return err
	}
	defer app.Close(e.ctx)
	password, err := oneTimePassword()
	if c.PasswordFile != "" {
		password, err = passwordIn(c.PasswordFile)
	}
	if err != nil {
		return err
	}
	err = service.AddPerson(e.ctx, transfer.NewPerson{
		Username: c.Username, Password: password, MustChange: true, Organisation: c.Organisation, Roles: c.Roles, StaffNumber: c.StaffNumber, Mobile: c.Mobile,
		Note: noted(custody.PersonAdded, map[string]any{
			"username": strings.ToLower(c.Username), "organisation": c.Organisation, "roles": c.Roles, "staffNumber": c.StaffNumber, "mobile": c.Mobile != "",
		}),
	})
	if err != nil {
		return said(err)
	}
	if c.JSON {
		added := map[string]any{"username": strings.ToLower(c.Username), "organisation": c.Organisation, "roles": c.Roles}
		if c.PasswordFile == "" {
			added["password"] = password
		}
		return printJSON(e.stdout, added)
	}
	if c.PasswordFile != "" {
		fmt.Fprintf(e.stdout, "已开通账号 %s（登录后须修改密码）\n", strings.ToLower(c.Username))
		return nil
	}
	fmt.Fprintf(e.stdout, "已开通账号 %s，一次性密码 %s（登录后须修改；不会再次显示）\n", strings.ToLower(c.Username), password)
	return nil
}

type peopleSet struct {
	Username    string  `arg:"" help:"The account."`
	StaffNumber *string `help:"As the organisation gave it; empty to forget it."`
	Mobile      *string `help:"Mobile number; empty to forget it."`
	Disable     bool    `help:"Let the person log in no more." xor:"active"`
	Enable      bool    `help:"Let the person log in again." xor:"active"`
	Yes         bool    `help:"Do it. Without it nothing is changed."`
	JSON        bool    `name:"json" help:"JSON instead of text."`
}

// Run implements the command.
func (c peopleSet) Run(e *environment) error {
	change := transfer.PersonChange{StaffNumber: c.StaffNumber, Mobile: c.Mobile}
	var words []string
	detail := map[string]any{"username": strings.ToLower(c.Username)}
	if c.StaffNumber != nil {
		detail["staffNumber"] = *c.StaffNumber
		words = append(words, "工号 "+*c.StaffNumber)
	}
	if c.Mobile != nil {
		detail["mobile"] = *c.Mobile != ""
		words = append(words, "手机号")
	}
	if c.Disable || c.Enable {
		change.Active = &c.Enable
		detail["active"] = c.Enable
		words = append(words, map[bool]string{true: "恢复登录", false: "停用"}[c.Enable])
	}
	if len(words) == 0 {
		return errors.New("nothing to change: give --staff-number, --mobile, --disable or --enable")
	}
	if !c.Yes {
		return would(e.stdout, c.JSON, fmt.Sprintf("将更改账号 %s：%s。\n没有更改。加 --yes 才会办理。\n", c.Username, strings.Join(words, "，")))
	}
	app, service, err := directory(e)
	if err != nil {
		return err
	}
	defer app.Close(e.ctx)
	change.Note = noted(custody.PersonChanged, detail)
	if err := service.ChangePerson(e.ctx, c.Username, change); err != nil {
		return said(err)
	}
	if c.JSON {
		entries, err := service.Directory(e.ctx)
		if err != nil {
			return err
		}
		return printDirectory(e.stdout, slices.DeleteFunc(entries, func(p transfer.DirectoryEntry) bool { return p.Username != strings.ToLower(c.Username) }))
	}
	fmt.Fprintf(e.stdout, "已更改账号 %s：%s\n", c.Username, strings.Join(words, "，"))
	return nil
}

type peoplePassword struct {
	acting
	NewPasswordFile string `help:"File with the new password, mode 0600. Without it the terminal asks." placeholder:"FILE" type:"path"`
}

// Run implements the command.
func (c peoplePassword) Run(e *environment) error {
	old, err := c.password(e)
	if err != nil {
		return err
	}
	var next string
	if c.NewPasswordFile != "" {
		next, err = passwordIn(c.NewPasswordFile)
	} else if next, err = askPassword(e, "新密码："); err == nil {
		var again string
		if again, err = askPassword(e, "再输入一次："); err == nil && again != next {
			err = errors.New("两次输入的新密码不一样")
		}
	}
	if err != nil {
		return err
	}
	api, leave, err := c.loginWith(e, old)
	if err != nil {
		return err
	}
	defer leave()
	var renewed struct{ Token string }
	if err := api.call(e.ctx, "POST", "/me/password", map[string]string{"oldPassword": old, "newPassword": next}, &renewed); err != nil {
		return spoken(err)
	}
	api.token = renewed.Token
	fmt.Fprintln(e.stdout, "密码已修改")
	return nil
}

// said is a refusal of the use cases as a person reads it.
func said(err error) error {
	var refused *transfer.Error
	if errors.As(err, &refused) {
		return fmt.Errorf("%s（%s）", refused.Message(), refused.Code)
	}
	return err
}

// oneTimePassword is 80 random bits that can be typed.
func oneTimePassword() (string, error) {
	b := make([]byte, 10)
	if _, err := rand.Read(b); err != nil {
		return "", err
	}
	return strings.ToLower(base32.StdEncoding.EncodeToString(b)), nil
}
