# Two commands do everything on a fresh machine: `make demo` and `make test`.
# VENV names the virtual environment that they make and use.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-slow test-ray test-ray-slow lint bench clean install

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,demo]'
	touch $@

# A real clip through the default pipeline: out/ then holds the video, a comparison and a strip.
demo: $(INSTALLED)
	$(BIN)/python deploy/demo.py out

test: $(INSTALLED)
	$(BIN)/python -m pytest

# What takes longer than about ten seconds a test.
test-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m "slow and not ray"

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What starts Ray: processes that die, hang and come back.
test-ray: $(INSTALLED)
	$(BIN)/python -m pytest -m "ray and not slow"

# Whole clusters and jobs: submitted, killed, resumed.
test-ray-slow: $(INSTALLED)
	$(BIN)/python -m pytest -m "ray and slow"

# Ratios inside one run; each script prints JSON.
bench: $(INSTALLED)
	for script in tests/benchmarks/*.py; do PYTHONPATH=.:tests:tests/ray $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) out build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
