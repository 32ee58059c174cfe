#!/usr/bin/env bash
# The study behind the README's table: four settings, five seeds each, first step at 99 % accuracy.
# Prints a Markdown table. Two runs side by side, one thread each; about 25 minutes on 2 cores.
# Usage: scripts/grokking-study.sh [FOLDER]     runs that are in FOLDER already are not repeated
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-runs/study}
cargo build --release
settings=(
  "l2|--reg l2 --kappa-init dependent=0.8 --stop-at-accuracy 0.99"
  "std|--reg std --kappa-init dependent=0.9 --stop-at-accuracy 0.99"
  "adamw-1.0|--optimizer adamw --weight-decay 1.0 --stop-at-accuracy 0.99"
  "adamw-0.1|--optimizer adamw --weight-decay 0.1"
)
for setting in "${settings[@]}"; do
  for seed in 1 2 3 4 5; do
    echo "${setting%%|*}-$seed ${setting#*|} --seed $seed"
  done
done | xargs -P 2 -I{} bash -c '
  read -r name flags <<<"$2"
  [ -f "$1/grokking/$name/summary.json" ] && exit 0
  rm -rf "$1/grokking/$name"
  target/release/cpr grokking --out "$1" --name "$name" --threads 1 $flags >/dev/null 2>&1' _ "$folder" {}
python3 - "$folder" <<'PYTHON'
import json, statistics, sys
rows = [("AdamCPR, l2, dependent 0.8", "l2"), ("AdamCPR, std, dependent 0.9", "std"),
        ("AdamW, weight decay 1.0", "adamw-1.0"), ("AdamW, weight decay 0.1", "adamw-0.1")]
print("| run (seeds 1–5) | validation at 99 %, step | median | median delay from train to validation |")
print("|---|---|---|---|")
for title, name in rows:
    runs = [json.load(open(f"{sys.argv[1]}/grokking/{name}-{seed}/summary.json")) for seed in range(1, 6)]
    never = float("inf")
    steps = [run["validation_learned"] or never for run in runs]
    delays = [run["delay"] if run["delay"] is not None else never for run in runs]
    show = lambda x: "never" if x == never else f"{x:.0f}"
    note = ""
    if all(step == never for step in steps):
        note = f" (best {max(run['validation_best'] for run in runs):.1%})"
    print(f"| {title} | {', '.join(map(show, steps))}{note} | {show(statistics.median(steps))} | {show(statistics.median(delays))} |")
PYTHON
