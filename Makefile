# What to run when. `make run` needs nothing but a Rust toolchain and a C compiler.
.PHONY: run test test-real test-sdks test-prices bench fuzz lint fmt

run: ## Serve on 127.0.0.1:8080 with an embedded database in ./data
	cargo run --release -- serve

test: ## Format, lints, and the whole suite on SQLite and PostgreSQL
	scripts/test.sh

test-real: ## Official SDKs and a real model against a running gateway
	scripts/test-real.sh

test-sdks: ## Every official SDK against mocks of every vendor
	scripts/test-sdks.sh

test-prices: ## Costs by the bundled catalogue against an independent price library
	scripts/test-prices.sh

bench: ## Micro-benches, then load
	cargo bench --bench micro
	cargo bench --bench load

fuzz: ## Every parser under a fuzzer, FUZZ_SECONDS (60) each
	scripts/fuzz.sh

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

fmt:
	cargo fmt --all
