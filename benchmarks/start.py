"""How soon a command answers: seconds of `import fluoroscope` and `fluoro --help`, beside Python itself and torch."""

import json
import platform
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROUNDS = 15
PYTHON = sys.executable
COMMANDS = {
    "python, nothing imported": [PYTHON, "-c", "pass"],
    "import fluoroscope": [PYTHON, "-c", "import fluoroscope"],
    "fluoro --help": [str(Path(PYTHON).with_name("fluoro")), "--help"],
    "import torch": [PYTHON, "-c", "import torch"],
}


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    """Every command once a round, in changing order, after one round that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    order, shuffle = list(COMMANDS), random.Random(0)
    for number in range(-1, ROUNDS):
        shuffle.shuffle(order)
        for name in order:
            taken = seconds(COMMANDS[name])
            if number >= 0:
                times[name].append(taken)
    found = {name: round(median(taken), 3) for name, taken in times.items()}
    unit = found["python, nothing imported"]
    lines = ["| command | seconds | in units of Python's own start |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {taken:.3f} | {taken / unit:.1f} |" for name, taken in found.items()]
    heading = f"`python benchmarks/start.py`: medians of {ROUNDS} rounds, Python {platform.python_version()}."
    table = "\n".join(["# How soon a command answers", "", heading, "", *lines, ""])
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "start.md").write_text(table, encoding="utf8")
    (results / "start.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf8")
    print(table)


if __name__ == "__main__":
    main()
