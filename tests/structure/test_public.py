"""The public names are few, and none of them costs an import of torch before it is used."""

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

GROUND = ("aliases", "architectures", "artifact", "cli.main", "errors", "pickles", "progress", "registry", "result")
GROUND += ("marks", "render.document", "render.html", "render.markdown", "render.terminal", "signature", "sites")
GROUND += ("views",)


def test_importing_the_package_imports_no_torch():
    subprocess.run([sys.executable, "-c", LAZY], check=True)


@pytest.mark.parametrize("module", GROUND)
def test_the_ground_is_read_without_torch(module):
    code = f"import sys, fluoroscope.{module}; sys.exit(bool({{'torch', 'transformers'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_lists_its_commands_without_torch():
    code = (
        "import sys; from fluoroscope.cli.main import outcome; status = outcome(['--help'])\n"
        "sys.exit(status or bool({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "explain" in done.stdout


def test_every_public_name_is_there_and_there_are_few():
    assert len(fluoroscope.__all__) <= 20
    for name in fluoroscope.__all__:
        value = getattr(fluoroscope, name)
        assert getattr(value, "__module__", "fluoroscope").startswith("fluoroscope")


def test_the_toolkits_interface_is_public():
    from fluoroscope.analyzer import ModelAnalyzer

    assert fluoroscope.ModelAnalyzer is ModelAnalyzer
    assert fluoroscope.compat.__name__ == "fluoroscope.compat"
    assert {"ModelAnalyzer", "compat"} <= set(fluoroscope.__all__)


def test_an_unknown_name_is_an_error():
    with pytest.raises(AttributeError, match="has no attribute 'Modle'"):
        fluoroscope.Modle  # noqa: B018
