"""Milliseconds of one step of torch.optim.AdamW(fused=True), alone or in turns with `cpr bench step`.

    python3 scripts/torch_adamw.py                                       # GPT-2's shapes on CUDA: one number
    python3 scripts/torch_adamw.py --device cpu --shapes modular         # on two threads
    cargo build --release
    python3 scripts/torch_adamw.py --device cpu --beside target/release/cpr --pairs 9

With --beside each program is alone in its process, A B A B. --variant is what `cpr bench step --only` calls it: as it stands AdamCPR
with every λ above 0, measured after the base step. Prints both medians in milliseconds, the ratio of the medians and the median of
the pairs' ratios.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time


def shapes_of(model):
    if model == "modular":
        return [(114, 128), (3, 128), (384, 128), (128, 128), (512, 128), (512,), (128, 512), (128,), (114, 128)]
    dim, blocks = 768, 12
    block = [(dim,), (dim,), (3 * dim, dim), (3 * dim,), (dim, dim), (dim,)]
    block += [(dim,), (dim,), (4 * dim, dim), (4 * dim,), (dim, 4 * dim), (dim,)]
    return [(50257, dim), (1024, dim)] + block * blocks + [(dim,), (dim,)]


def time_steps(arguments):
    import torch

    device = arguments.device
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    torch.set_num_threads(arguments.threads)
    parameters = []
    for shape in shapes_of(arguments.shapes):
        parameter = torch.nn.Parameter(torch.randn(shape, device=device) * 0.02)
        parameter.grad = torch.randn(shape, device=device) * 1e-3
        parameters.append(parameter)
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    # Some tenths of a second a round on either device.
    steps = 20 if device == "cuda" else 1000 if arguments.shapes == "modular" else 3
    times = []
    for _ in range(8):
        optimizer.step()
        wait()
        start = time.perf_counter()
        for _ in range(steps):
            optimizer.step()
        wait()
        times.append((time.perf_counter() - start) * 1e3 / steps)
    return sorted(times[1:])[3]


def said(command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]


def in_turns(arguments):
    common = ["--shapes", arguments.shapes, "--threads", str(arguments.threads)]
    peer = [sys.executable, __file__, "--device", arguments.device, *common]
    own = [arguments.beside, "bench", "step", *common, "--only", arguments.variant, "--pairs", "5", "--json"]
    theirs, ours = [], []
    for _ in range(arguments.pairs):
        theirs.append(float(said(peer)))
        ours.append(json.loads(said(own))["rows"][0]["milliseconds"])
    ratio = statistics.median(b / a for a, b in zip(theirs, ours))
    a, b = statistics.median(theirs), statistics.median(ours)
    print(f"torch {a:.3f} ms, cpr {arguments.variant} {b:.3f} ms, ratio {b / a:.3f}, median of {len(ours)} pairs {ratio:.3f}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
parser.add_argument("--shapes", choices=["gpt2", "modular"], default="gpt2")
parser.add_argument("--threads", type=int, default=2, help="of the CPU")
parser.add_argument("--beside", metavar="PROGRAM", help="the program cpr")
parser.add_argument("--variant", default="adamcpr-active", help="of cpr bench step --only")
parser.add_argument("--pairs", type=int, default=9)
chosen = parser.parse_args()
if chosen.beside:
    in_turns(chosen)
else:
    print(time_steps(chosen))
