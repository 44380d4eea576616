# `make run` and `make test` do everything on a machine with Python 3.11 or newer and make.

# On a Mac one for Apple Silicon: for Intel's, which run there too, MLX has nothing.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import platform, sys; sys.exit(sys.version_info < (3, 11) or \
	(platform.system(), platform.machine()) == ("Darwin", "x86_64"))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest
SOURCES := manage.py ollaproject endpoints proxy inference tests scripts bench
# More than CI's two cores: the tests wait for other processes half of their time.
PYTEST_WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test lint types format check services pytest bench screenshots lock clean

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: setup ## set up, then serve the gateway with a real model of this machine
	@$(BIN)/python manage.py serve

setup: $(VENV)/.run-installed ## make the virtual environment with everything that runs

setup-dev: $(VENV)/.dev-installed ## the same with everything that checks

test: setup-dev services lint check pytest ## set up, then run every check

lint: setup-dev ## formatting, lint, types, import contracts, templates
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	find templates -name '*.html' -print0 | xargs -0 $(BIN)/djade --target-version 5.2 --check
	$(BIN)/lint-imports
	$(BIN)/mypy $(SOURCES)

check: setup-dev ## Django's own checks, as for a deployment, and missing migrations
	OLLA_HOME=$(VENV)/check-home OLLA_HTTPS=true $(BIN)/python manage.py check --deploy --fail-level WARNING
	OLLA_HOME=$(VENV)/check-home $(BIN)/python manage.py makemigrations --check --dry-run

services: ## install what the tests need beside Python: Redis, PostgreSQL, Chromium, Node
	@scripts/install_test_services.sh

# What fails beside other tests is run once more by itself, and named: what is broken fails there again.
pytest: setup-dev ## the tests alone
	$(PYTEST) -n $(PYTEST_WORKERS) --dist loadfile --no-loadscope-reorder || { test $$? -eq 1 && \
		echo "Once more, alone, what failed beside others:" && \
		$(PYTEST) --last-failed --last-failed-no-failures none --maxfail 3 -n 0 --verbose; }

format: setup-dev ## format everything
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)
	find templates -name '*.html' -print0 | xargs -0 $(BIN)/djade --target-version 5.2

bench: setup-dev ## measure the request path against a stub, direct and through nginx
	$(BIN)/python -m bench.proxy

screenshots: setup-dev ## pictures of every page, light and dark, desktop and phone
	$(BIN)/python scripts/screenshots.py

lock: setup-dev ## requirements*.in -> requirements*.txt, with hashes, for every platform
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet requirements.in -o requirements.txt
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet -c requirements.txt requirements-dev.in -o requirements-dev.txt

clean: ## remove the virtual environment and caches; var/ with your data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis staticfiles

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed (on a Mac, one for Apple Silicon) and was not found. Install it, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "Making a virtual environment with $$($(PYTHON) --version) …"
	@rm -f $(BIN)/python* # links to one that is gone, as after an upgrade of Homebrew's
	@$(PYTHON) -m venv $(VENV)

# A Python that is new has nothing installed.
$(VENV)/.run-installed: requirements.txt $(BIN)/python
	@echo "Installing requirements …"
	@$(PIP) install --quiet --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.dev-installed: requirements-dev.txt $(BIN)/python
	@echo "Installing requirements, also those of the checks …"
	@$(PIP) install --quiet --require-hashes -r requirements-dev.txt
	@touch $@ $(VENV)/.run-installed
