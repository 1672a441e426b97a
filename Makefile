.PHONY: setup test lint types demo bench

PYTHON := .venv/bin/python

setup:
	python3 -m venv .venv
	.venv/bin/pip install -q -c constraints.txt -e '.[dev]'

test:
	$(PYTHON) -m pytest -n auto --dist worksteal -q

lint:
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .

types:
	.venv/bin/mypy

demo:
	.venv/bin/budget demo

bench:
	@set -e; for file in benchmarks/*.py; do [ ! -e "$$file" ] || $(PYTHON) "$$file"; done
