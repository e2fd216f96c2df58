#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# preprocessed_size.sh ROOT COMPILER [FLAG...]: #include <rubato/rubato.hpp> preprocesses to at most 1.5 times the
# standard headers that rubato's own files in it include, in lines and in bytes, without empty lines and line marks.
set -uo pipefail

shift
compile=("$@")
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

echo '#include <rubato/rubato.hpp>' >"$work/rubato.cpp"
"${compile[@]}" -E -H "$work/rubato.cpp" >/dev/null 2>"$work/tree" || { cat "$work/tree"; exit 1; }

# -H prints one dot a level before each file that is entered: a file outside rubato whose parent is inside is one that
# rubato asks for.
awk '
  /^\.+ / {
    depth = length($1); path = $0; sub(/^\.+ /, "", path)
    ours[depth] = path ~ /\/rubato\//
    if (!ours[depth] && depth > 1 && ours[depth - 1]) print "#include \"" path "\""
    if (ours[depth]) ++count
  }
  END { if (!count) exit 1 }
' "$work/tree" >"$work/standard.cpp" || { echo "no header of rubato was entered"; exit 1; }

measure() {
  "${compile[@]}" -E -P "$1" >"$work/out" || exit 1
  grep -v '^[[:space:]]*$' "$work/out" | wc -lc
}
read -r lines bytes < <(measure "$work/rubato.cpp")
read -r standard_lines standard_bytes < <(measure "$work/standard.cpp")
awk -v l="$lines" -v b="$bytes" -v sl="$standard_lines" -v sb="$standard_bytes" -v n="$(wc -l <"$work/standard.cpp")" '
  BEGIN {
    printf "rubato/rubato.hpp: %d lines, %d bytes; its %d standard headers: %d lines, %d bytes\n", l, b, n, sl, sb
    if (sl < 1 || sb < 1) { print "nothing to compare with"; exit 1 }
    printf "ratio: %.3f by lines, %.3f by bytes; the limit is 1.5\n", l / sl, b / sb
    exit !(l <= 1.5 * sl && b <= 1.5 * sb)
  }'
