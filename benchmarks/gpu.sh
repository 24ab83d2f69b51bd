#!/usr/bin/env bash
# All that needs a GPU, in less than half an hour: `benchmarks/gpu.sh FOLDER` writes its results
# there. `benchmarks/gpu.sh FOLDER tests` (or figures, training, compiled) does one part of it.
# Needs npsrcnn[cuda,test], PyTorch with CUDA, and in NPSRCNN_DATA the folders T91 and Set5.
set -uo pipefail
cd "$(dirname "$0")/.."
folder=$(realpath -m "${1:?a folder for the results}")
mkdir -p "$folder"
failed=0

part() { # NAME SECONDS COMMAND...: its output to the terminal and to a file
    local name=$1 seconds=$2
    shift 2
    [[ -z ${only:-} || $only = "$name" ]] || return 0
    echo "+ $*"
    PYTHONUNBUFFERED=1 timeout "$seconds" "$@" 2>&1 | tee "$folder/$name.txt" || failed=1
}

only=${2:-}
nvidia-smi --query-gpu=name,driver_version,compute_cap,clocks.max.sm --format=csv |
    tee "$folder/card.txt"
part tests 580 python -m pytest -m cuda -n 4 -W default -rs --durations=10
part figures 300 python -m benchmarks cuda --json "$folder/figures.json"
part training 300 python -m npsrcnn.train --cuda --data "${NPSRCNN_DATA:-}/T91" --scale 3 \
    --eval "${NPSRCNN_DATA:-}/Set5" --minutes 0.9 --out "$folder/run"
part compiled 580 python -m benchmarks cuda --compile --json "$folder/compiled.json"
if [[ -f $folder/run/log.csv ]]; then
    awk -F, 'NR > 1 && $7 >= 32.39 { print "32.39 dB on Set5 after " $1 " s"; done = 1; exit }
        END { if (!done) print "32.39 dB on Set5: not reached" }' "$folder/run/log.csv" |
        tee "$folder/time_to_32.39_dB.txt"
fi
exit $failed
