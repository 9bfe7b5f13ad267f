"""How many edited copies run at once: as many as a budget of memory, and a processor's cache, hold."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from fluoroscope.architectures import Dims
from fluoroscope.errors import ArgumentError
from fluoroscope.sites import Site

MEBIBYTE = 1 << 20
_SMALL = 1 << 26  # bytes for which the system is not asked, which takes milliseconds
ROWS = 512  # tokens at once: beyond, a block's activations leave the cache


def row_bytes(dims: Dims, slots: int) -> int:
    """What one token holds inside a block, counted generously: stream, hidden units, scores of all heads."""
    hidden = 6 * max(dims.d_mlp, 4 * dims.d_model)
    return 4 * (8 * dims.d_model + hidden + 4 * dims.n_heads * (slots + dims.d_head))


def cut(rows: Sequence[int], row: int, end: int, budget: int) -> list[int]:
    """How many copies each portion has, in order.

    Args:
        rows: how many tokens each copy computes.
        row: bytes of each token; `end` of a copy's logits.
        budget: bytes that a portion may hold.

    Raises:
        ArgumentError: one copy alone is beyond the budget.
    """
    sizes: list[int] = []
    tokens = held = 0
    for own in rows:
        needed = own * row + end
        if needed > budget:
            raise ArgumentError(
                f"one copy, of {own} tokens that are computed again, takes {needed / MEBIBYTE:.3g} MB, more than the "
                f"budget of {budget / MEBIBYTE:.3g} MB",
                "Raise the budget, shorten the prompt, or edit later tokens.",
            )
        if not sizes or held + needed > budget or tokens + own > ROWS:
            sizes.append(0)
            tokens = held = 0
        sizes[-1] += 1
        tokens, held = tokens + own, held + needed
    return sizes


def check_room(dims: Dims, sites: Iterable[Site], shape: Sequence[int], device: torch.device) -> None:
    """Whether there is memory for what a run of so many rows and slots is to keep, before it runs.

    Raises:
        ArgumentError: that is more than is free.
    """
    rows, slots = shape
    widths = {
        "pattern": dims.n_heads * slots,
        "scores": dims.n_heads * slots,
        **dict.fromkeys(("gate_proj", "up_proj", "neurons"), dims.d_mlp),
    }
    widths |= dict.fromkeys("kv", dims.n_kv_heads * dims.d_head) | dict.fromkeys("qz", dims.n_heads * dims.d_head)
    needed = 4 * rows * slots * sum(widths.get(site.name, dims.d_model) for site in sites)
    room = None if needed < _SMALL else free(device)
    if room is not None and needed > room:
        raise ArgumentError(
            f"the runs of {rows:,} prompts of {slots:,} tokens take {needed / 2**30:,.1f} GiB, of which "
            f"{room / 2**30:,.1f} are free",
            "Ask for fewer or shorter prompts.",
        )


def free(device: torch.device) -> int | None:
    """Bytes of memory that can still be had; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    told = Path("/proc/meminfo")
    found = re.search(r"MemAvailable: +(\d+) kB", told.read_text()) if device.type == "cpu" and told.is_file() else None
    return None if found is None else int(found[1]) << 10
