"""Errors that are also the exceptions which mlxterp's document names, so that code which catches these goes on."""

from collections.abc import Generator
from contextlib import contextmanager

from fluoroscope.errors import ArchitectureError, ArgumentError, LoadError, SiteError, TokenError


class InputError(TokenError, ValueError):
    """A prompt that is none, or a text where there is no tokenizer."""


class SourceError(LoadError, ValueError):
    """A model that cannot be loaded."""


class SettingError(ArgumentError, ValueError):
    """A setting that the document refuses with a ValueError."""


class PathError(ArchitectureError, AttributeError):
    """A path that leads to no module, or to none that can be what it is named as."""


class LayerError(SiteError, IndexError):
    """A layer beyond the last."""


class MissingError(SiteError, KeyError):
    """A value that was not kept."""


@contextmanager
def valued() -> Generator[None]:
    """Prompts and models that are refused inside the block are ValueErrors too, wrong paths AttributeErrors."""
    try:
        yield
    except TokenError as error:
        raise InputError(error.message, error.hint) from error
    except LoadError as error:
        raise SourceError(error.message, error.hint) from error
    except PathError:
        raise
    except ArchitectureError as error:
        raise PathError(error.message, error.hint) from error
