import subprocess
import sys

import pytest

import fluoroscope

LAZY = """
import sys, time
start = time.perf_counter()
import fluoroscope
took = time.perf_counter() - start
assert not {"torch", "transformers", "numpy", "pydantic"} & set(sys.modules), sys.modules.keys()
assert took < 0.1, took
assert dir(fluoroscope) == sorted([*fluoroscope.__all__, "__version__"])
fluoroscope.Site.parse("z.1.2")
fluoroscope.FluoroscopeError("x")
assert "torch" not in sys.modules
"""


def test_importing_the_package_imports_no_torch():
    subprocess.run([sys.executable, "-c", LAZY], check=True)


def test_every_public_name_is_there_and_there_are_few():
    assert len(fluoroscope.__all__) <= 20
    for name in fluoroscope.__all__:
        value = getattr(fluoroscope, name)
        assert getattr(value, "__module__", "fluoroscope").startswith("fluoroscope")


def test_an_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'Modle'"):
        fluoroscope.Modle  # noqa: B018
