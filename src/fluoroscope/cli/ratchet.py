"""The commands under `fluoro ratchet`: experiments that are kept only if they are better."""

from typing import Any

import click

from fluoroscope import specimen
from fluoroscope.cli.derived import print_json
from fluoroscope.cli.derived import progress as progress_bars
from fluoroscope.errors import ArtifactError
from fluoroscope.render.text import counted, number, prose

_folder = click.argument("folder", metavar="DIR")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, and nothing else.")


@click.group("ratchet")
def command() -> None:
    """A loop of experiments, each kept only if it beats all before it.

    \b
    fluoro ratchet init names --question "Which heads find the other name?"
    fluoro ratchet run names
    fluoro ratchet status names

    setup.py says what is asked and what counts as better, and is sealed by the first run; experiment.py is to be
    rewritten. Each experiment is made once, in a process of its own, and measured on prompts that it did not see.
    """


@command.command("init")
@_folder
@click.option("--model", "-m", default=specimen.NAMES[0], show_default=True, help="Folder or hub id of the model.")
@click.option("--question", default="Which heads carry the answer?", show_default=True, help="What is to be found out.")
@click.option("--max-experiments", type=int, default=100, show_default=True, help="How many may be made in all.")
def init(folder: str, model: str, question: str, max_experiments: int) -> None:
    """Makes a folder that runs as it is.

    setup.py, experiment.py, program.md, AGENTS.md, results.jsonl and findings/."""
    from fluoroscope.autointerpret import init_autointerpret

    click.echo(f"made {prose(init_autointerpret(folder, model, question, max_experiments))}", err=True)


@command.command("run")
@_folder
@click.option("--limit", type=click.IntRange(min=1), help="At most so many experiments now.")
@_json
def run(folder: str, limit: int | None, as_json: bool) -> None:
    """Makes what experiment.py proposes, until it proposes nothing new."""
    from fluoroscope.autointerpret import Investigation
    from fluoroscope.strict_json import dump

    with progress_bars(quiet=as_json):
        made = 0
        for entry in Investigation(folder).run(limit):
            made += 1
            if as_json:
                print_json(f"{dump(entry.to_dict())}\n")
            else:
                click.echo(entry.line())
    if not made:
        click.echo("nothing new: what experiment.py proposes was made before", err=True)


@command.command("status")
@_folder
@_json
def status(folder: str, as_json: bool) -> None:
    """What was found, what runs, and what is damaged."""
    from fluoroscope.autointerpret.folder import status as found
    from fluoroscope.strict_json import dump

    told = found(folder)
    if as_json:
        print_json(f"{dump(told, indent=2)}\n")
    else:
        for line in _lines(told):
            click.echo(line)
    if told["damage"]:
        raise ArtifactError("the log is damaged", "What was told is what stands before the damage.")


@command.command("tools")
def tools() -> None:
    """These commands as tools for an agent, in JSON.

    Each with a name, a description, a JSON schema of its input, and the words of its command line: {name} is a value
    of the input, and words in a list of their own are left out without it."""
    from fluoroscope.strict_json import dump

    found = [_tool(each) for name, each in command.commands.items() if name != "tools"]
    print_json(f"{dump(found, indent=2)}\n")


def _tool(one: click.Command) -> dict[str, Any]:
    """A command as a tool: its arguments and options are the properties of its input."""
    own = [each for each in one.params if each.name not in ("as_json", "help")]
    words = ["fluoro", "ratchet", one.name, *map(_spelled, own)]
    return {
        "name": f"ratchet_{one.name}",
        "description": " ".join((one.help or "").split()),
        "input_schema": {
            "type": "object",
            "properties": {str(each.name): _property(each) for each in own},
            "required": [each.name for each in own if each.required],
            "additionalProperties": False,
        },
        "command": [*words, *(["--json"] if any(each.name == "as_json" for each in one.params) else [])],
    }


def _spelled(parameter: click.Parameter) -> str | list[str]:
    """Its words on a command line."""
    value = f"{{{parameter.name}}}"
    return value if isinstance(parameter, click.Argument) else [parameter.opts[0], value]


def _property(parameter: click.Parameter) -> dict[str, Any]:
    about = parameter.to_info_dict()
    kind = "integer" if about["type"]["name"].startswith("integer") else "string"
    found = {"description": about.get("help"), "default": about.get("default"), "minimum": about["type"].get("min")}
    return {"type": kind, **{name: value for name, value in found.items() if value is not None}}


def _lines(told: dict[str, Any]) -> list[str]:
    """What `status` says, one fact a line."""
    most, best = told.get("max_experiments"), told["best"]
    of = f" of at most {most}" if most else ""
    lines = [
        *([f"question: {prose(told['question'])}"] if told.get("question") else []),
        f"setup: {told['setup']}",
        f"experiments: {told['experiments']}{of}, {len(told['kept'])} kept, {len(told['failed'])} failed",
        f"now: {prose(told['state'])}",
    ]
    if best:
        name, value = next((key, value) for key, value in best.items() if key != "experiment")
        lines.append(f"best: {prose(name)} {number(value)} ({prose(best['experiment'])})")
    if told["ruled_out"]:
        lines.append(f"ruled out: {', '.join(map(prose, told['ruled_out']))}")
    if told["torn_bytes"]:
        lines.append(f"[!] {counted(told['torn_bytes'], 'byte')} of a last line that was cut off are no experiment")
    if told["damage"]:
        lines.append(f"[!] damaged: {prose(told['damage'])}; what follows it is not read")
    return [*lines, *told["log"]]
