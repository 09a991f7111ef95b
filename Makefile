# make demo and make test need Python 3.11 or newer and pip, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo

.PHONY: demo test lint types bench clean
.DELETE_ON_ERROR:

# The stamp is written last, so an installation that was stopped is done again.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all]'
	touch $@

demo: $(VENV)/.installed  ## the main job on the simulated MEG cohort: retrieval table and HTML report
	$(BIN)/neurodecode run demo --out $(OUT) --workers 2

# two processes, one thread each: faster on two cores than one process with two threads
test: $(VENV)/.installed  ## the whole test suite
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

# speed only, some minutes; the others of benchmarks/ measure accuracy, take a folder and much longer: see their first lines
SPEED := preprocessing features training_step codebook_step
bench: $(VENV)/.installed  ## speed beside other ways of doing the same; each prints a table with its command
	for name in $(SPEED); do echo "== $$name"; OMP_NUM_THREADS=1 $(BIN)/python benchmarks/$$name.py || exit 1; done

clean:
	rm -rf $(VENV) demo build dist *.egg-info
