#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# if_processor_knows.sh LEVEL COMMAND...: runs the command, or ends with 77 (skipped) where this processor lacks what
# x86-64-LEVEL asks for. LEVEL is v3 or v4.
set -uo pipefail

level=$1
shift
needed=(avx avx2 bmi1 bmi2 f16c fma abm movbe xsave)
[[ $level == v3 ]] || needed+=(avx512f avx512bw avx512cd avx512dq avx512vl)
flags=" $(sed -n 's/^flags[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1) "
for flag in "${needed[@]}"; do
  if [[ $flags != *" $flag "* ]]; then
    echo "skipped: this processor has no $flag, which x86-64-$level needs"
    exit 77
  fi
done
exec "$@"
