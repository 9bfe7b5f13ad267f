"""The lenses beside the embedded models: `python -m training.lenses specimen` fits and judges them, in minutes.

A tuned and a Jacobian lens, on documents of the world, one a row as prompts are, of which every second row begins with
the end-of-text token. They are kept in half precision and judged as they are kept, on other documents. What was found
stands in the files themselves, and docs/generate.py writes it into docs/specimen.md. A future lens, a map per distance,
would take more room than both together.
"""

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import fluoroscope
from fluoroscope import Model, specimen
from fluoroscope.methods import jacobian_lens, tuned_lens
from fluoroscope.methods.translators import Translators, judge, provenance
from training.batches import END_ID
from training.world import documents

# The trainer draws from seeds that begin with its recipe's.
FIT_SEED, JUDGE_SEED = 71_000_000, 72_000_000


@dataclass(frozen=True)
class Plan:
    """How much to do: documents to fit to and to judge by, steps and their rows, rows of the averaged Jacobian."""

    fit_to: int = 4_000
    judge_by: int = 300
    steps: int = 300
    rows: int = 16
    rate: float = 1.0
    averaged: int = 128
    seed: int = 0


def texts(seed: int, count: int, known: frozenset[str] = frozenset()) -> list[str]:
    """So many documents of the world, no two alike and none of the known ones."""
    found: dict[str, None] = {}
    stream = documents(seed)
    while len(found) < count:
        text = next(stream).text
        if text not in known:
            found[text] = None
    return list(found)


def rows_of(model: Model, told: list[str]) -> list[list[int]]:
    """The ids of each document, every second one behind the end-of-text token."""
    ids = (model.tokenizer(text, add_special_tokens=False)["input_ids"] for text in told)
    return [[END_ID, *row] if number % 2 else list(row) for number, row in enumerate(ids)]


def fitted(model: Model, told: list[str], plan: Plan) -> Iterator[Translators]:
    """The lenses, fitted to documents."""
    rows = rows_of(model, told)
    digest = hashlib.sha256("\n\n".join(told).encode("utf8")).hexdigest()[:16]
    settings = tuned_lens.Settings(plan.steps, plan.rows, plan.rate, plan.seed)
    with TemporaryDirectory() as folder:
        meta = provenance(model, digest, rows, plan.seed)
        lens, _ = tuned_lens.fit(model, rows, meta, settings, Path(folder) / "tuned.safetensors")
    # How it was fitted can be read from this script, and its losses by step are longer than the rest.
    yield replace(lens, meta={name: value for name, value in lens.meta.items() if name != "losses"})
    chosen = sorted(rows[: plan.averaged], key=len)  # by length, so that little of a batch is padding
    meta = provenance(model, digest, chosen, plan.seed) | {"rows": len(chosen)}
    lens, stability = jacobian_lens.fit(model, chosen, meta, "same", plan.seed)
    yield replace(lens, meta=lens.meta | {"stability": [round(cosine, 4) for cosine in stability]})


def make(model: Model, folder: Path, plan: Plan) -> None:
    """Fits, rounds, judges and writes every lens of a model."""
    told = texts(FIT_SEED, plan.fit_to)
    held_out = rows_of(model, texts(JUDGE_SEED, plan.judge_by, frozenset(told)))
    for lens in fitted(model, told, plan):
        kept = replace(lens, weight=lens.weight.half(), bias=lens.bias.half())
        judged = [
            {name: value if isinstance(value, str) else round(value, 4) for name, value in vars(depth).items()}
            for depth in judge(model, kept, held_out)
        ]
        kept = replace(kept, meta=kept.meta | {"held_out": sum(map(len, held_out)), "judged": judged})
        path = folder / f"{lens.meta['kind']}_lens.safetensors"
        kept.save(path)
        print(path, *judged, sep="\n  ", flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=specimen.NAMES)
    name = parser.parse_args().name
    make(fluoroscope.load(name), specimen.folder(name), Plan())


if __name__ == "__main__":
    main()
