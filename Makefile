# One-line targets. `make run` and `make test` are all that a newcomer needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := uv==0.13.9

FIRST  := malformed_sql upstream_latency pool_exhaustion

.PHONY: run test lint format fuzz prove prove-first prove-changed bench results assets secrets schema lock clean

run: $(VENV)/installed        ## heal a real app under live load
	$(BIN)/harness run scenarios/pool_exhaustion.yml

test: $(VENV)/installed       ## all tests
	$(BIN)/python -m pytest

lint: $(VENV)/installed       ## style, types, layers, scenarios
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports && $(BIN)/harness validate

format: $(VENV)/installed
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

fuzz: $(VENV)/installed        ## ten thousand cases for each of the fuzzed readers, and a hundred kills; half an hour
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest tests/fuzz
	HARNESS_KILLS=100 $(BIN)/python -m pytest tests/e2e/test_failures.py --timeout 1800

prove: $(VENV)/installed      ## can the verdicts be trusted? what docs/proof.jsonl lacks is run; REPEATS=5 JOBS=1
	$(BIN)/harness validate --prove --repeats $(or $(REPEATS),5) --jobs $(or $(JOBS),1) --proof docs/proof.jsonl

prove-first: $(VENV)/installed   ## once each and anew: the first scenarios' no-op, reference and wrong fixes; CHEATS=0: those that are refused unread
	rm -f results/proof-first.jsonl
	$(BIN)/harness validate --prove --repeats 1 --cheat-repeats $(or $(CHEATS),1) --proof results/proof-first.jsonl $(FIRST:%=scenarios/%.yml)

prove-changed: $(VENV)/installed ## once each: whatever docs/proof.jsonl does not know as it is now
	mkdir -p results && cp docs/proof.jsonl results/proof-changed.jsonl
	$(BIN)/harness validate --prove --repeats 1 --proof results/proof-changed.jsonl

bench: $(VENV)/installed      ## the figures, side by side
	for name in startup load stall record redeploy overhead review markers containment retrieval compare report sweep paint; do $(BIN)/python -m benchmarks.$$name || exit 1; done

results: $(VENV)/installed    ## docs/results.md: shipped fixers against all scenarios; five hours, goes on where it stopped
	$(BIN)/harness sweep --experiment docs/results.yml
	$(BIN)/python -m benchmarks.results results/shipped docs/results.md

assets:                       ## the dashboard's style sheet and script, by Node
	cd harness/dashboard/assets && npm ci --no-audit --no-fund && npm run build

secrets:                      ## random ones for docker-compose.yml, in secrets/
	deploy/docker/make-secrets secrets

schema: $(VENV)/installed     ## scenarios/schema.json, which editors complete from; docs/schemas, of what is on disk
	$(BIN)/harness validate --schema > scenarios/schema.json
	$(BIN)/harness export --schemas --to docs/schemas

PIN := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
lock: $(VENV)/installed         ## pin all dependencies anew, after a change of pyproject.toml or an .in file
	$(BIN)/uv $(PIN) --extra dev -o requirements.txt pyproject.toml
	$(BIN)/uv $(PIN) --extra openai --extra dense --extra backboard --extra aws --extra alerts -c requirements.txt -o deploy/docker/harness.txt pyproject.toml
	for name in docker/shop docker/mock_api aws/deploy; do $(BIN)/uv $(PIN) -c requirements.txt -o deploy/$$name.txt deploy/$$name.in || exit 1; done
	$(BIN)/uv $(PIN) -o tests/containers/ministack.txt tests/containers/ministack.in

$(VENV)/installed: requirements.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	command -v $(BIN)/uv >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check "$(UV)"
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements.txt
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
