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

.PHONY: help check test fmt docs
