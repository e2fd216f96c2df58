#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# check.sh CASE COMPILER [FLAG...]: one fragment that must not compile, and its legal twin that must.
#
# A case is one file. It uses the macro SUBJECT exactly where the legal and the illegal program differ, and says in
# comments of its own lines what SUBJECT stands for and which words the compiler must say (`error:` may be repeated):
#
#   // illegal: transport::udp
#   // legal:   transport::tcp
#   // error:   ring_allreduce_sgd needs a lossless transport
set -uo pipefail
export LC_ALL=C

case_file=$1
shift
compile=("$@" -fsyntax-only -fdiagnostics-color=never -fno-diagnostics-show-caret)
# Source lines are not echoed, so that the words cannot be found in the case's own text.
if "$1" --version 2>/dev/null | grep -q clang; then
  compile=("$@" -fsyntax-only -fno-color-diagnostics -fno-caret-diagnostics -ftemplate-backtrace-limit=0)
fi

field() { sed -n "s|^// *$1: *\(.*[^ ]\) *\$|\1|p" "$case_file"; }
fail() {
  printf '%s: %s\n' "$case_file" "$1"
  [[ -z ${output:-} ]] || printf '%s\n' "$output" | head -n 60
  exit 1
}

output=''
[[ -f $case_file ]] || fail "there is no such case"
illegal=$(field illegal)
legal=$(field legal)
mapfile -t words < <(field error)
[[ -n $illegal && $illegal != *$'\n'* ]] || fail "the case needs exactly one line '// illegal: ...'"
[[ -n $legal && $legal != *$'\n'* ]] || fail "the case needs exactly one line '// legal: ...'"
[[ $illegal != "$legal" ]] || fail "the illegal and the legal word are the same"
((${#words[@]} > 0)) || fail "the case needs a line '// error: ...' with the words that the compiler must say"
grep -v '^//' "$case_file" | grep -qw SUBJECT || fail "the case does not use SUBJECT"

output=$("${compile[@]}" "-DSUBJECT=$legal" "$case_file" 2>&1) || fail "the legal twin, SUBJECT = $legal, does not compile"
if output=$("${compile[@]}" "-DSUBJECT=$illegal" "$case_file" 2>&1); then
  fail "the illegal form, SUBJECT = $illegal, compiles"
fi
for sentence in "${words[@]}"; do
  grep -qF -- "$sentence" <<<"$output" || fail "the compiler does not say '$sentence' but:"
done
echo "SUBJECT = $legal compiles; SUBJECT = $illegal does not: ${words[*]}"
