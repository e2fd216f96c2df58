#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# self_test.sh COMPILER [FLAG...]: check.sh passes a true case and fails every kind of false one.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
failures=0

# expect WANTED NAME ILLEGAL LEGAL ERROR: WANTED is pass or fail.
expect() {
  local wanted=$1 name=$2 case_file=$folder/$2.cpp got=pass
  printf '// illegal: %s\n// legal: %s\n// error: %s\n' "$3" "$4" "$5" >"$case_file"
  printf 'template <class T> void f() { static_assert(sizeof(T) == 1, "a byte is wanted"); }\n' >>"$case_file"
  printf 'int main() { f<SUBJECT>(); }\n' >>"$case_file"
  bash "$here/check.sh" "$case_file" "${compiler[@]}" >"$folder/log" 2>&1 || got=fail
  if [[ $got == "$wanted" ]]; then
    echo "as it should be: $name gives $got"
  else
    echo "WRONG: $name gives $got, not $wanted"
    cat "$folder/log"
    failures=$((failures + 1))
  fi
}

compiler=("$@")
expect pass a_true_case int char "a byte is wanted"
expect fail an_illegal_form_that_compiles "signed char" char "a byte is wanted"
expect fail a_legal_twin_that_does_not_compile int long "a byte is wanted"
expect fail other_words_than_promised int char "a word is wanted"
expect fail words_that_stand_only_in_the_source int char "int main"
expect fail two_equal_words int int "a byte is wanted"
expect fail no_words int char ""
((failures == 0))
