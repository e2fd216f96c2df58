#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# demo.sh RACE: examples/demo answers --help and refuses an option that race does not know before it installs or builds
# anything, and its list of options is race's own.
set -uo pipefail

race=$1
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
demo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../examples" && pwd)/demo

# Whatever it would install or build with leaves a trace here.
rm -rf bin trace && mkdir bin
for program in apt-get apt-cache dpkg-query sudo cmake; do
  printf '#!/bin/sh\necho "%s $*" >>"%s/trace"\nexit 1\n' "$program" "$PWD" >bin/$program
  chmod +x bin/$program
done
demo() { PATH="$PWD/bin:$PATH" "$demo" "$@"; }

for flag in --help -h; do demo $flag >help || fail "demo $flag: status $?"; done
names() { grep -oE '^  (-h, ?)?(--[a-z0-9-]+)' "$1" | grep -oE -- '--[a-z0-9-]+' | LC_ALL=C sort; }
"$race" --help >race_help
[[ -n $(names help) ]] || fail "demo --help names no option"
[[ $(names help) == "$(names race_help)" ]] || fail "demo and race have other options: $(diff <(names help) <(names race_help))"
! grep -B1 -E '^ *(\(default.*)?$' help || fail "these options have no text"

# The options of an algorithm come from race itself, where it was built.
if said=$(demo --help r_fast a2cid2 2>&1); then
  [[ $said == "Options of r_fast"*"Options of a2cid2"* ]] || fail "demo --help r_fast a2cid2: $said"
else
  [[ $said == "examples/demo: race lists the options of r_fast a2cid2, and is not built yet"* ]] || fail "demo --help r_fast a2cid2: $said"
fi

refused() { # refused 'WORDS' OPTION...
  local words=$1 said status
  shift
  said=$(demo "$@" 2>&1 >/dev/null)
  status=$?
  ((status == 2)) && [[ $said == "examples/demo: "*"$words"* && $(wc -l <<<"$said") == 1 ]] || fail "demo $*: status $status, '$said'"
}
refused "unknown option '--unitl'" --unitl 5s
refused "unknown option '--lots=3'" --lots=3
refused "unknown option 'stray'" --loss 0.1 stray
refused "--loss needs a value" --quiet --loss
refused "no algorithm 'r_fats'" --help r_fats
[[ ! -e trace ]] || fail "something was installed or built: $(<trace)"
demo --loss 0.1 --out --unusual >/dev/null 2>&1 # an option's value may look like one
[[ -e trace ]] || fail "what can be run is refused"
finish
