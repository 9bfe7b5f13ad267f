"""The command `hexray`: HexRay's flags, answered by the analyses of the registry."""

import json
from typing import TYPE_CHECKING, Any

import click

from fluoroscope import __version__, specimen
from fluoroscope.cli import derived
from fluoroscope.cli import main as ending
from fluoroscope.cli.hexray_modes import LOGIT_PARTS, Request, Session, modes
from fluoroscope.render.text import prose

if TYPE_CHECKING:
    from fluoroscope.cli.transcript import Line
    from fluoroscope.reports import Chapter


@click.command("hexray", context_settings=ending.SETTINGS)
@click.option("--prompt", "-p", metavar="TEXT", help="The text to look at.")
@click.option(
    "--top-k-attribution",
    type=int,
    default=0,
    metavar="N",
    help="List the N parts that contributed most; in a debugger, how many it lists. [default: 0, no list]",
)
@click.option(
    "--token-index",
    type=int,
    default=-1,
    metavar="N",
    show_default=True,
    help="Explain what comes after this token, counted from 0, or from the end if negative.",
)
@click.option(
    "--target",
    metavar="TOKEN",
    help='Token to explain, as text or #id, or several, " Mary| Anna"; the prediction if not given.',
)
@click.option("--foil", metavar="TOKEN", help="Token, or several, to compare it with: why the target rather than this.")
@click.option("--cot-debug", is_flag=True, help="Step by step: what wrote the token behind each, and who needs a step.")
@click.option(
    "--logit-debug", is_flag=True, help="Heads, neurons, paths and every layer and token behind the final logit."
)
@click.option(
    "--activation-trace", is_flag=True, help="Activity of every layer at every token; also what a prompt alone shows."
)
@click.option("--arithmetic-graph", is_flag=True, help="How the model calculates '23 + 45 =', measured by patching.")
@click.option(
    "--weight-heatmap",
    multiple=True,
    metavar="NAME",
    help="Picture of a weight, such as attn.L3.W_Q or mlp.L1.W_in; may be given several times.",
)
@click.option("--report", metavar="DIR", help="Write all of it, and the logit per head, as index.html, PNG/SVG, JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")
@derived.model_options
@click.version_option(__version__, prog_name="hexray")
def hexray(model: str | None, dtype: str | None, device: str | None, as_json: bool, **flags: Any) -> None:  # fmt: skip
    """HexRay's commands on Fluoroscope: which parts of a model made a prediction.

    \b
    hexray --prompt "Why do bees buzz?" --top-k-attribution 10
    hexray --prompt "If John has 3 apples..." --cot-debug --top-k-attribution 10
    hexray --prompt "Why do bees buzz?" --logit-debug --report out

    Contributions are exact addends of the logit; percent is the share of the sizes of all parts, listed or not.
    """
    request = Request(**flags)
    request.check()
    if request.report is not None:
        from fluoroscope.reports import check_folder

        check_folder(request.report)
    name = specimen.NAMES[0] if model is None else model
    click.echo(f"Loading model {prose(name)}...", err=True)
    loaded = derived.load(model, dtype, device)
    click.echo(f"Loaded pretrained model {prose(loaded.name)} into Fluoroscope", err=True)
    session = Session(loaded, request, derived.console().width)
    _perform(session, as_json)
    if request.report is not None:
        _save(session, request.report)
    if as_json:
        found = {name: json.loads(chapter.result.to_json()) for name, chapter in session.chapters.items()}
        derived.print_json(json.dumps(found, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def _perform(session: Session, silent: bool) -> None:
    """Runs what is asked for and prints it, nothing before the last argument was found to be good.

    The last modes run first: theirs are the arguments of their own, a weight or a calculation that is not there.
    """
    asked, target = modes(session.request), derived.console()
    lines: dict[str, list[Line]] = {}
    chapters: dict[str, dict[str, Chapter]] = {}
    for name, mode in reversed(asked.items()):
        session.chapters = chapters[name] = {}
        with derived.progress(quiet=silent):
            lines[name] = list(mode(session))
    session.chapters = {file: chapter for name in asked for file, chapter in chapters[name].items()}
    for place, name in enumerate(asked):
        if len(asked) > 1:
            click.echo(f"{'' if silent or not place else chr(10)}[•] Running {name}", err=silent)
        for line in [] if silent else ["", *lines[name]]:
            target.print(line, no_wrap=not isinstance(line, str), crop=False)


def _save(session: Session, folder: str) -> None:
    from fluoroscope.reports import Report

    request = session.request
    if request.prompt is not None and not request.logit_debug:
        session.heads(request.top_k_attribution or LOGIT_PARTS, required=False)
        for reason in session.refused:
            click.echo(f"[!] {prose(reason)}", err=True)
    lead = [f"Not for this model: {reason}" for reason in session.refused]
    for path in Report("HexRay report", lead, session.chapters).save(folder):
        kind = {".json": " data", ".html": ""}.get(path.suffix, " plot")
        name = "Report" if path.suffix == ".html" else path.stem.replace("_", " ")
        click.echo(f"[✓] {name[:1].upper()}{name[1:]}{kind} saved to: {prose(str(path))}", err=True)


def main() -> None:
    """Runs `hexray` and exits as `fluoro` does."""
    ending.main(hexray)


if __name__ == "__main__":
    main()
