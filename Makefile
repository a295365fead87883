# One virtual environment, built from pinned versions; every target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
SOURCES := src tests benchmarks

.PHONY: demo test test-tf check format tags bench clean

demo: $(STAMP)  ## make a speech recogniser from nothing, measure it, write the report page
	$(BIN)/aedo demo --out demo

test: $(STAMP)  ## every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal  # a thread for each of two processes

test-tf: $(STAMP)  ## the tests that read TensorFlow checkpoints; downloads TensorFlow
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[tf]'
	$(BIN)/python -m pytest tests/interop

check: $(STAMP)  ## format, lint, strict types, import of every module
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/python -m tests.import_everything

format: $(STAMP)
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

tags: $(STAMP)  ## docs/tags.md and the golden files of bases and published names, anew
	$(BIN)/python -m tests.recipes.regenerate
	$(BIN)/python -m tests.recipes.table

bench: $(STAMP)  ## every benchmark: ratios against a named peer, measured in the same run
	for file in benchmarks/[a-z]*.py; do $(BIN)/python $$file || exit 1; done

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[synth,report,returnn,dev]'
	touch $@

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache
