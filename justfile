# The tasks of this repository; `just --list` shows them, and .ci/run calls the same ones. Each runs alone.
# What they need beside Rust: .ci/setup installs it; .ci/setup --check names what is missing.

set shell := ["bash", "-euo", "pipefail", "-c"]

root := justfile_directory()
# How the demo and the tour run it: .ci/run takes the binary that the tests have built.
mashang := env("MASHANG_COMMAND", "cargo run --release --locked --")
cases := env("MASHANG_CASES", root / "../shared/cases")
export PATH := root / "target/tools/venv/bin:" + env("PATH")
export NODE_PATH := env("NODE_PATH", root / "target/tools/node/node_modules")

# Tests that need Kafka, Postgres, a browser or other programs, by a part of their names: `e2e` runs these, `test` all others.
outside := "fleet:: kafka:: clusters:: relays:: secure:: client:: cuts:: moving:: opening:: same:: speed:: writers:: journey:: clients:: verifier:: serve::browser:: serve::slow::"

# List the tasks
default:
    @just --list --unsorted

# Build the binary: target/release/mashang
build:
    cargo build --release --locked

# Run the tests that need nothing beside Rust
test *ARGS:
    cargo test --workspace --locked -- {{ prepend("--skip ", outside) }} {{ ARGS }}

# Check format, lints, licences, descriptions, deployment files and words
lint: clippy lint-files

# The same without clippy
lint-files: format licences described deployed words

# Fuzz every parser for some seconds each; needs the nightly toolchain
fuzz SECONDS=env("MASHANG_FUZZ_SECONDS", "10"):
    #!/usr/bin/env bash
    set -euo pipefail
    cd crates/wire/fuzz
    corpus=$(mktemp -d)
    trap 'rm -rf "$corpus"' EXIT
    targets=$(cargo +nightly fuzz list)
    cargo +nightly fuzz build
    for target in $targets; do
      mkdir "$corpus/$target"
      cargo +nightly fuzz run "$target" "$corpus/$target" "seeds/$target" -- \
        -max_total_time={{ SECONDS }} -verbosity=0 -print_final_stats=1
    done

# Run the README's commands, and the tests against real neighbours: Kafka, Postgres, a browser, other clients
e2e: demo tour journey
    #!/usr/bin/env bash
    set -euo pipefail
    if [[ -f target/journey/commission.json ]]; then export MASHANG_JOURNEY={{ root }}/target/journey; fi
    # Most of the time goes into waiting for brokers: the binary's tests run beside those of the other crates. All are built as one
    # workspace, so that no dependency is built twice.
    built=$(cargo test --workspace --tests --locked --no-run --message-format json-render-diagnostics)
    tests=$(python3 -c 'import json, os, sys
    for line in sys.stdin:
        artifact = json.loads(line)
        if artifact.get("executable") and artifact["profile"]["test"]:
            print(os.path.dirname(artifact["manifest_path"]), artifact["executable"])' <<<"$built")
    listed=$(while read -r folder test; do (cd "$folder" && "$test" --list --format terse); done <<<"$tests")
    for name in {{ outside }}; do
      grep -q -- "$name" <<<"$listed" || { echo "no test has $name in its name: correct the list in the justfile" >&2; exit 1; }
    done
    run() {
      local folder test failed=0
      while read -r folder test; do
        echo "     Running ${folder##*/} ($test)"
        (cd "$folder" && CARGO_MANIFEST_DIR=$folder "$test" {{ outside }}) || failed=1
      done
      return "$failed"
    }
    output=$(mktemp)
    trap 'rm -f "$output"' EXIT
    grep -v '/crates/mashang ' <<<"$tests" | run >"$output" 2>&1 & others=$!
    failed=0
    grep '/crates/mashang ' <<<"$tests" | run || failed=1
    wait "$others" || failed=1
    cat "$output"
    exit "$failed"

# Build the micro-benchmarks, without optimization
bench-build:
    cargo test --workspace --locked --bench micro --no-run

# Run the micro-benchmarks; benches/*.sh measure the whole service
bench *ARGS:
    cargo bench --workspace --locked --bench micro -- {{ ARGS }}

# Check the lints
clippy:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Check the format
format:
    cargo fmt --all --check

# Check licences and sources of dependencies
licences:
    cargo deny --log-level error check licenses bans sources

# Check the description of the HTTP interface
described:
    python3 -m openapi_spec_validator crates/web/src/openapi.json

# Check the files for Compose, Prometheus and systemd
deployed:
    #!/usr/bin/env bash
    set -euo pipefail
    python3 deploy/compose/check.py
    promtool check config deploy/prometheus/prometheus.yml deploy/prometheus/fleet.yml
    promtool test rules deploy/prometheus/alerts_test.yml
    units=$(mktemp -d)
    trap 'rm -rf "$units"' EXIT
    for unit in mashang.service mashang@worker.service; do
      sed 's|/usr/local/bin/mashang|/bin/true|' "deploy/systemd/${unit/worker/}" >"$units/$unit"
      systemd-analyze verify --man=no "$units/$unit"
    done

# Find words that plain English does without
words:
    .ci/words

# Run the demo for 20 seconds; its totals must move
demo:
    #!/usr/bin/env bash
    set -euo pipefail
    mkdir -p target
    {{ mashang }} demo --for 20s | tee target/demo.txt
    grep -q 'accepted [1-9][0-9]* .*orders [1-9]' target/demo.txt || { echo "the demo's totals do not move" >&2; exit 1; }

# Run the tour of the README
tour:
    {{ mashang }} run --rules docs/tour/rules.toml --events docs/tour/events.ndjson --out target/tour

# Convert a retailer's year into target/journey, once; MASHANG_CASES names the directory of journey.py
journey:
    #!/usr/bin/env bash
    set -euo pipefail
    converter={{ cases }}/journey.py expected=crates/mashang/tests/journey/commission.py done=target/journey/commission.json
    if [[ ! -f $converter ]]; then
      echo "$converter is missing: set MASHANG_CASES; tests of the journey are skipped" >&2
      [[ -z ${MASHANG_NO_SKIP:-} ]]
    elif [[ ! $done -nt $converter || ! $done -nt $expected ]]; then
      python3 "$converter" target/journey
      python3 "$expected" target/journey
    fi
