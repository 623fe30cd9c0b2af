package main

import (
	"errors"
	"fmt"
	"syscall"

	"cardflow/custody"
	"cardflow/ledger/request"
	"cardflow/transfer"
)

// serveCommand runs the server until it is told to stop.
type serveCommand struct {
	Demo bool `help:"Add the demo's organisations, people and cards, so that everything can be tried at once."`
}

// Run implements the command.
func (c serveCommand) Run(e *environment) error {
	if c.Demo && e.config.Mode == Production {
		return errors.New("--demo has passwords that everyone knows: not in production mode")
	}
	if e.onDisk != nil {
		e.logger.Warn("opened keys are in memory, and that may get onto a disk: see docs/custody.md, Memory", "error", e.onDisk)
	}
	app, err := Open(e.ctx, e.config, e.logger)
	if err != nil {
		return err
	}
	defer func() {
		if err := app.Close(e.ctx); err != nil {
			e.logger.Error("close", "error", err)
		}
	}()
	// The port first: whoever has to choose another one has waited for nothing, and has used up no one-time password.
	if err := app.Listen(); errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w：端口已被占用，请停掉占用它的程序，或换一个端口，例如 CARDFLOW_HTTP_LISTEN=127.0.0.1:8081", err)
	} else if err != nil {
		return err
	}
	var stage Stage
	if c.Demo && app.apart {
		if err := app.await(e.ctx, "signatures of the demo's data", func() (bool, error) { return !app.Keeper.Sealed(), nil }); err != nil {
			return err
		}
	}
	if c.Demo && app.Keeper.Sealed() {
		return errors.New("demo data have to be signed, and custody is sealed: start without --demo, or with a root key in a file")
	}
	if c.Demo {
		fmt.Fprintln(e.stdout, "正在准备演示数据，需要几秒钟……")
		if stage, err = app.Seed(e.ctx); err != nil {
			return fmt.Errorf("demo data: %w", err)
		}
		app.background(e.ctx, app.approveDemo)
	} else if !app.apart { // else it is the custodian's to say who may log in
		if err := c.firstPerson(e, app); err != nil {
			return err
		}
	}
	if c.Demo {
		stage.print(e.stdout, app.PublicURL, app.Config.HTTP.PreviewDir != "")
	} else {
		fmt.Fprintf(e.stdout, "CardFlow 卡流转  %s   (Ctrl-C 停止)\n", app.PublicURL)
	}
	if app.Keeper.Sealed() {
		s, err := app.Keeper.SealStatus(e.ctx)
		switch {
		case errors.Is(err, transfer.ErrCustodyAway):
			fmt.Fprint(e.stdout, awayNotice)
		case err != nil:
			return err
		case s.Sealed:
			fmt.Fprint(e.stdout, sealedNotice(s))
		}
	}
	<-e.ctx.Done()
	e.logger.Info("stopping")
	return nil
}

// firstPerson makes an administrator where there is nobody, and prints a password that must be changed at once. It is
// shown this one time.
func (c serveCommand) firstPerson(e *environment, app *App) error {
	some, err := app.Service.HasPeople(e.ctx)
	if err != nil || some {
		return err
	}
	password, err := oneTimePassword()
	if err != nil {
		return err
	}
	err = app.Service.AddPerson(e.ctx, transfer.NewPerson{
		Username: "admin", Password: password, MustChange: true, Organisation: transfer.PlatformID, Roles: []string{"ops"},
		Note: noted(custody.PersonAdded, map[string]any{"username": "admin", "organisation": transfer.PlatformID, "roles": []string{"ops"}}),
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "首次启动。管理员账号 admin，一次性密码 %s（登录后须修改；不会再次显示）\n", password)
	return nil
}

// migrateCommand brings the database up to date, which serve does too.
type migrateCommand struct {
	JSON bool `name:"json" help:"JSON instead of text."`
}

// Run implements the command.
func (c migrateCommand) Run(e *environment) error {
	app := &App{Config: e.config, Logger: e.logger, cancel: func() {}}
	if err := app.openDatabase(e.ctx, e.ctx); err != nil {
		return errors.Join(err, app.Close(e.ctx))
	}
	if c.JSON {
		return errors.Join(printJSON(e.stdout, map[string]any{"upToDate": true}), app.Close(e.ctx))
	}
	fmt.Fprintln(e.stdout, "the database is up to date")
	return app.Close(e.ctx)
}

// Accounts of the demo. Everyone knows the password: serve --demo refuses production mode.
const demoPassword = "cardflow-demo"

type demoOrganisation struct {
	ID       string
	Name     string
	Role     request.Role
	Username string
	Roles    []string
	Prefixes []string // carriers: ICCID prefixes
	Rule     string
	Title    string // what he does, if it isn't what the role says
}

var demoOrganisations = []demoOrganisation{
	{ID: "cmcc", Name: "中国移动", Role: request.Carrier, Username: "yidong", Roles: []string{"carrier"}, Prefixes: []string{"898600", "898602", "898604", "898607", "898608"}, Rule: "SERIAL"},
	{ID: "unicom", Name: "中国联通", Role: request.Carrier, Username: "liantong", Roles: []string{"carrier"}, Prefixes: []string{"898601", "898606", "898609"}, Rule: "LUHN"},
	{ID: "telecom", Name: "中国电信", Role: request.Carrier, Username: "dianxin", Roles: []string{"carrier"}, Prefixes: []string{"898603", "898611"}, Rule: "LUHN"},
	{ID: "telecom", Name: "中国电信", Role: request.Carrier, Username: "shenhe", Roles: []string{"carrier"}, Title: "电信企业，实名审核"},
	{ID: "hualian", Name: "华联物联", Role: request.Distributor, Username: "hualian", Roles: []string{"distributor"}},
	{ID: "xiaowang", Name: "小王通讯店", Role: request.Retailer, Username: "xiaowang", Roles: []string{"retailer"}},
	{ID: "regulator", Name: "通信管理局", Role: request.Regulator, Username: "jianguan", Roles: []string{"regulator"}},
	{ID: transfer.PlatformID, Name: "平台", Role: request.Platform, Username: "yunwei", Roles: []string{"ops", "auditor"}},
	// What is dangerous takes two people.
	{ID: transfer.PlatformID, Name: "平台", Role: request.Platform, Username: "zhiban", Roles: []string{"ops"}},
}

// system is the caller for whom demo data is made on behalf of an organisation.
func (o demoOrganisation) caller() transfer.Caller {
	return transfer.Caller{Participant: o.ID, Role: o.Role, Person: "demo-" + o.ID, Roles: o.Roles}
}
