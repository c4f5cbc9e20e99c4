# What there is to do here. `just` alone lists it.

default:
    @just --list

# The main job, end to end, on embedded storage.
demo:
    cargo run --release -- demo --yes

# The tests: Rust and a C compiler are enough.
test:
    cargo test --workspace

# What must hold before a commit.
check:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Licences and sources of what we depend on (needs cargo-deny).
deny:
    cargo deny check
