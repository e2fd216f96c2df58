#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# determinism.sh RACE: the same seed gives the same race.csv, however often and on however many threads; another seed
# gives another. One node runs too, a file can name the topology, and --help names a unit or a default for every option.
set -uo pipefail

race=$1
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
rm -rf data && tiny_data data

all=$("$race" --help | sed -nE 's/.* what races: ([a-z0-9_, ]+) \(.*/\1/p' | tr -d ' ')
# run NAME OPTION...
run() {
  local name=$1
  shift
  rm -rf "$name"
  "$race" --data data --out "$name" --quiet --until 2s --measure-every 10ms --algorithms "$all" "$@" >"$name.txt" 2>&1 ||
    fail "race $*: status $?: $(tail -n 1 "$name.txt")"
}
run first --seed 3 --threads 1
run again --seed 3 --threads 1
run two --seed 3 --threads 2
run other --seed 4 --threads 1
rows=$(wc -l <first/race.csv)
((rows > 18 * 100)) || fail "race.csv has $rows lines only"
cmp first/race.csv again/race.csv || fail "a second run of the same seed differs"
cmp first/race.json again/race.json || fail "race.json of a second run of the same seed differs"
cmp first/race.csv two/race.csv || fail "two threads give other results than one"
cmp -s first/race.csv other/race.csv && fail "another seed gives the same results"

# What a race must say, and say of every algorithm.
for word in '"options"' '"step rule": "sgd"' '"results"' '"algorithm"' '"seconds_to_target"' '"final_loss"' '"test_accuracy"'; do
  grep -q "$word" first/race.json || fail "race.json does not hold $word"
done
for name in ${all//,/ }; do
  grep -q "^$name " first.txt || fail "the table has no line for $name"
  grep -q "^$name,2," first/race.csv || fail "race.csv has no last measurement of $name"
done
awk -F, 'NR > 1 && $2 == 2 && !($3 < 2.2) { print; bad = 1 } END { exit bad }' first/race.csv ||
  fail "these did not learn anything in 2 s"
if command -v gnuplot >/dev/null; then
  grep -q '</svg>' first/race.svg || fail "race.svg is no picture"
  grep -q '<text>Softmax regression on data, split by label, 8 nodes, .*</text>' first/race.svg || fail "race.svg does not say what is drawn"
  "$race" --data data --out by_bytes --quiet --until 100ms --picture-by bytes >/dev/null || fail "--picture-by bytes: status $?"
  grep -q '<text>MB sent by all nodes</text>' by_bytes/race.svg || fail "--picture-by bytes has another axis"
fi

# Without gnuplot the run ends well and says from which file a plot can be made.
mkdir -p no_programs
ln -sf "$(command -v sh)" no_programs/sh
said=$(PATH=$PWD/no_programs "$race" --data data --out unplotted --quiet --until 100ms) || fail "no gnuplot: status $?"
[[ $said == *"gnuplot"*"plot can be made from"*"race.csv"* ]] || fail "no gnuplot: it says '$said'"
[[ -s unplotted/race.csv && ! -e unplotted/race.svg ]] || fail "no gnuplot: wrong files"

run one --nodes 1
# No cycle of odd length, and both ways: some algorithms refuse others.
printf 'nodes 4\n0 1\n1 0\n1 2\n2 1\n2 3\n3 2\n3 0\n0 3\n' >graph_of_four
run square --topology file:graph_of_four
help=$("$race" --help) || fail "--help: status $?"
for option in algorithms driver nodes topology split batch step set compute slow latency bandwidth loss until \
  target-loss seed threads out data; do
  [[ $help == *"--$option "* ]] || fail "--help does not name --$option"
done

# The threads driver: real time, so only what must hold.
rm -rf threads
"$race" --data data --out threads --quiet --driver threads --until 300ms --nodes 3 --algorithms r_fast,d_psgd >threads.txt ||
  fail "--driver threads: status $?"
grep -q '^r_fast ' threads.txt && grep -q '^d_psgd ' threads.txt || fail "--driver threads: the table lacks a line"
finish
