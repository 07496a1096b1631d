# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Ansible demands a UTF-8 locale; this one needs no installation.
export LC_ALL := C.UTF-8
export PATH := $(CURDIR)/.cache/venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR)/tests:$(CURDIR)/.cache/collections
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.cache/collections
# What Ansible keeps between runs stays in the checkout too.
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
ARGS ?=
BENCH_ARGS ?=
CLIENTS_ARGS ?=
DOCUMENTATION ?=
ISSUES ?=
KILLED_ARGS ?=
REPOSITORY ?=
ROLLING_ARGS ?=
VERSION ?=

JUDGES := sanity lint docs types style floor changelog licences artifact
SUITES := unit contract integration molecule

.PHONY: help
help:  ## Show this list
	@echo 'make TARGET: each one first does the set-up that it needs, in .cache/'
	@awk -F ':.*## ' '/^[a-z%$$()A-Z -]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  one judge    $(JUDGES)'
	@echo '  one suite    $(SUITES)'
	@echo '               ARGS="-k name -x" goes to pytest, ARGS="test -s tls" to Molecule'

.PHONY: demo
demo: setup-run  ## Move a master of a real deployment on loopback, and watch it
	@python -m lab.demo $(ARGS)

.PHONY: lab
lab: setup-run  ## Start such a deployment and leave it running until Ctrl-C
	@python -m lab up $(ARGS)

.PHONY: test
test: setup  ## All judges and all suites, and what the unit tests reach
	@python tests/tools/check.py judges $(patsubst unit,coverage,$(SUITES))

.PHONY: judges
judges: setup  ## What others say about the code: all judges, side by side
	@python tests/tools/check.py judges

.PHONY: $(JUDGES)
$(JUDGES): setup
	@python tests/tools/check.py $@

.PHONY: $(SUITES)
$(SUITES): setup
	@python tests/tools/check.py $@ -- $(ARGS)

.PHONY: coverage
coverage: setup  ## Lines and branches of module_utils and plugin_utils that unit tests reach: 95 % or more
	@python tests/tools/check.py coverage -- --cov-report=term-missing $(ARGS)

.PHONY: bench
bench: setup  ## Measure the figures that the documentation gives; BENCH_ARGS goes to it
	@python -m bench $(BENCH_ARGS)

.PHONY: rolling
rolling: setup  ## Maintain hosts one after the other under write load, and measure it; ROLLING_ARGS goes to it
	@python -m bench.rolling $(ROLLING_ARGS)

.PHONY: matrix
matrix: setup-run  ## Test with every supported ansible-core, Python and redis-py; ARGS="--only 2.16" or ARGS=--ends for some
	@python tests/tools/matrix.py $(ARGS)

.PHONY: killed
killed: setup  ## Kill the program before and after each message that changes something; KILLED_ARGS goes to it
	@python -m bench.killed $(KILLED_ARGS)

.PHONY: clients
clients: setup  ## Measure what client libraries see of a move, and write docs/clients.md; CLIENTS_ARGS goes to it
	@python -m bench.clients --page docs/clients.md $(CLIENTS_ARGS)

.PHONY: release
release: setup  ## Commit, tag and build a release, which leaves the machine only later; VERSION=0.1.0 REPOSITORY=https://...
	@python tests/tools/release.py "$(VERSION)" "$(REPOSITORY)" --issues="$(ISSUES)" --documentation="$(DOCUMENTATION)"

.PHONY: screenshots
screenshots: setup  ## Pictures of the report on every kind of run, in .cache/screenshots, to be looked at
	@python -m lab.screenshots .cache/screenshots $(ARGS)

.PHONY: site
site: setup  ## Make the documentation site, in .cache/site/html; it needs no network
	@python tests/tools/docs_site.py --external

.PHONY: setup
setup:  ## Make the private Python environment, or bring it up to date
	@tests/tools/setup.sh dev

.PHONY: setup-run
setup-run:
	@tests/tools/setup.sh run

.PHONY: clean
clean:  ## Remove what set-up and the tools made
	rm -rf .cache .ansible tests/output
