"""How long `flipkd --help` takes, beside a bare Python and beside importing torch: python benchmarks/startup.py"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "flipkd --help": [
        "-c",
        "import sys; sys.argv[1:] = ['--help']; from pipeline.cli.main import main; main()",
    ],
    "import torch": ["-c", "import torch"],
}
ROUNDS = 7


def main() -> None:
    """Run the commands in turn, so that a busy moment meets all of them, and print medians and ratios."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=False, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
    bare = statistics.median(seconds["python -c pass"])
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"{name:<16} {middle:6.3f} s  {middle / bare:5.1f} times a bare Python")


if __name__ == "__main__":
    main()
