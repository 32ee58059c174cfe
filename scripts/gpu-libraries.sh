#!/usr/bin/env bash
# Prints the folders of the CUDA libraries on this machine, a toolkit's or those that PyTorch brings, as LD_LIBRARY_PATH.
set -euo pipefail
libraries=$(python3 - <<'PY' 2>/dev/null || true
import glob, os, site, sys
try:
    import torch
    roots = [os.path.dirname(os.path.dirname(torch.__file__))]
except ImportError:
    roots = site.getsitepackages()
print(":".join(f for r in roots for f in sorted(glob.glob(os.path.join(r, "nvidia", "*", "lib")))))
PY
)
for folder in ${CUDA_HOME:+"$CUDA_HOME/lib64"} /usr/local/cuda/lib64 /usr/local/nvidia/lib64; do
  [[ -d $folder ]] && libraries=${libraries:+$libraries:}$folder
done
echo "$libraries"
