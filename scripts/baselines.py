#!/usr/bin/env python3
"""Records what the baselines of the papers do, from their formulas in plain Python: tests/data/baselines.json.

Usage: scripts/baselines.py [--published AMOS_PY] > tests/data/baselines.json

Shares no code with the crates. Each function names the paper and the equation it is written from. With --published the
values of Amos come from the authors' own file (google-research/jestimator, jestimator/amos.py, at commit
78e96ee989a76637ce898172e95adf7491a424e9), run in double precision on numpy in place of jax, and must agree with the
formula to 1e-14; the file that is written is the same.
"""

import json
import math
import sys


def noise(seed, n):
    """n numbers in [-1, 1), the same everywhere: a linear congruential generator (Knuth's MMIX)."""
    values, state = [], seed * 2654435761 + 12345
    for _ in range(n):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        values.append((state >> 11) / 2**52 - 1)
    return values


class Sgd:
    """w - lr·g."""

    name = "sgd"

    def step(self, w, g, t, lr):
        return [x - lr * d for x, d in zip(w, g)]


class Adam:
    """Kingma, Ba, arXiv 1412.6980, algorithm 1."""

    name = "adam"

    def __init__(self):
        self.m = self.v = None

    def step(self, w, g, t, lr, beta1=0.9, beta2=0.98, eps=1e-8):
        self.m = self.m or [0.0] * len(w)
        self.v = self.v or [0.0] * len(w)
        self.m = [beta1 * m + (1 - beta1) * d for m, d in zip(self.m, g)]
        self.v = [beta2 * v + (1 - beta2) * d * d for v, d in zip(self.v, g)]
        hats = [(m / (1 - beta1**t), v / (1 - beta2**t)) for m, v in zip(self.m, self.v)]
        return [x - lr * m / (math.sqrt(v) + eps) for x, (m, v) in zip(w, hats)]


def norm(w):
    return math.sqrt(math.fsum(x * x for x in w))


def cosine(end, total, t):
    """DINO (arXiv 2104.14294), utils.cosine_scheduler(1, end, …)[t - 1], and its end after it."""
    i = min(t - 1, total)
    return end + 0.5 * (1 - end) * (1 + math.cos(math.pi * i / total))


def adadecay(w, g, lr, decay, alpha):
    """Nakamura, Hong, arXiv 1907.08931: w·(1 - lr·decay·theta), theta a sigmoid of the normalised |g|."""
    size = [abs(d) for d in g]
    mean = math.fsum(size) / len(size)
    std = math.sqrt(math.fsum((s - mean) ** 2 for s in size) / len(size))
    theta = [2 / (1 + math.exp(-alpha * (s - mean) / std)) if std else 1.0 for s in size]
    return [x * (1 - lr * decay * a) for x, a in zip(w, theta)]


def awd(average, w, g, dog):
    """Ghiasi, Shafahi, Ardekani, arXiv 2210.00094, algorithm 1, lines 7 and 8."""
    return 0.1 * average + 0.9 * dog * norm(g) / norm(w)


class Amos:
    """Tian, Parikh, arXiv 2210.11693, algorithm 1; constants of the published code, v and b one number each."""

    def __init__(self, eta, beta=0.999, momentum=0.0, extra_l2=0.0):
        self.eta, self.beta, self.momentum, self.extra_l2 = eta, beta, momentum, extra_l2
        self.v = self.b = 0.0
        self.average = None

    def step(self, w, g, t, lr):
        mean = math.fsum(d * d for d in g) / len(g)
        self.v = self.beta * self.v + (1 - self.beta) * mean
        hat = max(self.v, 2.0**-125) / (1 - self.beta**t)
        gamma = lr**2 * mean / hat / math.sqrt(1 + 0.25 * math.sqrt(lr) * self.b)
        d = 1 / (1 + 0.25 * math.sqrt(lr * self.eta) * self.b)
        scale, pull = lr * self.eta / math.sqrt(hat), gamma / 2 + self.extra_l2
        update = [d * (scale * x + pull * y) for x, y in zip(g, w)]
        self.b += gamma * (1 + self.b)
        self.average = self.average or [0.0] * len(w)
        if self.momentum:
            keep = self.momentum
            self.average = [keep * a + (1 - keep) * u for a, u in zip(self.average, update)]
            update = self.average
        return [x - u for x, u in zip(w, update)]


def published_amos(path, config, start, grads, rates):
    """The same by the authors' file: θ after each step."""
    import types

    import numpy

    class Plain(numpy.ndarray):
        """An array that, like jax's, is never equal to something that is none."""

        def __eq__(self, other):
            return False if type(other) is object else numpy.ndarray.__eq__(self, other)

    empty = object()
    numbers = types.ModuleType("jax.numpy")
    numbers.__dict__.update({name: getattr(numpy, name) for name in dir(numpy) if not name.startswith("_")})
    lax = types.SimpleNamespace(rsqrt=lambda x: 1 / numpy.sqrt(x))
    stand_ins = {
        "chex": dict(Array=object),
        "flax": {},
        "flax.serialization": dict(from_state_dict=lambda _, d: d, to_state_dict=lambda x: x),
        "flax.traverse_util": dict(empty_node=empty, flatten_dict=None, unflatten_dict=None),
        "jax": dict(numpy=numbers, lax=lax),
        "optax": dict(
            Schedule=object, Updates=object, safe_int32_increment=lambda n: n + 1,
            GradientTransformation=lambda init, update: types.SimpleNamespace(init=init, update=update)),
    }
    sys.modules["jax.numpy"] = numbers
    for name, content in stand_ins.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        sys.modules[name] = module
    scope = {"__name__": "amos"}
    sys.modules["amos"] = types.ModuleType("amos")
    # The result type that a stand-in cannot name.
    text = open(path).read().replace(" -> optax.GradientTransformation", "")
    exec(compile(text, path, "exec"), scope)

    w = numpy.array(start).view(Plain)
    state, average, trace = None, 0.0, []
    for grad, lr in zip(grads, rates):
        rule = scope["scale_by_amos"](
            lr, lambda *_: config["eta"], shape_fn=lambda *_: (), beta=config["beta"], extra_l2=config["extra_l2"])
        state = state or rule.init(w)
        update, state = rule.update(numpy.array(grad), state, w)
        # optax.ema(momentum, debias=False)
        average = config["momentum"] * average + (1 - config["momentum"]) * update
        w = w + (average if config["momentum"] else update)
        trace.append([float(x) for x in w])
    return trace


STEPS = 9
RATES = [0.1 * (1 - t % 4 / 8) for t in range(STEPS)]


def gradients(n, seed):
    return [noise(seed + t, n) for t in range(STEPS)]


def schedules():
    for end in (0.1, 0.01, 10.0, 100.0, 0.0, 1.0):
        yield dict(end=end, steps=7, factors=[cosine(end, 7, t) for t in range(1, 11)])


def adadecays():
    for seed, (base, alpha) in enumerate([(b, a) for b in (Sgd, Adam) for a in (1.0, 2.0, 4.0, 8.0)]):
        rule, w, grads, trace = base(), noise(seed, 7), gradients(7, 100 * seed), []
        start, decay = w, 0.3
        for t, (g, lr) in enumerate(zip(grads, RATES), 1):
            w = rule.step(adadecay(w, g, lr, decay, alpha), g, t, lr)
            trace.append(w)
        yield dict(base=base.name, alpha=alpha, decay=decay, start=start, grads=grads, theta=trace)


def awds():
    for seed, base in enumerate((Sgd, Adam), 50):
        # Two matrices, of four and three elements; the norms are over both.
        rule, w, grads, dog, average, trace, averages = base(), noise(seed, 7), gradients(7, 100 * seed), 0.2, 0.0, [], []
        start = w
        for t, (g, lr) in enumerate(zip(grads, RATES), 1):
            average = awd(average, w, g, dog)
            w = rule.step([x - lr * average * x for x in w], g, t, lr)
            trace.append(w)
            averages.append(average)
        yield dict(base=base.name, dog=dog, start=start, grads=grads, average=averages, theta=trace)


def amoses(published):
    for seed, (eta, beta, momentum, extra_l2) in enumerate(
            [(1.0, 0.999, 0.0, 0.0), (0.25, 0.9, 0.0, 0.01), (0.5, 0.99, 0.9, 0.0), (0.05, 0.5, 0.5, 0.1)], 70):
        config = dict(eta=eta, beta=beta, momentum=momentum, extra_l2=extra_l2)
        rule, w, grads, trace, slots = Amos(**config), noise(seed, 7), gradients(7, 100 * seed), [], []
        start = w
        for t, (g, lr) in enumerate(zip(grads, RATES), 1):
            w = rule.step(w, g, t, lr)
            trace.append(w)
            slots.append([rule.v, rule.b])
        if published:
            for own, theirs in zip(trace, published_amos(published, config, start, grads, RATES)):
                for a, b in zip(own, theirs):
                    assert abs(a - b) <= 1e-14, (config, a, b)
        yield dict(config, start=start, grads=grads, slots=slots, theta=trace)


def proxes():
    """Outmezguine, Levi, arXiv 2404.10824: the closed forms of AdamL1 and AdamL3/2, for a step of length lr = 0.5."""
    lr, w = 0.5, [0.0, 1e-4, -0.05, 0.2, -1.0, 30.0]
    sign = lambda x: math.copysign(1, x) if x else 0.0
    for strength, decay in ((0.1, 0.0), (0.1, 0.4), (3.0, 0.2)):
        out = [sign(x) * max(abs(x) - lr * strength, 0) / (1 + lr * decay) for x in w]
        yield dict(kind="l1", strength=strength, decay=decay, lr=lr, start=w, theta=out)
    for strength in (0.1, 3.0):
        c = lr * strength
        out = [x + sign(x) * (1 - math.sqrt(1 + 4 * abs(x) / c**2)) * c**2 / 2 for x in w]
        yield dict(kind="l3/2", strength=strength, decay=0.0, lr=lr, start=w, theta=out)


def rescaling():
    """Liu, Michaud, Tegmark, "Omnigrok" (arXiv 2210.01117), addition-landscape.ipynb: w·√(scale/Σw²) after each step."""
    factor, w, grads, trace = 0.8, noise(90, 7), gradients(7, 9000), []
    start, w = w, [factor * x for x in w]
    held = norm(w)
    for t, (g, lr) in enumerate(zip(grads, RATES), 1):
        w = Sgd().step(w, g, t, lr)
        w = [x * held / norm(w) for x in w]
        trace.append(w)
    return dict(factor=factor, start=start, grads=grads, theta=trace)


def main():
    published = sys.argv[2] if sys.argv[1:2] == ["--published"] else None
    recorded = dict(
        rates=RATES, schedules=list(schedules()), adadecay=list(adadecays()), awd=list(awds()),
        amos=list(amoses(published)), prox=list(proxes()), rescaling=rescaling())
    json.dump(recorded, sys.stdout, separators=(",", ":"))
    print()


main()
