# Everything runs in .venv, which is made from requirements.lock the first time it is needed.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

# The first Python on the PATH that is new enough and not too new.
PYTHON ?= $(firstword $(foreach p,python3 python3.13 python3.12 python3.11,$(shell \
	$(p) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $(p))))

.PHONY: help backtest test check bench parity paper-parity chaos soak clean

help:
	@echo "make backtest   an LSTM strategy on the demo market, to an HTML tearsheet"
	@echo "make test       the whole test suite"
	@echo "make check      formatting, lint, types, spelling and the test suite"
	@echo "make bench      the performance figures"
	@echo "make parity     100,000 random runs in both engines, which must come out the same"
	@echo "make chaos      the paper trader under fire: ten minutes a seed, killed and failed in every way"
	@echo "make paper-parity  seven days of recorded minutes through the sandbox, beside the backtest"
	@echo "make soak       the paper trader for an hour at sixtyfold speed: memory and delay"
	@echo "make clean      remove what building and checking left behind"

backtest: $(READY)
	$(BIN)/freqlstm backtest --strategy lstm_rsi

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/codespell
	$(MAKE) test

bench: $(VENV)/rivals
	$(BIN)/python -m benchmarks

# A row whose rival cannot be installed says so and is measured without it.
$(VENV)/rivals: benchmarks/requirements.txt $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $< -c requirements.lock && touch $@ || \
		echo "Not all rivals could be installed."

parity: $(READY)
	$(BIN)/python tests/parity.py --cases 100000

chaos: $(READY)
	cd tests && PYTHONPATH=.:.. ../$(BIN)/python -m chaos --seconds 660 --seed 1 --seed 2 --seed 3

paper-parity: $(READY)
	cd tests && PYTHONPATH=.:.. ../$(BIN)/python -m paper_parity

soak: $(READY)
	cd tests && PYTHONPATH=.:.. ../$(BIN)/python -m soak

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(READY): requirements.lock setup.cfg
	@test -n "$(PYTHON)" || { echo "No Python 3.11, 3.12 or 3.13 was found. Install one, or name it: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Making $(VENV) from requirements.lock: about 2 GB, some minutes the first time."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
