"""All figures of the card: `python -m training.evaluate FOLDER` measures a model and writes FOLDER/measured.json.

Held-out accuracy per behaviour with its interval, the presets and free text as the model writes them, the circuit gate,
the parts behind each behaviour, how it grew over the snapshots of its run, and how fast it is beside nothing: seconds
to load and answer, milliseconds per forward.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import NormalDist, median
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

import fluoroscope
from fluoroscope import Model
from training import circuits, parts, score
from training.world import BEHAVIOURS, PRESETS, cases

N = 300
SEED = 11
TEXTS = (
    "Once upon a time",
    "One day, Mary went to the",
    "Today I feel",
    "The king",
    "User: How do I paint a wall?\nAssistant:",
)
FIRST_ANSWER = """
import sys, fluoroscope
model = fluoroscope.load(sys.argv[1])
print(model.trace("The capital of France is").logits[0, -1].argmax(), flush=True)
"""


def wilson(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share that was seen in n independent cases (Wilson 1927)."""
    z = NormalDist().inv_cdf(0.5 + level / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def _plain(folder: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """As Hugging Face itself loads them."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(folder)


def behaviours(folder: Path, n: int = N) -> list[dict[str, Any]]:
    """One row per behaviour: how many cases, the share that is right, its 95 % interval, what it is held to."""
    model, tokenizer = _plain(folder)
    rows: list[dict[str, Any]] = []
    for name, behaviour in BEHAVIOURS.items():
        chosen = cases(name, n, SEED)
        if name == "greater_than":
            value = sum(score.accepted_mass(model, tokenizer, chosen)) / len(chosen)
        else:
            value = score.accuracy(model, tokenizer, chosen)
        low, high = wilson(value, len(chosen))
        rows.append(
            {"behaviour": name, "description": behaviour.description, "cases": len(chosen), "value": round(value, 4)}
            | {"interval": [round(low, 4), round(high, 4)], "least": behaviour.threshold}
        )
        print(
            f"{name:20} {value:.3f} [{low:.3f}, {high:.3f}] of {len(chosen)}, least {behaviour.threshold}", flush=True
        )
    return rows


def presets(model: Model) -> list[dict[str, Any]]:
    """Every preset as the model goes on, greedily, and whether that is how it should."""
    rows: list[dict[str, Any]] = []
    for case in PRESETS:
        room = len(model.tokenizer(case.answer, add_special_tokens=False)["input_ids"])
        text = model.generate(case.prompt, max_new_tokens=room).texts[0]
        accepted = case.info.get("accepted", (case.answer,))
        rows.append({"prompt": case.prompt, "says": text, "right": text in accepted})
    return rows


def free_text(model: Model) -> list[dict[str, str]]:
    """What it writes on its own, greedily and drawn at temperature 0.8."""
    return [
        {
            "prompt": prompt,
            "greedy": model.generate(prompt, max_new_tokens=60).texts[0],
            "drawn": model.generate(prompt, max_new_tokens=60, temperature=0.8, seed=1).texts[0],
        }
        for prompt in TEXTS
    ]


GROWING = ("landmark_preset", "capital_preset", "induction_tokens", "ioi", "binding")


def growth(snapshots: Sequence[Path], n: int = 60) -> list[dict[str, Any]]:
    """Facts and copying over training: one row per snapshot `step-*` of the run, as its trainer left them."""
    rows: list[dict[str, Any]] = []
    for folder in snapshots:
        found = circuits.induction(fluoroscope.load(folder, dtype="float32"))
        copying = {finding.name: round(finding.value, 3) for finding in found}
        shares = {name: score.accuracy(*_plain(folder), cases(name, n, SEED)) for name in GROWING}
        rows.append(
            {"step": int(folder.name.removeprefix("step-"))}
            | {name: round(share, 3) for name, share in shares.items()}
            | {name: copying[f"copying: {name}"] for name in ("best previous-token score", "best induction score")}
            | {"loss of a repetition": copying["copying: loss of the second half, nats"]}
        )
    return rows


def speed(folder: Path, model: Model) -> dict[str, float]:
    """Seconds from a new process to its first answer, and milliseconds of a warm forward of 16 tokens on one core."""
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", FIRST_ANSWER, str(folder)], stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None
        process.stdout.readline()
        cold = time.perf_counter() - started
    torch.set_num_threads(1)
    ids = torch.arange(1, 17)[None]
    taken: list[float] = []
    for _ in range(30):
        started = time.perf_counter()
        with torch.inference_mode():
            model.hf(input_ids=ids, use_cache=False)
        taken.append(time.perf_counter() - started)
    return {
        "seconds from a cold start to the first answer": round(cold, 2),
        "milliseconds for 16 tokens on one core": round(1000 * median(taken), 2),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a model with its tokenizer, as the trainer leaves it")
    parser.add_argument("--cases", type=int, default=N, help="cases per behaviour")
    given = parser.parse_args()
    model = fluoroscope.load(given.folder, dtype="float32")
    measured: dict[str, Any] = {"behaviours": behaviours(given.folder, given.cases)}
    findings = circuits.gate(model)
    for finding in findings:
        mark = "" if finding.passed else "  <- fails the gate"
        print(f"{finding.name:55} {finding.value:8.3f} {' '.join(finding.heads)}{mark}")
    measured["gate"] = [asdict(finding) | {"passed": finding.passed} for finding in findings]
    measured["parts"] = parts.behind(model)
    measured["presets"], measured["free text"] = presets(model), free_text(model)
    measured["growth"] = growth(sorted(given.folder.parent.glob("step-*")))
    measured["speed"] = speed(given.folder, model)
    for row in [
        *measured["parts"],
        *measured["presets"],
        *measured["free text"],
        *measured["growth"],
        measured["speed"],
    ]:
        print(row)
    (given.folder / "measured.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
