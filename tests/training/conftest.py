import sys
from pathlib import Path

# The training code stands beside the package, not in it.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
