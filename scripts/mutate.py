#!/usr/bin/env python3
"""Breaks one formula of cpr-core at a time and asks the laws to notice.

Usage: scripts/mutate.py [NAME…]. Exit status 0 when every mutation was caught. Works in a copy under target/mutate:
the checked-out sources are never touched.
With --check it builds nothing and only says whether each mutation still finds its text in the sources.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "mutate"
CORE = "cpr-core/src/"

# name: (file, text, its replacement); the text must stand there exactly once.
MUTATIONS = {
    "sign of λ's update": (
        "multiplier.rs", "self.0 + rate * violation", "self.0 - rate * violation"),
    "n in the rate": (
        "constraint.rs", "config.mu / count_as_f64(self.count)",
        "config.mu / count_as_f64(self.count + 1)"),
    "order": (
        "constraint.rs", "Order::BeforeBase => Correction::Identity,",
        "Order::BeforeBase => self.ascend(&observed.statistic, lr),"),
    "bias correction of a moment": (
        "base/adam.rs", "Float::sqrt(self.second.at(t))", "Float::sqrt(self.first.at(t))"),
    "inflection comparison": (
        "bound/inflection.rs", "increase < before)", "increase > before)"),
    "warm start's step": ("bound/mod.rs", "if t >= at =>", "if t > at =>"),
    "release of the adaptive bound": (
        "constraint.rs", "Adaptive::OnRelease if before.get() > 0.0 && lambda == 0.0",
        "Adaptive::OnRelease if before.get() == 0.0 && lambda == 0.0"),
    "power in the p-norm step": (
        "shrink/pnorm.rs", "Form::Ratio(Power::new(2.0 - p))",
        "Form::Ratio(Power::new(1.0 - p / 2.0))"),
    "Chan's cross term": (
        "statistic.rs", "delta * delta * (count_as_f64(na) * share)", "delta * delta * share"),
    "guard": (
        "regularizer/mod.rs", "violation.guard && x > 1.0", "violation.guard && x > 2.0"),
    "guard of elements": (
        "shrink.rs", "(if crosses { T::ZERO } else { moved }, crosses)", "(moved, crosses)"),
}


def misplaced() -> list[str]:
    """The mutations whose text does not stand exactly once in its file."""
    found = []
    for name, (file, text, _) in MUTATIONS.items():
        path = ROOT / CORE / file
        if not path.is_file():
            found.append(f"{name}: there is no {CORE}{file}")
        elif (count := path.read_text().count(text)) != 1:
            found.append(f"{name}: `{text}` stands {count} times in {CORE}{file}, not once")
    return found


def copy_sources() -> None:
    for folder in ("cpr-core", "tests", "fuzz/seeds", "fuzz/regressions"):
        source, target = ROOT / folder, COPY / folder
        shutil.rmtree(target, ignore_errors=True)
        if source.exists():
            # New times of change, or cargo would keep what a stopped run had built.
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("target"),
                            copy_function=shutil.copyfile)
    manifest = (ROOT / "Cargo.toml").read_text()
    members = 'members = ["cpr-core", "tests"]\n'
    manifest = re.sub(r"^members = .*\n", members, manifest, count=1, flags=re.M)
    manifest = re.sub(r"^default-members = .*\n", "", manifest, count=1, flags=re.M)
    manifest = re.sub(r"^cpr-(host|gpu) = .*\n", "", manifest, flags=re.M)
    (COPY / "Cargo.toml").write_text(manifest)
    tests = COPY / "tests" / "Cargo.toml"
    text = re.sub(r"^cpr-(host|gpu) = .*\n", "", tests.read_text(), flags=re.M)
    text = re.sub(r'^default = \["host"\]\n', "", text, flags=re.M)
    text = re.sub(r'^host = .*\n', "", text, flags=re.M)
    tests.write_text(text)
    for other in (COPY / "tests" / "tests").iterdir():
        if other.name != "laws":
            shutil.rmtree(other) if other.is_dir() else other.unlink()


def run_laws() -> tuple[bool, list[str]]:
    env = dict(os.environ, CARGO_PROFILE_DEV_OPT_LEVEL="0", CARGO_PROFILE_DEV_DEBUG="false",
               CARGO_TARGET_DIR=str(COPY / "target"), RUST_BACKTRACE="0", PROPTEST_CASES="16")
    # The pinned bits notice everything: what is asked for here is a law that does. Equality of paths and long sums
    # are slow without optimisation, and no formula's business.
    command = ["cargo", "test", "-q", "-p", "cpr-tests", "--test", "laws", "--",
               "--skip", "pinned", "--skip", "long_", "--skip", "every_path", "--skip", "constant_matrix"]
    done = subprocess.run(command, cwd=COPY, env=env, capture_output=True, text=True)
    failed = re.findall(r"^    ([a-z_:0-9]+)$", done.stdout, flags=re.M)
    if done.returncode != 0 and not failed:
        sys.exit(f"the laws did not run:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.returncode == 0, sorted(set(failed))


def main() -> None:
    names = sys.argv[1:]
    # Before any build: a text that the sources no longer hold would be missed an hour later.
    if bad := misplaced():
        sys.exit("\n".join(["mutations that no longer fit the sources:", *bad]))
    if names == ["--check"]:
        print(f"all {len(MUTATIONS)} mutations fit the sources")
        return
    if unknown := [name for name in names if name not in MUTATIONS]:
        sys.exit(f"no such mutation: {unknown}; there are {list(MUTATIONS)}")
    COPY.mkdir(parents=True, exist_ok=True)
    copy_sources()
    passed, failed = run_laws()
    if not passed:
        sys.exit(f"the laws fail without a mutation: {failed}")
    missed = []
    for name in names or MUTATIONS:
        file, text, replacement = MUTATIONS[name]
        path = COPY / CORE / file
        original = path.read_text()
        path.write_text(original.replace(text, replacement))
        passed, failed = run_laws()
        path.write_text(original)
        print(f"{name}: {'MISSED' if passed else 'caught by ' + ', '.join(failed)}", flush=True)
        if passed:
            missed.append(name)
    sys.exit(f"missed: {missed}" if missed else 0)


if __name__ == "__main__":
    main()
