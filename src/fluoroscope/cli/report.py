"""The command `fluoro report`: saved results, and analyses run for it, as one file."""

import re

import click
from click.core import ParameterSource

from fluoroscope import registry
from fluoroscope.cli.derived import STORE, load, model_options
from fluoroscope.cli.derived import progress as progress_bars
from fluoroscope.cli.runs import opened
from fluoroscope.errors import ArgumentError, UnavailableError
from fluoroscope.render.text import prose, size
from fluoroscope.signature import Spec


@click.command("report")
@click.argument("parts", metavar="[FILE.json|ID|ANALYSIS]...", nargs=-1)
@click.option("--out", metavar="FILE", default="report.html", show_default=True, help="One .html or .md file.")
@click.option("--title", default="Report", show_default=True, help="Its title.")
@click.option("--description", metavar="TEXT", default="", help="What was asked, below the title.")
@click.option("--plots/--no-plots", default=True, show_default=True, help="Whether pictures are in it.")
@click.option("--json/--no-json", "carried", default=None, help="Whether all JSON is in it; .html has it by default.")
@click.option("--prompt", "-p", metavar="TEXT", help="What the analyses read.")
@click.option("--store", metavar="FILE", envvar=STORE, show_envvar=True, help="Where kept runs are, as in fluoro runs.")
@model_options
def command(
    parts: tuple[str, ...], out: str, title: str, description: str, plots: bool, carried: bool | None,
    prompt: str | None, store: str | None, model: str | None, dtype: str | None, device: str | None,
) -> None:  # fmt: skip
    """One offline page of one or several results, each with its JSON and how to ask again.

    \b
    fluoro report lens.json 3f2a91 --out report.html --title "Two looks"
    fluoro report explain head-types --prompt "The capital of France is" --out report.html

    FILE.json is what an analysis saved with --out, ID names a kept run of fluoro runs; ANALYSIS is run now, with its
    other options as by default.
    """
    from fluoroscope.reports import Report, check_page

    check_page(out)
    asked = {part: _spec(part, prompt) for part in parts if not (_is_file(part) or _is_id(part))}
    _check(parts, asked, prompt)
    results = {part: registry.open_result(part) for part in parts if _is_file(part)}
    results |= {part: opened(store).open(part) for part in parts if _is_id(part)}
    refused: list[str] = []
    if asked:
        with progress_bars(quiet=False):
            loaded = load(model, dtype, device)
            for part, spec in asked.items():
                try:
                    results[part] = registry.run(spec.name, loaded, **_arguments(spec, prompt))
                except UnavailableError as error:
                    refused.append(f"Not for this model: {spec.command}: {error}")
    if not results:
        raise UnavailableError(refused[0], "Ask for another analysis.")
    lead = [*([description] if description else []), *refused]
    report = Report.of([results[part] for part in parts if part in results], title=title, lead=lead)
    path = report.save_page(out, plots=plots, carried=carried)
    for reason in [*refused, *report.warnings()]:
        click.echo(f"[!] {prose(reason)}", err=True)
    count = f"{len(report.chapters)} result{'s' * (len(report.chapters) > 1)}"
    click.echo(f"saved {prose(str(path))} ({count}, {size(path.stat().st_size)})", err=True)


def _is_file(part: str) -> bool:
    return part.lower().endswith(".json")


def _is_id(part: str) -> bool:
    """Whether it is an id, or begins one; no analysis has such a name."""
    return re.fullmatch("[0-9a-f]{2,64}", part) is not None and registry.find(part) is None


def _spec(part: str, prompt: str | None) -> Spec:
    """The analysis of a name, if a prompt is all that it needs."""
    try:
        spec = registry.get(part)
    except ArgumentError as error:
        raise ArgumentError(f"{part!r} is neither a .json file nor an id nor an analysis", error.hint) from error
    missing = [item.name for item in spec.parameters if item.required and item.name != "prompt"]
    if missing:
        raise ArgumentError(
            f"{spec.command} needs {missing[0]!r}, which a report cannot give it",
            f"Save it with fluoro {spec.command} ... --out FILE.json, and name that file here.",
        )
    if _reads(spec) and prompt is None:
        raise ArgumentError(f"{spec.command} needs a prompt", 'Give one, such as --prompt "The capital of France is".')
    return spec


def _reads(spec: Spec) -> bool:
    return any(item.name == "prompt" for item in spec.parameters)


def _arguments(spec: Spec, prompt: str | None) -> dict[str, str]:
    return {"prompt": prompt} if prompt is not None and _reads(spec) else {}


def _check(parts: tuple[str, ...], asked: dict[str, Spec], prompt: str | None) -> None:
    """Refuses what nothing would heed.

    Raises:
        ArgumentError: nothing to report, a part named twice, a prompt that nobody reads, a model that nobody runs.
    """
    if not parts:
        raise ArgumentError("there is nothing to report", "Name .json files of results, ids of kept runs, or analyses.")
    names = [asked[part].name if part in asked else part for part in parts]
    twice = next((part for part, name in zip(parts, names, strict=True) if names.count(name) > 1), None)
    if twice is not None:
        raise ArgumentError(f"{twice!r} is named twice", "Name it once.")
    if prompt is not None and not any(map(_reads, asked.values())):
        raise ArgumentError("nothing that is reported reads --prompt", "Leave it out, or name an analysis.")
    context = click.get_current_context()
    for name in ("model", "dtype", "device"):
        if not asked and context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            raise ArgumentError(f"nothing that is reported runs, so --{name} has no use", "Leave it out.")
