"""The command `fluoro runs`: results of before, which were kept as they were found."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from fluoroscope import registry
from fluoroscope.cli import derived
from fluoroscope.errors import ArgumentError
from fluoroscope.render.text import prose, size
from fluoroscope.views import Column, Row, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from fluoroscope.store import Run, Store

_store = click.option(
    "--store", metavar="FILE", envvar=derived.STORE, show_envvar=True,
    help="Where they are kept; a file in the user's data folder if not given.",
)  # fmt: skip
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")


@click.group("runs", invoke_without_command=True)
@_store
@click.pass_context
def command(ctx: click.Context, store: str | None) -> None:
    """Results of before: every finished analysis is kept, and has an id.

    \b
    fluoro runs                    the newest
    fluoro runs show 3f2a          prints again what it printed
    fluoro runs compare 3f2a 91    what differs
    fluoro report 3f2a 91 --out report.html

    The id is a hash of recipe, arguments and numbers; its beginning is enough. With --store off nothing is kept.
    """
    ctx.obj = store
    if ctx.invoked_subcommand is None:
        _list(store, None, 20, as_json=False)


def opened(given: str | None) -> "Store":
    """The store that is meant.

    Raises:
        ArgumentError: it is switched off.
    """
    from fluoroscope.store import NOWHERE, Store, place

    path = place(given)
    if path is None:
        raise ArgumentError(
            f"the store is {NOWHERE}, as --store or {derived.STORE} says", "Name its file with --store."
        )
    return Store(path)


def _of(ctx: click.Context, own: str | None) -> str | None:
    """The file named behind the inner command, else the one before it."""
    return own if own is not None else ctx.obj


def _inner(target: "Callable[..., None]") -> "Callable[..., None]":
    return click.option("--store", metavar="FILE", help="Where they are kept.")(click.pass_context(target))


@command.command("list")
@click.option("--analysis", metavar="NAME", help="Only those of this one.")
@click.option("--limit", type=click.IntRange(1), help="At most so many; all if not given.")
@_json
@_inner
def listed(ctx: click.Context, analysis: str | None, limit: int | None, as_json: bool, store: str | None) -> None:
    """What is kept, the newest first."""
    name = None if analysis is None else registry.get(analysis).name
    _list(_of(ctx, store), name, limit, as_json=as_json)


def _list(given: str | None, analysis: str | None, limit: int | None, *, as_json: bool) -> None:
    store = opened(given)
    runs = store.runs(analysis=analysis, limit=limit)
    if as_json:
        _print(list(map(asdict, runs)))
    elif not runs:
        what = "No run" if analysis is None else f"No run of {analysis}"
        click.echo(f"{what} is kept in {prose(str(store.path))}.")
    else:
        from fluoroscope.render import terminal

        names = ("id", "kept (UTC)", "analysis", "model", "answer")
        columns = tuple(Column(name=name) for name in names)
        title = f"Kept runs in {store.path}" if limit is None or len(runs) < limit else f"The newest {len(runs)} runs"
        terminal.show(derived.console(), [Table(title=title, columns=columns, rows=tuple(map(_row, runs)))])


def _row(run: "Run") -> Row:
    when = run.kept[:16].replace("T", " ")
    return Row(cells=(run.short, when, _command(run), run.model, run.summary))


def _command(run: "Run") -> str:
    return run.kind if run.analysis is None else run.analysis.replace("_", "-")


@command.command("show")
@click.argument("id")
@derived.output_options
@_inner
def show(
    ctx: click.Context, id: str, as_json: bool, html: str | None, out: str | None, quiet: bool, store: str | None
) -> None:
    """Prints again what a run printed."""
    files = derived.files_asked(html, out)
    result = opened(_of(ctx, store)).open(id)
    for path in files:
        click.echo(f"saved {prose(str(result.save(path)))}", err=True)
    derived.tell(result, as_json=as_json, quiet=quiet)


@command.command("compare")
@click.argument("first")
@click.argument("second")
@_json
@_inner
def compare(ctx: click.Context, first: str, second: str, as_json: bool, store: str | None) -> None:
    """What differs between two runs: arguments, versions, numbers."""
    from fluoroscope.comparison import Comparison

    kept = opened(_of(ctx, store))
    runs = [kept.find(first), kept.find(second)]
    found = Comparison.of(*(kept.data(run.id) for run in runs))
    if as_json:
        _print({"runs": [run.id for run in runs], "summary": found.summary(), **asdict(found)})
    else:
        from fluoroscope.render import terminal

        title = " and ".join(f"{run.short} ({_command(run)})" for run in runs)
        names = (runs[0].short, runs[1].short)
        terminal.page(derived.console(), title, found.summary(), found.views(names))


@command.command("delete")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@_inner
def delete(ctx: click.Context, ids: tuple[str, ...], yes: bool, store: str | None) -> None:
    """Deletes runs for good, after asking."""
    kept = opened(_of(ctx, store))
    runs = list({run.id: run for run in map(kept.find, ids)}.values())
    for run in runs:
        click.echo(prose(f"{run.short}  {_command(run)}  {run.kept[:10]}  {run.summary}"))
    if not yes:
        click.confirm(f"Delete {'it' if len(runs) == 1 else f'these {len(runs)}'} for good?", abort=True)
    gone = kept.delete(run.id for run in runs)
    click.echo(f"deleted {len(gone)} ({size(sum(run.size for run in gone))} of JSON)", err=True)


def _print(value: Any) -> None:
    derived.print_json(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")
