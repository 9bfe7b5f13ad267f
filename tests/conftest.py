"""What all tests share: settings of the process, and one small saved model per session."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are tiny: threads would only wait for each other
os.environ.setdefault("HF_HUB_OFFLINE", "1")

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
