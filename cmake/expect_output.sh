#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# expect_output.sh EXPECTED PROGRAM [ARGUMENT...]: the program ends with status 0 and prints exactly the file EXPECTED.
set -uo pipefail

expected=$1
shift
if [[ ! -f $expected ]]; then
  echo "the expected output $expected is missing; make it from: $*"
  exit 1
fi
actual=$(mktemp) || exit 1
trap 'rm -f "$actual"' EXIT
"$@" >"$actual"
status=$?
if ((status != 0)); then
  echo "the program ended with status $status"
  exit 1
fi
diff --unified --label expected --label printed "$expected" "$actual"
