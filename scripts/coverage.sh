#!/usr/bin/env bash
# Line coverage of cpr-core by its own tests and those of the package `tests` (without doc tests): a line a file, then the sum; fails below 95 %.
# Needs rustup's component llvm-tools, which it adds. About ten minutes on 2 cores.
set -euo pipefail
cd "$(dirname "$0")/.."
rustup component add llvm-tools >/dev/null 2>&1 || { echo "cannot add rustup's component llvm-tools" && exit 1; }
tools=$(dirname "$(find "$(rustc --print sysroot)" -name llvm-cov | head -1)")
export CARGO_TARGET_DIR=$PWD/target/coverage RUSTFLAGS=-Cinstrument-coverage
rm -rf "$CARGO_TARGET_DIR/raw"
export LLVM_PROFILE_FILE=$CARGO_TARGET_DIR/raw/%p-%m.profraw
objects=()
for tests in "cpr-core --features std --lib" "cpr-tests --tests"; do
  read -ra arguments <<<"$tests"
  cargo test -p "${arguments[@]}"
  while read -r binary; do
    objects+=(-object "$binary")
  done < <(cargo test --no-run --message-format json -p "${arguments[@]}" 2>/dev/null |
    grep -o '"executable":"[^"]*"' | cut -d'"' -f4)
done
"$tools/llvm-profdata" merge -sparse "$CARGO_TARGET_DIR"/raw/*.profraw -o "$CARGO_TARGET_DIR/all.profdata"
"$tools/llvm-cov" report --instr-profile "$CARGO_TARGET_DIR/all.profdata" "${objects[@]}" \
  --ignore-filename-regex '(registry|rustc|/tests/|tests\.rs|cpr-host)' | awk '
    NR > 2 { print $1, "lines", $8, "missed", $9, $10 }
    $1 == "TOTAL" { reached = $10 + 0 }
    END { exit reached < 95 }'
