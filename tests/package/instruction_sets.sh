#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# instruction_sets.sh ROOT WORK COMPILER [FLAG...]: a program whose two files are compiled for two instruction sets is
# right, whichever comes first; with Eigen, whose own functions cannot be mixed so, it ends before main with a sentence,
# unless both files are told one alignment. if_processor_knows.sh is to be put before it.
set -uo pipefail

root=$1 work=$2
shift 2
rm -rf "$work"
mkdir -p "$work" || exit 1
failures=0

# unit OUTPUT FLAG...: not optimised, so that the linker chooses among functions and not the inliner.
unit() { "${compile[@]}" -O0 -c "$root/tests/package/instruction_sets.cpp" -o "$work/$1.o" "${@:2}"; }
compile=("$@")
plain=(-march=x86-64) wide=(-march=x86-64-v3)

for order in plain_first wide_first; do
  if [[ $order == plain_first ]]; then one=("${plain[@]}") two=("${wide[@]}"); else one=("${wide[@]}") two=("${plain[@]}"); fi
  if ! { unit one "${one[@]}" -DFIRST && unit two "${two[@]}" && "$1" "$work/one.o" "$work/two.o" -o "$work/mixed" -pthread &&
    "$work/mixed"; }; then
    echo "$order: a program for two instruction sets is wrong"
    failures=$((failures + 1))
  fi
done

# With Eigen.
{ unit one "${plain[@]}" -DFIRST -DWITH_EIGEN && unit two "${wide[@]}" -DWITH_EIGEN &&
  "$1" "$work/one.o" "$work/two.o" -o "$work/mixed" -pthread; } || exit 1
if "$work/mixed" >"$work/out" 2>&1 || grep -q "main begins" "$work/out" ||
  (($(wc -l <"$work/out") != 1)) || ! grep -q '^rubato: this program was compiled for two instruction sets' "$work/out"; then
  echo "Eigen for two instruction sets should end before main, with one sentence; it said:"
  cat "$work/out"
  failures=$((failures + 1))
fi
{ unit one "${plain[@]}" -DFIRST -DWITH_EIGEN -DEIGEN_MAX_ALIGN_BYTES=32 && unit two "${wide[@]}" -DWITH_EIGEN -DEIGEN_MAX_ALIGN_BYTES=32 &&
  "$1" "$work/one.o" "$work/two.o" -o "$work/mixed" -pthread; } || exit 1
if ! "$work/mixed"; then
  echo "Eigen with one alignment for two instruction sets is wrong"
  failures=$((failures + 1))
fi
((failures == 0))
