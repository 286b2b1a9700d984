# The programs, with the tests' own dependencies beside them: what runs them and the tests then share one build.
PROGRAMS = cargo build --quiet --workspace --exclude bench --bins --test it

help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

check: ## Everything to run before a commit: formatting, clippy with warnings as errors, all tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace

test: ## Runs all tests
	cargo test --workspace

fmt: ## Formats the code
	cargo fmt --all

docs: ## Builds the documentation of the code, with warnings as errors
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

demo: ## Two nights of a simulated tenant, over HTTP, into CSV files; no network, no questions
	@$(PROGRAMS)
	@samples/demo.sh

demo-jsm: ## The same two nights into a simulated Jira Service Management Assets, with an edit by hand in between
	@$(PROGRAMS)
	@samples/demo-jsm.sh

sample: ## Runs one scenario of samples/scenarios and prints everything: make sample S=leaver-deleted
	@SAMPLE=$(S) cargo test --quiet --test it scenarios -- --nocapture

bless: ## Rewrites all expected files from what the program does now; review them like code
	BLESS=1 cargo test

simulator: ## A Microsoft Graph on this machine to try the program with, on port 8085; ends with Ctrl-C
	cargo run --package graph-sim -- --port 8085 --users 2000 --quota auto --latency 120

test-browser: ## The HTML report in headless Chromium: hostile data, filters, 50,000 changes, screenshots in target/report
	@command -v $${CHROMIUM:-chromium} >/dev/null || { echo "This needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"; exit 1; }
	cargo test --quiet --lib browser -- --ignored --nocapture --test-threads=1

faults: ## Random faults of Graph, FAULT_SEEDS of them (default 500) from FAULT_FIRST on a scaled clock; names seeds that fail
	FAULT_SEEDS=$${FAULT_SEEDS:-500} cargo test --quiet --test it faults:: -- --nocapture

crash: ## Kills an apply of 1,000 changes at every point there is, a process each time: record by record, then whole files
	CRASH_PEOPLE=750 CRASH_DEATHS=0 cargo test --quiet --lib killed_at_seeded_points -- --nocapture
	CRASH_PEOPLE=750 cargo test --quiet --test it crash::dying -- --nocapture

referee: ## Lets Prism judge every request and answer by an OpenAPI description of Graph; needs Node.js, npm and a network
	$(PROGRAMS)
	npm install --silent --ignore-scripts --no-audit --no-fund --prefix target/referee @stoplight/prism-cli@5
	node tests/graph-sim/openapi/referee.mjs target/debug

test-thirdparty: ## Runs a published third-party Assets client against the stand-in; needs python3 with venv, and PyPI once
	$(PROGRAMS)
	test -x target/third-party/bin/python || python3 -m venv target/third-party
	target/third-party/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/jsm-sim/thirdparty/requirements.txt
	target/third-party/bin/python tests/jsm-sim/thirdparty/assets.py target/debug/jsm-sim

bench: ## Measures the program against simulated tenants; P="extract decode" for these parts only (BENCH_USERS, …)
	cargo build --release --package entra-import --package graph-sim --package jsm-sim --package bench
	target/release/bench $(P)

fuzz: ## Feeds random text to the expression language for FUZZ_SECONDS (60); needs nightly and cargo-fuzz
	cargo +nightly fuzz run expression -- -dict=fuzz/expression.dict -timeout=10 -max_total_time=$(or $(FUZZ_SECONDS),60)

.PHONY: help check test test-browser fmt docs demo demo-jsm sample bless simulator faults crash referee test-thirdparty bench fuzz
