# make demo: the main job on the embedded data; make test: the whole suite; make quick: its quick tests.
# All set themselves up.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# torch goes first and alone: this version is a CPU build where pip is pointed at one and the CUDA build elsewhere.
TORCH := torch==2.13.0
TORCH_OPTIONS ?=
# Each runs whole files of tests, two of them all that need Ray; they wait for other processes a good part of the time.
TEST_PROCESSES ?= 3

.PHONY: demo test test-hostile quick lint setup figures clean

demo: $(VENV)/.demo
	$(BIN)/raymoe demo

test: $(VENV)/.test browser sshd
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

# Without what takes longer than ten seconds, a browser, or an sshd.
quick: $(VENV)/.test
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile -m "not slow and not browser"

# For the night: 2,000 random tables, pictures, texts and folders for each test of hostile input.
test-hostile: $(VENV)/.test
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --timeout 7200 -m hostile --hypothesis-profile hostile

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

figures: $(VENV)/.demo
	$(BIN)/python benchmarks/demo.py

setup: $(VENV)/.test

$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "raymoe needs Python 3.11 or newer; say which: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q $(TORCH_OPTIONS) -c constraints.txt $(TORCH)
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[demo]'
	touch $@

$(VENV)/.test: $(VENV)/.demo
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[demo,test]'
	touch $@

# The page is tested in a real Chromium. Debian's is installed where we may; else those tests say why they skip.
.PHONY: browser
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; \
	  else echo "no Chromium found: install it (apt install chromium) to test the page in a browser"; fi; }

# `ray up` is tested against an sshd of the tests' own. Debian's is installed where that starts no service, which is
# in a container; else those tests say why they skip.
.PHONY: sshd
sshd:
	@PATH="$$PATH:/usr/sbin:/sbin"; (for p in sshd ssh rsync ip; do command -v $$p || exit 1; done) >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && [ ! -d /run/systemd/system ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	      openssh-server openssh-client rsync iproute2; \
	  else echo "to test \`ray up\`, install what is missing: apt install openssh-server rsync iproute2"; fi; }

clean:
	rm -rf $(VENV) build dist *.egg-info
