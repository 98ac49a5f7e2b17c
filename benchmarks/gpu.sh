#!/usr/bin/env bash
# Everything that waits for a GPU, in one run of a few minutes. A part that fails says so and the next ones follow;
# the exit code is then 1.
# Needs torch and what `raymoe` imports without Ray; no data, no network.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
PYTHON=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
exec "$PYTHON" benchmarks/gpu.py "$@"
