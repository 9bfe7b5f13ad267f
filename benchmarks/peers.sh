#!/bin/sh
# Makes .benchmarks-env: TransformerLens, nnsight and pyvene, newest from the index, beside the torch and transformers
# that Fluoroscope is developed with. torch comes first, alone and pinned: left to the peers' own requirements, pip
# would fetch a CUDA build of several gigabytes.
set -eu
cd "$(dirname "$0")/.."
ENVIRONMENT=.benchmarks-env
"${PYTHON:-python3}" -m venv "$ENVIRONMENT"
PINS="$ENVIRONMENT/pins.txt"
grep -E '^(torch|transformers)==' constraints.txt > "$PINS"
"$ENVIRONMENT/bin/pip" install --quiet --disable-pip-version-check -c "$PINS" torch
"$ENVIRONMENT/bin/pip" install --quiet --disable-pip-version-check -c "$PINS" --upgrade \
  torch transformers transformer-lens nnsight pyvene
"$ENVIRONMENT/bin/pip" list --disable-pip-version-check 2>/dev/null \
  | grep -iE '^(torch|transformers|transformer-lens|nnsight|pyvene) '
