#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# interrupt.sh RACE: Ctrl-C, or a terminal that closes, ends a run at once with status 130, the table so far, and whole files of what there is.
set -uo pipefail

race=$1
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
rm -rf data && tiny_data data

# Whether process PID runs an algorithm: only then has it a second thread (a node's, or one that computes gradients).
runs_an_algorithm() { (($(find "/proc/$1/task" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l) > 1)); }

# interrupt SIGNAL,... NAME OPTION...: starts a race that would take hours, waits until the first algorithm runs, interrupts it.
# A shell without job control starts background programs with SIGINT ignored; env sets it right.
interrupt() {
  local signal=$1 name=$2 pid status polls
  shift 2
  rm -rf "$name"
  env --default-signal=INT "$race" --data data --out "$name" --until 100000s --measure-every 100s "$@" >"$name.txt" 2>"$name.err" &
  pid=$!
  for ((polls = 0; polls < 2400; ++polls)); do
    runs_an_algorithm "$pid" && break
    kill -0 "$pid" 2>/dev/null || break
    read -r -t 0.05 <> <(:) || true
  done
  ((polls < 2400)) || fail "$name: no algorithm began within $polls polls"
  for each in ${signal//,/ }; do kill "-$each" "$pid" 2>/dev/null; done || fail "$name: race ended before it was interrupted: $(cat "$name.err")"
  wait "$pid"
  status=$?
  ((status == 130)) || fail "$name: status $status, not 130 ($(cat "$name.err"))"
  grep -q '^Interrupted: 1 of 2' "$name.txt" || fail "$name: it does not say that it was interrupted: $(cat "$name.txt")"
  grep -q '^r_fast ' "$name.txt" || fail "$name: no table of what there is"
  grep -q '"stopped": "interrupted"' "$name/race.json" || fail "$name: race.json does not say that it was interrupted"
  tail -c 1 "$name/race.csv" | cmp -s - <(echo) || fail "$name: race.csv ends within a line"
  [[ -z $(find "$name" -name '*.partial*') ]] || fail "$name: unfinished files are left"
}
interrupt INT sim --algorithms r_fast,d_psgd --threads 2
interrupt INT threads --algorithms r_fast,d_psgd --driver threads --nodes 2 --slow none
interrupt TERM,TERM,INT twice --algorithms r_fast,d_psgd --threads 2 # as timeout does, which sends its signal to a group too
interrupt HUP closed --algorithms r_fast,d_psgd --threads 2
finish
