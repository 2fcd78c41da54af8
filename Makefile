# make pi    builds .venv, installs oche, and throws 1e10 darts on all cores
# make test  installs what the tests need (as root the servers too) and runs every check
PYTHON ?= python3
BIN := .venv/bin

.PHONY: pi test check unit docs bench clean

pi: .venv/installed
	$(BIN)/oche pi 1e10

test: check unit

check: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mkdocs build -q -d .site

# Thousands of programs are started: each of them reads what the first one compiled.
unit: .venv/tested servers
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n 4 --dist loadscope --no-loadscope-reorder

bench: .venv/tested
	$(BIN)/python benchmarks/darts.py
	$(BIN)/python benchmarks/farm.py --install
	$(BIN)/python benchmarks/faults.py --limit 20
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/small.py
	for topic in primes integrate matmul scan sort ranking trees wordcount sharing streams joblib_search; do $(BIN)/python benchmarks/$$topic.py; done

# A Debian without python3-venv cannot make one: as root it is installed, else the command is named.
.venv/bin/python:
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { \
	  test "$$(id -u)" = 0 && apt-get update -q && apt-get install -y -q python3-venv; } || { \
	  echo 'python3-venv is missing: sudo apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/pip install -q -e .
	@touch $@

.venv/tested: .venv/bin/python pyproject.toml
	$(BIN)/pip install -q -e '.[test]'
	@touch $@ .venv/installed

# Programs, each with its Debian package where that has another name. The packages would start one at once: they are
# told not to.
.PHONY: servers
servers:
	@PATH="$$PATH:/usr/sbin"; for server in beanstalkd redis-server rabbitmq-server memcached \
	    gearmand=gearman-job-server gearadmin=gearman-tools mpiexec.mpich=mpich mpiexec.openmpi=openmpi-bin; do \
	  program=$${server%=*} package=$${server#*=}; \
	  command -v $$program >/dev/null || { test "$$(id -u)" = 0 && apt-get update -q && RUNLEVEL=1 apt-get install -y -q $$package; } \
	    || echo "$$program is missing, its tests will be skipped: sudo apt-get install $$package" >&2; \
	done
	@sh tests/build_nsq.sh

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
