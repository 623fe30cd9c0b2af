package wechat

import (
	"context"
	"regexp"

	wxcontext "github.com/silenceper/wechat/v2/miniprogram/context"
	"github.com/silenceper/wechat/v2/miniprogram/subscribe"
)

// messageState names an EnvVersion the way subscribe messages do.
var messageState = map[string]string{"release": "formal", "trial": "trial", "develop": "developer"}

var templateID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// Notify sends a subscribe message (订阅消息) to a person who consented to it. One consent carries one message, so
// that [ErrRefusedByUser] is a normal end: the app's own inbox must hold the message too. page may carry parameters
// and may be "". data's keys are the template's, such as "thing1".
//
// A message may arrive though Notify fails with CodeUnavailable: the answer was lost, not the message.
func (p *Platform) Notify(ctx context.Context, to, template, page string, data map[string]string) error {
	return p.run(ctx, "notify", func(ctx context.Context) (string, error) {
		switch {
		case !openID.MatchString(to):
			return "", newError(CodeRecipient)
		case !templateID.MatchString(template):
			return "", newError(CodeTemplate)
		case len(data) == 0:
			return "", newError(CodeMessage)
		}
		message := &subscribe.Message{
			ToUser:           to,
			TemplateID:       template,
			Page:             page,
			Data:             make(map[string]*subscribe.DataItem, len(data)),
			MiniprogramState: messageState[p.envVersion],
			Lang:             "zh_CN",
		}
		for key, value := range data {
			message.Data[key] = &subscribe.DataItem{Value: value}
		}
		err := p.withToken(ctx, func(_ context.Context, lib *wxcontext.Context) error {
			// No context here either: see TradeQR.
			return subscribe.NewSubscribe(lib).Send(message)
		})
		if err != nil {
			return "", err
		}
		return "ok", nil
	})
}
