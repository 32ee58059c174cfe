"""Sparsity against validation loss of the runs of configs/sparsity-study.toml, as an SVG.

    python3 scripts/sparsity_plot.py runs/sparsity-study docs/studies/sparsity.svg
"""

import collections
import json
import pathlib
import sys

folder, target = map(pathlib.Path, sys.argv[1:])
points = collections.defaultdict(list)
for path in sorted(folder.glob("lm/*/summary.json")):
    summary = json.loads(path.read_text())
    setting = path.parent.name.rsplit("-seed", 1)[0]
    points[setting].append((100 * summary["zeros"], summary["validation_last"]))
if not points:
    sys.exit(f"{folder} has no runs of lm: train them with `cpr sweep configs/sparsity-study.toml`")

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 400, 60, 50, 20, 20
losses = [loss for runs in points.values() for _, loss in runs]
low, high = min(losses) - 0.03, max(losses) + 0.03
x = lambda zeros: LEFT + (WIDTH - LEFT - RIGHT) * zeros / 100
y = lambda loss: TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / (high - low)
out = [
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
    f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
]
for share in range(0, 101, 20):
    out.append(f'<path d="M{x(share):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e2e2e2"/>')
    out.append(f'<text x="{x(share):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#444">{share}</text>')
step = 0.05
tick = (int(low / step) + 1) * step
while tick < high:
    out.append(f'<path d="M{LEFT} {y(tick):.1f}H{WIDTH - RIGHT}" stroke="#e2e2e2"/>')
    out.append(f'<text x="{LEFT - 8}" y="{y(tick) + 4:.1f}" text-anchor="end" fill="#444">{tick:.2f}</text>')
    tick += step
mean = lambda values: sum(values) / len(values)
families = [("padam", "#0072b2", "PAdam, p = 0.8: four strengths"), ("lp-bound", "#d55e00", "bound on Σ|θ|^0.8: four κ")]
for row, (family, color, label) in enumerate(families):
    settings = {name: runs for name, runs in points.items() if name.startswith(family)}
    means = sorted((mean([z for z, _ in runs]), mean([loss for _, loss in runs])) for runs in settings.values())
    path = " ".join(f"{x(zeros):.1f},{y(loss):.1f}" for zeros, loss in means)
    out.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
    for runs in settings.values():
        for zeros, loss in runs:
            out.append(f'<circle cx="{x(zeros):.1f}" cy="{y(loss):.1f}" r="4" fill="{color}" fill-opacity="0.75"/>')
    height = TOP + 20 + 20 * row
    out.append(f'<circle cx="{LEFT + 18}" cy="{height - 4}" r="4" fill="{color}"/>')
    out.append(f'<text x="{LEFT + 28}" y="{height}" fill="#222">{label}</text>')
middle = (TOP + HEIGHT - BOTTOM) / 2
out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle" fill="#222">weights at exactly 0 (%)</text>')
out.append(
    f'<text x="16" y="{middle}" text-anchor="middle" fill="#222" transform="rotate(-90 16 {middle})">'
    "validation loss (nats a character)</text>"
)
out.append("</svg>")
target.parent.mkdir(parents=True, exist_ok=True)
target.write_text("\n".join(out) + "\n")
