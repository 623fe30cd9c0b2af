//go:build stack

package main

import (
	"bufio"
	"path/filepath"
	"strings"
	"testing"

	"cardflow/cmd/stack/local"
)

// TestRunFabricIsKilled: a run that has a whole network is killed with SIGKILL, as by a test runner's time limit. Nothing of
// it is left, neither processes nor files.
func TestRunFabricIsKilled(t *testing.T) {
	cmd, temp := stack(t, "run", "--fabric", "--", "sh", "-c", "echo $CARDFLOW_TEST_FABRIC; sleep 1000")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		t.Fatalf("%v: %s", err, &said)
	}
	network, err := local.OpenFabric(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, s := range network.Status(t.Context()) {
		if s.Pid == 0 {
			t.Errorf("%s does not run", s.Name)
		}
		pids = append(pids, s.Pid)
	}
	// One that a test has killed and started again belongs to the test's process, and has to end all the same.
	restarted := "peer0.regulator.cardflow.example"
	if err := network.Kill(restarted); err != nil {
		t.Fatal(err)
	}
	if err := network.Start(t.Context(), restarted); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the guard holds its standard error: it ends when the guard has ended
	for _, pid := range pids {
		gone(t, pid)
	}
	if network.Running(restarted) {
		t.Errorf("%s runs", restarted)
	}
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) != 0 {
		t.Errorf("left behind are %v, %v: %s", left, err, &said)
	}
}
