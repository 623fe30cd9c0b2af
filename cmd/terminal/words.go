package main

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"cardflow/iccid"
	"cardflow/terminal"
)

// language is zh or en.
type language string

// pair is one text in both languages.
type pair struct{ zh, en string }

func (l language) of(p pair) string {
	if l == "en" {
		return p.en
	}
	return p.zh
}

// say is a text for the person, with its numbers in place.
func (l language) say(key string, args ...any) string {
	p, ok := says[key]
	if !ok {
		return key
	}
	return fmt.Sprintf(l.of(p), args...)
}

// sentence is what an error means to a person, with its code; its facts stand in braces in the text.
func (l language) sentence(err error) (code, message string) {
	var cards *iccid.Error
	if errors.As(err, &cards) {
		if l == "en" {
			return cards.Code, "This is not a card number that can be used."
		}
		return cards.Code, cards.Message
	}
	var e *terminal.Error
	if !errors.As(err, &e) {
		return "", err.Error()
	}
	p, ok := complaints[e.Code]
	said, _ := e.Facts["message"].(string)
	switch {
	case ok:
		message = l.of(p)
	case said != "" && l != "en":
		message = said
	case said != "":
		message = "The platform refuses this."
	default:
		message = err.Error()
	}
	names := make([]string, 0, len(e.Facts))
	for name := range e.Facts {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		message = strings.ReplaceAll(message, "{"+name+"}", l.fact(e.Facts[name]))
	}
	return e.Code, message
}

// fact writes one fact of an error.
func (l language) fact(v any) string {
	switch v := v.(type) {
	case time.Time:
		return v.Local().Format("2006-01-02 15:04:05")
	case time.Duration:
		way := pair{"快", "fast"}
		if v < 0 {
			way, v = pair{"慢", "slow"}, -v
		}
		if l == "en" {
			return v.Round(time.Second).String() + " " + way.en
		}
		return way.zh + " " + v.Round(time.Second).String()
	}
	return fmt.Sprint(v)
}
