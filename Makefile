# Every target sets up what it needs by itself (see scripts/setup.sh); a second run finds it done.
#   make demo                              the whole chain over real DDS; writes out/demo/
#   make demo QUERIES="find moka pot, giraffe"    other words than its own, in every scene
#   make test | make test-full             the tests | and the slow ones
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup setup-render setup-web build demo evaluate bench test test-full soak coverage mutation lint docs lock \
	audit sbom licences dist shell clean distclean

PYTHON ?= python3
export PYTHON
# Taken as typed and handed on in the environment: neither make nor the shell looks for commands in it.
override QUERIES := $(value QUERIES)
export QUERIES
ARGS ?=

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: ## system packages, .venv, ROS 2 wheels, the built interfaces; ROS=kilted takes Kilted in Jazzy's place
	@scripts/setup.sh

setup-render: ## the same, and MuJoCo with the object meshes (to make recordings and training data)
	@scripts/setup.sh render

build: ## bring install/ up to date after adding a file or changing an interface
	@scripts/build.sh

demo: setup ## ask a robot's camera for things by name; QUERIES="find teapot, giraffe" asks other words
	@scripts/env.sh --own-domain python -m ovseg_ros.app.demo.command --queries "$$QUERIES" $(ARGS)

evaluate: setup ## measure on the recordings what docs/measured.md states
	@scripts/env.sh ovseg evaluate demo $(ARGS)

bench: setup ## speed and memory on this machine, beside the method as released; ARGS=--quick only shows that it runs
	@scripts/env.sh --own-domain ovseg bench $(ARGS)

test: setup ## every test but the slow ones, through colcon
	@scripts/test.sh

setup-web: ## the same, and Chromium with its driver (for the browser test of ovseg web)
	@scripts/setup.sh web

test-full: setup-web ## every test, full-size networks (10 GB of memory) and a browser included
	@OVSEG_TEST_REQUIRE_BROWSER=1 scripts/test.sh --slow

soak: setup ## hours of random play, kills and signals over real DDS; ARGS="--minutes 5 --starts 10" shortens it
	@scripts/env.sh --own-domain python benchmark/soak_node $(ARGS)

coverage: setup ## branch coverage of core, proposals and ros; fails under 90 %
	@scripts/coverage.sh $(ARGS)

mutation: setup ## small faults put into core: do its tests notice? ARGS="--sample 100 --only trust/"
	@scripts/env.sh python benchmark/mutation.py $(ARGS)

lint: setup ## ruff, and mypy strict on the core
	@scripts/env.sh ruff check .
	@scripts/env.sh ruff format --check .
	@scripts/env.sh mypy

docs: setup ## the documentation site into out/site; ARGS=--serve shows it at http://127.0.0.1:8000 while you write
	@NO_MKDOCS_2_WARNING=1 scripts/env.sh mkdocs $(if $(filter --serve,$(ARGS)),serve,build) --strict

lock: ## requirements/locked anew: every version with its hashes
	@scripts/supply_chain.sh lock

audit: setup ## known vulnerabilities of what is in .venv; 3: no database could be asked
	@scripts/supply_chain.sh audit

sbom: setup ## out/sbom.json: what is in .venv, as CycloneDX
	@scripts/supply_chain.sh sbom

licences: setup ## out/licences.md: what each installed package is under; fails where THIRD_PARTY_NOTICES.md lacks one
	@scripts/env.sh python scripts/licences.py

dist: ## out/dist: source archive and wheel, checked by twine; the citation too
	@scripts/supply_chain.sh dist

shell: setup ## a shell in the environment
	@scripts/env.sh bash

clean: ## remove what was built, not .venv
	rm -rf build install log out

distclean: clean ## remove .venv too
	rm -rf .venv
