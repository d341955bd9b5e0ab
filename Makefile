# `make train`: from a clone to a trained, measured agent. `make test`: the tests.
# PYTHON=… chooses the interpreter that makes the environment, VENV=… its folder; ARGS=… are
# further flags of train.py.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
INSTALL_INPUTS := setup.py pyproject.toml constraints.txt scripts/set_up.sh

# A URL is no target; build_bank.py refuses it.
DATA := $(or $(if $(findstring ://,$(AGENTBANK_DATA_DIR)),,$(AGENTBANK_DATA_DIR)),data)
VOCABULARY := $(DATA)/vocabulary/starter.model

export PYTHON VENV

.PHONY: train test test-slow test-parity test-beam test-topology test-clients test-arena lint format clean

train: $(VENV)/.installed-runtime
	$(BIN)/python scripts/build_bank.py
	$(MAKE) --no-print-directory $(VOCABULARY)
	$(BIN)/python train.py --gin_file=samoyed_tiny.gin $(ARGS)

# Made again when the bank was, or the code that makes it changed. A make of its own: the bank is there by then.
$(VOCABULARY): $(wildcard $(DATA)/starter_*/manifest.json) agentbank_jax/trajectories/tokenizers/vocabulary.py
	$(BIN)/python scripts/train_vocabulary.py

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(JOBS)

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

# Models and generation against those of transformers, and adapters against those of peft, which need PyTorch.
test-parity: $(VENV)/.installed-parity
	$(BIN)/python -m pytest tests/models/test_hf_parity.py tests/models/test_peft_parity.py tests/generation/test_generate_parity.py

# What runs on Apache Beam, in an environment of its own: Beam wants older libraries than constraints.txt has.
test-beam: $(VENV)-beam/.installed-beam
	$(VENV)-beam/bin/python -m pytest tests/data/test_beam_shards.py tests/bank/test_beam_chunks.py
	PYTHONPATH=$(abspath $(VENV)-beam/newer) $(VENV)-beam/bin/python -m pytest tests/data/test_seqio_commands.py

# What the compiler of TPUs says, in an environment of its own: where libtpu is, JAX looks for a TPU at each start.
test-topology: $(VENV)-topology/.installed-topology
	$(VENV)-topology/bin/python -m pytest tests/commands/test_compile_topology.py tests/parallel/test_topology.py tests/training/test_compiled.py

# The server with lm-eval and inspect-ai as clients, in an environment of its own: they bring many libraries along.
test-clients: $(VENV)-clients/.installed-clients
	HF_HUB_OFFLINE=1 $(VENV)-clients/bin/python -m pytest tests/serving/test_clients.py

# The engines of the published benchmarks, in an environment of its own: they bring many libraries along. Those that need
# the real data look for them where AGENTBANK_TEST_DATA says.
test-arena: $(VENV)-arena/.installed-arena
	$(VENV)-arena/bin/python -m pytest -n $(JOBS) -m arena

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck -x scripts/*.sh scripts/slurm.sbatch

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.installed-runtime: $(INSTALL_INPUTS)
	scripts/set_up.sh runtime
	@touch $@

$(VENV)/.installed-test: $(INSTALL_INPUTS)
	scripts/set_up.sh test
	@touch $@ $(VENV)/.installed-runtime

$(VENV)/.installed-parity: $(INSTALL_INPUTS)
	scripts/set_up.sh parity
	@touch $@ $(VENV)/.installed-test $(VENV)/.installed-runtime

$(VENV)-beam/.installed-beam: $(INSTALL_INPUTS)
	VENV=$(VENV)-beam scripts/set_up.sh beam
	@touch $@

$(VENV)-topology/.installed-topology: $(INSTALL_INPUTS)
	VENV=$(VENV)-topology scripts/set_up.sh topology
	@touch $@

$(VENV)-clients/.installed-clients: $(INSTALL_INPUTS)
	VENV=$(VENV)-clients scripts/set_up.sh clients
	@touch $@

$(VENV)-arena/.installed-arena: $(INSTALL_INPUTS)
	VENV=$(VENV)-arena scripts/set_up.sh arena
	@touch $@

# What was built and trained (./data, ./runs) stays.
clean:
	rm -rf $(VENV) $(VENV)-beam $(VENV)-topology $(VENV)-clients $(VENV)-arena build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
