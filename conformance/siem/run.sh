#!/bin/sh
# Validates `vantio ledger export --format ocsf` and `--format otlp` over one entry of every kind with
# the schemas that ocsf-json-schema and opentelemetry-proto (PyPI) ship. There are no expected failures.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/python"
"$work/python/bin/pip" install --quiet --requirement "$here/requirements.txt"
for kind in ocsf otlp; do
    (cd "$here/../.." && cargo run --quiet --package vantio-ledger --example foreign -- "$kind") >"$work/$kind"
    "$work/python/bin/python" "$here/check.py" "$kind" "$work/$kind"
done
