#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# run: what bench/gpu --pack built, on a machine with a GPU and its driver. The tests of the device backend, then its
# benchmarks; the last lines are tables, and their figures go into JSON files in this folder. Under ten minutes. Status
# 1: something failed; 77: there is no device that these programs can use.
set -uo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
failed=0

# start SECONDS PROGRAM [ARGUMENT...]
start() {
  local seconds=$1 program=$2 missing status
  shift 2
  [[ -e $program ]] || return 0
  echo "--- $program"
  missing=$(ldd "./$program" 2>&1 | sed -nE 's/^[[:space:]]*([^ ]+) => not found$/\1/p; s/.*(version .* not found).*/the C library: \1/p' | head -n 1)
  if [[ -n $missing ]]; then
    echo "left out: this machine lacks $missing"
    return 0
  fi
  timeout "$seconds" "./$program" "$@"
  status=$?
  ((status != 77)) || exit 77
  ((status == 0)) && return 0
  echo "$program: $( ((status == 124)) && echo "not done after $seconds s" || echo "status $status")"
  failed=1
}

start 100 test_thrust
start 100 test_gradients
start 80 gpu_kernels 26 11 gpu_kernels.json
start 100 gpu_gradients 1 gpu_gradients.json
start 100 gpu_gradients_by_cublas 1 gpu_gradients_by_cublas.json
if [[ ! -e gpu_gradients_by_eigen ]] || grep -qw avx2 /proc/cpuinfo; then
  start 100 gpu_gradients_by_eigen 1 gpu_gradients_by_eigen.json
else
  echo "gpu_gradients_by_eigen is left out: it needs a processor with AVX2"
fi
exit $failed
