"""Commands about models themselves, which are no analyses."""

import json
from pathlib import Path
from typing import Any

import click

from fluoroscope import architectures, specimen
from fluoroscope.cli.derived import console, load, model_options, print_json
from fluoroscope.cli.derived import progress as progress_bars
from fluoroscope.errors import ArgumentError
from fluoroscope.render import text
from fluoroscope.sites import SITES
from fluoroscope.views import Column, Row, Table, TokenMark, Tokens, View

RECORDS = (".safetensors", ".npz", ".pt", ".json")
"""Suffixes of recorded traces; from Python also .pkl, which no command line reads or writes."""

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")


@click.command("sites")
@model_options
@_json
def sites(model: str | None, dtype: str | None, device: str | None, as_json: bool) -> None:
    """What can be read and written in a forward pass.

    With a model: which of it this model offers."""
    loaded = None if model is None else load(model, dtype, device)
    rows: list[dict[str, Any]] = []
    for name, kind in SITES.items():
        row: dict[str, Any] = {"site": f"{name}.L" if kind.layered else name, "axes": " ".join(kind.axes)}
        row["write"] = "yes" if kind.writable else "no"
        if loaded is not None:
            row["here"] = _where(loaded, name, kind.layered)
        rows.append(row | {"meaning": kind.meaning})
    _answer("Sites", rows, as_json)


@click.command("families")
@_json
def families(as_json: bool) -> None:
    """The Hugging Face model types that load as they are."""
    types = architectures.model_types()
    files = sorted(set(types.values()))
    rows = [{"family": file, "model types": ", ".join(sorted(t for t in types if types[t] == file))} for file in files]
    _answer("Families", rows, as_json)


@click.command("tokens")
@click.argument("prompt", metavar="TEXT")
@model_options
@_json
def tokens(prompt: str, model: str | None, dtype: str | None, device: str | None, as_json: bool) -> None:
    """A text as the model reads it: index, id, piece."""
    found = load(model, dtype, device).tokens(prompt)
    pieces = found.pieces[0] if as_json else found.labels[0]
    pairs = zip(found.ids[0].tolist(), pieces, strict=True)
    rows: list[dict[str, Any]] = [{"index": n, "id": token, "piece": piece} for n, (token, piece) in enumerate(pairs)]
    marks = tuple(TokenMark(text=row["piece"], id=row["id"]) for row in rows)
    _answer("Tokens", rows, as_json, pieces="piece", first=Tokens(title=text.counted(len(rows), "token"), items=marks))


@click.command("summary")
@model_options
@_json
def summary(model: str | None, dtype: str | None, device: str | None, as_json: bool) -> None:
    """Type, sizes, norms, positions and parameter counts."""
    facts = load(model, dtype, device).summary()
    if as_json:
        print_json(json.dumps(facts, ensure_ascii=False, indent=2, allow_nan=False) + "\n")
    else:
        rows = [{"fact": name.replace("_", " "), "value": value} for name, value in text.facts(facts)]
        _answer("Summary", rows, as_json)


@click.command("generate")
@click.argument("prompt")
@click.option("--max-new-tokens", type=int, default=50, show_default=True, help="At most so many tokens.")
@click.option("--temperature", type=float, default=0.0, show_default=True, help="0 always takes the likeliest token.")
@click.option("--top-k", type=int, default=0, show_default=True, help="Sample among the k likeliest; 0 for all.")
@click.option("--top-p", type=float, default=1.0, show_default=True, help="Sample among the likeliest of this mass.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the sampling.")
@model_options
@_json
def generate(
    prompt: str, model: str | None, dtype: str | None, device: str | None, as_json: bool, **options: Any
) -> None:
    """Continues a prompt."""
    with progress_bars(quiet=as_json):
        loaded = load(model, dtype, device)
        generation = loaded.generate(prompt, **options)
    if as_json:
        print_json(json.dumps(generation.to_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n")
    else:
        ids = [*generation.prompt.ids[0].tolist(), *generation.ids[0]]
        whole = loaded.tokenizer.decode(ids, skip_special_tokens=True)
        click.echo("\n".join(text.prose(line) for line in whole.split("\n")))


@click.command("trace")
@click.argument("prompt")
@click.option(
    "--site", "-s", "names", multiple=True, required=True, help="Site in any spelling, or NAME.* for every layer."
)
@click.option("--out", metavar="FILE", help="Record as .safetensors, .npz or .pt (values), or .json (statistics).")
@model_options
@_json
def trace(
    prompt: str, names: tuple[str, ...], out: str | None, model: str | None, dtype: str | None, device: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Records values of one forward pass, with their statistics."""
    if out is not None and Path(out).suffix not in RECORDS:
        raise ArgumentError(f"cannot save a trace as {out!r}", f"Known suffixes: {', '.join(RECORDS)}.")
    kept = load(model, dtype, device).trace(prompt, sites=names)
    if out is not None:
        click.echo(f"saved {kept.save(out)}", err=True)
    rows = [{"site": str(site), **kept.statistics(site)} for site in kept.sites]
    shown = [{**row, "shape": " ".join(map(str, row["shape"]))} for row in rows]
    _answer("Trace", rows if as_json else shown, as_json)


@click.command("specimen")
@click.argument("name", type=click.Choice(specimen.NAMES), default=specimen.NAMES[0])
@click.option("--json", "as_json", is_flag=True, help="Print every measured figure as JSON, and nothing else.")
def card(name: str, as_json: bool) -> None:
    """The card of an embedded model: what it can do, and how it does it."""
    if as_json:
        print_json((specimen.folder(name) / "measured.json").read_text(encoding="utf8"))
        return
    target = console()
    if target.is_terminal:
        from rich.markdown import Markdown

        target.print(Markdown(specimen.card(name)))
    else:
        click.echo(specimen.card(name), nl=False)


COMMANDS: tuple[click.Command, ...] = (sites, families, tokens, summary, generate, trace, card)


def _where(model: Any, name: str, layered: bool) -> str:
    found = model.sites(name)
    if not layered or len(found) in (0, model.n_layers):
        return "yes" if found else "no"
    return f"{len(found)} of {model.n_layers} layers"


def _answer(
    title: str, rows: list[dict[str, Any]], as_json: bool, pieces: str | None = None, first: View | None = None
) -> None:
    if as_json:
        print_json(json.dumps(rows, ensure_ascii=False, indent=2, allow_nan=False) + "\n")
        return
    if not rows:
        raise ArgumentError(f"{title}: nothing to show")
    from fluoroscope.render import terminal

    table = Table(
        title=title,
        columns=tuple(Column(name=name, token=name == pieces) for name in rows[0]),
        rows=tuple(Row(cells=tuple(row.values())) for row in rows),
    )
    target = console()
    terminal.show(target, [table] if first is None else [first, table])
