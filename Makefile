# make train · make quick · make test · make check · make campaign · make tutorial · make tensorboard

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_DIR ?= runs/mnist_small
SEED ?= 1
# A file of tests stays in one process, which shares what is dear to make; two files at a time keep two cores busy. In
# the order of their names: by itself pytest leaves the files of few tests, which are the long ones, to the end.
# Without ray the tests of clusters are skipped, and say so.
EXTRAS ?= samples,text,tfds,tutorial,ray,s3,gs,dev
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: train lint quick test check campaign tutorial tensorboard

train: $(VENV)/.samples
	$(BIN)/python -m trainer.main --gin_file=runs/mnist_small.gin --run_dir=$(RUN_DIR)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# What needs no process of its own: while one works.
quick: lint
	$(PYTEST) -m "not process and not cluster and not slow"

# Everything that guards a promise (CONTRIBUTING.md), but for the long campaigns.
test: $(VENV)/.dev
	$(PYTEST) -m "not slow" --durations=10

check: lint test

# The long, seeded ones.
campaign: $(VENV)/.dev
	$(PYTEST) -m slow --durations=10
	$(BIN)/python tests/process/campaign.py --kills=30 --seed=$(SEED)
	$(BIN)/python tests/process/campaign.py --workers --kills=20 --seed=$(SEED)
	$(BIN)/python -m benchmarks.tutorial_data data
	$(BIN)/python tests/process/matrix.py $(or $(MATRIX_DIR),runs/matrix) --seed=$(SEED)
	$(MAKE) tutorial

tensorboard: $(VENV)/.samples
	$(BIN)/tensorboard --logdir $(RUN_DIR)/tensorboard

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.samples: setup.py $(VENV)/bin/python
	@echo "installing (TensorFlow is large; this happens once)"
	$(BIN)/python -m pip install -qq --editable '.[samples]'
	@touch $@

$(VENV)/.dev: setup.py $(VENV)/bin/python
	$(BIN)/python -m pip install -qq --editable '.[$(EXTRAS)]'
	@touch $@

# Every program of docs/tutorial.md in full, about an hour on two cores; exit 1 if one misses what it must reach.
tutorial: $(VENV)/.dev
	$(BIN)/python -m benchmarks.tutorial_data data
	$(BIN)/python -m benchmarks.tutorial $(or $(TUTORIAL_DIR),runs/tutorial)
