#!/usr/bin/env bash
# All that needs a GPU, in ten minutes: `benchmarks/gpu.sh FOLDER` leaves gpu.txt, figures.json and
# log.csv there. `benchmarks/gpu.sh FOLDER PART...` does parts of it: smoke, figures, tests,
# training; and compiled, the figures again with torch.compile, which is none of the ten minutes.
# Needs npsrcnn[cuda,test], PyTorch with CUDA, and in NPSRCNN_DATA the folders T91 and Set5.
set -uo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "${1:?a folder for the results}")
shift
parts=${*:-smoke figures tests training}
mkdir -p "$folder"
exec > >(tee -a "$folder/gpu.txt") 2>&1
failed=0

# What a pip package without libNVVM does not find by itself.
if [[ -z ${CUDA_HOME:-} && -d /usr/local/cuda/nvvm ]]; then
    export CUDA_HOME=/usr/local/cuda
fi

part() { # NAME SECONDS COMMAND...
    local name=$1 seconds=$2
    shift 2
    [[ " $parts " == *" $name "* ]] || return 0
    echo "+ $(date +%T) $name: $*"
    PYTHONUNBUFFERED=1 timeout -s INT -k 10 "$seconds" "$@" || failed=1
}

on_gpu() { # OPTIONS...: the tests
    python -m pytest tests/kernels/cuda/test_gpu.py -m cuda -W default -rs "$@"
}
export -f on_gpu

nvidia-smi --query-gpu=name,driver_version,compute_cap,clocks.max.sm --format=csv
python - <<'VERSIONS' || exit 1
import importlib.metadata as versions
from npsrcnn.errors import UserError
from npsrcnn.kernels import cuda
for name in ("numba", "numba-cuda", "numpy", "cuda-bindings", "torch"):
    try:
        print(name, versions.version(name))
    except versions.PackageNotFoundError:
        print(name, "is not there")
try:
    cuda.require()
except UserError as error:
    raise SystemExit(str(error)) from None
VERSIONS
part smoke 90 bash -c 'on_gpu -v -k "an_image and 9-1-5-1 or two_trainings"'
part figures 200 python -m benchmarks cuda --json "$folder/figures.json"
part tests 240 bash -c 'OMP_NUM_THREADS=1 on_gpu -n 8 -v --durations=10'
run=$(mktemp -d)
part training 120 npsrcnn train --cuda --data "${NPSRCNN_DATA:-}/T91" --scale 3 \
    --eval "${NPSRCNN_DATA:-}/Set5" --minutes 0.9 --out "$run/run"
if [[ -f $run/run/log.csv ]]; then
    cp "$run/run/log.csv" "$folder"
    awk -F, 'NR > 1 && $7 >= 32.39 { print "32.39 dB on Set5 after " $1 " s"; done = 1; exit }
        END { if (!done) print "32.39 dB on Set5: not reached" }' "$folder/log.csv"
fi
part compiled 580 python -m benchmarks cuda --compile --json "$folder/compiled.json"
exit $failed
