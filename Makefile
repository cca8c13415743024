# Two commands on a fresh machine with Python 3.11+, git and make: `make demo` and `make test`.
# Each does its own set-up in .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-all lint bench evaluate lock clean

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

demo: $(STAMP)  ## the whole system with a simulated city, in this terminal and at http://127.0.0.1:8080
	$(BIN)/citypulse demo

WORKERS ?= 2
test: $(STAMP)  ## everything that runs in under ten minutes on two cores
	$(BIN)/python -m pytest -m "not slow" --numprocesses $(WORKERS) --dist loadfile $(ARGS)

test-all: $(STAMP)  ## the slow suites too: long kill tests, full scenarios
	$(BIN)/python -m pytest $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)  ## prints figures; never fails on time
	$(BIN)/python -m tests.bench $(ARGS)

DATA ?= ../shared
evaluate: $(STAMP)  ## detection quality on recorded data: DATA is a folder with data/ and eval/
	$(BIN)/python -m tests.bench.detection --data $(DATA) $(ARGS)

lock: $(STAMP)  ## renew requirements.lock: exact versions with hashes, no download addresses
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --extra dev --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
		--no-emit-trusted-host --no-header --output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
