package main

import (
	"fmt"
	"io"

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
		}
		keys := make([]key, len(list))
		for i, k := range list {
			keys[i] = key{k.ID, k.Public.Hex(), "waiting", k.Status, k.TxID}
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
		fmt.Fprintln(e.stdout, pad("密钥", 34)+pad("状态", 8)+"账本")
		for _, k := range keys {
			fmt.Fprintln(e.stdout, pad(k.ID, 34)+pad(map[string]string{"waiting": "待上账本", "signing": "在用", "retired": "停用"}[k.State], 8)+k.Ledger)
		}
		return nil
	})
}

type gatewayRotate struct {
	Yes  bool `help:"Do it. Without it nothing is changed."`
	JSON bool `name:"json" help:"JSON instead of text."`
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
		return gatewayDone(e, c.JSON, id, fmt.Sprintf("网关密钥 %s 已生成。服务器会把它登记上账本，随后用它签名；旧密钥继续有效，直到 retire。\n", id))
	})
}

type gatewayRetire struct {
	ID   string `arg:"" help:"Key ID, as list shows it."`
	Yes  bool   `help:"Do it. Without it nothing is changed."`
	JSON bool   `name:"json" help:"JSON instead of text."`
}

// Run implements the command.
func (c gatewayRetire) Run(e *environment) error {
	if !c.Yes {
		return would(e.stdout, c.JSON, fmt.Sprintf("将停用网关密钥 %s：只认识它的终端将不再相信网关的答复。\n没有更改。加 --yes 才会办理。\n", c.ID))
	}
	return withGateway(e, func(s *transfer.Service) error {
		if err := s.RetireGatewayKey(e.ctx, c.ID); err != nil {
			return err
		}
		return gatewayDone(e, c.JSON, c.ID, fmt.Sprintf("网关密钥 %s 已停用。服务器会在账本上撤销它。\n", c.ID))
	})
}

// gatewayDone says that something was done with a key.
func gatewayDone(e *environment, asJSON bool, id, text string) error {
	if asJSON {
		return printJSON(e.stdout, map[string]any{"done": true, "id": id})
	}
	_, err := io.WriteString(e.stdout, text)
	return err
}
