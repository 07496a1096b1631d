# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

SHELL := /bin/bash
.DEFAULT_GOAL := help

export PATH := $(CURDIR)/.cache/venv/bin:$(PATH)
export PYTHONPATH := $(CURDIR)/tests:$(CURDIR)/.cache/collections
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.cache/collections
# Ansible's temporary files and caches stay in the checkout too.
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible

.PHONY: help
help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup:  ## Make the private Python environment in .cache/, or bring it up to date
	@tests/tools/setup.sh dev

.PHONY: setup-run
setup-run:
	@tests/tools/setup.sh run
