package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// remembered reads what a server was made with, or has it made up and writes it down. It holds passwords: only its owner
// reads it.
func remembered(file string, state any, makeUp func() error) error {
	text, err := os.ReadFile(file)
	if err == nil {
		if err := json.Unmarshal(text, state); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := makeUp(); err != nil {
		return err
	}
	return remember(file, state)
}

// remember writes it down.
func remember(file string, state any) error {
	text, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(file, append(text, '\n'), 0o600)
}

// plain is the environment of a server: what programs need, and nothing that would configure it.
func plain() []string {
	return []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"}
}
