#!/usr/bin/env bash
# What the full experiments cost and reach on a GPU, each part in one call of at most ten minutes:
#   scripts/gpu-experiments.sh cifar     ResNet18 on CIFAR-10: a step beside PyTorch's, its costs, two runs
#   scripts/gpu-experiments.sh gpt2      GPT-2 s in bf16 at 8x1024: a step beside PyTorch's, its costs (by ncu, if there)
# The machine needs a driver of CUDA 13 or later, the CUDA libraries (a toolkit's, or those that PyTorch brings) and no
# Rust: build the programs elsewhere and bring them (strip them first, they hold candle's kernels):
#   cargo build --release -p cpr-gpu --features cuda --bin cpr-gpu --example resnet_step
# With PyTorch on the machine its step is timed in the same call. DATA names a folder with CIFAR-10 (binary version, or
# train/CLASS/*.jpg and test/CLASS/*.jpg); without it ../shared/data/cifar10-jpeg.tar.xz or shared/data/… is unpacked.
# What is made lies in OUT (runs/gpu without it).
set -euo pipefail
cd "$(dirname "$0")/.."
began=$SECONDS
programs=${PROGRAMS:-target/release}
out=${OUT:-runs/gpu}
libraries=$(scripts/gpu-libraries.sh)
has_torch() { python3 -c 'import torch' 2>/dev/null; }
# The libraries are for these programs alone: torch finds its own.
ours() { LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$@"; }
need() { [[ -x $1 ]] || { echo "$1 is missing: build it with the command at the top of $0"; exit 2; }; }
spent() { echo "== $1: $((SECONDS - began)) s so far"; }

# Sets `data` to a folder with CIFAR-10.
cifar10() {
  data=${DATA:-}
  [[ -z $data ]] || return 0
  data=data/cifar10-jpeg
  [[ -d $data/train ]] && return 0
  local archive
  for archive in ../shared/data/cifar10-jpeg.tar.xz shared/data/cifar10-jpeg.tar.xz; do
    if [[ -f $archive ]]; then
      mkdir -p "$data"
      tar -xJf "$archive" -C "$data"
      return 0
    fi
  done
  echo "there is no CIFAR-10: set DATA to a folder that has it (cpr fetch cifar10 brings it)"
  exit 2
}

cifar() {
  need "$programs/cpr-gpu"
  need "$programs/examples/resnet_step"
  cifar10
  spent "the images are there"
  local said step steps=1000 runner name
  said=$(ours timeout 120 "$programs/examples/resnet_step" cuda 128 18 20)
  echo "$said"
  spent "our step"
  if has_torch; then
    echo "PyTorch's step, ms in f32, with TF32, with TF32 and channels last:"
    timeout 120 python3 scripts/torch_resnet.py cuda 128 || echo "torch could not be timed"
    spent "PyTorch's step"
  fi
  # `  step 23.4, 42.7 a second`
  step=$(sed -nE 's/^ *step ([0-9.]+),.*/\1/p' <<<"$said")
  if awk -v ms="$step" 'BEGIN { exit !(ms < 60) }'; then steps=3000; fi
  # Side by side, for a device does more at once than one network asks of it; the step was timed alone above.
  local began_runs=$SECONDS
  for runner in "adamw --optimizer adamw --weight-decay 0.1" "adamcpr --kappa-init warm-start=2x"; do
    local name=${runner%% *} flags=${runner#* }
    # shellcheck disable=SC2086
    ours timeout -s TERM 300 "$programs/cpr-gpu" cifar --data "$data" --device cuda --steps "$steps" --warmup 200 \
      --eval-every 4 --checkpoint-every 0 --keep 0 --out "$out" --name "$name" $flags >"$out-$name.log" 2>&1 ||
      echo "$name did not come to its end: $(tail -n 1 "$out-$name.log")" &
  done
  wait
  spent "two runs of $steps steps, $((SECONDS - began_runs)) s"
  for name in adamw adamcpr; do
    echo "$name:"
    grep -hE '^(seconds|validation|train)' "$out-$name.log" || true
    grep -hE '"validation_(last|best)"' "$out/cifar/$name/summary.json" || true
  done
}

# Seconds of a run of so many steps.
gpt2_run() {
  local steps=$1
  shift
  ours timeout 90 "$programs/cpr-gpu" gpt2 "$@" --steps "$steps" --name "gpt2-$steps-$RANDOM" |
    sed -nE 's/^seconds +([0-9.]+) .*/\1/p'
}

gpt2() {
  need "$programs/cpr-gpu"
  # Any tokens do for speed.
  local tokens=$out/tokens kind few many
  mkdir -p "$tokens"
  python3 - "$tokens" <<'PYTHON'
import pathlib, random, struct, sys
random.seed(1)
for name, count in [("train.bin", 100_000), ("val.bin", 20_000)]:
    words = (struct.pack("<H", random.randrange(50257)) for _ in range(count))
    (pathlib.Path(sys.argv[1]) / name).write_bytes(b"".join(words))
PYTHON
  local flags=(--data "$tokens" --unit gpt2 --batch 8 --warmup 5 --schedule constant --eval-sequences 8
    --eval-every 100000 --checkpoint-every 0 --keep 0 --device cuda --out "$out")
  # The driver compiles the kernels once; what it costs belongs to no run.
  gpt2_run 10 "${flags[@]}" --optimizer adamw >/dev/null
  spent "a first start"
  for kind in "--kappa-init warm-start=2x" "--optimizer adamw --weight-decay 0.1"; do
    # Two lengths: their difference has neither start nor evaluation.
    # shellcheck disable=SC2086
    few=$(gpt2_run 10 "${flags[@]}" $kind) && many=$(gpt2_run 70 "${flags[@]}" $kind)
    awk -v few="$few" -v many="$many" -v kind="$kind" 'BEGIN {
      ms = (many - few) / 60 * 1000
      printf "GPT-2 s, %s: %.1f ms a step, %.2f a second, %.0f tokens a second\n", kind, ms, 1000 / ms, 8192000 / ms }'
    spent "$kind"
  done
  if has_torch; then
    timeout 150 python3 scripts/torch_gpt2.py || echo "torch could not be timed"
    spent "PyTorch's step"
  fi
  if command -v ncu >/dev/null; then
    # A window of launches that holds a whole step, which ends with `correct_f32`.
    ours timeout 120 ncu --metrics gpu__time_duration.sum --clock-control none --cache-control none --csv \
      --launch-skip 3000 --launch-count 4000 --log-file "$out/gpt2-kernels.csv" \
      "$programs/cpr-gpu" gpt2 "${flags[@]}" --steps 6 --name profiled >"$out/profiled.log" 2>&1 || tail -n 1 "$out/profiled.log"
    python3 scripts/kernel_times.py "$out/gpt2-kernels.csv" correct_f32
    spent "the costs of a step"
  else
    echo "no ncu: the largest costs of a step are not measured"
  fi
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
mkdir -p "$out"
case ${1:-} in
  cifar) cifar ;;
  gpt2) gpt2 ;;
  *) echo "usage: $0 cifar|gpt2" && exit 2 ;;
esac
