#!/bin/sh
# Puts the peers into .bench/venv beside this checkout; the servers come from the system's packages:
#   apt-get install beanstalkd redis-server rabbitmq-server
set -e
cd "$(dirname "$0")/.."
"${PYTHON:-python3}" -m venv .bench/venv
.bench/venv/bin/python -m pip install -q psutil
exec .bench/venv/bin/python benchmarks/farm.py --install --only pool --quick
