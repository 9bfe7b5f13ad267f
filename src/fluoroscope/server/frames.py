"""Arrays on the wire: u32 length of a JSON header | the header, padded to 8 bytes | raw little-endian buffers."""

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fluoroscope import strict_json
from fluoroscope.errors import ArtifactError

_NAMES = {np.dtype("u1"): "u1", np.dtype("<f2"): "f2", np.dtype("<f4"): "f4", np.dtype("<i4"): "i4"}
THUMBNAIL = 64
"""Most cells on a side of a small picture of a pattern."""


def frame(header: Mapping[str, Any], **parts: np.ndarray[Any, Any]) -> bytes:
    """One binary message; each part's name, type, shape and offset are in its header."""
    listed: list[dict[str, Any]] = []
    buffers: list[bytes] = []
    offset = 0
    for name, part in parts.items():
        raw = np.ascontiguousarray(part).tobytes()
        padded = raw + b"\0" * (-len(raw) % 8)
        listed.append({"name": name, "dtype": _NAMES[part.dtype], "shape": part.shape, "offset": offset})
        buffers.append(padded)
        offset += len(padded)
    text = json.dumps({**header, "parts": listed}, allow_nan=False).encode("utf8")
    text += b" " * (-(len(text) + 4) % 8)
    return struct.pack("<I", len(text)) + text + b"".join(buffers)


def read(message: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray[Any, Any]]]:
    """The header and the parts of a binary message.

    Raises:
        ArtifactError: it is none, or cut off.
    """
    kinds = {name: dtype for dtype, name in _NAMES.items()}
    try:
        (length,) = struct.unpack_from("<I", message)
        header: dict[str, Any] = strict_json.load(message[4 : 4 + length])
        parts = {
            part["name"]: np.frombuffer(
                message, kinds[part["dtype"]], math.prod(part["shape"]), 4 + length + part["offset"]
            ).reshape(part["shape"])
            for part in header.pop("parts")
        }
    except (struct.error, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ArtifactError(f"this is no message of arrays: {error}") from error
    return header, parts


def shares(pattern: Float[Tensor, "*axes"]) -> np.ndarray[Any, Any]:
    """Shares of 1 as bytes of their square roots, finer where they are small; off by 0.0039 at most."""
    return (pattern.float().clamp(0, 1).sqrt() * 255).round().to(torch.uint8).cpu().numpy()


def thumbnail(pattern: Float[Tensor, "head query key"]) -> Float[Tensor, "head small small"]:
    """A pattern in at most 64 x 64 cells, each the largest of what it covers, so that peaks survive."""
    size = pattern.shape[-1]
    if size <= THUMBNAIL:
        return pattern
    return torch.nn.functional.adaptive_max_pool2d(pattern[None].float(), THUMBNAIL)[0]
