#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# formula_labels.sh ROOT: each label such as (R.S2b) in the comment at the head of a header of algorithm/ or server/ stands
# again at a line of code of these folders, and in the name of a test or in the comment directly above one; a label at a
# line of code stands at the head of some header.
set -uo pipefail

folder=$1/include/rubato/algorithm
tests=$1/tests
mapfile -t headers < <(find "$folder" "$1/include/rubato/server" -name '*.hpp' 2>/dev/null | LC_ALL=C sort)
((${#headers[@]} > 0)) || { echo "$folder holds no headers"; exit 1; }
mapfile -t test_files < <(find "$tests" -name '*.cpp' -o -name '*.hpp' | LC_ALL=C sort)
((${#test_files[@]} > 0)) || { echo "$tests holds no tests"; exit 1; }

awk '
  function labels(line, seen,   label) {
    while (match(line, /\([A-Z][A-Za-z]*\.[A-Z0-9][A-Za-z0-9]*\)/)) {
      label = substr(line, RSTART, RLENGTH)
      if (!(label in seen)) seen[label] = FILENAME ":" FNR
      line = substr(line, RSTART + RLENGTH)
    }
  }
  FNR == 1 { head = FILENAME ~ /\/include\/rubato\/(algorithm|server)\// }
  head && !/^[ \t]*(\/\/|#|$)/ { head = 0 }        # the head ends where code begins
  # A test is named from TEST_CASE to the brace; a comment counts only if no other line comes between.
  FILENAME !~ /\/include\/rubato\/(algorithm|server)\// {
    if (FNR == 1) { above = ""; naming = 0 }
    if ($0 ~ /^[ \t]*(TEST_CASE|TEMPLATE_TEST_CASE|TEMPLATE_LIST_TEST_CASE|SCENARIO)[ \t]*\(/) { labels(above, in_test); naming = 1 }
    if (naming) { labels($0, in_test); naming = $0 !~ /{[ \t]*$/ }
    above = $0 ~ /^[ \t]*\/\// ? above $0 : ""
    next
  }
  head { labels($0, in_head); next }
  { labels($0, in_code) }
  END {
    for (label in in_head) {
      ++count
      if (!(label in in_code)) { print in_head[label] ": " label " stands at no line of code"; ++broken }
      if (!(label in in_test)) { print in_head[label] ": " label " stands in the name of no test"; ++broken }
    }
    for (label in in_code)
      if (!(label in in_head)) { print in_code[label] ": " label " stands at the head of no algorithm"; ++broken }
    if (!count) { print "no header of include/rubato/algorithm/ has a labelled formula at its head"; ++broken }
    if (broken) exit 1
    print count " labelled formulas stand at their code and in a test"
  }
' "${headers[@]}" "${test_files[@]}"
