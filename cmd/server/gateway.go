package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"cardflow/transfer"
)

// gatewayCommand keeps the keys by which terminals are answered. It works on the database itself; the servers put on the ledger
// what is new there, and take off it what was retired.
type gatewayCommand struct {
	List   gatewayList   `cmd:"" help:"List gateway keys, oldest first."`
	Rotate gatewayRotate `cmd:"" help:"Make another gateway key, which signs beside those that there are; with --yes do it."`
	Retire gatewayRetire `cmd:"" help:"End the use of a gateway key, when every terminal knows the new one; with --yes do it."`
}

// withGateway opens what the keys need: the database, and the data key.
func withGateway(e *environment, do func(*transfer.Service) error) error {
	app, service, err := directory(e)
	if err != nil {
		return err
	}
	defer app.Close(e.ctx)
	return do(service)
}

type gatewayList struct {
	JSON bool `name:"json" help:"JSON instead of text."`
}

// Run implements the command.
func (c gatewayList) Run(e *environment) error {
	return withGateway(e, func(s *transfer.Service) error {
		list, err := s.GatewayKeys(e.ctx)
		if err != nil {
			return err
		}
		type key struct {
			ID     string `json:"id"`
			Public string `json:"public"`
			State  string `json:"state"` // waiting, signing, retired
			Ledger string `json:"ledger,omitempty"`
			TxID   string `json:"txId,omitempty"`
			// Terminals may know no other key that signs: they work, or have a ticket, and haven't asked by another one.
			Terminals int `json:"terminals"`
		}
		keys := make([]key, len(list))
		for i, k := range list {
			keys[i] = key{k.ID, k.Public.Hex(), "waiting", k.Status, k.TxID, k.Terminals}
			switch {
			case k.Signs:
				keys[i].State = "signing"
			case k.Retired || k.Status != "":
				keys[i].State = "retired"
			}
		}
		if c.JSON {
			return printJSON(e.stdout, keys)
		}
		fmt.Fprintln(e.stdout, pad("密钥", 34)+pad("状态", 10)+pad("账本", 10)+"依赖它的终端")
		for _, k := range keys {
			state := map[string]string{"waiting": "待上账本", "signing": "在用", "retired": "停用"}[k.State]
			fmt.Fprintln(e.stdout, pad(k.ID, 34)+pad(state, 10)+pad(k.Ledger, 10)+strconv.Itoa(k.Terminals))
		}
		return nil
	})
}

type gatewayRotate struct {
	Yes  bool          `help:"Do it. Without it nothing is changed."`
	Wait time.Duration `help:"How long to wait for the ledger, which a running server tells." default:"0s"`
	JSON bool          `name:"json" help:"JSON instead of text."`
}

// Run implements the command.
func (c gatewayRotate) Run(e *environment) error {
	if !c.Yes {
		return would(e.stdout, c.JSON, "将生成一把新的网关密钥，与现有的同时有效。\n没有更改。加 --yes 才会办理。\n")
	}
	return withGateway(e, func(s *transfer.Service) error {
		id, err := s.AddGatewayKey(e.ctx)
		if err != nil {
			return err
		}
		text := fmt.Sprintf("网关密钥 %s 已生成。\n服务器会把它登记上账本，随后用它签名；旧密钥继续有效，直到 retire。\n", id)
		signs, err := c.signs(e, s, id)
		if err != nil {
			return err
		}
		if signs {
			text = fmt.Sprintf("网关密钥 %s 已在账本上，开始签名。\n旧密钥继续有效，直到 retire。\n", id)
		}
		if c.JSON {
			return printJSON(e.stdout, map[string]any{"done": true, "id": id, "signs": signs})
		}
		_, err = io.WriteString(e.stdout, text)
		return err
	})
}

// signs waits until a key is on the ledger, and reports whether it is.
func (c gatewayRotate) signs(e *environment, s *transfer.Service, id string) (bool, error) {
	for until := time.Now().Add(c.Wait); ; {
		list, err := s.GatewayKeys(e.ctx)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(list, func(k transfer.GatewayKeyView) bool { return k.ID == id && k.Signs }) {
			return true, nil
		}
		if time.Now().After(until) {
			return false, nil
		}
		select {
		case <-e.ctx.Done():
			return false, e.ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

type gatewayRetire struct {
	ID     string `arg:"" help:"Key ID, as list shows it."`
	Yes    bool   `help:"Do it. Without it nothing is changed."`
	Anyway bool   `help:"Leave terminals behind that haven't asked by another key yet."`
	JSON   bool   `name:"json" help:"JSON instead of text."`
}

// Run implements the command.
func (c gatewayRetire) Run(e *environment) error {
	return withGateway(e, func(s *transfer.Service) error {
		if !c.Yes {
			list, err := s.GatewayKeys(e.ctx)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(list, func(k transfer.GatewayKeyView) bool { return k.ID == c.ID })
			if i < 0 {
				return transfer.ErrGatewayKeyUnknown
			}
			return would(e.stdout, c.JSON, fmt.Sprintf("将停用网关密钥 %s。\n还没有用过别的密钥的终端（含未用的入网码）：%d 台，它们将不再相信网关的答复。\n没有更改。加 --yes 才会办理。\n", c.ID, list[i].Terminals))
		}
		if err := s.RetireGatewayKey(e.ctx, c.ID, c.Anyway); err != nil {
			return err
		}
		if c.JSON {
			return printJSON(e.stdout, map[string]any{"done": true, "id": c.ID})
		}
		_, err := fmt.Fprintf(e.stdout, "网关密钥 %s 已停用。\n服务器会在账本上撤销它。\n", c.ID)
		return err
	})
}
