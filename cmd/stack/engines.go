package main

import (
	"context"

	"cardflow/cmd/stack/local"
)

// What `run` starts is for one command: nobody misses its data afterwards, and nobody else may be left with it.

func startMariaDB(ctx context.Context, dir string, say func(format string, args ...any)) ([]string, error) {
	m, err := local.StartMariaDB(ctx, local.MariaDBConfig{Dir: dir, Fast: true})
	if err != nil {
		return nil, err
	}
	say("at %s", m.Addr())
	return []string{"CARDFLOW_TEST_MYSQL_DSN=" + m.TestDSN()}, nil
}

func startRedis(ctx context.Context, dir string, say func(format string, args ...any)) ([]string, error) {
	r, err := local.StartRedis(ctx, local.RedisConfig{Dir: dir, Fast: true})
	if err != nil {
		return nil, err
	}
	say("at %s", r.Addr())
	return []string{"CARDFLOW_TEST_REDIS_ADDR=" + r.Addr(), "CARDFLOW_TEST_REDIS_PASSWORD=" + r.Password()}, nil
}

// startFabric makes a network with the conformance suite's contracts, which obey anybody: it is for tests.
func startFabric(ctx context.Context, dir string, say func(format string, args ...any)) ([]string, error) {
	_, err := local.StartFabric(ctx, local.FabricConfig{Dir: dir, Probes: true, Tied: true, Say: say})
	return []string{"CARDFLOW_TEST_FABRIC=" + dir}, err
}
