#!/bin/sh
# What a GPU can say of GPT-2, in one call of at most ten minutes: steps a second of size s in bf16 at 8x1024 beside
# PyTorch's on the same device, and the three largest costs of a step.
#
#     scripts/gpu-experiments-gpt2.sh [OUT]
#
# Needs a CUDA toolkit (docs/CUDA.md) and a Python with torch and transformers. Everything that it prints goes to
# OUT/gpt2.txt too. Without a GPU it ends with a message.
set -eu
cd "$(dirname "$0")/.."
out=${1:-runs/gpu-experiments}
mkdir -p "$out"
nvidia-smi -L >/dev/null 2>&1 || { echo "no CUDA device: nvidia-smi lists none" >&2; exit 1; }
cargo build --release -p cpr-gpu --features cuda --bin cpr-gpu
cpr_gpu=${CARGO_TARGET_DIR:-target}/release/cpr-gpu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Any tokens do for speed.
python3 - "$work" <<'PYTHON'
import pathlib, random, struct, sys
folder = pathlib.Path(sys.argv[1])
random.seed(1)
for name, count in [("train.bin", 400_000), ("val.bin", 40_000)]:
    (folder / name).write_bytes(b"".join(struct.pack("<H", random.randrange(50257)) for _ in range(count)))
PYTHON
step="gpt2 --data $work --unit gpt2 --batch 8 --warmup 5 --schedule constant --eval-sequences 8 --eval-every 100000 \
    --checkpoint-every 0 --keep 0 --device cuda --out $work/runs"
{
    nvidia-smi -L
    for kind in "--kappa-init warm-start=2x" "--optimizer adamw --weight-decay 0.1"; do
        # Two lengths: their difference has neither start nor evaluation.
        for steps in 20 120; do
            "$cpr_gpu" $step $kind --steps $steps --name "$steps-$(echo "$kind" | tr -dc a-z)" | grep '^seconds' |
                sed "s/^/cpr-gpu, $kind: /"
        done
    done
    python3 scripts/torch_gpt2.py
    if command -v nsys >/dev/null 2>&1; then
        nsys profile -o "$work/trace" --force-overwrite true "$cpr_gpu" $step --steps 30 --name profiled >/dev/null 2>&1
        nsys stats --report cuda_gpu_kern_sum "$work/trace.nsys-rep" 2>/dev/null | head -12
    else
        echo "no nsys: the largest costs of a step are not measured"
    fi
} 2>&1 | tee "$out/gpt2.txt"
