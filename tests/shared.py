"""Where the material shared by all checkouts lies: small models, tokenizers and data, beside the repository."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the shared folder beside the repository is missing")
