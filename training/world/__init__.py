"""A small world in which the specimen grows up: documents to learn from, cases to be tested on."""

from training.world.behaviours import BEHAVIOURS, PRESETS, Behaviour, cases
from training.world.document import Case, Document
from training.world.mixture import FAMILIES, documents

__all__ = ["BEHAVIOURS", "FAMILIES", "PRESETS", "Behaviour", "Case", "Document", "cases", "documents"]
