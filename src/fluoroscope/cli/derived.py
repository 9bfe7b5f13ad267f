"""From the specification of an analysis to its command."""

import os
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from fluoroscope import registry
from fluoroscope.arguments import renamed
from fluoroscope.cli.stopping import stoppable
from fluoroscope.collector import paused
from fluoroscope.errors import ArgumentError, ArtifactError, Cancelled
from fluoroscope.invocation import DTYPES, positional
from fluoroscope.render.text import prose
from fluoroscope.signature import Parameter, Spec

if TYPE_CHECKING:
    from rich.console import Console

    from fluoroscope.model import Model
    from fluoroscope.result import Result
    from fluoroscope.store import Run, Store

F = TypeVar("F", bound=Callable[..., Any])

STORE = "FLUOROSCOPE_STORE"
"""The variable that stands for --store; said here so that SQLite is imported only where something is kept."""
_store_option = click.option(
    "--store", metavar="FILE", envvar=STORE, show_envvar=True,
    help="Where to keep the result for fluoro runs; off keeps nothing, and a file of yours is the default.",
)  # fmt: skip
_CLICK_TYPES: dict[str, click.ParamType[Any]] = {"str": click.STRING, "int": click.INT, "float": click.FLOAT}


class _Choice(click.Choice[str]):
    """One of a few words, of which metrics have other tools' names as well."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert(renamed((param and param.name) or "", value), param, ctx)


def command(spec: Spec) -> click.Command:
    """The command of an analysis: required parameters are arguments, all others options."""
    own = [_parameter(parameter) for parameter in spec.parameters]
    arguments = [f"{item.name.upper()}: {_help(item)}" for item in spec.parameters if positional(item)]
    callback = model_options(output_options(_store_option(partial(_run, spec))))
    text = "\n\n".join([spec.doc, *arguments])
    return click.command(spec.command, params=own, help=text, short_help=spec.headline)(callback)


def model_options(target: F) -> F:
    """Adds --model, --dtype and --device."""
    for option in (
        click.option("--device", metavar="NAME", help="Where to run: cpu, cuda, cuda:1, mps."),
        click.option("--dtype", type=click.Choice(DTYPES), help="Precision; the checkpoint's own if not given."),
        click.option(
            "--model", "-m", envvar="FLUOROSCOPE_MODEL", show_envvar=True, metavar="PATH_OR_ID",
            help="Folder or hub id of the model; the embedded specimen if not given.",
        ),
    ):  # fmt: skip
        target = option(target)
    return target


def output_options(target: F) -> F:
    """Adds --json, --html, --out and --quiet."""
    for option in (
        click.option("--quiet", "-q", is_flag=True, help="Print the one sentence only, and no progress."),
        click.option(
            "--out", metavar="FILE", help="Save as .json, .md, .html, .png, .svg; a graph as .dot or .graphml too."
        ),
        click.option("--html", metavar="FILE", help="Save as one offline HTML page."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else."),
    ):
        target = option(target)
    return target


def load(model: str | None, dtype: str | None, device: str | None, *, quiet: bool = False) -> "Model":
    """The model that the options name; remarks on it go to stderr, but for those on a precision that was asked for."""
    with paused():
        from transformers.utils import logging

        from fluoroscope import loading

    logging.disable_progress_bar()
    loaded = loading.load(model, dtype=dtype, device=device)
    asked = loaded.remarks() if dtype is None else [loaded.architecture.remark]
    for remark in [] if quiet else filter(None, asked):
        click.echo(f"note: {prose(remark)}", err=True)
    return loaded


@contextmanager
def progress(quiet: bool) -> Generator[None]:
    """Progress bars on stderr while the block runs, where a person looks at it; a sweep may be stopped."""
    if quiet or not sys.stderr.isatty():
        with stoppable():
            yield
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    with Progress(console=Console(stderr=True, width=_width()), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def listen(label: str, done: int, total: int | None) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=total)
            bars.update(tasks[label], completed=done, total=total)

        with stoppable(listen):
            yield


def console() -> "Console":
    """Where results are printed: colour only on a terminal, and never against NO_COLOR."""
    from rich.console import Console

    plain = bool(os.environ.get("NO_COLOR")) or None
    return Console(highlight=False, markup=False, emoji=False, no_color=plain, width=_width())


def _width() -> int | None:
    """The terminal's own width where COLUMNS is 0, which means that nobody knows; else rich finds it."""
    columns = os.environ.get("COLUMNS", "")
    return shutil.get_terminal_size().columns if columns.isdigit() and not int(columns) else None


def print_json(text: str) -> None:
    """Writes JSON to stdout as UTF-8, whatever the terminal's encoding."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf8"))
    sys.stdout.buffer.flush()


def heading(text: str) -> str:
    """A heading of the help, bold where a person looks at it."""
    return click.style(text, bold=True) if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def complain(message: str, hint: str) -> None:
    """The one form of an error on stderr."""
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    word = click.style("error:", fg="red", bold=True) if colour else "error:"
    click.echo(f"{word} {prose(message)}", err=True)
    if hint:
        click.echo(f"       {prose(hint)}", err=True)


def _run(
    spec: Spec, *, model: str | None, dtype: str | None, device: str | None, as_json: bool, html: str | None,
    out: str | None, quiet: bool, store: str | None, **values: Any,
) -> None:  # fmt: skip
    given: dict[str, Any] = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    keywords = {name: value for name, value in given.items() if value not in (None, [])}
    for item in spec.parameters:
        if _suffix(item) and item.name in keywords:
            keywords[item.name] = _contents(keywords[item.name], _suffix(item))
    registry.check(spec, keywords)
    files, kept = files_asked(html, out), _store(store)
    try:
        with progress(quiet):
            result = registry.run(spec.name, load(model, dtype, device, quiet=quiet), **keywords)
    except Cancelled as stopped:
        if stopped.partial is not None:
            tell(cast("Result", stopped.partial), as_json=as_json, quiet=quiet)
        raise
    run = None if kept is None else _kept(kept, result, asked=store is not None)
    for path in files:
        click.echo(f"saved {result.save(path)}", err=True)
    tell(result, as_json=as_json, quiet=quiet)
    if run is not None and not (as_json or quiet):
        click.echo(f"kept as {run.short}", err=True)


def _store(given: str | None) -> "Store | None":
    """Where to keep the result, if anywhere; one that is asked for and cannot be used is refused before any work."""
    from fluoroscope.store import Store, place

    path = place(given)
    found = None if path is None else Store(path)
    if found is not None and given is not None:
        found.check()
    return found


def _kept(store: "Store", result: "Result", *, asked: bool) -> "Run | None":
    """The run that is kept; where nobody asked for it, a store that cannot be used is told and ends nothing."""
    try:
        return store.keep(result)
    except ArtifactError as error:
        if asked:
            raise
        click.echo(f"[!] not kept: {prose(str(error))}", err=True)
        return None


def tell(result: "Result", *, as_json: bool, quiet: bool) -> None:
    """Prints a result as it is wanted."""
    if as_json:
        print_json(result.to_json())
    elif quiet:
        click.echo(prose(result.summary()))
    else:
        _show(result)


def _suffix(parameter: Parameter) -> str:
    """The suffix of files whose contents may stand for a value; empty for none."""
    return parameter.file if parameter.file is not None and parameter.file.startswith(".") else ""


def _contents(given: str, suffix: str) -> str:
    """The value itself, or what the file holds that is named: only here, where the person at the keyboard names it."""
    if Path(given).suffix.lower() != suffix:
        return given
    try:
        return Path(given).read_text(encoding="utf8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8"
        raise ArgumentError(
            f"cannot read {given!r}: {reason}", f"Name a {suffix} file, or write what it would hold."
        ) from error


def files_asked(html: str | None, out: str | None) -> list[str]:
    """Where to save; refused before any work is done, not after it."""
    from fluoroscope.result import check_suffix

    if html is not None and Path(html).suffix.lower() != ".html":
        raise ArgumentError(f"--html {html!r} does not end in .html", "Name it FILE.html, or use --out.")
    files = [path for path in (html, out) if path is not None]
    if len(set(files)) < len(files):
        raise ArgumentError(f"--html and --out both name {html!r}", "Leave one out, or name two files.")
    for path in files:
        check_suffix(path)
    return files


def _show(result: "Result") -> None:
    from fluoroscope.render import terminal

    terminal.page(console(), result.title(), result.summary(), result.views())


def _parameter(parameter: Parameter) -> click.Parameter:
    many = parameter.type.startswith("list")
    base = parameter.type[5:-1] if many else parameter.type
    kind: Any = _Choice(parameter.choices) if parameter.choices else _CLICK_TYPES.get(base)
    name = parameter.name.replace("_", "-")
    if positional(parameter):
        return click.Argument([parameter.name], type=kind, nargs=-1 if many else 1, required=True)
    note = "" if parameter.required or parameter.default in (None, []) else f" [default: {_written(parameter.default)}]"
    text = _help(parameter)
    text = f"{text[:1].upper()}{text[1:]}{note}"
    names = [f"--{name}/--no-{name}" if parameter.type == "bool" else f"--{name}", parameter.name]
    return click.Option(names, type=kind, multiple=many, required=parameter.required, default=None, help=text)


def _help(parameter: Parameter) -> str:
    """Its description, and that a command line may name a file."""
    suffix = _suffix(parameter)
    return f"{parameter.help} Or the name of a {suffix} file that holds it." if suffix else parameter.help


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
