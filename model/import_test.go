package model_test

import (
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"

	"cardflow/iccid"
	"cardflow/model"
)

func TestImports(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		want := model.Import{ID: "full", ParticipantID: "carrier", Person: "p", FileName: "卡 2026.xlsx", Size: 10, State: model.ImportReading, Partial: true, Issue: true,
			RetailPolicy: "OPEN", Restrictions: []string{"NO_SMS"}, Rows: 1, Accepted: 2, Rejected: 3, BytesDone: 4, BytesTotal: 5, Lots: []string{hash("a")},
			ErrorCode: "E", ErrorText: "文件损坏", LeaseOwner: "w", LeaseUntil: now + 1, CreatedAt: now, UpdatedAt: now}
		first := model.Import{ID: "first", ParticipantID: "carrier", State: model.ImportQueued, CreatedAt: now - 1}
		write(t, db, func(tx *model.Tx) error { return errors.Join(tx.AddImport(want), tx.AddImport(first)) })
		if got := read(t, db, func(tx *model.Tx) (model.Import, error) { return tx.Import("full") }); !reflect.DeepEqual(got, want) {
			t.Errorf("got\n%+v, want\n%+v", got, want)
		}
		page := read(t, db, func(tx *model.Tx) (model.Page[model.Import], error) { return tx.ImportsOf("carrier", "", 1) })
		if len(page.Items) != 1 || page.Items[0].ID != "full" || page.Next == "" {
			t.Errorf("page %+v", page)
		}
		lease := func(owner string, at model.Millis) (i model.Import, err error) {
			err = db.Write(t.Context(), func(tx *model.Tx) (err error) {
				i, err = tx.LeaseImport(owner, at, at+10, func(model.Import) bool { return true })
				return err
			})
			return i, err
		}
		mine, err := lease("me", now)
		if err != nil || mine.ID != "first" || mine.LeaseOwner != "me" {
			t.Fatalf("leased %+v, %v", mine, err)
		}
		if _, err := lease("you", now); !errors.Is(err, model.ErrNotFound) {
			t.Errorf("leased twice: %v", err)
		}
		write(t, db, func(tx *model.Tx) (err error) {
			mine, err = tx.MoveImport("first", model.ImportQueued, model.ImportReading, func(i *model.Import) { i.BytesDone = 7 })
			return err
		})
		mine.Rows = 100
		write(t, db, func(tx *model.Tx) error { return tx.SaveImport(mine) })
		if next, err := lease("you", now+10); err != nil || next.ID != "first" || next.Rows != 100 || next.BytesDone != 7 {
			t.Errorf("leased after the lease: %+v, %v", next, err)
		}
		refused(t, db, model.ErrState, func(tx *model.Tx) error { return tx.SaveImport(mine) })
		write(t, db, func(tx *model.Tx) error {
			i, err := tx.MoveImport("first", model.ImportReading, model.ImportFailed, nil)
			if i.LeaseOwner != "" || i.LeaseUntil != 0 {
				t.Errorf("failed, and leased: %+v", i)
			}
			return err
		})
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error {
			_, err := tx.MoveImport("none", model.ImportQueued, model.ImportReading, nil)
			return err
		})
	})
}

func TestJobs(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		want := model.Job{ID: "full", ParticipantID: "retailer", Person: "p", Kind: "merge", State: model.JobRunning, Total: 3, Done: 1, Failed: 1, ItemsSealed: []byte{0},
			Results: []byte(`[{"ok":true}]`), ErrorCode: "E", LeaseOwner: "w", LeaseUntil: now + 5, CreatedAt: now, UpdatedAt: now}
		write(t, db, func(tx *model.Tx) error { return tx.AddJob(want) })
		if got := read(t, db, func(tx *model.Tx) (model.Job, error) { return tx.Job("full") }); !reflect.DeepEqual(got, want) {
			t.Errorf("got\n%+v, want\n%+v", got, want)
		}
		write(t, db, func(tx *model.Tx) error {
			for i := range 9 {
				if err := tx.AddJob(model.Job{ID: numbered("j", i), ParticipantID: "retailer", Kind: []string{"merge", "offer"}[i%2], State: model.JobQueued, CreatedAt: now + model.Millis(i)}); err != nil {
					return err
				}
			}
			return nil
		})
		var lock, all sync.WaitGroup
		lock.Add(1)
		taken := make(chan string, 20)
		for w := range 3 {
			all.Go(func() {
				lock.Wait()
				for {
					var j model.Job
					err := db.Write(t.Context(), func(tx *model.Tx) (err error) {
						j, err = tx.LeaseJob(numbered("w", w), now, now+5, "merge")
						return err
					})
					if errors.Is(err, model.ErrNotFound) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					taken <- j.ID
				}
			})
		}
		lock.Done()
		all.Wait()
		close(taken)
		var ids []string
		for id := range taken {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		if !slices.Equal(ids, []string{"j000", "j002", "j004", "j006", "j008"}) {
			t.Errorf("taken: %v", ids)
		}
		j := read(t, db, func(tx *model.Tx) (model.Job, error) { return tx.Job("j000") })
		write(t, db, func(tx *model.Tx) error { j.Done = 4; return tx.SaveJob(j) })
		refused(t, db, model.ErrState, func(tx *model.Tx) error { j.LeaseOwner = "you"; return tx.SaveJob(j) })
		write(t, db, func(tx *model.Tx) error {
			_, err := tx.MoveJob("j000", model.JobQueued, model.JobRunning, nil)
			return err
		})
		write(t, db, func(tx *model.Tx) error {
			got, err := tx.MoveJob("j000", model.JobRunning, model.JobDone, func(j *model.Job) { j.Results = []byte("[]") })
			if got.Done != 4 || got.LeaseUntil != 0 {
				t.Errorf("done: %+v", got)
			}
			return err
		})
		page := read(t, db, func(tx *model.Tx) (model.Page[model.Job], error) { return tx.JobsOf("retailer", "", 4) })
		if len(page.Items) != 4 || page.Items[0].ID != "j008" {
			t.Errorf("page %+v", page)
		}
	})
}

func TestCards(t *testing.T) {
	each(t, func(t *testing.T, db *model.DB) {
		const n = 603
		write(t, db, func(tx *model.Tx) error {
			return tx.AddImport(model.Import{ID: "i", ParticipantID: "carrier", State: model.ImportReading})
		})
		cards := make([]model.CardDetail, n)
		for i := range cards {
			cards[i] = model.CardDetail{Head: run(0, 0).Head, Width: 7, Tail: uint32(i), Rule: iccid.Luhn, ImportID: "i", OwnerCarrier: "carrier", IMSISealed: []byte{1}, CreatedAt: now}
		}
		cards[7].MSISDNSealed = []byte{9}
		cards[8].Head = "898600000001"
		write(t, db, func(tx *model.Tx) error { return tx.AddCards(cards) })
		write(t, db, func(tx *model.Tx) error { return tx.AddCards(nil) })
		refused(t, db, model.ErrConflict, func(tx *model.Tx) error { return tx.AddCards(cards[n-1:]) })

		got := read(t, db, func(tx *model.Tx) (model.CardDetail, error) { return tx.CardDetail(iccid.Luhn, cards[7].Card()) })
		if !reflect.DeepEqual(got, cards[7]) {
			t.Errorf("got %+v", got)
		}
		refused(t, db, model.ErrNotFound, func(tx *model.Tx) error { _, err := tx.CardDetail(iccid.Serial, cards[7].Card()); return err })
		some := read(t, db, func(tx *model.Tx) ([]model.CardDetail, error) { return tx.CardsWithin(iccid.Luhn, run(590, 5000), 5) })
		if len(some) != 5 || some[0].Tail != 590 || some[4].Tail != 594 {
			t.Errorf("within: %v", some)
		}
		for _, want := range []int{400, 203, 0} {
			write(t, db, func(tx *model.Tx) error {
				got, err := tx.DropCards("i", 400)
				if got != want {
					t.Errorf("dropped %d, want %d", got, want)
				}
				return err
			})
		}
	})
}
