"""Records sensor.csv: windows of a simulated accelerometer, as features of 8 bits. Deterministic; run in this folder.

A window is 64 samples at 50 Hz on three axes of a sensor worn at the hip: at rest, walking, running, climbing stairs.
Each has its own pace, strength, orientation and noise. Per axis: mean, deviation, mean change, and zero crossings of
the detrended signal; in units in which they fit 8 bits.
"""
import csv, math, random

PACES = [(0.0, 0.0), (1.9, 0.25), (2.8, 0.7), (1.3, 0.4)]  # steps a second, g


def window(label, rng):
    pace, strength = PACES[label]
    pace *= rng.gauss(1, 0.05)
    strength *= rng.gauss(1, 0.15)
    tilt, turn, phase = rng.gauss(0.25, 0.2), rng.uniform(0, 2 * math.pi), rng.uniform(0, 2 * math.pi)
    sway = 0.35 if label == 3 else 0.15
    axes = [[], [], []]
    for i in range(64):
        a = 2 * math.pi * pace * i / 50 + phase
        up = 1 + strength * (math.sin(a) + 0.4 * math.sin(2 * a + 0.5))
        ahead = (0.15 if label == 3 else 0) + 0.6 * strength * math.sin(a + 1.2)
        side = sway * strength * math.sin(a / 2)
        x = ahead * math.cos(turn) - side * math.sin(turn)
        y = ahead * math.sin(turn) + side * math.cos(turn)
        for axis, value in zip(axes, (x + tilt * up, y, up * math.cos(tilt))):
            axis.append(value + rng.gauss(0, 0.06))
    features = []
    for axis in axes:
        mean = sum(axis) / 64
        deviation = math.sqrt(sum((v - mean) ** 2 for v in axis) / 64)
        change = sum(abs(b - a) for a, b in zip(axis, axis[1:])) / 63
        crossings = sum((a - mean) * (b - mean) < 0 for a, b in zip(axis, axis[1:]))
        features += [mean * 48, deviation * 120, change * 240, crossings * 2 - 40]
    return [max(-128, min(127, round(f))) for f in features]


rng = random.Random(7)
with open("sensor.csv", "w", newline="") as out:
    table = csv.writer(out, lineterminator="\n")
    for i in range(128):
        table.writerow([i % 4] + window(i % 4, rng))
