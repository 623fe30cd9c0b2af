package model

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"gorm.io/gorm/schema"
)

// Two kinds of column that Go and SQL see differently, named in the gorm tags of the records:
//
//   - serializer:null is a string that is empty in Go and NULL in SQL: foreign keys and unique columns need the NULL.
//   - serializer:list is a []string that is a JSON array in SQL, [] when empty.
func init() {
	schema.RegisterSerializer("null", nullColumn{})
	schema.RegisterSerializer("list", listColumn{})
}

type nullColumn struct{}

func (nullColumn) Scan(ctx context.Context, field *schema.Field, dst reflect.Value, value any) error {
	text, err := textOf(value)
	if err != nil {
		return fmt.Errorf("column %s: %w", field.DBName, err)
	}
	field.ReflectValueOf(ctx, dst).SetString(text)
	return nil
}

func (nullColumn) Value(_ context.Context, _ *schema.Field, _ reflect.Value, value any) (any, error) {
	if text := reflect.ValueOf(value).String(); text != "" {
		return text, nil
	}
	return nil, nil
}

type listColumn struct{}

func (listColumn) Scan(ctx context.Context, field *schema.Field, dst reflect.Value, value any) error {
	text, err := textOf(value)
	var list []string
	if err == nil && text != "" && text != "[]" {
		err = json.Unmarshal([]byte(text), &list)
	}
	if err != nil {
		return fmt.Errorf("column %s: %w", field.DBName, err)
	}
	field.ReflectValueOf(ctx, dst).Set(reflect.ValueOf(list))
	return nil
}

func (listColumn) Value(_ context.Context, field *schema.Field, _ reflect.Value, value any) (any, error) {
	list, ok := value.([]string)
	if !ok {
		return nil, fmt.Errorf("column %s is no list of strings", field.DBName)
	}
	return listText(list)
}

// listText is a list as it stands in its column.
func listText(list []string) (string, error) {
	if len(list) == 0 {
		return "[]", nil
	}
	text, err := json.Marshal(list)
	return string(text), err
}

func textOf(value any) (string, error) {
	switch v := value.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case []byte:
		return string(v), nil
	}
	return "", fmt.Errorf("holds a %T", value)
}
