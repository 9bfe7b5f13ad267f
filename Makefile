# The README's two commands are `make demo` and `make test`; both set everything up on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DEMO_MODEL ?= ../shared/models/stories260k
DEMO_PROMPT ?= Once upon a time, there was a little girl named

.PHONY: demo test check generate bench bench-peers clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt "torch==2.13.0"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

demo: $(STAMP)
	@if [ -d "$(DEMO_MODEL)" ]; then \
	  $(BIN)/fluoro explain "$(DEMO_PROMPT)" --model "$(DEMO_MODEL)"; \
	else \
	  echo "fluoro is installed in $(BIN). No model is embedded yet and $(DEMO_MODEL) does not exist:"; \
	  echo "  make demo DEMO_MODEL=path/or/hub-id"; \
	fi

test: $(STAMP)
	$(BIN)/pytest -n 2

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

generate: $(STAMP)
	$(BIN)/python docs/generate.py

bench: $(STAMP)
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/trace.py

bench-peers: $(STAMP)
	sh benchmarks/peers.sh
	$(BIN)/python benchmarks/trace.py --peers

clean:
	rm -rf .venv build dist
