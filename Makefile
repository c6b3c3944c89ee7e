# Thalweg: `make help` lists what there is. Everything runs in .venv, which `make setup` makes.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
LOCK ?= requirements.lock
STAMP := $(VENV)/.thalweg-$(shell cat pyproject.toml $(LOCK) | cksum | cut -d' ' -f1)
export PATH := $(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export ONLY JOBS RECIPE  # the shell takes them from there, so that no quote in them is its business

.PHONY: help setup train use test test-all browser-test check plots docs cookbook bench clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(STAMP)  ## make .venv with the locked versions (once); LOCK=requirements-legacy.lock for old cards

$(STAMP): pyproject.toml $(LOCK)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"Thalweg needs Python 3.11 or newer, $(PYTHON) is {v.major}.{v.minor}; run make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(LOCK) --editable '.[dev]'
	@rm -f $(VENV)/.thalweg-* && touch $@

train: setup  ## run the pipeline; a failed member does not stop the others (ONLY='*resnet18*' JOBS=2)
	@thalweg train $${ONLY:+--only "$$ONLY"} $${JOBS:+--jobs "$$JOBS"}

use: setup  ## make recipes/RECIPE.yaml the project's params.yaml: make use RECIPE=barkbeetle
	@thalweg use "$$RECIPE"

test: setup  ## the default tests, some minutes on two cores
	OMP_NUM_THREADS=1 python -m pytest -m "not slow and not browser" --numprocesses auto --dist loadfile

test-all: setup  ## all tests, the long ones too
	python -m pytest

browser-test: setup  ## the pages in a browser without a network; needs Chromium
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[browser]'
	OMP_NUM_THREADS=1 python -m pytest -m browser

check: setup  ## what the pre-commit hook and CI check: style, types, every recipe
	ruff check .
	ruff format --check .
	mypy
	thalweg check

plots: setup  ## draw the DVC plots page
	dvc plots show

docs: setup  ## build the manual into site/; a warning or a broken link fails it
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict --quiet
	@echo "manual: $(CURDIR)/site/index.html"

cookbook: setup  ## execute docs/cookbook.ipynb on the finished run, and keep what it draws
	python docs/hooks/execute.py

bench: setup  ## measure speed and memory against peers and limits
	python -m benchmarks.chips
	python -m benchmarks.map_memory
	python -m benchmarks.map_memory --full
	python -m benchmarks.map_throughput
	python -m benchmarks.map_throughput --peers --pairs 3 --size-px 1600 --classes 7
	[ ! -d models ] || python -m benchmarks.seams .
	python -m benchmarks.polygons
	python -m benchmarks.noop_repro
	python -m benchmarks.threshold_baseline
	PYTHONPATH=tests python -m benchmarks.fetch_bytes
	python -m benchmarks.train_steps
	python -m benchmarks.active_scoring

clean:  ## remove what stages made (products and scenes in .cache stay)
	rm -rf build models metrics plots maps ensembles report salvage dvc_plots qgis site
