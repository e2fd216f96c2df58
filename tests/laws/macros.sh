#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# macros.sh ROOT COMPILER [FLAG...]: after all headers of ROOT/include/rubato no macro is left that is defined by them
# and not called RUBATO_...
set -uo pipefail

root=$1
shift
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# Thrust is optional; a header that needs it is passed over where it is not. LibTorch, with macros of its own, is left out.
(cd "$root/include" && find rubato -name '*.hpp' | LC_ALL=C sort |
  sed -E 's|.*|#include <&>|; s|^(.*/thrust.hpp>)$|#if __has_include(<thrust/version.h>)\n\1\n#endif|; /\/torch.hpp>$/d') >"$work/all.cpp"
[[ -s $work/all.cpp ]] || { echo "there are no headers"; exit 1; }
# The tree under test comes first, whatever include path the flags bring.
"$1" "-I$root/include" "${@:2}" -E -dD "$work/all.cpp" >"$work/out" || exit 1
awk '
  /^# [0-9]+ "/ { ours = $3 ~ /\/include\/rubato\// }
  $1 == "#define" { name = $2; sub(/\(.*/, "", name); if (ours) mine[name] = 1; else delete mine[name] }
  $1 == "#undef" { delete mine[$2] }
  END {
    for (name in mine) {
      ++count
      if (name !~ /^RUBATO_/) { print "the headers leak the macro " name; ++broken }
    }
    if (!count) { print "no macro of rubato was seen at all, not even its version"; ++broken }
    if (broken) exit 1
    print count " macros, all called RUBATO_..."
  }
' "$work/out"
