"""A lab whose model takes a second for a block; it says so on stderr. Run by `test_serve.py`."""

import os
import sys
import time

from fluoroscope import loading
from fluoroscope.server.serve import serve
from fluoroscope.server.settings import Settings

load = loading.load


def slow(*given, **named):
    model = load(*given, **named)

    def wait(*_):
        print("entered", file=sys.stderr, flush=True)
        time.sleep(1)

    model.blocks[0].register_forward_hook(wait)
    return model


loading.load = slow
serve(Settings.read(os.environ), lambda address: print(f"lab at {address}", flush=True))
