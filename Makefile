# The README's two commands are `make demo` and `make test`; both set everything up on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DEMO_PROMPT ?= When Mary and John went to the store, John gave a drink to

.PHONY: demo test check generate bench bench-peers specimen clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt "torch==2.13.0"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/fluoro explain "$(DEMO_PROMPT)"

test: $(STAMP)
	$(BIN)/pytest -n 2 --dist worksteal

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check
	$(BIN)/python web/check.py

generate: $(STAMP)
	$(BIN)/python docs/generate.py
	$(BIN)/python web/generate.py

bench: $(STAMP)
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/trace.py
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/causes.py
	$(BIN)/python benchmarks/lab.py
	$(BIN)/python benchmarks/load.py

bench-peers: $(STAMP)
	sh benchmarks/peers.sh
	$(BIN)/python benchmarks/trace.py --peers
	$(BIN)/python benchmarks/causes.py --peers

# Trains the embedded models anew, measures them, puts them into the package if the circuit gate opens, and fits the
# lenses beside them, which belong to these very weights. Two hours.
specimen: $(STAMP)
	for name in specimen specimen-llama; do \
	  $(BIN)/python -m training.trainer $$name --out .specimen/$$name && \
	  $(BIN)/python -m training.evaluate .specimen/$$name/model && \
	  $(BIN)/python -m training.release .specimen/$$name --as $$name && \
	  $(BIN)/python -m training.lenses $$name || exit 1; \
	done

clean:
	rm -rf .venv build dist
