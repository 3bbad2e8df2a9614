"""Many kills: `python -m tests.kills.campaign --kills 200 --seed 1 --out counts.json`.

In rounds: in an empty store every stage is killed several times (at any time, at chosen moments, before any change
of a file), then one undisturbed run must come to the reference's outcome. Ends with a table of kills by stage,
kind and signal; exit code 1 if anything went wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from signal import SIGKILL, SIGTERM

import flows  # noqa: F401  # before anything imports Prefect
from pipeline.contract.stage_names import StageName
from tests.checkout import ROOT
from tests.kills.harness import (
    ALL,
    Harness,
    assert_same_outcome,
    forkserver,
    leftovers,
    other_store,
    small_config,
    stage_seconds,
)
from tests.kills.moments import MOMENTS

LONGEST = 3.0  # seconds after a stage's beginning; most of export is the wait for its clean process


def main() -> int:
    """Kill, heal and compare until there were enough kills."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    from prefect.settings import PREFECT_API_URL
    from prefect.testing.utilities import prefect_test_harness

    counts: Counter[tuple[str, str, str]] = Counter()
    wrong: list[str] = []
    draw, rounds = random.Random(options.seed), 0
    with (
        tempfile.TemporaryDirectory(prefix="flipkd-kills-") as place,
        prefect_test_harness(server_startup_timeout=120),
        forkserver(ROOT),
    ):
        folder, url = Path(place), str(PREFECT_API_URL.value())
        reference = small_config(folder / "models")
        with Harness(url, folder / "reference", reference) as harness:
            changes = json.loads((harness.finish().marks / "changes.json").read_bytes())
        while sum(counts.values()) < options.kills:
            rounds += 1
            config = other_store(reference, folder / f"store-{rounds}")
            began = time.monotonic()
            try:
                with Harness(url, folder / f"round-{rounds}", config) as harness:
                    for stage in ALL:
                        kill_stage(harness, stage, draw, stage_seconds(reference)[stage], changes[stage], counts)
                    harness.finish()
                    wrong += harness.torn + leftovers(config)
                    wrong += map(str, harness.temporary.iterdir())
                assert_same_outcome(config, reference)
            except (AssertionError, TimeoutError):
                wrong.append(traceback.format_exc())
                sys.stdout.write(wrong[-1])
            seconds = time.monotonic() - began
            told = f"round {rounds}: {sum(counts.values())} kills, {seconds:.0f} s, {len(wrong)} problems\n"
            sys.stdout.write(told)
            sys.stdout.flush()
    if options.out:
        rows = [{"stage": s, "kind": k, "signal": g, "kills": n} for (s, k, g), n in sorted(counts.items())]
        told = {"seed": options.seed, "rounds": rounds, "kills": rows, "problems": wrong}
        options.out.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
    sys.stdout.write(table(counts) + "".join(f"\nPROBLEM: {line}" for line in wrong) + "\n")
    return int(bool(wrong))


def kill_stage(
    harness: Harness,
    stage: StageName,
    draw: random.Random,
    seconds: float,
    changes: int,
    counts: Counter[tuple[str, str, str]],
) -> None:
    """Kill one stage at a random time, before a random change of files, and at two or three chosen moments."""
    early = [moment for moment in MOMENTS[stage] if not moment.published]
    late = [moment for moment in MOMENTS[stage] if moment.published]
    signals = [draw.choice((SIGKILL, SIGTERM)) for _ in range(5)]
    if harness.kill_after(stage, draw.uniform(0, min(seconds, LONGEST)), signals[0]):
        counts[stage, "any time", signals[0].name] += 1
    if harness.kill_at_change(stage, draw.randint(1, changes), signals[1]):
        counts[stage, "before a change of files", signals[1].name] += 1
    for moment, signal in zip([*draw.sample(early, 2), draw.choice(late)], signals[2:], strict=True):
        if harness.kill_at(moment, signal):
            counts[stage, moment.name, signal.name] += 1


def table(counts: Counter[tuple[str, str, str]]) -> str:
    """Kills by stage, kind and signal, and their sums."""
    lines = [f"{'stage':8} {'moment':38} {'SIGKILL':>8} {'SIGTERM':>8}"]
    for stage, kind in sorted(
        {(stage, kind) for stage, kind, _ in counts}, key=lambda pair: (list(map(str, ALL)).index(pair[0]), pair)
    ):
        lines.append(f"{stage:8} {kind:38} {counts[stage, kind, 'SIGKILL']:8} {counts[stage, kind, 'SIGTERM']:8}")
    sums = {
        name: sum(n for (_, _, signal), n in counts.items() if signal == name) for name in ("SIGKILL", "SIGTERM")
    }
    return "\n".join([*lines, f"{'all':8} {'':38} {sums['SIGKILL']:8} {sums['SIGTERM']:8}"])


if __name__ == "__main__":
    sys.exit(main())
