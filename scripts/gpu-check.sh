#!/usr/bin/env bash
# Every promise of the CUDA path that needs a GPU, in one call of a few minutes:
#   scripts/gpu-check.sh [target/release/examples/gpu_check]
# The machine needs a driver of CUDA 13 or later, the CUDA libraries (a toolkit's, or those that PyTorch brings) and no
# Rust: build the program elsewhere and bring it (strip it first, it holds candle's kernels):
#   cargo build --release -p cpr-gpu --features cuda --example gpu_check
# With PyTorch on the machine its fused AdamW is timed for comparison, with nvcc each kernel of a step.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:-target/release/examples/gpu_check}
[[ -x $program ]] || { echo "$program is missing: build it with the command at the top of $0"; exit 2; }

libraries=$(scripts/gpu-libraries.sh)
nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader || true
if python3 -c 'import torch' 2>/dev/null; then
  TORCH_MS=$(timeout 120 python3 scripts/torch_adamw.py) || { echo "torch could not be timed"; TORCH_MS=; }
  export TORCH_MS
fi
# The libraries are for the program alone: torch finds its own.
status=0
LD_LIBRARY_PATH=${libraries}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} timeout 360 "$program" || status=$?
# With a compiler the kernels of a step are timed apart.
nvcc=${NVCC:-$(command -v nvcc || ls "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" 2>/dev/null || true)}
if [[ -n $nvcc ]]; then
  kernels=$(mktemp)
  { timeout 120 "$nvcc" -O3 -std=c++17 --fmad=false -arch=native -o "$kernels" cpr-gpu/benches/kernels.cu &&
    timeout 60 "$kernels"; } || echo "the kernels could not be timed apart"
  rm -f "$kernels"
fi
exit "$status"
