#!/bin/sh
# Set up .venv: the packages of lock-py3.*.txt, torch, MMCV, mmlesion (editable).
# Called by `make install`. A second run with unchanged files ends at once.
#
#   PYTHON  interpreter for .venv                     (python3)
#   TORCH   arguments of `pip install` for torch      (torch==2.13.0)
#   CUDA    1/0: compile MMCV's operators for CUDA    (auto: with a GPU and its nvcc)
#   JOBS    compiler processes                        (auto: by cores and memory)
#   MMLESION_CACHE  folder of the compiled MMCV       (~/.cache/mmlesion)
set -eu
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-python3}
TORCH=${TORCH:-torch==2.13.0}
CUDA=${CUDA:-auto}
CACHE=${MMLESION_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mmlesion}
VENV=.venv
STAMP=$VENV/.mmlesion-installed
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

say() { printf '[install] %s\n' "$*"; }
die() { printf '[install] error: %s\n' "$*" >&2; exit 1; }

# ---- nothing to do? ------------------------------------------------------
state() {
    cat requirements/*.txt requirements/install.sh setup.py pyproject.toml
    echo "$TORCH $CUDA"; pwd
}
HASH=$(state | cksum)
if [ -x $VENV/bin/python ] && [ "$(cat $STAMP 2>/dev/null)" = "$HASH" ]; then
    say "$VENV is up to date"
    exit 0
fi

# ---- the system: checked before anything is fetched ----------------------
MISSING=
need() { MISSING="$MISSING
  $1 (Debian/Ubuntu: apt-get install $2)"; }
if ! command -v "$PYTHON" >/dev/null; then
    need "$PYTHON" "python3 python3-venv python3-dev, or set PYTHON=..."
else
    "$PYTHON" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' ||
        die "$("$PYTHON" -V) found, 3.10 to 3.12 is needed: make install PYTHON=python3.11"
    "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
        need "the venv module of $PYTHON" python3-venv
    "$PYTHON" -c 'import os, sysconfig, sys
sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' ||
        need "the headers of $PYTHON (Python.h)" python3-dev
fi
command -v g++ >/dev/null || need "a C++ compiler (g++)" build-essential
[ -z "$MISSING" ] || die "the set-up needs from the system:$MISSING"
FREE_MB=$(df -Pm . | awk 'NR == 2 {print $4}')
[ -d $VENV ] || [ "$FREE_MB" -gt 4000 ] ||
    die "4 GB are needed here for torch and what it compiles, $FREE_MB MB are free"

# ---- what is locked: with hashes, before the long steps -------------------
[ -x $VENV/bin/python ] || { say "creating $VENV"; "$PYTHON" -m venv $VENV; }
PY=$VENV/bin/python
# pip shows its progress bars on a terminal, and only errors in a log file.
if [ -t 1 ]; then QUIET=; else QUIET=-q; fi
pip() { COMMAND=$1; shift; $PY -m pip "$COMMAND" $QUIET "$@"; }
LOCK=requirements/lock-py$($PY -c 'import sys; print("%d.%d" % sys.version_info[:2])').txt
mkdir -p .build
# The packages whose names match a pattern, and all others.
locked() { awk -v p="^onedl-mm($1)==" '/^[^ #]/ {keep = $0 ~ p} keep' "$LOCK"; }
unlocked() { awk -v p="^onedl-mm($1)==" '/^[^ #]/ {keep = $0 !~ p} keep' "$LOCK"; }
unlocked 'cv|detection|pretrain' >.build/wheels.txt
locked 'detection|pretrain' >.build/sources.txt
locked cv >.build/mmcv.txt
say "$(grep -c '^[^ #]' .build/wheels.txt) packages of $LOCK (0.3 GB)"
pip install --no-deps --require-hashes -r .build/wheels.txt

# ---- torch ---------------------------------------------------------------
say "$TORCH and the torchvision for it (CPU: 0.2 GB, CUDA: 3 GB)"
# One command, so that pip chooses the torchvision that was built for this torch.
# shellcheck disable=SC2086  # TORCH may hold options of pip
pip install $TORCH torchvision
say 'MMDetection and MMPretrain'
pip install --no-deps --require-hashes --no-build-isolation -r .build/sources.txt

# ---- MMCV: compiled once per machine -------------------------------------
MMCV=$(awk '/^onedl-mmcv==/ {print $1}' .build/mmcv.txt)
have() { [ "$($PY -c 'import sys
from importlib.metadata import version, PackageNotFoundError as E
try: print(version(sys.argv[1]))
except E: pass' "${1%%==*}")" = "${1##*==}" ]; }

# Prints: torch version, its CUDA version or -, whether a GPU is seen.
INFO=$($PY -c 'import torch
print(torch.__version__, torch.version.cuda or "-", int(torch.cuda.is_available()))' \
    2>/dev/null) || die "torch cannot be imported: $VENV/bin/python -c 'import torch'"
# shellcheck disable=SC2086  # three words
set -- $INFO
TORCH_VERSION=$1 TORCH_CUDA=$2 GPU=$3
NVCC=$(command -v "${CUDA_HOME:+$CUDA_HOME/bin/}nvcc" || true)
NVCC_VERSION=
[ -z "$NVCC" ] ||
    NVCC_VERSION=$("$NVCC" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
if [ "$CUDA" = auto ]; then
    CUDA=0
    if [ "$TORCH_CUDA" != - ]; then
        if [ "$GPU" = 0 ] && [ -z "${TORCH_CUDA_ARCH_LIST:-}" ]; then
            say 'no GPU is seen: operators for the CPU alone (CUDA=1 compiles for both)'
        elif [ "${NVCC_VERSION%%.*}" = "${TORCH_CUDA%%.*}" ]; then
            CUDA=1
        elif [ "$GPU" = 1 ]; then
            die "torch is built for CUDA $TORCH_CUDA and sees a GPU, but nvcc is \
${NVCC_VERSION:-missing}: install the CUDA toolkit ${TORCH_CUDA%%.*}.x and set \
CUDA_HOME, or choose operators for the CPU alone: make install CUDA=0"
        fi
    fi
fi
# setup.py of MMCV compiles for CUDA whenever it sees a GPU, and without any needs
# the list of architectures.
if [ "$CUDA" = 0 ]; then
    export CUDA_VISIBLE_DEVICES=
elif [ "$GPU" = 0 ]; then
    export TORCH_CUDA_ARCH_LIST="${TORCH_CUDA_ARCH_LIST:-8.0;8.6;9.0+PTX}"
fi
if [ "$CUDA" = 1 ]; then DEVICE=cuda$TORCH_CUDA; else DEVICE=cpu; fi

TAG=$($PY -c 'import sys, sysconfig
print("cp%d%d-%s" % (*sys.version_info[:2], sysconfig.get_platform()))')
WHEELS=$CACHE/$MMCV-torch$TORCH_VERSION-$DEVICE-$TAG
BUILT_FOR=$VENV/.mmcv-built-for  # the operators fit one build of torch only
if ! have "$MMCV" || [ "$(cat $BUILT_FOR 2>/dev/null)" != "$WHEELS" ]; then
    if ls "$WHEELS"/*.whl >/dev/null 2>&1; then
        say "$MMCV: compiled before on this machine, taken from $WHEELS"
    else
        JOBS=${JOBS:-$($PY -c 'import os, psutil
print(max(1, min(os.cpu_count(), psutil.virtual_memory().available >> 31)))')}
        mkdir -p "$CACHE"
        LOG=.build/mmcv.log
        PART=$(mktemp -d "$CACHE/part.XXXXXX")
        say "$MMCV: compiling its operators for torch $TORCH_VERSION ($DEVICE)" \
            "with $JOBS jobs; about 10 minutes on 2 cores, once per machine; log: $LOG"
        # pip's own cache would hand out a wheel built for another torch.
        MMCV_WITH_OPS=1 FORCE_CUDA=$CUDA MAX_JOBS=$JOBS \
            $PY -m pip wheel -v --no-cache-dir --no-deps --no-build-isolation \
            --require-hashes -w "$PART" -r .build/mmcv.txt >$LOG 2>&1 &
        BUILD=$!
        trap 'kill $BUILD 2>/dev/null; rm -rf "$PART"' INT TERM EXIT
        SECONDS_PASSED=0
        while kill -0 $BUILD 2>/dev/null; do
            sleep 5
            SECONDS_PASSED=$((SECONDS_PASSED + 5))
            [ $((SECONDS_PASSED % 60)) -ne 0 ] || say "$MMCV: $((SECONDS_PASSED / 60))" \
                "min, files compiled: $(grep -o '\[[0-9]*/[0-9]*\]' $LOG | tail -n 1)"
        done
        wait $BUILD || { tail -n 30 $LOG >&2; die "compiling $MMCV failed, see $LOG"; }
        trap - INT TERM EXIT
        # One rename: a half-written wheel is never taken for a whole one.
        mv "$PART" "$WHEELS" 2>/dev/null || rm -rf "$PART"
        say "$MMCV: compiled in $((SECONDS_PASSED / 60)) min $((SECONDS_PASSED % 60)) s"
    fi
    pip install --no-deps --force-reinstall "$WHEELS"/*.whl
    echo "$WHEELS" >$BUILT_FOR
fi

# ---- mmlesion ------------------------------------------------------------
say 'mmlesion itself, editable'
PYTHONWARNINGS=ignore $PY -m pip install -q --no-deps --no-build-isolation -e .
# A torchvision built for CUDA cannot be imported beside a CPU-only torch. This hook
# makes it importable for every program of .venv, mmdet's own tools included.
HOOK=$($PY -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/mmlesion-torchvision.pth
rm -f "$HOOK"
if $PY -c 'import torchvision' 2>&1 | grep -q 'operator torchvision::'; then
    say 'torchvision is built for another torch: its operators stay unavailable'
    printf '%s%s\n' 'import importlib.util as u; u.find_spec("mmlesion") and __import__(' \
        '"mmlesion.torchvision_operators", fromlist=["x"]).install_finder()' >"$HOOK"
fi
$PY -c 'import mmcv.ops, mmdet.models, mmlesion.registry' >.build/import.log 2>&1 ||
    { cat .build/import.log >&2; die "the result does not import"; }
echo "$HASH" >$STAMP
say "done: $VENV/bin/python"
