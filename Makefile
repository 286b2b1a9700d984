help: ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.PHONY: demo sample bless

demo: ## Two nights of a simulated tenant, over HTTP, into CSV files; no network, no questions
	@cargo build --quiet --package entra-import --package graph-sim
	@samples/demo.sh

sample: ## Runs one scenario of samples/scenarios and prints everything: make sample S=leaver-deleted
	@SAMPLE=$(S) cargo test --quiet --test it scenarios -- --nocapture

bless: ## Rewrites all expected files from what the program does now; review them like code
	BLESS=1 cargo test
