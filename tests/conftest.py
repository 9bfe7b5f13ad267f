"""What all tests share: settings of the process, and one small saved model per session."""

import fcntl
import importlib.util
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are tiny: threads would only wait for each other
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["FLUOROSCOPE_STORE"] = "off"  # what tests run is not kept among the results of whoever runs them

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """Where the tiny character model lies."""
    import tiny

    folder = tiny.save(tmp_path_factory.mktemp("tiny"))
    tiny.save_lenses(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tiny_folder):
    """The tiny character model under the X-ray."""
    from fluoroscope.loading import load

    return load(tiny_folder)


@pytest.fixture(scope="session")
def hatch_build():
    """The build hook, as a module."""
    spec = importlib.util.spec_from_file_location("hatch_build", Path(__file__).parents[1] / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def bundle(hatch_build):
    """Where the lab's page lies, which is that of `web/` as it is now."""
    root = Path(__file__).parents[1]
    if os.environ.get("FLUOROSCOPE_WEB") == "skip" and hatch_build.stale(root):
        pytest.skip("FLUOROSCOPE_WEB=skip left the lab's page out")
    door = Path(tempfile.gettempdir(), f"fluoroscope-page-{os.getuid()}.lock")
    with door.open("w") as held:  # workers of one run would build over one another
        fcntl.flock(held, fcntl.LOCK_EX)
        hatch_build.bundle(root)
    return hatch_build.stamp(root).parent
