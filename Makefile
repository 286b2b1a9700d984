help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

bench: ## Measures the program against a simulated tenant (BENCH_USERS, BENCH_GROUPS, BENCH_MEMBERSHIPS, BENCH_NIGHT)
	cargo build --release --package entra-import --package graph-sim --package bench
	target/release/bench

.PHONY: help bench
