# Everything here sets itself up: a machine with Python 3.11 to 3.14 and make is enough.
VENV  := .venv
RUN   := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
STAMP := $(VENV)/.ready

# What to set it up with: the first of these commands that runs, is a Python that requirements.lock has wheels
# for, and can make a virtual environment. That a command is there proves nothing: pyenv leaves a python3.11
# that only complains, and Debian's python3 has no ensurepip without the package python3-venv.
PYTHON := python3.11 python3.12 python3.13 python3.14 python3 python
FITS   := import ensurepip, ssl, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))

.DEFAULT_GOAL := help
.PHONY: help native demo demo-proca drill test test-slow fuzz chaos outages check-deploy check-images check-cluster bench lint kafka lock clean

help: ## List these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(RUN):
	@for python in $(PYTHON); do $$python -c '$(FITS)' 2>/dev/null && break; python=; done; \
	if [ -z "$$python" ]; then \
		echo "Needed is Python 3.11, 3.12, 3.13 or 3.14 that can make virtual environments (Debian: python3-venv)," \
			"and none of these commands runs one: $(PYTHON). Install it, or name it:" \
			"make PYTHON=/path/to/python3" >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$python ..." && $$python -m venv --clear $(VENV)

# The environment is made anew where its Python has gone, as after an upgrade of the machine.
$(INSTALLED): requirements.lock pyproject.toml $(if $(shell test -x $(RUN) || echo gone),$(RUN))
	@echo "Setting up $(VENV) from requirements.lock (a minute, once) ..."
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(INSTALLED)

$(STAMP): $(INSTALLED) $(wildcard streams/native/*.[ch]) streams/native/build.py
	@$(NATIVE) || echo "The native pass is not built: actions take the path in Python." >&2
	@touch $(STAMP)

# With the machine's C compiler; one that has none (exit code 3) gets a compiler from PyPI for it.
NATIVE := $(RUN) -m streams.native.build >/dev/null 2>&1 || { [ $$? -ne 3 ] || \
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.native.lock; } && \
	$(RUN) -m streams.native.build >/dev/null

native: $(INSTALLED) ## Compile the native pass, if its sources are new
	@$(NATIVE)

demo: $(STAMP) ## Show the main job, lookup failures included (ACTIONS=my.jsonl, KEEP=1)
	@$(RUN) -m streams demo --mailer "$(RUN) -m examples.mailer render .cache/demo/letters" \
		$(if $(ACTIONS),--actions "$(ACTIONS)") $(if $(KEEP),--keep)

demo-proca: $(STAMP) ## Show the way of Proca's messages, from RabbitMQ to letters (N=200)
	@tests/debian-packages.sh rabbitmq-server
	@$(RUN) -m examples.proca.demo $(N)

drill: $(STAMP) ## Replay the incident, and judge what became of every email
	@$(RUN) -m streams drill $(if $(JSON),--json "$(JSON)")

# What breaks clusters and waits for them to recover runs after everything else.
LAST  := tests/chaos tests/faults

test: $(STAMP) lint ## Run all checks and tests (ARGS="-k lane" to choose)
	@tests/debian-packages.sh
	@$(RUN) -m tests.downloads
ifdef ARGS
	@$(RUN) -m pytest $(ARGS)
else
	@echo "Running the tests, four at a time, on real Kafkas (some minutes) ..."
	@$(RUN) -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(addprefix --ignore=,$(LAST))
	@echo "Running chaos and protocol faults, three at a time (some minutes more) ..."
	@$(RUN) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(LAST)
endif

test-slow: $(STAMP) ## Run the tests that make test leaves out: they take long, and rarely fall
	@$(RUN) -m tests.downloads
	@echo "Running every test that is marked slow, one at a time (some minutes) ..."
	@$(RUN) -m pytest -m slow $(ARGS)

check-deploy: $(STAMP) ## Build, validate and judge what is deployed, and test the alerts
	@$(RUN) -m tests.deploy

check-images: $(STAMP) ## Build the images, run the stack on them and look through them, as root: 5 minutes, more the first time
	@tests/debian-packages.sh buildah debootstrap prometheus iproute2
	@$(RUN) -m tests.downloads
	@$(RUN) -m pytest -m images --capture=no tests/deploy $(ARGS)

check-cluster: $(STAMP) ## Apply k8s/ to a real API server: 2 minutes, more the first time
	@tests/debian-packages.sh etcd-server
	@$(RUN) -m pytest -m cluster --capture=no tests/deploy $(ARGS)

fuzz: $(STAMP) ## Let 200,000 strange records go through the reading path (ARGS="--seed 7")
	@$(RUN) -m tests.fuzz $(ARGS)

chaos: $(STAMP) ## Break everything for ten minutes, and count (ARGS="--seed 7 --minutes 3")
	@$(RUN) -m tests.chaos $(ARGS)

outages: $(STAMP) ## Take away one thing after the other, as root, and see who tells: 20 minutes (ARGS="--keep")
	@$(RUN) -m tests.outages $(ARGS)

bench: native ## Measure this app beside its peers: 38 minutes (QUICK=1: 4; ARGS="--only known")
	@$(RUN) -m bench $(if $(QUICK),--quick) $(ARGS)

lint: $(STAMP) ## Check style and types
	@echo "Checking style and types ..."
	@$(VENV)/bin/ruff check --quiet . && $(VENV)/bin/ruff format --quiet --check . && $(VENV)/bin/mypy --no-error-summary

kafka: $(STAMP) ## Run a real Kafka on this machine until Ctrl-C
	@$(RUN) -m streams kafka

LOCK := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

lock: $(STAMP) ## Write the lock files anew from pyproject.toml
	@echo "Resolving every package to an exact version ..."
	@$(LOCK) --all-extras pyproject.toml --output-file requirements.lock
	@$(LOCK) --constraint requirements.lock --extra sentry --extra otel --extra msk pyproject.toml --output-file requirements.worker.lock
	@$(LOCK) --constraint requirements.lock --extra mailer --extra msk pyproject.toml --output-file requirements.mailer.lock
	@$(LOCK) --constraint requirements.lock --extra proca --extra msk pyproject.toml --output-file requirements.proca.lock
	@echo hatchling | $(LOCK) --constraint requirements.lock - --output-file requirements.build.lock
	@echo ziglang | $(LOCK) - --output-file requirements.native.lock

clean: ## Remove the virtual environment and caches of this checkout
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .cache
