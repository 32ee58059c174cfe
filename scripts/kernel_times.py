"""Milliseconds of one step by kernel, from Nsight Compute's gpu__time_duration of a window of launches.

    python3 scripts/kernel_times.py TIMES.csv LAST_KERNEL

TIMES.csv is what `ncu --metrics gpu__time_duration.sum --csv --log-file` wrote. A step is what lies between two launches of
LAST_KERNEL; of the steps in the window the first whole one is taken.
"""

import collections
import csv
import re
import sys

UNITS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "nsecond": 1e-6, "usecond": 1e-3, "msecond": 1.0}
# One family for the shapes that cuBLAS and candle have kernels for.
FAMILIES = [(r"nvjet|gemm|cutlass|splitK", "matrix products (cuBLAS)"), (r"^(b?add|bmul|bsub|bdiv)_", "candle's sums")]

path, last = sys.argv[1:]
with open(path) as file:
    rows = list(csv.DictReader(line for line in file if line.startswith('"')))
launches = [
    (row["Kernel Name"].split("(")[0], float(row["Metric Value"].replace(",", "")) * UNITS[row["Metric Unit"]])
    for row in rows
]
ends = [index for index, (name, _) in enumerate(launches) if name == last]
if len(ends) < 2:
    sys.exit(f"{path} has {len(launches)} launches and {len(ends)} of {last}: no whole step")
step = launches[ends[0] + 1 : ends[1] + 1]
times, counts = collections.Counter(), collections.Counter()
for name, milliseconds in step:
    family = next((family for pattern, family in FAMILIES if re.search(pattern, name)), name)
    times[family] += milliseconds
    counts[family] += 1
total = sum(times.values())
print(f"a step: {len(step)} launches, {total:.1f} ms on the device; the largest:")
for family, milliseconds in times.most_common(10):
    print(f"  {milliseconds:8.2f} ms {100 * milliseconds / total:5.1f} % {counts[family]:5d} {family}")
