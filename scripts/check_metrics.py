#!/usr/bin/env python3
"""Read a run's metrics with pandas and with TensorBoard's own reader, and check that both hold the same numbers.

Needs: pip install pandas tensorboard
Usage: scripts/check_metrics.py RUN...
"""

import json
import math
import pathlib
import struct
import sys

import pandas
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def check(run):
    table = pandas.read_csv(run / "metrics.csv")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert list(table["step"]) == [row["step"] for row in rows], "metrics.csv has other steps than metrics.jsonl"
    # The size guidance of 0 keeps every event.
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    tags = set(events.Tags()["scalars"])
    compared = 0
    for name in table.columns.drop("step"):
        assert table[name].dtype.kind in "fi", f"{name}: pandas reads {table[name].dtype}"
        values = {int(step): value for step, value in zip(table["step"], table[name]) if not math.isnan(value)}
        for row in rows:
            if isinstance(row[name], (int, float)):
                assert values[row["step"]] == row[name], f"{name} at step {row['step']}: {values[row['step']]} in the csv, {row[name]} in the jsonl"
        if not values:
            continue
        assert name in tags, f"{name} is not in the events"
        found = {event.step: event.value for event in events.Scalars(name)}
        assert found.keys() == values.keys(), f"{name}: the events have other steps"
        for step, value in values.items():
            # Events are single precision.
            single = single_precision(value)
            assert found[step] == single, f"{name} at step {step}: {found[step]} in the events, {single} in the csv"
            compared += 1
    print(f"{run}: {len(table)} rows, {len(table.columns) - 1} columns; {compared} values agree in csv, jsonl and tfevents")


def single_precision(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


if len(sys.argv) < 2:
    sys.exit(__doc__)
for argument in sys.argv[1:]:
    check(pathlib.Path(argument))
