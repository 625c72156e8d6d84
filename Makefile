# The two commands of the README, `make run` and `make test`, and a few more for those who work on chatrix.
#
#   make run      install into .venv, make what is missing under var/, start the server; Ctrl-C ends it
#   make test     install what the tests need, run every check and every test
#   make fuzz     the framer's property tests, for MINUTES (10)
#   make bench    chatrix, Prosody and ejabberd side by side
#   make docs     write docs/options.md from the options' own descriptions

PYTHON ?= python3
VENV ?= .venv
MINUTES ?= 10

BIN = $(VENV)/bin

.PHONY: run test fuzz bench docs clean

run: $(VENV)/.installed
	@$(BIN)/chatrixctl -c etc/chatrix.ini first-run
	@exec $(BIN)/python tools/foreground.py $(BIN)/twistd -n --pidfile= chatrix -c etc/chatrix.ini

test: $(VENV)/.installed-for-tests
	@tests/system/install
	@exec $(BIN)/python -m tests

fuzz: $(VENV)/.installed-for-tests
	@exec $(BIN)/python -m tests.xmpp.fuzz_framing --minutes $(MINUTES)

bench: $(VENV)/.installed-for-tests
	@PATH="$(abspath $(BIN)):$$PATH" bench/run

docs: $(VENV)/.installed
	@$(BIN)/chatrixctl options > docs/options.md

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .mypy_cache .ruff_cache .hypothesis

# An editable install: a `git pull` needs no new one unless the requirements changed.
$(VENV)/.installed: setup.cfg pyproject.toml | $(VENV)/bin/pip
	@echo "Installing chatrix into $(VENV) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-for-tests: setup.cfg pyproject.toml | $(VENV)/bin/pip
	@echo "Installing chatrix and what its tests need into $(VENV) ..."
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $(VENV)/.installed $@

$(VENV)/bin/pip:
	@tools/venv $(PYTHON) $(VENV)
