#!/usr/bin/env bash
# Registers of every CUDA kernel; fails where one spills or uses local memory.
# Usage: scripts/kernel-registers.sh [sm_90]. Needs nvcc (NVCC, CUDA_HOME, or on PATH), no GPU.
set -euo pipefail
cd "$(dirname "$0")/../cpr-gpu/kernels"
nvcc=${NVCC:-${CUDA_HOME:+$CUDA_HOME/bin/}nvcc}
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
for name in cpr layers; do
  contraction=--fmad=$([[ $name == layers ]] && echo true || echo false)
  "$nvcc" -cubin -O3 -std=c++17 "$contraction" -Xptxas -v -arch="${1:-sm_90}" -o "$scratch/$name.cubin" $name.cu \
    2>>"$scratch/log" || { cat "$scratch/log"; exit 1; }
done
awk '
  /Compiling entry function/ { match($0, /'\''[^'\'']+'\''/); name = substr($0, RSTART + 1, RLENGTH - 2) }
  /stack frame/ { frame = $0; sub(/^[^0-9]*/, "", frame); split(frame, n, " "); stack = n[1]; stores = n[5]; loads = n[9] }
  /Used [0-9]+ registers/ {
    match($0, /Used [0-9]+/); registers = substr($0, RSTART + 5, RLENGTH - 5)
    shared = 0; if (match($0, /[0-9]+ bytes smem/)) { shared = substr($0, RSTART, RLENGTH); sub(/ .*/, "", shared) }
    printf "%-23s %3d registers, %5d bytes shared, %d of stack, %d spilled\n", name, registers, shared, stack, stores + loads
    count++; bad += (stack + stores + loads > 0)
  }
  END { if (!count) { print "no kernel in the report"; exit 1 } printf "%d kernels, %d with a stack or a spill\n", count, bad; exit bad > 0 }
' "$scratch/log" | sort
