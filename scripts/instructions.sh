#!/usr/bin/env bash
# Instructions a parameter of a step, which no neighbour's load can move, against the limits of tests/instructions.txt:
#   scripts/instructions.sh            compares; fails where one is above its limit
#   scripts/instructions.sh --print    what was counted with 5 % on top, in the form of that file
# Counted by callgrind (Debian: apt-get install valgrind), on x86-64 at AVX2, the widest that it knows: one thread, a matrix
# of 65 536 elements, the difference of two runs.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v valgrind >/dev/null || [[ $(uname -m) != x86_64 ]]; then
  echo "SKIPPED: instructions are counted by valgrind on x86-64"
  exit 0
fi
limits=tests/instructions.txt
elements=65536
few=2
many=6
cargo build --quiet --locked --release -p cpr-tests --no-default-features --bin instructions
program=${CARGO_TARGET_DIR:-target}/release/instructions

# Instructions of a run of so many steps.
count() {
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
    sed -nE 's/.*Collected : ([0-9]+).*/\1/p'
}

failed=0
listed=$(<"$limits")
head -n 1 <<<"$listed"
while read -r variant limit; do
  a=$(count "$variant" "$few")
  b=$(count "$variant" "$many")
  own=$(awk -v a="$a" -v b="$b" -v n="$elements" -v steps=$((many - few)) 'BEGIN { printf "%.3f", (b - a) / (n * steps) }')
  if [[ ${1:-} == --print ]]; then
    awk -v name="$variant" -v own="$own" 'BEGIN { printf "%-15s %.2f\n", name, 1.05 * own }'
  elif awk -v own="$own" -v limit="$limit" 'BEGIN { exit !(own >= 0.8 * limit && own <= limit) }'; then
    printf '%-15s %7s instructions a parameter, at most %s\n' "$variant" "$own" "$limit"
  else
    # Far below, another step was counted, or the limit is stale.
    printf '%-15s %7s instructions a parameter, NOT between 0.8 and 1 of %s\n' "$variant" "$own" "$limit"
    failed=1
  fi
done < <(grep -v '^#' <<<"$listed")
if ((failed)); then
  echo "a step takes other instructions than $limits says: find why, or state the new limit there with its reason"
  exit 1
fi
