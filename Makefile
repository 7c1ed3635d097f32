# The course's commands. `make help` lists them.

SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(SUITABLE)' 2>/dev/null && echo $$python && break; done)
RUN := .venv/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
STYLED := vae_tf tests tools experiments data benchmarks
# How many tests run at a time; each needs about 1.5 GB of memory.
WORKERS ?= 2

# Which tests run: those of tests/slow.txt are marked slow.
SELECT ?= not slow

# TensorFlow's own notes would land in the outputs of the notebooks.
export TF_CPP_MIN_LOG_LEVEL ?= 3
# What other Python installations put there does not belong to .venv.
unexport PYTHONPATH

.DEFAULT_GOAL := help
.PHONY: help course lab notebooks student test test-all test-browser test-colab results benchmarks speed \
	site slides \
	kit release stamp clean

help:  ## lists these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | \
		awk -F '\t' '{ printf "make %-11s %s\n", $$1, $$2 }'

course: .venv/installed  ## runs every notebook into build/ and prints its headline figures
	@$(RUN) tools/course.py $(NOTEBOOKS)

lab: .venv/installed  ## opens JupyterLab on the notebooks
	@$(RUN) -m jupyterlab --notebook-dir notebooks

notebooks: .venv/installed  ## runs every notebook in place and refreshes its outputs
	@$(RUN) tools/course.py --in-place $(NOTEBOOKS)

student: .venv/installed  ## writes copies without outputs and solutions into build/student
	@$(RUN) tools/student.py

kit: .venv/installed  ## makes the coursework: for students, for lecturers, autograders (FORMAT=nbgrader)
	@$(RUN) tools/kit.py make $(ASSIGNMENT) --format $(or $(FORMAT),otter)

test: .venv/installed  ## lints, checks the types, and runs the tests and the notebooks
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check $(STYLED)
	@$(RUN) -m mypy
	@$(RUN) -m pytest --verbose --numprocesses $(WORKERS) --dist worksteal -m "$(SELECT)" tests
	$(if $(wildcard notebooks/*.ipynb),@$(RUN) -m pytest --verbose --numprocesses $(WORKERS) \
		--dist loadfile --nbval-lax --nbval-cell-timeout 180 notebooks)

test-all:  ## the same, with the tests that take longest (tests/slow.txt)
	@$(MAKE) test SELECT=

test-colab: .venv/installed  ## runs one notebook on what Colab preloads (NOTEBOOK=all: every one)
	@$(RUN) tools/colab.py $(NOTEBOOK)

results: .venv/installed  ## makes data/results again: hours (ONLY=05_balancing_act: one of them)
	@for script in experiments/$(or $(ONLY),*).py; do echo "$$script" && $(RUN) "$$script" || exit 1; done

benchmarks: .venv/installed  ## measures published figures again (PROFILE=full: those of hours; ROWS=name)
	@$(RUN) benchmarks/published.py $(if $(ROWS),--rows $(ROWS),--profile $(or $(PROFILE),cpu))

speed: .venv/installed  ## compares speeds with other codes and with floors (a quiet machine)
	@$(RUN) benchmarks/speed.py

slides: .venv/site  ## makes slides of each lesson into build/slides, offline
	@$(RUN) tools/slides.py

test-browser: .venv/browser  ## drives JupyterLab and the site in Chromium (CHROMIUM=/path/to/it)
	@$(RUN) tools/website.py
	@$(RUN) -m pytest --verbose -rA tests/browser

site: .venv/site  ## builds the web site into build/site, offline
	@echo "building some sixty pages (about two minutes)"
	@$(RUN) tools/website.py

release: .venv/installed  ## builds wheel and source archive into dist/, and checks them (TAG=v0.2.0)
	@$(RUN) tools/release.py $(if $(TAG),--tag $(TAG))

stamp: .venv/installed  ## writes the GitHub address into badges and set-up cells (REPOSITORY=owner/name)
	@$(RUN) tools/stamp.py $(REPOSITORY)

clean:  ## removes what these commands have made, .venv included
	@rm -rf .venv .cache build dist .pytest_cache .ruff_cache .mypy_cache
	@find . -name __pycache__ -prune -exec rm -rf {} + -o -name .ipynb_checkpoints -prune -exec rm -rf {} +

.venv/installed: pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c '$(SUITABLE)' 2>/dev/null || { \
		echo 'Expected Python 3.11, 3.12 or 3.13 with its venv module (on Debian: python3-venv);' \
			'PYTHON=/path/to/python chooses one. Received: $(or $(PYTHON),none that runs).' >&2; exit 1; }
	@echo "1 of 3: making .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv
	@echo "2 of 3: installing TensorFlow, Keras and what they need (about a minute, 700 MB)"
	@$(PIP) --editable .
	@echo "3 of 3: installing JupyterLab, pytest and what they need"
	@$(PIP) --editable '.[course,test]'
	@touch $@

.venv/browser: .venv/site
	@$(PIP) --editable '.[browser]'
	@touch $@

.venv/site: .venv/installed
	@$(PIP) --editable '.[site]'
	@touch $@
