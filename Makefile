# CONTRIBUTING.md says when to use which.
.PHONY: check fast test

check:
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	pytest -q tests/test_asserts.py tests/test_imports.py tests/test_words.py

fast:
	pytest -n 2 -m "not process and not e2e and not cluster"

test:
	pytest
