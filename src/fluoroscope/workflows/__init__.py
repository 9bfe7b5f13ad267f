"""Analyses that call analyses. `fluoroscope.registry` lists them."""
