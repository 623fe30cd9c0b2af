package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"cardflow/transfer"
)

// keysProvision is `server keys provision`: participants, accounts and keys for logins that are known beforehand. The server
// does it, as for the console, because it has the journal in which new keys are kept; and it does for each login what is
// missing, so that a run that was killed goes on when it is started again.
type keysProvision struct {
	acting
	File string `arg:"" help:"The logins: one WeChat openid of this mini-program a line. - is the standard input." type:"path"`
	Yes  bool   `help:"Do it. Without it the command only counts."`
}

// provisioned is what the API answers, and the sum of that.
type provisioned struct {
	Logins      int `json:"logins"`
	Known       int `json:"known"`
	Begun       int `json:"begun"`
	New         int `json:"new"`
	Made        int `json:"made"`
	Registering int `json:"registering"`
}

// Run implements the command.
func (c keysProvision) Run(e *environment) error {
	in, size := io.Reader(os.Stdin), int64(0)
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		in, size = f, info.Size()
	}
	api, leave, err := c.login(e)
	if err != nil {
		return err
	}
	defer leave()

	began := time.Now()
	var sum provisioned
	var read int64
	send := func(some []string) error {
		if len(some) == 0 {
			return nil
		}
		var p provisioned
		err := api.call(e.ctx, "POST", "/custody/keys", map[string]any{"openIds": some, "dry": !c.Yes}, &p)
		if err != nil {
			return spoken(err)
		}
		sum.Logins += len(some)
		sum.Known += p.Known
		sum.Begun += p.Begun
		sum.New += p.New
		sum.Made += p.Made
		sum.Registering += p.Registering
		if size > 0 {
			bar(e.stderr, "开通", float64(read)/float64(size))
		}
		return nil
	}
	err = c.each(in, &read, send)
	if terminal(e.stderr) && size > 0 {
		fmt.Fprintln(e.stderr)
	}
	if c.JSON {
		return errors.Join(err, printJSON(e.stdout, sum))
	}
	c.print(e.stdout, sum, time.Since(began))
	if err != nil && c.Yes {
		err = fmt.Errorf("%w\n（再次执行同一命令即从这里继续）", err)
	}
	return err
}

// each reads the logins, and sends as many at once as the server takes. Empty lines are none.
func (c keysProvision) each(in io.Reader, read *int64, send func([]string) error) error {
	lines := bufio.NewScanner(in)
	some := make([]string, 0, transfer.MostLogins)
	for lines.Scan() {
		*read += int64(len(lines.Bytes())) + 1
		login := strings.TrimSpace(lines.Text())
		if login == "" {
			continue
		}
		if some = append(some, login); len(some) == cap(some) {
			if err := send(some); err != nil {
				return err
			}
			some = some[:0]
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	return send(some)
}

func (c keysProvision) print(w io.Writer, p provisioned, took time.Duration) {
	fmt.Fprintf(w, "  %s%d\n", pad("登录", 12), p.Logins)
	fmt.Fprintf(w, "  %s%d\n", pad("已开通", 12), p.Known)
	fmt.Fprintf(w, "  %s%d\n", pad("未完成", 12), p.Begun)
	fmt.Fprintf(w, "  %s%d\n", pad("新登录", 12), p.New)
	if !c.Yes {
		fmt.Fprintln(w, "  没有执行。核对后加 --yes 再来一次。")
		return
	}
	fmt.Fprintf(w, "  ✓ 新密钥 %d 把，%d 人正在登记上账本，用时 %s\n", p.Made, p.Registering, took.Round(time.Millisecond))
}
