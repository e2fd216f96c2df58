#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# run.sh TARGET.cpp INCLUDE_FOLDER [RUNS]: builds one fuzzing target with clang's libFuzzer and sanitizers and has it read
# so many inputs at least (RUBATO_FUZZ_RUNS says it too; the default is per target, and more where RUBATO_LONG is set, as
# tests/run --long does). No input may take longer than 5 s. 77, with a sentence, where clang 19 or its libFuzzer is missing.
set -uo pipefail

target=$1 include=$2
# Runs, and with RUBATO_LONG; longest input; sanitizers of each target.
case $(basename "$target" .cpp) in
  on_patch) runs=200000 more=1000000 longest=400 sanitizers=address,undefined ;;
  event_log) runs=20000 more=200000 longest=256 sanitizers=address ;; # each is a whole recording, replayed
  *) runs=200000 more=1000000 longest=256 sanitizers=address ;;
esac
[[ -z ${RUBATO_LONG:-} ]] || runs=$more
runs=${3:-${RUBATO_FUZZ_RUNS:-$runs}}
[[ $runs =~ ^[1-9][0-9]*$ ]] || { echo "the number of inputs must be a whole number above 0, not '$runs'"; exit 1; }
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

command -v clang++-19 >/dev/null || { echo "there is no clang++-19, so nothing is fuzzed"; exit 77; }
echo 'extern "C" int LLVMFuzzerTestOneInput(unsigned char const*, unsigned long) { return 0; }' >"$work/probe.cpp"
clang++-19 -fsanitize="fuzzer,$sanitizers" "$work/probe.cpp" -o "$work/probe" 2>"$work/log" ||
  { echo "clang++-19 links no libFuzzer here, so nothing is fuzzed: $(tail -n 1 "$work/log")"; exit 77; }

clang++-19 -std=c++20 -O1 -g1 -fsanitize="fuzzer,$sanitizers" -fno-sanitize-recover=all -I"$include" "$target" -o "$work/fuzz" ||
  exit 1
mkdir "$work/corpus"
"$work/fuzz" -seed=1 -runs="$runs" -max_len=$longest -timeout=5 -rss_limit_mb=2048 -print_final_stats=1 \
  -artifact_prefix="$work/" "$work/corpus" >"$work/log" 2>&1
status=$?
done_runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
if ((status != 0)) || [[ -z $done_runs ]] || ((done_runs < runs)); then
  tail -n 60 "$work/log"
  echo "the fuzzer ended with status $status after ${done_runs:-no} runs"
  exit 1
fi
echo "$done_runs inputs were read, $(find "$work/corpus" -type f | wc -l) kept as interesting"
