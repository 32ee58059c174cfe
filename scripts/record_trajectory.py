#!/usr/bin/env python3
"""Record a trajectory of a PyTorch optimizer for `cpr conformance` (docs/CONFORMANCE.md).

    python3 record_trajectory.py torch   '{"cls": "AdamW", "lr": 0.01, "weight_decay": 0.1}' adamw
    python3 record_trajectory.py adamcpr '{"lr": 0.01, "reg_function": "std",
        "kappa_init_method": "warm_start", "kappa_init_param": 20}' std_warm_start

writes adamw.f32.json and adamw.f64.json, and so on. Needs torch; `adamcpr` needs pytorch-cpr too. No model and no
autograd: the gradients are a fixed sequence of decimals, so that nothing but the optimizer is compared.
"""

import argparse
import json
import math
import os
import random
import struct

# With torch's JIT on, pytorch-cpr 0.3.0 raises at the first step on a CPU.
os.environ.setdefault("PYTORCH_JIT", "0")

import torch  # noqa: E402

DTYPES = {"f32": torch.float32, "f64": torch.float64}
MOMENTS = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer")
REGULARIZERS = {
    "l2": lambda x: x.square().sum(),
    "l1": lambda x: x.abs().sum(),
    "std": lambda x: x.std(),
    "huber": lambda x: torch.where(x.abs() < 1, 0.5 * x.square(), x.abs() - 0.5).sum(),
}


def decimal(x, dtype):
    """The shortest decimal that gives x back in its precision."""
    if dtype == "f64":
        return x
    for digits in range(1, 10):
        short = float(f"{x:.{digits}g}")
        if struct.unpack("f", struct.pack("f", short))[0] == x:
            return short
    return x


def numbers(tensor, dtype):
    values = [decimal(x, dtype) for x in tensor.detach().flatten().tolist()]
    if not all(map(math.isfinite, values)):
        raise SystemExit("the recording holds NaN or infinity: choose a milder setting")
    return values


def inputs(shapes, steps, seed, scale):
    """Initial parameters and gradients, decimals of four digits: a drift for each element, and noise."""
    draw = random.Random(seed)
    sizes = [math.prod(shape) for shape in shapes]
    init = [[round(draw.gauss(0, scale), 4) for _ in range(n)] for n in sizes]
    drift = [[draw.gauss(0, 1) for _ in range(n)] for n in sizes]
    grads = [
        [[round(0.7 * d + 0.5 * draw.gauss(0, 1), 4) for d in each] for each in drift]
        for _ in range(steps)
    ]
    return init, grads


def optimizer(kind, hp, tensors, constrained):
    """The optimizer, and a plain Adam that tells the parameters after the base step."""
    hp = dict(hp)
    if kind == "torch":
        return getattr(torch.optim, hp.pop("cls"))(tensors, foreach=False, **hp), None
    from pytorch_cpr import AdamCPR

    # A group for each parameter, in order: whether it is constrained is a property of the group.
    groups = [{"params": [x], "regularize": i in constrained} for i, x in enumerate(tensors)]
    twin = [x.detach().clone().requires_grad_() for x in tensors]
    base = {key: hp[key] for key in ("betas", "eps", "amsgrad", "maximize") if key in hp}
    adam = torch.optim.Adam(twin, lr=hp.get("lr", 1e-4), foreach=False, **base)
    return AdamCPR(groups, foreach=False, **hp), (adam, twin)


def record(kind, hp, names, shapes, constrained, init, grads, rates, dtype):
    tensors = [
        torch.tensor(x, dtype=DTYPES[dtype]).reshape(shape).requires_grad_()
        for x, shape in zip(init, shapes)
    ]
    # pytorch-cpr keeps lambda and kappa in torch.float whatever the parameters are.
    single, torch.float = torch.float, DTYPES[dtype]
    try:
        opt, twin = optimizer(kind, hp, tensors, constrained)
        measure = REGULARIZERS[hp.get("reg_function", "l2")]
        trajectory = []
        for t, step in enumerate(grads):
            for x, grad in zip(tensors, step):
                x.grad = torch.tensor(grad, dtype=DTYPES[dtype]).reshape(x.shape)
            for each in [opt] + ([twin[0]] if twin else []):
                for group in each.param_groups:
                    group["lr"] = rates[t] if rates else group["lr"]
            if twin:
                for x, y in zip(tensors, twin[1]):
                    y.data.copy_(x.data)
                    y.grad = x.grad.clone()
                twin[0].step()
            opt.step()

            def column(of):
                return [of(i) if i in constrained else None for i in range(len(tensors))]

            trajectory.append({
                "params": [numbers(x, dtype) for x in tensors],
                "lagmul": column(lambda i: numbers(opt.state[tensors[i]]["lagmul"], dtype)[0]),
                "kappa": column(lambda i: numbers(opt.state[tensors[i]]["kappa"], dtype)[0]),
                "reg": column(lambda i: numbers(measure(twin[1][i]), dtype)[0]),
            })
    finally:
        torch.float = single
    final_state = [
        {key: numbers(opt.state[x][key], dtype) for key in MOMENTS
         if opt.state[x].get(key) is not None}
        for x in tensors
    ]
    return {
        "meta": {
            "kind": kind,
            "dtype": dtype,
            "steps": len(grads),
            "hp": hp,
            "versions": {"torch": torch.__version__},
            "regularized_params": [names[i] for i in sorted(constrained)],
            "lr_per_step": rates,
        },
        "params": [
            {"name": n, "shape": s, "init": x} for n, s, x in zip(names, shapes, init)
        ],
        "grads": grads,
        "trajectory": trajectory,
        "final_state": final_state,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kind", choices=["torch", "adamcpr"])
    parser.add_argument("hp", type=json.loads, help="the optimizer's arguments, as JSON")
    parser.add_argument("out", help="start of the two file names")
    parser.add_argument("--shapes", default="4x3,5,2x3x2,3", help="of the parameters (4x3,5,2x3x2,3)")
    parser.add_argument("--free", type=int, default=1, help="how many of the last are not constrained")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=float, default=0.25, help="of the initial parameters")
    parser.add_argument("--cosine", action="store_true", help="lr falls on a cosine to a tenth")
    args = parser.parse_args()

    shapes = [[int(side) for side in shape.split("x")] for shape in args.shapes.split(",")]
    names = [f"p{i}" for i in range(len(shapes))]
    count = len(shapes) - args.free if args.kind == "adamcpr" else 0
    rates = None
    if args.cosine:
        turn = [math.cos(math.pi * t / args.steps) for t in range(args.steps)]
        rates = [args.hp["lr"] * (0.55 + 0.45 * x) for x in turn]
    init, grads = inputs(shapes, args.steps, args.seed, args.scale)
    both = {
        dtype: record(args.kind, args.hp, names, shapes, set(range(count)), init, grads, rates, dtype)
        for dtype in DTYPES
    }

    # How well the problem is conditioned: the reference against itself.
    apart = max(
        abs(a - b) / max(1.0, abs(b))
        for single, double in zip(both["f32"]["trajectory"], both["f64"]["trajectory"])
        for xs, ys in zip(single["params"], double["params"])
        for a, b in zip(xs, ys)
    )
    for dtype, recorded in both.items():
        recorded["meta"]["f32_vs_f64_max_rel_diff"] = apart
        with open(f"{args.out}.{dtype}.json", "w") as file:
            json.dump(recorded, file, separators=(",", ":"))


if __name__ == "__main__":
    main()
