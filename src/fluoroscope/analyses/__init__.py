"""The catalogue: one file is one analysis is one function of its name. `fluoroscope.registry` lists it."""
