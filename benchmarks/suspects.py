"""How many wrong labels stand among the first suspects: some labels of the sample are turned round on purpose.

    python benchmarks/suspects.py --flipped 30 --first 60

Prints a line of JSON. The teacher is tuned on the pairs with the wrong labels among them, as it would be.
"""

from __future__ import annotations

import argparse
import json
import tempfile

import polars as pl

import flipkd
from pipeline.config.overrides import parse_overrides
from pipeline.evaluation.suspects import suspects


def main() -> None:
    """Run the demo's teacher half, once to count the labels and once with some of them wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="demo")
    parser.add_argument("--flipped", type=int, default=30)
    parser.add_argument("--first", type=int, default=60)
    parser.add_argument("--seed", type=int, default=13)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="over the config's settings"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as store:
        base = {"store": store, "seed": options.seed, **parse_overrides(options.set)}
        pairs = flipkd.run(options.config, base, until="prepare").pairs()
        labelled = pairs.filter(pl.col("split") == "train").drop_nulls("label").height
        run = flipkd.run(options.config, base | {"prepare.label_noise": options.flipped / labelled}, until="score")
        wrong = set(pl.read_parquet(run.path("prepare", "label_noise.parquet"))["pair_id"])
        found = suspects(run.scores().lazy(), ["train"])
    told = found.filter("suspect")
    print(
        json.dumps(
            {
                "config": options.config,
                "seed": options.seed,
                "set": options.set,
                "labelled": labelled,
                "flipped": len(wrong),
                "first": options.first,
                "found_among_first": len(wrong & set(found["pair_id"].head(options.first))),
                "suspects": told.height,
                "suspects_that_are_flipped": len(wrong & set(told["pair_id"])),
            }
        )
    )


if __name__ == "__main__":
    main()
