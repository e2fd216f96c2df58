#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# run.sh TARGET.cpp INCLUDE_FOLDER: builds one fuzzing target with clang's libFuzzer and AddressSanitizer and has it read
# at least 200,000 inputs, or a million where RUBATO_LONG is set (tests/run --long). 77, with a sentence, where clang 19
# or its libFuzzer is missing.
set -uo pipefail

target=$1 include=$2 runs=200000
[[ -z ${RUBATO_LONG:-} ]] || runs=1000000
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

command -v clang++-19 >/dev/null || { echo "there is no clang++-19, so nothing is fuzzed"; exit 77; }
echo 'extern "C" int LLVMFuzzerTestOneInput(unsigned char const*, unsigned long) { return 0; }' >"$work/probe.cpp"
clang++-19 -fsanitize=fuzzer,address "$work/probe.cpp" -o "$work/probe" 2>"$work/log" ||
  { echo "clang++-19 links no libFuzzer here, so nothing is fuzzed: $(tail -n 1 "$work/log")"; exit 77; }

clang++-19 -std=c++20 -O1 -g -fsanitize=fuzzer,address -I"$include" "$target" -o "$work/fuzz" -lz || exit 1
mkdir "$work/corpus"
"$work/fuzz" -seed=1 -runs=$runs -max_len=256 -print_final_stats=1 "$work/corpus" >"$work/log" 2>&1
status=$?
done_runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
if ((status != 0)) || [[ -z $done_runs ]] || ((done_runs < runs)); then
  tail -n 60 "$work/log"
  echo "the fuzzer ended with status $status after ${done_runs:-no} runs"
  exit 1
fi
echo "$done_runs inputs were read, $(find "$work/corpus" -type f | wc -l) kept as interesting"
