#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# output.sh RACE: what cannot be printed or written is told of, with a status that is not 0, and costs no result; files
# and text of others do no harm on the way.
set -uo pipefail

race=$1 replay=$(dirname "$1")/replay
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
rm -rf data full headed closed limited odd ring batch a?line* && tiny_data data
short=(--data data --nodes 2 --slow none --compute fixed:2ms --until 300ms --algorithms r_fast)

# whole NAME: its files are there, and whole.
whole() { [[ -s $1/race.csv && -s $1/race.json ]] && tail -c 1 "$1/race.json" | cmp -s - <(echo) || fail "$1: the results are lost"; }

"$race" "${short[@]}" --out full >/dev/full 2>said
status=$?
((status == 1)) || fail "a table on a full disk: status $status"
grep -q '^race: not all that was to be printed could be: No space left on device$' said || fail "it says: $(cat said)"
whole full

{ "$race" "${short[@]}" --out headed; echo $? >status; } 2>said | head -n 1 >/dev/null
(($(cat status) == 1)) || fail "race | head -n 1: status $(cat status)"
grep -q 'Broken pipe' said || fail "race | head -n 1 says: $(cat said)"
whole headed

"$race" "${short[@]}" --out closed >&- 2>said && fail "a closed standard output ends with status 0"
whole closed
grep -q '^algorithm,' closed/race.csv && ! grep -q Softmax closed/*.csv closed/*.json || fail "words were written into a result"

for program in "$race" "$replay"; do
  "$program" --help >/dev/full 2>/dev/null && fail "$program --help on a full disk ends with status 0"
done

# A recording that the disk does not take: results and table as ever, and one sentence.
(
  trap '' XFSZ
  ulimit -f 256
  "$race" "${short[@]/300ms/3s}" --out limited --record limited/logs --quiet >table 2>said
)
status=$?
((status == 1)) || fail "a recording that cannot be written: status $status"
grep -qE "^race: the recording 'limited/logs/r_fast.node-[01].log' failed after [0-9]+ events: File too large$" said || fail "it says: $(cat said)"
grep -q '^r_fast ' table || fail "there is no table: $(cat table)"
whole limited

# Replay finds data and graph from any folder, whatever their names hold.
odd=$'a\nline \e[2J'
mkdir "$odd" && printf '0 1\r1 0\r' | gzip >"$odd/g.txt.gz" && cp -r data "$odd"
"$race" "${short[@]:4}" --data "$odd/data" --topology "file:$odd/g.txt.gz" --out odd --record odd --quiet >/dev/null || fail "odd names: status $?"
here=$PWD
said=$(cd / && "$replay" "$here"/odd/*.log 2>&1) || fail "replay from another folder: $said"
(($(grep -c 'events replay to identical bits$' <<<"$said") == 2)) || fail "replay from another folder: $said"
said=$("$race" "${short[@]}" --out odd --topology "file:$odd/none" 2>&1 >/dev/null)
[[ $said == *'a\nline \x1b[2J/none'*'cannot be opened'* ]] || fail "a path is not shown escaped: $said"

# A graph whose edges go one way, under gossip, and under tracking, which can use it as it is.
printf '%%%%MatrixMarket matrix coordinate pattern general\n3 3 3\n1 2\n2 3\n3 1\n' >ring.mtx
said=$("$race" --data data --slow none --until 300ms --algorithms r_fast,d_psgd --topology file:ring.mtx --out ring --quiet 2>&1 >/dev/null) ||
  fail "a MatrixMarket file: status $?: $said"
[[ $said == "race: d_psgd: note: 3 edges of "*" go one way, and gossip uses them both ways" ]] || fail "one-way edges: it says '$said'"

# Quadratics, whose optimum is known.
said=$("$race" --problem quadratic:20 --algorithms r_fast,d_psgd --nodes 4 --until 20s --out quadratics 2>&1) || fail "quadratics: status $?: $said"
[[ $said == "Quadratics of 20 values, another one at each of 4 nodes"*"from the optimum"* ]] || fail "quadratics: it says '$said'"
grep -q '"problem": "quadratic:20"' quadratics/race.json && (($(grep -c '"from_optimum"' quadratics/race.json) == 2)) ||
  fail "race.json does not say how far from the optimum of quadratics they end"
sed -nE 's/.*"from_optimum": //p' quadratics/race.json | awk 'NR == 1 { near = $1 < 1e-4 } END { exit !near }' ||
  fail "r_fast does not come near the optimum of quadratics"
# Parts of a model that two servers share lie where they belong in it.
said=$("$race" --problem quadratic:100 --algorithms asgd --set servers=2 --loss 0 --slow none --until 5s --out shared 2>&1) || fail "two servers: status $?: $said"
sed -nE 's/.*"from_optimum": //p' shared/race.json | awk '{ near = $1 < 0.3 } END { exit !near }' ||
  fail "two servers end far from the optimum: $said"
for idle in "--batch 8|--batch has no effect on --problem quadratic:20" "--target-loss 1|--target-loss has no effect" "--record log|--record needs"; do
  said=$("$race" --problem quadratic:20 ${idle%|*} --out none 2>&1)
  (($? == 2)) && [[ $said == *"${idle#*|}"* ]] || fail "quadratics with ${idle%|*}: $said"
done

said=$("$race" "${short[@]}" --out batch --batch 201 2>&1 >/dev/null)
[[ $said == "race: --batch must be at most the number of training samples, 200, not 201" ]] || fail "--batch 201: $said"
said=$("$race" "${short[@]}" --out batch --batch 150 2>&1) || fail "--batch 150: status $?"
[[ $said == *'batch 150 (more than the 100 samples of a node'* ]] || fail "--batch 150 says nothing of it"
finish
