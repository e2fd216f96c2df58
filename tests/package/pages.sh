#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# pages.sh ROOT WORK COMPILER [FLAG...]: in README.md and in all pages under examples/ and include/, each ```cpp block
# that follows a line <!-- compiled: NAME --> compiles as printed; one with a main is linked and run too. A page may have
# none. It is a failure if no page has one, or if a block of C++ has no mark.
set -uo pipefail

root=$1 work=$2
shift 2
compile=("$@" -O0 -Wall -Wextra)

[[ -f $root/README.md ]] || { echo "$root/README.md is missing"; exit 1; }
mapfile -t pages < <(find "$root/examples" "$root/include" -name '*.md' 2>/dev/null | LC_ALL=C sort)
rm -rf "$work"
mkdir -p "$work" || exit 1
awk -v work="$work" '
  function die(text) { print FILENAME ":" FNR ": " text; broken = 1; exit 1 }
  FNR == 1 { if (name != "") die("the block " name " of the page before has no end"); inside = 0 }
  /^<!-- compiled: [A-Za-z0-9_-]+ -->[ \t\r]*$/ {
    if (name != "") die("two marks and no block between them")
    name = $3
    if (name in seen) die("the name " name " is used twice")
    seen[name] = 1
    next
  }
  inside && /^```/ { inside = 0; name = ""; close(file); next }
  inside { sub(/\r$/, ""); print > file; next }
  name != "" && /^```cpp/ { inside = 1; file = work "/" name ".cpp"; printf "" > file; next }
  /^```cpp/ { die("a block of C++ without a mark <!-- compiled: NAME -->") }
  name != "" && !/^[ \t\r]*$/ { die("the mark " name " is not followed by a cpp block") }
  END { if (!broken && name != "") { print FILENAME ": the block " name " has no end"; exit 1 } }
' "$root/README.md" "${pages[@]}" || exit 1

found=0 failures=0
for block in "$work"/*.cpp; do
  [[ -f $block ]] || continue
  found=$((found + 1))
  name=$(basename "$block" .cpp)
  if grep -q 'int main' "$block"; then
    if "${compile[@]}" "$block" -o "$work/$name" && (cd "$work" && "./$name" >"$name.txt"); then
      echo "$name: builds and runs; it prints:"
      head -n 20 "$work/$name.txt"
    else
      echo "$name: does not build or does not end well"
      failures=$((failures + 1))
    fi
  elif "${compile[@]}" -fsyntax-only "$block"; then
    echo "$name: compiles"
  else
    echo "$name: does not compile"
    failures=$((failures + 1))
  fi
done
((found > 0)) || { echo "no page under $root has a cpp block marked <!-- compiled: NAME -->"; exit 1; }
echo "$found blocks of $((${#pages[@]} + 1)) pages"
((failures == 0))
