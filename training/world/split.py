"""Which combinations training never sees: a property of the words alone, the same on every machine."""

import zlib


def held_out(kind: str, *parts: object, one_in: int) -> bool:
    """Whether this combination is kept for the tests."""
    key = "|".join([kind, *map(str, parts)]).encode()
    return zlib.crc32(key) % 9973 % one_in == 0
