#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# format.sh ROOT: each source file is as clang-format 19 writes it with ROOT/.clang-format, and no line is longer than
# 120 columns, except a string that stands alone on its line. Status 77 where there is no clang-format 19.
set -uo pipefail

cd "$1" || exit 1
mapfile -t files < <(find include tests bench examples \( -name '*.hpp' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) 2>/dev/null | LC_ALL=C sort)
((${#files[@]} > 0)) || { echo "no source files under $1"; exit 1; }

long=$(grep -nHE '^.{121,}$' "${files[@]}" | grep -vE '^[^:]*:[0-9]*: *"')
[[ -z $long ]] || { printf 'longer than 120 columns:\n%s\n' "$long"; exit 1; }

format=
for name in clang-format-19 clang-format; do
  if "$name" --version 2>/dev/null | grep -q 'version 19\.'; then
    format=$name
    break
  fi
done
[[ -n $format ]] || { echo "there is no clang-format 19 here"; exit 77; }
"$format" --dry-run --Werror "${files[@]}" || { echo "write them with: $format -i"; exit 1; }
echo "${#files[@]} source files are formatted"
