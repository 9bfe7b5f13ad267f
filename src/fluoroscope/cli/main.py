"""The command `fluoro`: what commands there are, and how every one of them ends."""

import errno
import gc
import os
import sys
from difflib import get_close_matches
from typing import Any

import click

from fluoroscope import __version__, registry
from fluoroscope.cli import derived, fixed, lab, ratchet, report, runs
from fluoroscope.errors import ArgumentError, Cancelled, FluoroscopeError, nearest

_RESULTS = ("ratchet", "report", "runs")
_STEM = 3  # letters from which the beginning of a word says what is meant


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


class Catalogue(click.Group):
    """The commands of the registry and a few fixed ones; a command is made when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*(spec.command for spec in registry.specs().values()), *sorted(self.commands)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        spec = registry.find(cmd_name)
        return derived.command(spec) if spec is not None and spec.command == cmd_name else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            raise FluoroscopeError(f"there is no command {name!r}", _nearest(name, self.list_commands(ctx)))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups = [
            (title, [(spec.command, spec.headline) for spec in specs]) for title, specs in registry.themes().items()
        ]
        rows = {name: command.get_short_help_str(200) for name, command in sorted(self.commands.items())}
        own = [("Results", [(name, rows.pop(name)) for name in _RESULTS]), ("Models", [*rows.items()])]
        for title, entries in [*groups, *own]:
            if entries:
                with formatter.section(derived.heading(title)):
                    formatter.write_dl(entries, col_max=24)


@click.group("fluoro", cls=Catalogue, invoke_without_command=True, context_settings=SETTINGS)
@click.version_option(__version__, prog_name="fluoro")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """X-rays of transformer language models: see every value of a forward pass, and why it came out so.

    \b
    fluoro explain "The capital of France is"

    This looks into the embedded specimen; --model, or FLUOROSCOPE_MODEL once for all commands, names another model.
    Each command has its own --help.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _command in (*fixed.COMMANDS, lab.command, ratchet.command, report.command, runs.command):
    cli.add_command(_command)


def main(command: click.Command = cli) -> None:
    """Runs `fluoro`, or another command, and exits: 0 done, 2 a request that has no answer, 130 stopped by the user."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure: Any = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    status = _flushed(outcome(sys.argv[1:], command))
    gc.freeze()  # else the exit looks for cycles among everything that was imported, for most of a second
    sys.exit(status)


def outcome(arguments: list[str], command: click.Command = cli) -> int:
    """The exit status of a command line without its first word; messages go to stderr."""
    try:
        _check_text(arguments)
        command.main(arguments, prog_name=command.name, standalone_mode=False)
    except Cancelled as stopped:
        printed = "What was printed is partial: it is what was measured before. No file was written."
        derived.complain("stopped", f"{stopped.message}." if stopped.partial is None else printed)
        return 130
    except (click.Abort, KeyboardInterrupt):
        derived.complain("stopped", "")
        return 130
    except click.NoSuchOption as error:
        derived.complain(error.message, _meant(error))
        return error.exit_code
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        derived.complain(error.format_message(), f"See {context.command_path} --help." if context else "")
        return error.exit_code
    except FluoroscopeError as error:
        derived.complain(error.message, error.hint)
        return 2
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        return _unwritten(error)
    return 0


_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _unwritten(error: OSError) -> int:
    derived.complain(f"the output cannot be written: {error.strerror}", "")
    return 2


def _flushed(status: int) -> int:
    """The exit status once all that was printed is out; a reader who went away is told nothing, as click does."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the exit tries once more, and says so
        if not status:
            return 1 if error.errno == errno.EPIPE else _unwritten(error)
    return status


def _nearest(name: str, commands: list[str]) -> str:
    """The commands with a word that begins as the name does (patch: head-patching, …), else the nearest one."""
    stem = name.removesuffix("s")
    related = [command for command in commands if any(word.startswith(stem) for word in command.split("-"))]
    alike = get_close_matches(name, commands, n=1, cutoff=0.8)
    if len(stem) < _STEM or alike or not related:
        return nearest(name, commands)
    return f"Did you mean {' or '.join((', '.join(related[:-1]), related[-1]) if related[1:] else related)}?"


def _meant(error: click.NoSuchOption) -> str:
    """The option that an unknown one is a slip of, else what options there are; and where text that begins so goes."""
    context = error.ctx
    if context is None:
        return ""
    parameters = context.command.get_params(context)
    options = [name for item in parameters for name in (*item.opts, *item.secondary_opts)]
    words = {name.removeprefix("--"): name for name in options if name.startswith("--")}
    word = error.option_name.lstrip("-")
    close = get_close_matches(word, words, n=1, cutoff=0.7) or [name for name in words if name.startswith(word)]
    meant = f"Did you mean {words[close[0]]!r}?" if len(close) == 1 else f"Its options: {', '.join(words.values())}."
    texts = [item.make_metavar(context) for item in parameters if isinstance(item, click.Argument) and item.nargs == 1]
    if texts and not error.option_name.startswith("--"):
        meant = f"Text that begins with - goes behind --: {context.command_path} -- {' '.join(texts)}. {meant}"
    return f"{meant} See {context.command_path} --help."


def _check_text(arguments: list[str]) -> None:
    for argument in arguments:
        try:
            argument.encode("utf8")
        except UnicodeEncodeError as error:
            raise ArgumentError(f"the argument {argument!a} is no valid text", "Write it in UTF-8.") from error
