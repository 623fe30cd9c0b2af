package main

import (
	"context"
	"errors"
	"regexp"

	"cardflow/model"
	"cardflow/transfer"
	"cardflow/wechat"
)

// TemplatesConfig are the templates of subscription messages (订阅消息), one for each kind. docs/operations.md says which to apply for.
type TemplatesConfig struct {
	RealName     TemplateConfig `yaml:"real_name"`
	Confirmation TemplateConfig `yaml:"confirmation"`
	Return       TemplateConfig `yaml:"return"`
}

// TemplateConfig is a template, and what its fields are called. A field that it lacks is empty.
type TemplateConfig struct {
	ID     string `yaml:"id"`
	Result string `yaml:"result"`
	Time   string `yaml:"time"`
	Note   string `yaml:"note"`
}

var usualTemplate = TemplateConfig{Result: "phrase1", Time: "time2", Note: "thing3"}

func (t TemplatesConfig) all() map[string]TemplateConfig {
	return map[string]TemplateConfig{"real_name": t.RealName, "confirmation": t.Confirmation, "return": t.Return}
}

// templates are those that are used, by kind of message. The sandbox knows any, and has its own for kinds without one.
func (w WeChatConfig) templates() map[string]TemplateConfig {
	used := map[string]TemplateConfig{}
	for kind, t := range w.Templates.all() {
		if w.Sandbox && t.ID == "" {
			t.ID = "sandbox-" + kind
		}
		if t.ID != "" {
			used[kind] = t
		}
	}
	return used
}

// templateIDs are what the mini-program asks people about, by kind.
func (w WeChatConfig) templateIDs() map[string]string {
	ids := map[string]string{}
	for kind, t := range w.templates() {
		ids[kind] = t.ID
	}
	return ids
}

var (
	templateID  = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)
	resultField = regexp.MustCompile(`^(phrase|thing)[1-9][0-9]?$`)
	timeField   = regexp.MustCompile(`^(time|date)[1-9][0-9]?$`)
	noteField   = regexp.MustCompile(`^thing[1-9][0-9]?$`)
)

func (t TemplatesConfig) check(v *checker) {
	for kind, one := range t.all() {
		key := "wechat.templates." + kind
		v.must(one.ID == "" || templateID.MatchString(one.ID), key+".id", "must be a template's ID as mp.weixin.qq.com shows it, or empty")
		v.must(one.Result == "" || resultField.MatchString(one.Result), key+".result", "must be a field of the kind phrase or thing, such as phrase1, or empty")
		v.must(one.Time == "" || timeField.MatchString(one.Time), key+".time", "must be a field of the kind time or date, such as time2, or empty")
		v.must(one.Note == "" || noteField.MatchString(one.Note) && one.Note != one.Result, key+".note", "must be another field of the kind thing, such as thing3, or empty")
		v.must(one.ID == "" || one.Result+one.Time+one.Note != "", key, "must have a field")
	}
}

// fill puts a message's words into a template's fields.
func (t TemplateConfig) fill(m transfer.MessageText) map[string]string {
	fields := map[string]string{t.Result: m.Result, t.Time: m.Time, t.Note: m.Note}
	delete(fields, "")
	return fields
}

// Message implements transfer.Messenger. Whoever asks says what has happened, and no word of it: the words are known here.
func (d door) Message(ctx context.Context, m transfer.Message) (transfer.Delivery, error) {
	text, known := m.Text()
	template, on := d.templates[m.Event.Kind()]
	if !known || !on {
		return transfer.MessageFailed, nil
	}
	to, err := d.accounts.OpenIDOf(ctx, d.appID, m.Participant)
	if errors.Is(err, model.ErrNotFound) {
		return transfer.MessageRefused, nil // his data were deleted
	}
	if err != nil {
		return transfer.MessageAway, err
	}
	err = d.wechat.Notify(ctx, to, template.ID, text.Page, template.fill(text))
	var refusal *wechat.Error
	switch {
	case err == nil:
		return transfer.MessageSent, nil
	case errors.Is(err, wechat.ErrRefusedByUser):
		return transfer.MessageRefused, nil
	case errors.As(err, &refusal) && !refusal.Retryable:
		return transfer.MessageFailed, nil // wechat has logged why
	}
	return transfer.MessageAway, err
}

// messenger is how the use cases send messages: by whatever custody is, once that is known.
type messenger struct{ app *App }

// Message implements transfer.Messenger.
func (m messenger) Message(ctx context.Context, message transfer.Message) (transfer.Delivery, error) {
	return m.app.Keeper.Message(ctx, message)
}

// messenger is nil where there is no template: nobody is asked, and nothing is sent.
func (a *App) messenger() transfer.Messenger {
	if len(a.Config.WeChat.templates()) == 0 {
		return nil
	}
	return messenger{a}
}

// messagesTo are what the sandbox was given to send; nil outside of it.
func (a *App) messagesTo() func(person string) any {
	if a.Sandbox == nil {
		return nil
	}
	return func(person string) any { return a.Sandbox.MessagesTo(person) }
}
