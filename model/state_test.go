package model_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"cardflow/iccid"
	"cardflow/model"
)

// machine is one transition table beside the rows that live by it.
type machine struct {
	table, key, column string
	states             []string
	can                func(from, to string) bool
	add                func(tx *model.Tx, id, state string) error
	move               func(tx *model.Tx, id, from, to string) error
}

func machineOf[S ~string](table, key, column string, m model.Machine[S], add func(tx *model.Tx, id string, state S) error,
	move func(tx *model.Tx, id string, from, to S) error) machine {
	out := machine{table: table, key: key, column: column,
		can:  func(from, to string) bool { return m.Can(S(from), S(to)) },
		add:  func(tx *model.Tx, id, state string) error { return add(tx, id, S(state)) },
		move: func(tx *model.Tx, id, from, to string) error { return move(tx, id, S(from), S(to)) },
	}
	for _, s := range m.States() {
		out.states = append(out.states, string(s))
	}
	return out
}

var machines = []machine{
	machineOf("participants", "id", "state", model.ParticipantMoves,
		func(tx *model.Tx, id string, s model.ParticipantState) error {
			return tx.AddParticipant(model.Participant{ID: id, Role: "consumer", Kind: model.Consumer, State: s})
		},
		func(tx *model.Tx, id string, from, to model.ParticipantState) error {
			_, err := tx.MoveParticipant(id, from, to, nil)
			return err
		}),
	machineOf("people", "id", "state", model.PersonMoves,
		func(tx *model.Tx, id string, s model.PersonState) error {
			return tx.AddPerson(model.Person{ID: id, ParticipantID: "retailer", Username: id, State: s})
		},
		func(tx *model.Tx, id string, from, to model.PersonState) error { return tx.MovePerson(id, from, to) }),
	machineOf("lots", "hash", "status", model.LotMoves,
		func(tx *model.Tx, id string, s model.LotStatus) error {
			return tx.AddLot(model.Lot{Hash: id, Issuer: "carrier", Owner: "ann", Rule: iccid.Luhn, Status: s}, nil)
		},
		func(tx *model.Tx, id string, from, to model.LotStatus) error {
			return tx.UpdateLot(model.Lot{Hash: id, Owner: "ann", Status: to})
		}),
	machineOf("trades", "id", "state", model.TradeMoves,
		func(tx *model.Tx, id string, s model.TradeState) error {
			return tx.AddTrade(model.Trade{ID: id, Mode: "NAMED", LotHash: hash("a"), Seller: "retailer", State: s})
		},
		func(tx *model.Tx, id string, from, to model.TradeState) error {
			_, err := tx.MoveTrade(id, from, to, nil)
			return err
		}),
	machineOf("acts", "id", "state", model.ActMoves,
		func(tx *model.Tx, id string, s model.ActState) error {
			return tx.AddAct(model.Act{ID: id, Actor: "ann", State: s})
		},
		func(tx *model.Tx, id string, from, to model.ActState) error {
			_, err := tx.MoveAct(id, from, to, nil)
			return err
		}),
	machineOf("imports", "id", "state", model.ImportMoves,
		func(tx *model.Tx, id string, s model.ImportState) error {
			return tx.AddImport(model.Import{ID: id, ParticipantID: "carrier", State: s})
		},
		func(tx *model.Tx, id string, from, to model.ImportState) error {
			_, err := tx.MoveImport(id, from, to, nil)
			return err
		}),
	machineOf("jobs", "id", "state", model.JobMoves,
		func(tx *model.Tx, id string, s model.JobState) error {
			return tx.AddJob(model.Job{ID: id, ParticipantID: "retailer", State: s})
		},
		func(tx *model.Tx, id string, from, to model.JobState) error {
			_, err := tx.MoveJob(id, from, to, nil)
			return err
		}),
	machineOf("recoveries", "id", "state", model.RecoveryMoves,
		func(tx *model.Tx, id string, s model.RecoveryState) error {
			return tx.AddRecovery(model.Recovery{ID: id, Participant: id, KeyID: "k", Actor: "ops", State: s})
		},
		func(tx *model.Tx, id string, from, to model.RecoveryState) error {
			_, err := tx.MoveRecovery(id, from, to, nil)
			return err
		}),
	machineOf("devices", "id", "state", model.DeviceMoves,
		func(tx *model.Tx, id string, s model.DeviceState) error {
			return tx.AddDevice(model.Device{ID: id, Participant: "retailer", State: s})
		},
		func(tx *model.Tx, id string, from, to model.DeviceState) error {
			_, err := tx.UpdateDevice(id, func(d *model.Device) { d.State = to })
			return err
		}),
	machineOf("real_names", "id", "state", model.RealNameMoves,
		func(tx *model.Tx, id string, s model.RealNameState) error {
			if err := tx.AddParticipant(model.Participant{ID: "c-" + id, Role: "consumer", Kind: model.Consumer, State: model.ParticipantPending}); err != nil {
				return err
			}
			return tx.AddRealName(model.RealName{ID: id, Consumer: "c-" + id, Carrier: "carrier", State: s, Method: "ID_NUMBER"})
		},
		func(tx *model.Tx, id string, from, to model.RealNameState) error {
			_, err := tx.MoveRealName(id, from, to, nil)
			return err
		}),
}

// TestMoves asks Go and the database about every pair of states of every machine: both must say what the table says.
func TestMoves(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addLot(t, db, lot("a", "retailer", model.LotOwned))
		for _, m := range machines {
			write(t, db, func(tx *model.Tx) error {
				for _, from := range m.states {
					for _, to := range m.states {
						raw, moved := from+">"+to+"!", from+">"+to
						if err := errors.Join(m.add(tx, raw, from), m.add(tx, moved, from)); err != nil {
							return fmt.Errorf("%s: %w", m.table, err)
						}
						can := m.can(from, to)
						sql := fmt.Sprintf("UPDATE %s SET %s = ? WHERE %s = ?", m.table, m.column, m.key)
						if err := tx.Exec(sql, to, raw); (err == nil) != (can || from == to) || err != nil && !errors.Is(err, model.ErrState) {
							t.Errorf("%s: the database moves %s to %s: %v; the table says %t", m.table, from, to, err, can)
						}
						// A mirror of the same state is an update; for the others staying is no move.
						can = can || (m.table == "lots" || m.table == "devices") && from == to
						if err := m.move(tx, moved, from, to); (err == nil) != can || err != nil && !errors.Is(err, model.ErrState) {
							t.Errorf("%s: Go moves %s to %s: %v; the table says %t", m.table, from, to, err, can)
						}
						rows, err := tx.Rows(fmt.Sprintf("SELECT %s FROM %s WHERE %s = ?", m.column, m.table, m.key), moved)
						if want := map[bool]string{true: to, false: from}[can]; err != nil || len(rows) != 1 || rows[0][0] != want {
							t.Errorf("%s: after %s the row says %v, %v", m.table, moved, rows, err)
						}
					}
				}
				return nil
			})
		}
	})
}

// TestUnknownStates: neither a new row nor an old one takes a state that no table has.
func TestUnknownStates(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addLot(t, db, lot("a", "retailer", model.LotOwned))
		for _, m := range machines {
			t.Run(m.table, func(t *testing.T) {
				if err := db.Write(t.Context(), func(tx *model.Tx) error { return m.add(tx, "odd", "odd") }); err == nil {
					t.Error("a row in state odd was added")
				}
				err := db.Write(t.Context(), func(tx *model.Tx) error {
					if err := m.add(tx, "even", m.states[0]); err != nil {
						t.Error(err)
					}
					return tx.Exec(fmt.Sprintf("UPDATE %s SET %s = 'odd' WHERE %s = 'even'", m.table, m.column, m.key))
				})
				if err == nil {
					t.Error("a row went to state odd")
				}
			})
		}
	})
}

// TestMoveNeedsFrom: a move from a state that the row has left is refused, though the table allows it.
func TestMoveNeedsFrom(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		addLot(t, db, lot("a", "retailer", model.LotOwned))
		write(t, db, func(tx *model.Tx) error { return tx.AddTrade(trade("t1", model.TradeConfirming)) })
		refused(t, db, model.ErrState, func(tx *model.Tx) error {
			_, err := tx.MoveTrade("t1", model.TradeOffered, model.TradeDeclining, nil)
			return err
		})
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error {
			_, err := tx.MoveTrade("t2", model.TradeOffered, model.TradeDeclining, nil)
			return err
		})
	})
}

// TestTablesReachEverything: each state can be reached from the first, and what is final is what the code says is.
func TestTablesReachEverything(t *testing.T) {
	for _, m := range machines {
		reached := []string{m.states[0]}
		for i := 0; i < len(reached); i++ {
			for _, to := range m.states {
				if m.can(reached[i], to) && !slices.Contains(reached, to) {
					reached = append(reached, to)
				}
			}
		}
		if len(reached) != len(m.states) {
			t.Errorf("%s: only %v of %v can be reached", m.table, reached, m.states)
		}
	}
	for _, s := range model.TradeMoves.States() {
		if final := !slices.ContainsFunc(model.TradeMoves.States(), func(to model.TradeState) bool { return model.TradeMoves.Can(s, to) }); final != s.Ended() {
			t.Errorf("trade %s: final %t, ended %t", s, final, s.Ended())
		}
	}
}
