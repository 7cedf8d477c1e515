#!/bin/sh
# Collect what `make install` fetched and compiled into dist/wheelhouse.
# On a machine of the same kind without a network, with the folder copied to it:
#
#   PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/dist/wheelhouse \
#       MMLESION_CACHE=$PWD/dist/wheelhouse/mmcv make install
set -eu
cd "$(dirname "$0")/.."
OUT=dist/wheelhouse
PY=.venv/bin/python
mkdir -p $OUT/mmcv
for list in wheels sources; do
    $PY -m pip download -q --no-deps --no-build-isolation --require-hashes \
        -d $OUT -r .build/$list.txt
done
TORCH=${TORCH:-torch==$($PY -c 'import torch; print(torch.__version__)')}
# shellcheck disable=SC2086  # TORCH may hold options of pip
$PY -m pip download -q -d $OUT $TORCH \
    "torchvision==$($PY -c 'import importlib.metadata as m; print(m.version("torchvision"))')"
BUILT=$(cat .venv/.mmcv-built-for)
mkdir -p "$OUT/mmcv/${BUILT##*/}"
cp "$BUILT"/*.whl "$OUT/mmcv/${BUILT##*/}/"
echo "[wheelhouse] $OUT: $(du -sh $OUT | cut -f 1)"
