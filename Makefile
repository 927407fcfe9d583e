# `make` lists what there is. Each target sets up .venv by itself, once.
#   make test PYTHON=python3.12                 another interpreter (run `make distclean` first)
#   make test PYTEST_ARGS="-k tanh -x" JOBS=0   some tests, in one process
#   make bench BENCH_ARGS=--quick               short rounds

PYTHON      ?= python3
VENV        ?= .venv
JOBS        ?= auto
PYTEST_ARGS ?=
BENCH_ARGS  ?=

py    := $(VENV)/bin/python
pip   := $(py) -m pip --disable-pip-version-check
needs := pyproject.toml constraints.txt

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint format coverage docs bench bench-more clean distclean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.demo  ## run the example that shows what gradsmith does
	$(py) examples/demo.py

# One thread a process: pytest already runs one process a core. Bytecode is kept, whatever the environment says: tests
# start Python some hundred times.
test: $(VENV)/.test  ## run every test
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(py) -m pytest -n $(JOBS) --maxprocesses 8 --dist worksteal $(PYTEST_ARGS)

lint: $(VENV)/.test  ## check style and types; changes nothing
	$(py) -m ruff check .
	$(py) -m ruff format --check .
	$(py) -m mypy

format: $(VENV)/.test  ## repair what ruff can repair
	$(py) -m ruff check --fix .
	$(py) -m ruff format .

coverage: $(VENV)/.test  ## run every test, in twice the time, and list the lines none of them reached
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(py) -m pytest -n $(JOBS) --maxprocesses 8 --dist worksteal --cov --cov-report=term $(PYTEST_ARGS)

docs: $(VENV)/.test  ## write docs/ops.md from the op table
	$(py) tools/ops_reference.py

bench: $(VENV)/.bench  ## write docs/benchmarks.md: times beside hand-written C and other libraries, and of builds (about ten minutes)
	$(py) benchmarks/op_counts.py
	$(py) benchmarks/speed.py $(BENCH_ARGS)

bench-more: $(VENV)/.bench  ## measure accuracy in ULP, and time Jacobians, Hessians and loops (about five minutes)
	$(py) benchmarks/accuracy.py
	OMP_NUM_THREADS=1 $(py) benchmarks/derivatives.py

clean:  ## remove caches and what was generated or built
	rm -rf out build dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## remove the environment as well
	rm -rf $(VENV)

# --- set-up: a stamp says that it is done, and is older than pyproject.toml when it must be done again ---

$(VENV)/bin/python:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "error: no program '$(PYTHON)'; install Python 3.11 or newer, or name it: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: gradsmith needs Python 3.11 or newer, and '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1); name another: make PYTHON=python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: '$(PYTHON)' cannot make virtual environments (no ensurepip); on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.demo: $(needs) | $(VENV)/bin/python
	@echo "setting up $(VENV) for the examples (once; this downloads torch)"
	$(pip) install --quiet -e '.[torch,draw,examples]' -c constraints.txt
	@touch $@

$(VENV)/.bench: $(needs) | $(VENV)/.test
	$(pip) install --quiet -e '.[bench]' -c constraints.txt
	@touch $@

$(VENV)/.test: $(needs) | $(VENV)/bin/python
	@echo "setting up $(VENV) for the tests (once; this downloads torch)"
	$(pip) install --quiet -e '.[test]' -c constraints.txt
	@touch $(VENV)/.demo $@
