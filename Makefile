# `make` alone lists what there is. Everything sets itself up first; see .ci/setup.
PY := .venv/bin/python
READY := .venv/ready
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help run setup test check bench eval clean
MAKEFLAGS += --no-print-directory

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' Makefile

run: $(READY) ## Open Charlie; ARGS='add "A good day."' runs a command instead
	@$(PY) charlie.py $(ARGS)

test: $(READY) ## Run the tests; ARGS='tests/cli -k add' runs some of them
	@$(PY) -m pytest -n 3 --dist worksteal $(ARGS)

setup: $(READY) ## Only set up: .venv with the pinned dependencies
	@echo "Charlie is set up: make run"

check: $(READY) ## Format, lint, types and import contracts
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy --strict backend frontend optimizers charlie.py
	@$(PY) -c "from importlinter.cli import lint_imports_command as lint; lint()"

bench: $(READY) ## Measure; writes tests/bench/results.json
	@$(PY) -m tests.bench $(ARGS)

eval: $(READY) ## Score the shipped reader; ARGS='--set tuning --errors' looks closer
	@$(PY) -m optimizers.evaluate --reader tagger $(or $(ARGS),--set tuning --set reporting --wnut default)

clean: ## Remove .venv and caches; never a journal
	rm -rf .venv .mypy_cache .ruff_cache .import_linter_cache .pytest_cache *.egg-info build dist
	find backend frontend optimizers tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): requirements.lock pyproject.toml .ci/setup
	@.ci/setup $@
