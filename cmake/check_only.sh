#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check_only.sh COMPILER...: a launcher that has a source read for errors and makes no code; an empty file stands for the
# object. That is half the time or less, where nobody runs what would come of it.
set -uo pipefail

"$@" -fsyntax-only || exit 1
while (($# > 1)); do
  if [[ $1 == -o ]]; then
    : >"$2"
    exit
  fi
  shift
done
echo "check_only.sh: there is no -o" >&2
exit 1
