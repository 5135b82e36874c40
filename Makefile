# make prove   sets everything up in .venv and proves the theorems of an example file
# make test    sets everything up in .venv and runs the linter, the type checker and the tests
PYTHON ?= $(shell command -v python3.11 || command -v python3)
FILE ?= lean_project/Examples/Logic.lean

.PHONY: prove test
prove: .venv/ready
	.venv/bin/prove $(FILE)

test: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/pytest

# `ready` is made last, so that an installation that broke off is done again.
.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet --requirement requirements.lock
	.venv/bin/pip install --quiet --no-deps --editable .
	@touch $@
