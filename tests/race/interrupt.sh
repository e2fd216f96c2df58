#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# interrupt.sh RACE: Ctrl-C ends a run at once with status 130, the table so far, and whole files of what there is.
set -uo pipefail

race=$1
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
rm -rf data && tiny_data data

# interrupt NAME OPTION...: starts a race that would take hours, waits until the first algorithm runs, interrupts it.
# A shell without job control starts background programs with SIGINT ignored; env sets it right.
interrupt() {
  local name=$1 pid status
  shift
  rm -rf "$name"
  env --default-signal=INT "$race" --data data --out "$name" --until 100000s --measure-every 100s "$@" >"$name.txt" 2>"$name.err" &
  pid=$!
  until grep -q 'Steps:' "$name.txt" 2>/dev/null; do
    kill -0 "$pid" 2>/dev/null || break
    read -r -t 0.05 <> <(:) || true
  done
  kill -INT "$pid" 2>/dev/null || fail "$name: race ended before it was interrupted: $(cat "$name.err")"
  wait "$pid"
  status=$?
  ((status == 130)) || fail "$name: status $status, not 130 ($(cat "$name.err"))"
  grep -q '^Interrupted: 1 of 2' "$name.txt" || fail "$name: it does not say that it was interrupted: $(cat "$name.txt")"
  grep -q '^r_fast ' "$name.txt" || fail "$name: no table of what there is"
  grep -q '"stopped": "interrupted"' "$name/race.json" || fail "$name: race.json does not say that it was interrupted"
  tail -c 1 "$name/race.csv" | cmp -s - <(echo) || fail "$name: race.csv ends within a line"
  [[ -z $(find "$name" -name '*.partial*') ]] || fail "$name: unfinished files are left"
}
interrupt sim --algorithms r_fast,d_psgd
interrupt threads --algorithms r_fast,d_psgd --driver threads --nodes 2 --slow none
finish
