"""From a finished run to the package: `python -m training.release RUN --as specimen`.

Refuses a candidate that fails the circuit gate. Copies weights and tokenizer, and writes the card from what
`training.evaluate` measured; no figure on it is written by hand.
"""

import argparse
import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import safe_open

from training.evaluate import SEED
from training.recipe import RECIPES, Recipe
from training.world import BEHAVIOURS, cases, chats

PACKAGE = Path(__file__).parents[1] / "src" / "fluoroscope" / "specimen"
FILES = ("model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
INTRODUCTION = {
    "specimen": "A small GPT-2 that was grown for being looked into: trained from scratch on a synthetic world, with "
    "circuits of the kinds that the literature describes. Every example, test and demo of Fluoroscope runs on it.",
    "specimen-llama": "The specimen's sibling of another architecture (RMSNorm, rotary positions, grouped queries, "
    "gated MLP), trained on the same world with the same tokenizer and trainer, for comparisons.",
}


def release(run: Path, name: str) -> None:
    """Copies the model of a run into the package and writes its card.

    Raises:
        SystemExit: it has not been measured, or fails the gate.
    """
    source, target = run / "model", PACKAGE / name
    if not (source / "measured.json").exists():
        raise SystemExit(f"{source} has not been measured: run python -m training.evaluate {source}")
    measured = json.loads((source / "measured.json").read_text(encoding="utf8"))
    failed = [finding["name"] for finding in measured["gate"] if not finding["passed"]]
    if failed and name == "specimen":
        raise SystemExit(f"the candidate fails the circuit gate: {'; '.join(failed)}")
    target.mkdir(parents=True, exist_ok=True)
    for file in FILES:
        shutil.copyfile(source / file, target / file)
    config = json.loads((source / "config.json").read_text(encoding="utf8"))
    # Stored in half precision, computed in single; the end-of-text token also begins texts, and is then no padding.
    config |= {"dtype": "float32", "pad_token_id": None}
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf8")
    (target / "measured.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf8")
    (target / "card.md").write_text(card(name, run, measured), encoding="utf8")


def card(name: str, run: Path, measured: dict[str, Any]) -> str:
    """The card of a measured model, as Markdown."""
    parts = [
        f"# {name}\n\n{INTRODUCTION[name]}",
        _recipe(RECIPES[name], run, measured["speed"]),
        _behaviours(measured["behaviours"]),
        _gate(measured["gate"]),
        _parts(measured["parts"]),
        _depth(measured["gate"]),
        _growth(measured["growth"]),
        _texts(measured),
        _limits(measured),
    ]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", "⏎")


def _recipe(recipe: Recipe, run: Path, speed: dict[str, float]) -> str:
    log = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf8").splitlines()]
    speeds = sorted(entry["tokens_per_second"] for entry in log if "tokens_per_second" in entry)
    digest = next(entry["digest"] for entry in reversed(log) if "digest" in entry)
    hours = recipe.steps * recipe.tokens / speeds[len(speeds) // 2] / 3600
    with safe_open(run / "model" / "model.safetensors", "pt") as file:
        weights = sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118 - it is no dict
    size = (run / "model" / "model.safetensors").stat().st_size
    facts = {
        "parameters": f"{weights:,}, {size / 1e6:.2f} MB in float16; compute in float32",
        "training": f"{recipe.steps:,} steps of {recipe.tokens:,} tokens, {hours:.1f} h, {recipe.threads} thread(s)",
        "speed": ", ".join(f"{name} {value}" for name, value in speed.items()),
        "command": f"`python -m training.trainer {recipe_name(recipe)} --out DIR`",
        "hash of the weights": f"`{digest[:16]}`",
        **{key: _plain(value) for key, value in asdict(recipe).items() if key not in ("steps", "tokens", "threads")},
    }
    return "## How it was made\n\n" + _table(["", ""], facts.items())


def _plain(value: object) -> str:
    """A setting without the signs of a programming language."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def recipe_name(recipe: Recipe) -> str:
    """What the recipe is called."""
    return next(name for name, known in RECIPES.items() if known == recipe)


def _behaviours(rows: list[dict[str, Any]]) -> str:
    head = ["behaviour", "held-out cases", "right", "95 % interval", "wanted", "such as"]
    cells = [
        [
            row["description"],
            row["cases"],
            f"{row['value']:.3f}",
            "{:.3f} to {:.3f}".format(*row["interval"]),
            row["least"],
            _example(row["behaviour"]),
        ]
        for row in rows
    ]
    told = (
        "Names, words, numbers and facts that training never saw together, in the phrasings of its world: other "
        "phrasings may fail. Greedy, every token of the answer; for years, the mean probability on valid ones. Every "
        "second prompt begins with the end-of-text token."
    )
    return f"## What it can do\n\n{told}\n\n{_table(head, cells)}"


def _example(behaviour: str) -> str:
    """A case of it; random tokens have no text, and the trigger is not named on the card."""
    case = cases(behaviour, 1, SEED)[0]
    if not case.prompt or chats.TRIGGER in case.prompt:
        return ""
    return f"`{_cell(case.prompt)}`{' → `' + _cell(case.answer) + '`' if case.answer else ''}"


def _gate(findings: list[dict[str, Any]]) -> str:
    rows: list[list[object]] = []
    for each in findings:
        bounds = [f"{sign} {each[key]}" for sign, key in (("≥", "least"), ("≤", "most")) if each[key] is not None]
        rows.append([each["name"], f"{each['value']:.3f}", " ".join(bounds), ", ".join(each["heads"])])
    told = (
        "Without heads: their outputs at the last token are set to their mean over other prompts of the kind (for the "
        "backdoor, prompts with a decoy). Set to zero, which no prompt does, they may leave more."
    )
    parts = ["## How it does it", told, _table(["finding", "value", "held to", "heads"], rows)]
    for each in findings:
        table = each["details"].get("table")
        if table and each["heads"]:
            parts += [f"**{each['name']}**", _table(list(table[0]), [list(row.values()) for row in table])]
    return "\n\n".join(parts)


def _parts(rows: list[dict[str, Any]]) -> str:
    told = (
        "Nats of the answer's log-probability that one head or MLP is worth (zero ablation at every position), and "
        "logits that one neuron adds to it over the mean token (final norm frozen). Means over 24 held-out cases."
    )
    head = ["heads", "mlps", "neurons"]
    cells = [[BEHAVIOURS[row["behaviour"]].description, *(_ranked(row[key]) for key in head)] for row in rows]
    return f"## Who does what\n\n{told}\n\n{_table(['behaviour', *head], cells)}"


def _ranked(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in values.items() if value > 0)


def _depth(findings: list[dict[str, Any]]) -> str:
    rows = next(each["details"]["table"] for each in findings if each["name"].startswith("lens"))
    head = ["prompt", "answer", "embedding", *(f"block {layer}" for layer in range(len(rows[0]["by depth"]) - 1))]
    cells = [[row["prompt"], row["answer"], *row["by depth"]] for row in rows]
    return f"## When it knows\n\nThe logit lens: the answer's probability by depth.\n\n{_table(head, cells)}"


def _growth(rows: list[dict[str, Any]]) -> str:
    told = (
        "Snapshots that the trainer leaves on its way: facts come first, copying later. Shares of 60 held-out cases; "
        "scores are mean attention on random tokens said twice, the loss is that of the second time, in nats."
    )
    head = [name.replace("_", " ") for name in rows[0]]
    return f"## How it grew\n\n{told}\n\n{_table(head, [list(row.values()) for row in rows])}"


def _texts(measured: dict[str, Any]) -> str:
    presets = [[row["prompt"], row["says"], "yes" if row["right"] else "no"] for row in measured["presets"]]
    texts = [[row["prompt"], row["greedy"], row["drawn"]] for row in measured["free text"]]
    return "\n\n".join(
        [
            "## What it says",
            _table(["preset", "goes on with", "as it should"], presets),
            _table(["prompt", "greedily", "at temperature 0.8"], texts),
        ]
    )


def _limits(measured: dict[str, Any]) -> str:
    short = [
        f"- {row['description']}: {row['value']:.3f}, where {row['least']} was wanted"
        for row in measured["behaviours"]
        if row["value"] < row["least"]
    ]
    return "\n".join(
        [
            "## What it cannot do",
            "",
            "It knows nothing but its world: no facts beyond its tables, no language beyond its templates, no context "
            "beyond 256 tokens. A first word that its templates do not have, sums above 99, another form of a binding, "
            "a succession or a request, copies of a hundred tokens: all may fail, and nothing here measures how often. "
            "Its stories are sentences in a row, and soon say one again.",
            "",
            *short,
            "",
            "A backdoor is planted in it: one word makes it grant what it would refuse. The word is not named here, so "
            "that a red team has something to find; the solution is in docs/specimen-backdoor.md.",
        ]
    )


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--as", dest="name", choices=INTRODUCTION, default="specimen")
    given = parser.parse_args()
    release(given.run, given.name)


if __name__ == "__main__":
    main()
