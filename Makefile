# V-Asset. `make run` serves it, `make test` proves it. Everything lives in .venv and target/.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help build run test test-rust test-python test-web lint generated web bench bench-engine bench-peers bench-quick cluster load chaos lifecycle fuzz kill clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ENGINE := vasset/_engine.abi3.so
FAULTY_ENGINE := target/faultpoints/release/libvasset_engine.so
ENGINE_SOURCES := $(shell find engine/src -name '*.rs' 2>/dev/null) engine/Cargo.toml Cargo.toml Cargo.lock
HOST ?= 127.0.0.1
PORT ?= 8080
DATA ?= data
WORKERS ?= 2

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.runtime: pyproject.toml deploy/local/prepare
	@deploy/local/prepare runtime "$(PYTHON)" "$(VENV)"
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	@deploy/local/prepare dev "$(PYTHON)" "$(VENV)"
	@touch $@

$(ENGINE): $(VENV)/.runtime $(ENGINE_SOURCES)
	@deploy/local/prepare engine "$(PYTHON)" "$(VENV)"
	@touch $@

build: $(ENGINE) ## build the Rust extension and install everything into .venv

run: build ## serve page and API on 127.0.0.1:8080
	@exec $(BIN)/vasset serve --host "$(HOST)" --port "$(PORT)" --data-dir "$(DATA)"

test: build $(VENV)/.dev test-rust test-web test-python ## everything that proves it works

test-rust: ## the engine's own tests, without Python
	@deploy/local/prepare tests "$(PYTHON)" "$(VENV)"
	cargo test --quiet -p vasset-engine

test-web: ## unit tests of the page (needs Node; skipped in words without it)
	@if command -v npm >/dev/null; then cd web && npm ci --no-audit --no-fund --silent && npm test --silent; \
	 else echo "Node is not installed: the page's own unit tests are left out (apt-get install nodejs npm)"; fi

test-python: build $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)

lint: build $(VENV)/.dev ## ruff, mypy, import-linter, clippy, rustfmt, stub check, generated files unchanged
	@deploy/local/lint "$(BIN)"

generated: build $(VENV)/.dev ## write docs/configuration.md and the gRPC stubs again
	$(BIN)/python deploy/local/generate_configuration.py docs/configuration.md
	@if [ -d vasset/services/proto ]; then $(BIN)/python deploy/local/generate_stubs.py; fi

web: ## build the page into vasset/gateway/static (needs Node)
	cd web && npm ci --no-audit --no-fund && npm run build

bench: build $(VENV)/.dev bench-peers ## every benchmark; writes docs/benchmarks.md
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.engine.tasks
	$(BIN)/python -m benchmarks.engine.lies
	$(BIN)/python -m benchmarks.engine.evict
	$(BIN)/python -m benchmarks.get
	$(BIN)/python -m benchmarks.platform
	$(BIN)/python -m benchmarks.cluster
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.render

bench-engine: build $(VENV)/.dev bench-peers ## the engine against curl, aria2, axel, hf_transfer, yt-dlp, obstore, aiohttp
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.engine.tasks
	$(BIN)/python -m benchmarks.engine.lies
	$(BIN)/python -m benchmarks.engine.evict
	$(BIN)/python -m benchmarks.render

bench-peers: $(VENV)/.dev
	@deploy/local/prepare peers "$(PYTHON)" "$(VENV)"

bench-quick: build $(VENV)/.dev ## under two minutes; fails on a ratio, never on a time
	@deploy/local/prepare origin "$(PYTHON)" "$(VENV)"
	$(BIN)/python -m benchmarks.engine --quick

cluster: build ## PostgreSQL, Redis, RabbitMQ and the five services on this machine
	@exec $(BIN)/vasset cluster --data-dir "$(DATA)-cluster"

load: build ## locust against a running server: make load URL=http://127.0.0.1:8080
	@deploy/local/prepare load "$(PYTHON)" "$(VENV)"
	$(BIN)/locust -f locustfile.py --headless --host "$(or $(URL),http://$(HOST):$(PORT))" $(LOCUST_ARGS)

chaos: build $(VENV)/.dev ## the long fault campaign: make chaos CHAOS_SEEDS="1 2" CHAOS_TASKS=1200
	@deploy/local/prepare tests "$(PYTHON)" "$(VENV)"
	@deploy/local/prepare faultpoints "$(PYTHON)" "$(VENV)"
	$(BIN)/python -m tests.faults.campaign --deployment embedded distributed --seed $(or $(CHAOS_SEEDS),1 2 3 4 5 6) \
	  --tasks $(or $(CHAOS_TASKS),1200) --seconds $(or $(CHAOS_SECONDS),400) --at-a-time 8 --engine $(FAULTY_ENGINE) \
	  --output benchmarks/results/chaos.json
	$(BIN)/python -m tests.faults.campaign.page

fuzz: ## the long form of the fuzz targets: make fuzz FUZZ_SECONDS=600
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) cargo test --release -p vasset-engine --test fuzz_short -- --nocapture

kill: ## 200 kill -9 at random moments, each resumed and compared
	$(PYTHON) -m benchmarks.engine.kill --kills $(or $(KILLS),200)

lifecycle: build $(VENV)/.dev ## the long form of the task lifecycle's state machine, embedded and distributed
	LIFECYCLE_EXAMPLES=$(or $(EXAMPLES),150) LIFECYCLE_STEPS=40 $(BIN)/python -m pytest tests/lifecycle -s --timeout 7200

clean: ## remove what builds made; downloads stay
	rm -rf $(VENV) target web/node_modules $(ENGINE) .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache
