# Every command of the project. `make` lists them.
# On a fresh machine with cargo and a C compiler, `make demo` and `make test` do all set-up by themselves.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export CARGO_TERM_PROGRESS_WHEN ?= auto

target := $(or $(CARGO_TARGET_DIR),target)
say := @printf '\n\033[1m==> %s\033[0m\n'

# What a command needs is done in the order in which it stands, also with -j: cargo uses all processors by itself.
.NOTPARALLEL:
.PHONY: help toolchain lint-toolchain wasm-target build release plugins envoy demo test soak compare bench lint docs docs-config ci

help: ## This list
	@echo "make TARGET, where TARGET is one of:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

toolchain:
	@scripts/toolchain.sh

lint-toolchain:
	@scripts/toolchain.sh lint

wasm-target: toolchain
	@scripts/wasm-target.sh --probe

build: toolchain ## Build the gateway (debug): target/debug/weir
	$(say) "Building the gateway (the first time takes some minutes)"
	@cargo build -p weir --locked

release: toolchain ## Build the gateway (release): target/release/weir
	$(say) "Building the gateway for release (the first time takes about ten minutes)"
	@cargo build -p weir --locked --release

plugins: wasm-target ## Build the example plugins: target/plugins/*.wasm
	$(say) "Building the example plugins"
	@scripts/wasm-target.sh

envoy: ## Install Envoy 1.40 under target/envoy, for comparing
	@scripts/envoy.sh

demo: wasm-target build plugins ## Show the gateway at work, then serve until Ctrl-C (ONCE=1 ends there)
	$(say) "Starting the gateway on config/quickstart"
	@WEIR_BIN=$(target)/debug/weir ONCE=$(ONCE) scripts/demo.sh

test: wasm-target build plugins ## Run every test (those that compare need python3 to install Envoy; the last lines say if they are left out)
	@scripts/test.sh

soak: toolchain ## Try a million hostile inputs on each parser (CASES=N for another number)
	@PROPTEST_CASES=$(or $(CASES),1000000) cargo test -p weir --lib --locked -- properties canonical_paths broken_hellos cuts_do_not_matter
	@PROPTEST_CASES=$(or $(CASES),1000000) cargo test -p weir-xds --test properties --locked

compare: wasm-target envoy build plugins ## Ask Envoy and Weir the same questions
	@cargo test -p weir-tests --locked --test compare -- --test-threads=2

bench: wasm-target envoy release plugins ## Measure Weir beside Envoy: a table, and target/bench.json
	$(say) "Measuring (about ten minutes; leave the machine alone meanwhile)"
	@cargo build --release --locked -p weir-tests --bins
	@cargo bench --locked -p weir --bench route -- last/100000
	@python3 bench/run.py $(BENCH)

lint: lint-toolchain ## Formatting, clippy and rustdoc, with warnings as errors
	$(say) "Formatting"
	@cargo fmt --all --check
	@cargo fmt --manifest-path plugins/Cargo.toml --all --check
	$(say) "clippy"
	@cargo clippy --workspace --all-targets --locked -- -D warnings
	@# For this machine and not for wasm32: clippy says the same, and needs no other target for it.
	@CARGO_TARGET_DIR=$(target)/plugins-lint cargo clippy --manifest-path plugins/Cargo.toml --workspace --all-targets --locked -- -D warnings
	$(say) "rustdoc"
	@RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --workspace --no-deps --locked --document-private-items

docs: toolchain ## Build the API documentation: target/doc
	@cargo doc --workspace --no-deps --locked

docs-config: toolchain ## Write the table of fields: docs/fields.md
	@WEIR_UPDATE_DOCS=1 cargo test --quiet -p weir-xds --test docs --locked

ci: ## What the continuous integration runs
	@.ci/run
