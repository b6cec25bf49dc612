# Everything runs in a virtual environment in this checkout, made at the first call.
# Needs Python 3.11 or newer, make and a C compiler; say PYTHON=... to choose the interpreter.

VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.has-runtime
DEV := $(VENV)/.has-dev
BROWSER := $(VENV)/.looked-for-browser
TYPES := $(VENV)/types.log

DEMO_ARGS ?= run --name demo
PYTEST_ARGS ?=
# As many tests at a time as there are cores; each process reads all test files first, so that more than 8 gain little.
# PYTEST_ARGS="-n 0" runs them one after the other, in one process that a debugger can enter.
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal
BENCH_ARGS ?=

ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
FIND_PYTHON = $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	if $$p -c '$(ENOUGH)' 2>/dev/null; then echo $$p; break; fi; done)

# The environment is made for one place and one interpreter; elsewhere (a copied checkout, another PYTHON) it is made anew.
MADE_FOR := $(VENV)/.made-for
ifneq ($(shell test -x $(BIN)/python && head -n 1 $(MADE_FOR) 2>/dev/null),$(CURDIR))
STALE := stale
endif
ifdef PYTHON
ifneq ($(shell tail -n 1 $(MADE_FOR) 2>/dev/null),$(PYTHON))
STALE := stale
endif
endif
PYTHON ?= $(FIND_PYTHON)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint style format docs browser screenshots stress bench clean stale

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

demo: $(RUNTIME) ## one small experiment from data to report
	@$(BIN)/perturblearn $(DEMO_ARGS)

# Types of the source are checked beside the tests, half a minute of one core, and told of at the end. Those of tests and
# benchmarks take as long again: make lint and make stress check all.
test: style $(BROWSER) ## lint and the tests (PYTEST_ARGS="-k ..." for some)
	@$(BIN)/pyright src >$(TYPES) & types=$$!; trap "kill $$types 2>/dev/null" EXIT INT TERM; \
		$(PYTEST) $(PYTEST_ARGS); tests=$$?; \
		wait $$types || { cat $(TYPES); exit 1; }; exit $$tests

lint: style ## format, lint, types and docstrings, changing nothing
	@$(BIN)/pyright

style: $(DEV)
	@$(BIN)/ruff format --check --quiet . || { echo "Not formatted as above: make format"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/python docs/docstrings.py

format: $(DEV) ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

browser: $(BROWSER) ## find a browser for the tests of the pages, or install one where that can be done

screenshots: $(BROWSER) ## take the documentation's pictures of the pages again
	@PERTURBLEARN_SCREENSHOTS=1 PERTURBLEARN_STRESS=1 PERTURBLEARN_REQUIRE_BROWSER=1 $(BIN)/python -m pytest tests/browser $(PYTEST_ARGS)

docs: $(DEV) ## the documentation as a site, its notebooks executed; a warning, a failing cell or a link that leads nowhere fails
	@MPLBACKEND=Agg $(BIN)/python -m sphinx -b html -W -n --keep-going -q docs docs/_build/html
	@echo "The documentation: docs/_build/html/index.html"

stress: lint $(BROWSER) ## kill, fuzz and load loops at their full count, the tests that take long, and types everywhere
	@PERTURBLEARN_STRESS=1 $(PYTEST) -m "stress or long" $(PYTEST_ARGS)

bench: $(DEV) ## training against the plain loop, exact maps against Monte Carlo, attacks against foolbox, side by side; what a run costs beside its computing; how fast pages are written and opened
	@$(BIN)/python benchmarks/training.py $(BENCH_ARGS)
	@$(BIN)/python benchmarks/theory.py $(BENCH_ARGS)
	@$(BIN)/python benchmarks/attacks.py $(BENCH_ARGS)
	@$(BIN)/python benchmarks/overhead.py $(BENCH_ARGS)
	@$(BIN)/python benchmarks/pages.py

clean: ## remove the environment, caches and built files (never results)
	rm -rf $(VENV) build dist docs/_build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# install EXTRAS, STAMPS: a stamp says that an installation went through. Stamps go before pip starts, and an
# environment without one is not trusted but made anew, so an interrupted call leaves nothing half-made behind.
define install
	@if [ -n "$(STALE)" ] || ! [ -f $(RUNTIME) ]; then \
		$(if $(PYTHON),,echo "No Python 3.11 or newer found; name one with PYTHON=..."; exit 1;) \
		$(PYTHON) -c '$(ENOUGH)' 2>/dev/null || { echo "$(PYTHON) is not Python 3.11 or newer; name one with PYTHON=..."; exit 1; }; \
		rm -rf $(VENV); \
		$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
			echo "$(PYTHON) cannot make virtual environments (a system Python may need its venv package)."; exit 1; }; \
		printf '%s\n' "$(CURDIR)" "$(PYTHON)" > $(MADE_FOR); \
	fi
	@rm -f $(RUNTIME) $(DEV)
	@echo "Installing perturblearn$(1) into $(VENV): a minute or two, longer if PyTorch has to be downloaded ..."
	@PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
		$(BIN)/python -m pip install -qq --disable-pip-version-check --no-input --editable ".$(1)"
	@$(BIN)/python -m compileall -q src # pip does so for all but an editable package; a start takes 0.4 s longer without
	@touch $(2)
endef

$(RUNTIME): pyproject.toml constraints.txt $(STALE)
	$(call install,,$(RUNTIME))

$(DEV): pyproject.toml constraints.txt $(STALE)
	$(call install,[dev],$(RUNTIME) $(DEV))

# Without a browser the tests of the pages are skipped, and say why; so this never fails. The stamp holds its path.
$(BROWSER): $(DEV)
	@$(BIN)/python -m tests.browser.installed > $@ || true
