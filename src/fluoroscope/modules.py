"""Modules of a Hugging Face model by their dotted path."""

from torch import nn

from fluoroscope.errors import ArchitectureError


def submodule(root: nn.Module, path: str | None) -> nn.Module | None:
    """The module at a dotted path, or None where the path leads nowhere."""
    if path is None:
        return None
    try:
        return root.get_submodule(path)
    except AttributeError:
        return None


def required(root: nn.Module, path: str, what: str) -> nn.Module:
    """The module at a path that the model cannot do without."""
    found = submodule(root, path)
    if found is None:
        raise ArchitectureError(
            f"{type(root).__name__} has no module {path!r}, where its {what} should be",
            "print(hf_model) shows the names; pass architecture=Architecture(…) with the right paths.",
        )
    return found
