# CardFlow 卡流转. `make help` lists the targets from the comments behind them.

# Set only where the caller has not: no version stamp, and the installed Go.
export GOFLAGS ?= -buildvcs=false
export GOTOOLCHAIN ?= local

SERVER := bin/server

.DEFAULT_GOAL := help
.PHONY: help run run-full demo test crash bench bench-custody build docker-build clean fabric-up fabric-down fabric-status fabric-clean

help: ## 列出命令 · list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: build preview ## 启动服务，带演示数据，数据在 ./data · run the server with demo data in ./data
	@CARDFLOW_HTTP_PREVIEW_DIR="$${CARDFLOW_HTTP_PREVIEW_DIR-$$(test ! -e bin/preview/index.html || echo bin/preview)}" ./$(SERVER) serve --demo

# The mini-program for the browser, at /preview/: only where Node is, and nothing waits for it that doesn't need it.
preview:
	@if ! command -v npm >/dev/null; then \
		rm -rf bin/preview; \
		echo "没有找到 Node.js（node 和 npm），所以没有小程序预览；其余照常。需要预览时请装 Node.js 18.19 或更新的版本。"; \
	elif ! $(MAKE) --no-print-directory miniprogram || ! node miniprogram/tests/harness/compile/compile.mjs bin/preview; then \
		rm -rf bin/preview; \
		echo "小程序预览没有做成（原因见上），其余照常。"; \
	fi

run-full: build ## 在 MariaDB、Redis、Fabric 上运行服务（带演示数据），数据在 ./data/full · the same on MariaDB, Redis and Fabric
	bin/stack full --custodian $(SERVER) --demo -- $(SERVER) --config data/full/server.yaml serve --demo

demo: build ## 约十秒演完主流程 · play the whole story on a fresh directory and check it
	./$(SERVER) demo

test: ## 检查环境、格式、vet、构建、测试 · check the machine, then format, vet, build, test
	@.ci/test

crash: ## 崩溃测试全量：各处各时杀进程、断网、写满磁盘 · the crash suite in full: kills, cut networks, full disks
	go test -tags crash -count=1 -timeout 3h -run '^TestCrash' -v ./cmd/server -crash.all -crash.out $(CURDIR)/docs/performance/crash.md

bench: build ## 性能测试，写入 docs/performance；LEDGER=fabric 则在完整环境上 · measure; LEDGER=fabric: on all the real engines
ifeq ($(LEDGER),fabric)
	bin/stack full --clean --probes --dir data/bench -- $(SERVER) --config data/bench/server.yaml bench --baseline probe --out docs/performance/fabric
else
	./$(SERVER) bench
endif

bench-custody: build ## 托管签名的性能（SQLite、MariaDB），与 Vault 对照 · custody's signatures, beside Vault's
	go test -run '^$$' -bench '^BenchmarkSign$$' -benchtime 5s ./custody
	bin/stack run --mariadb -- env CARDFLOW_TEST_DATABASE=mysql go test -run '^$$' -bench '^BenchmarkSign$$' -benchtime 5s ./custody
	cd docs/performance/peer && go test -vet=off -run '^$$' -bench . -benchtime 5s

fabric-up: build ## 启动 Fabric 网络（三组织、三排序节点），数据在 ./data/fabric · start the Fabric network
	bin/stack fabric up

fabric-down: build ## 停止 Fabric 网络，数据保留 · stop it; its data stays
	bin/stack fabric down

fabric-status: build ## 列出 Fabric 网络的各个进程 · list its servers
	bin/stack fabric status

fabric-clean: build ## 停止 Fabric 网络并删除其数据 · stop it and remove keys and data
	bin/stack fabric down --clean

.PHONY: miniprogram wechat-compile preview
miniprogram: miniprogram/node_modules/.ready ## 准备小程序，然后用微信开发者工具打开 miniprogram/ · pack what it uses; then open it in WeChat DevTools
	@cd miniprogram && node tests/tools/pack.mjs

wechat-compile: miniprogram miniprogram/tools/node_modules/.ready ## 用微信自己的编译器离线编译小程序，列出包大小 · compile it by WeChat's own compiler, offline
	node miniprogram/tools/compile.mjs

# What the lock files name, and nothing else; again only when one has changed.
miniprogram/tools/node_modules/.ready: miniprogram/tools/package-lock.json
	cd miniprogram/tools && npm ci --prefer-offline --ignore-scripts --loglevel=error
	@touch $@

miniprogram/node_modules/.ready: miniprogram/package-lock.json
	cd miniprogram && npm ci --prefer-offline --loglevel=error
	@touch $@

.PHONY: second-client
second-client: build terminal/typescript/node_modules/.ready ## 第二个终端程序（TypeScript）：测试数据，与真实服务和 bin/terminal 交易 · the second terminal, in TypeScript: vectors, and trades
	cd terminal/typescript && npm test --silent

terminal/typescript/node_modules/.ready: terminal/typescript/package-lock.json
	cd terminal/typescript && npm ci --prefer-offline --ignore-scripts --loglevel=error
	@touch $@

build: ## 编译到 ./bin · build the programs into ./bin
	@mkdir -p bin
	go build -o bin/ ./cmd/...

docker-build: ## 构建容器镜像（需要 Docker）· build the images of docker-compose.yml (needs Docker)
	docker compose --env-file configs/docker/trial.env build

clean: ## 删除 ./bin（不动 ./data）· remove ./bin; ./data is yours and stays
	rm -rf bin
