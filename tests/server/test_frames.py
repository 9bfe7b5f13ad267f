"""Frames say what was put in, and whatever else is refused without a crash."""

import contextlib
import json
import struct

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fluoroscope.errors import ArtifactError
from fluoroscope.server import frames

ARRAYS = st.sampled_from(["u1", "<f2", "<f4", "<i4"]).flatmap(
    lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)


@given(st.dictionaries(st.sampled_from("abcdef"), ARRAYS, max_size=4), st.dictionaries(st.text(), st.integers()))
def test_a_frame_is_read_back_bit_for_bit(parts, header):
    header.pop("parts", None)
    message = frames.frame(header, **parts)
    told, found = frames.read(message)
    assert told == header
    assert {name: (part.dtype, part.shape, part.tobytes()) for name, part in found.items()} == {
        name: (part.dtype, part.shape, part.tobytes()) for name, part in parts.items()
    }
    (length,) = struct.unpack_from("<I", message)
    assert (4 + length) % 8 == 0  # a typed array of the page has to begin at a multiple of its size
    assert all(listed["offset"] % 8 == 0 for listed in json.loads(message[4 : 4 + length])["parts"])


@given(st.binary(max_size=60))
def test_noise_is_no_frame(noise):
    with pytest.raises(ArtifactError):
        frames.read(noise)


WHOLE = frames.frame({"v": 1}, a=np.arange(5, dtype="<f4"))


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_damaged_frame_is_read_or_refused(at, byte):
    with contextlib.suppress(ArtifactError):
        frames.read(WHOLE[:at] + bytes([byte]) + WHOLE[at + 1 :])


@pytest.mark.parametrize("cut", range(0, len(WHOLE) - 4, 5))
def test_a_frame_that_is_cut_off_is_refused(cut):
    with pytest.raises(ArtifactError):
        frames.read(WHOLE[:cut])


def test_shares_are_off_by_no_more_than_they_say():
    exact = torch.linspace(0, 1, 10001, dtype=torch.float64)
    read = (torch.from_numpy(frames.shares(exact)).double() / 255) ** 2
    assert (read - exact).abs().max() <= 0.00393
    assert (read - exact).abs()[:100].max() <= 0.0004  # below 0.01
    assert (read[0], read[-1]) == (0, 1)


@pytest.mark.parametrize("size", [1, 5, 63, 64, 65, 100, 130])
def test_a_thumbnail_keeps_every_peak(size):
    pattern = torch.rand(3, size, size)
    small = frames.thumbnail(pattern)
    side = min(size, frames.THUMBNAIL)
    assert small.shape == (3, side, side)
    for row in range(side):
        for column in range(side):
            rows, columns = (slice(n * size // side, -((-(n + 1) * size) // side)) for n in (row, column))
            assert torch.equal(small[:, row, column], pattern[:, rows, columns].amax((1, 2)))
