"""`fluoro lab`: the model in the browser."""

import os
import webbrowser

import click

from fluoroscope.errors import ArgumentError


@click.command("lab", short_help="Watch the model think, in the browser.")
@click.option("--model", "-m", metavar="PATH_OR_ID", help="Folder or hub id; the embedded specimen if not given.")
@click.option("--models", metavar="PATH_OR_ID", multiple=True, help="What else may be chosen in the page; repeatable.")
@click.option("--device", metavar="NAME", help="Where to run: cpu, cuda, cuda:1, mps.")
@click.option("--host", metavar="NAME", help="Where to listen; elsewhere than on this machine, a token is asked for.")
@click.option("--port", type=click.IntRange(0, 65535), help="Default 8321; 0 picks a free one.")
@click.option("--max-tokens", type=click.IntRange(1), help="Longest prompt; default 512.")
@click.option("--store", metavar="FILE", help="Kept runs, as in fluoro runs; for others than you alone if named here.")
@click.option("--open/--no-open", "browse", default=False, help="Open the page in the browser.")
def command(browse: bool, models: tuple[str, ...], **given: str | int | None) -> None:
    """Serves the lab on this machine until Ctrl-C: prompts, layers as they are computed, every analysis.

    FLUOROSCOPE_MODEL, FLUOROSCOPE_HOST, FLUOROSCOPE_PORT, … and Circuit Trace's CT_MODEL, CT_PORT, … stand for options
    that are not given.
    """
    try:
        from fluoroscope.server.serve import serve
        from fluoroscope.server.settings import Settings
    except ModuleNotFoundError as error:
        raise ArgumentError(f"the lab needs {error.name}", "pip install 'fluoroscope[lab]'") from error

    settings = Settings.read(os.environ, models=models, **given)

    def opened(address: str) -> None:
        click.echo(f"Fluoroscope lab at {address}  (Ctrl-C ends it)")
        if settings.token is not None:
            click.echo(f"This link opens it once. The token is in {settings.token_file or 'FLUOROSCOPE_TOKEN'}.")
        if browse:
            webbrowser.open(address)

    serve(settings, opened)
