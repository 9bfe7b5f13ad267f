"""The peers' own measurement, by one of the `peers_*.py` scripts in the environment that `peers.sh` makes."""

import json
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PYTHON = HERE.parent / ".benchmarks-env" / "bin" / "python"


def measured(script: str, options: list[str]) -> dict[str, Any]:
    """What the script prints as JSON: its machine and its rows.

    Raises:
        SystemExit: there is no such environment, or the script failed.
    """
    if not PYTHON.exists():
        raise SystemExit("the peers have no environment yet: run benchmarks/peers.sh")
    done = subprocess.run([PYTHON, HERE / script, *options], stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"the peers' measurement failed with exit code {done.returncode}")
    return json.loads(done.stdout)
