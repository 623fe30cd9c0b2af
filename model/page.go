package model

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"gorm.io/gorm"
)

// Page is a piece of a list. Next is the cursor of the piece after it, empty at the end.
//
// Cursors hold the sort key of the last item, so a list that grows between two calls neither repeats nor skips an
// item that was there from the start. They are opaque, and sealed by nobody: a list filters by its owner again on
// every call.
type Page[T any] struct {
	Items []T
	Next  string
}

// MaxPage is the most items a list answers at once; a limit of 0 or less asks for DefaultPage.
const (
	MaxPage     = 500
	DefaultPage = 50
)

func pageSize(limit int) int {
	if limit <= 0 {
		return DefaultPage
	}
	return min(limit, MaxPage)
}

// newest is the sort key of lists that begin with what came last.
type newest struct {
	At int64  `json:"t"` // ms
	ID string `json:"i"`
}

// newestFirst fetches a piece of a list sorted by created_at and key, both descending. Records must have both.
func newestFirst[T any](query *gorm.DB, key, cursor string, limit int, keyOf func(T) newest) (Page[T], error) {
	if cursor != "" {
		var after newest
		if err := decodeCursor(cursor, &after); err != nil {
			return Page[T]{}, err
		}
		query = query.Where("(created_at < ? OR (created_at = ? AND "+key+" < ?))", after.At, after.At, after.ID)
	}
	limit = pageSize(limit)
	items, err := many[T](query.Order("created_at DESC, " + key + " DESC").Limit(limit + 1))
	if err != nil {
		return Page[T]{}, err
	}
	return cut(items, limit, func(last T) any { return keyOf(last) })
}

// cut makes a page of up to limit+1 items: the one too many only shows that there is more.
func cut[T any](items []T, limit int, keyOf func(last T) any) (Page[T], error) {
	if len(items) <= limit {
		return Page[T]{Items: items}, nil
	}
	items = items[:limit]
	next, err := json.Marshal(keyOf(items[limit-1]))
	if err != nil {
		return Page[T]{}, fmt.Errorf("cursor: %w", err)
	}
	return Page[T]{Items: items, Next: base64.RawURLEncoding.EncodeToString(next)}, nil
}

func decodeCursor(cursor string, into any) error {
	data, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || json.Unmarshal(data, into) != nil {
		return ErrCursor
	}
	return nil
}
