#!/bin/sh
# Resolve locked.txt for each Python version into lock-py3.*.txt, with hashes.
# Called by `make lock`. Pins that are in the files stay where they still fit.
#
#   sh requirements/lock.sh            write the files
#   sh requirements/lock.sh --upgrade  write them with the newest versions
#   sh requirements/lock.sh --check    dry-run the installation of the files
set -eu
cd "$(dirname "$0")/.."
VERSIONS='3.10 3.11 3.12'
TOOLS=.build/lock
[ -x $TOOLS/bin/python ] || "${PYTHON:-python3}" -m venv $TOOLS
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

if [ "${1:-}" = --check ]; then
    $TOOLS/bin/python -m pip install -q --upgrade 'pip>=24'
    for version in $VERSIONS; do
        # MMCV, MMDetection and MMPretrain are published as source only.
        awk '/^[^ #]/ {keep = !/^onedl-mm(cv|det|pre)/} keep' \
            requirements/lock-py$version.txt >$TOOLS/check.txt
        $TOOLS/bin/python -m pip install -q --dry-run --ignore-installed --no-deps \
            --require-hashes --only-binary :all: --python-version $version \
            --target $TOOLS/target -r $TOOLS/check.txt
        echo "[lock] Python $version: $(grep -c '^[^ #]' $TOOLS/check.txt) packages resolve"
    done
    exit 0
fi

$TOOLS/bin/python -m pip install -q 'uv>=0.5'
for version in $VERSIONS; do
    $TOOLS/bin/uv pip compile -q "$@" --generate-hashes --no-annotate \
        --python-version $version --override requirements/lock-overrides.txt \
        --custom-compile-command 'make lock' \
        -o requirements/lock-py$version.txt requirements/locked.txt
    echo "[lock] requirements/lock-py$version.txt"
done
