#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# optimum.sh CLUSTER PEER: four processes that disagree end at the optimum of the sum, over TCP and over UDP that loses a
# tenth of its datagrams, and a small training run of three algorithms writes the table and files that race writes.
set -uo pipefail

cluster=$1 peer=$2
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
rm -rf data out && tiny_data data

said=$("$cluster" --peer "$peer" --problem quadratic:200 --nodes 4 --slow none --algorithms r_fast,ring_allreduce_sgd \
  --step 0.1 --set ring_allreduce_sgd.step=1 --compute fixed:1ms --until 5s --within 1e-5 --out out --quiet 2>&1) || fail "on quadratics: status $?: $said"
echo "$said"
grep -q '^algorithm  *from the optimum ' <<<"$said" || fail "the distance from the optimum is not said"
grep -q accuracy <<<"$said" && fail "a quadratic has no accuracy"
grep -q -e '"data"' -e '"loss"' out/race.json && fail "race.json names options that nothing heeded"
for file in out/race.csv out/race.json; do [[ -s $file ]] || fail "there is no $file"; done
grep -q '"driver": "processes"' out/race.json || fail "race.json does not name the driver"

# Every algorithm takes every problem; and what a server made of its workers is written too, without a sleeping peer.
said=$("$cluster" --peer "$peer" --problem quadratic:20 --nodes 3 --slow none --algorithms osgp,non_blocking_allreduce,asgd \
  --step 0.05 --compute fixed:0ms --until 300ms --out out --quiet 2>&1) || fail "other algorithms on quadratics: status $?: $said"
echo "$said"
(($(grep -c '^asgd,[0-2],[1-9]' out/race.weights.csv) == 3)) || fail "not every worker has its weight: $(cat out/race.weights.csv)"
(($(grep -c '"mean_weight"' out/race.json) == 3)) || fail "race.json does not hold the weights of three workers"

# A non-blocking node's gradient is a sixteenth of a batch, and takes a sixteenth of its time: far more than 3 x 60 in a second.
"$cluster" --peer "$peer" --problem quadratic:20 --nodes 3 --slow none --algorithms non_blocking_d_psgd --step 0.01 --compute fixed:16ms \
  --until 1s --out out --quiet >/dev/null || fail "non-blocking on quadratics"
gradients=$(sed -n 's/^ *"gradients": \([0-9]*\),*$/\1/p' out/race.json | head -1)
((gradients > 4 * 180)) || fail "non-blocking nodes computed $gradients gradients: each takes as long as a whole batch"

said=$("$cluster" --peer "$peer" --problem quadratic:200 --nodes 4 --algorithms r_fast --step 0.1 --compute fixed:1ms --until 300ms \
  --within 1e-12 --out out --quiet 2>&1)
(($? == 1)) || fail "a run that misses --within does not end with status 1: $said"
grep -qE '(peer|cluster): a model is .* away from the optimum, and --within allows' <<<"$said" || fail "it does not say so: $said"

said=$("$cluster" --peer "$peer" --transport udp --drop 0.1 --problem quadratic:600 --nodes 4 --slow none \
  --algorithms r_fast --step 0.1 --compute fixed:1ms --until 5s --within 1e-5 --out out --quiet 2>&1) || fail "over udp: status $?: $said"
echo "$said"
for words in '"transport": "udp"' '"drop": 0.1' '"from_optimum": [0-9.]*e-\(0[6-9]\|1\)'; do
  grep -q "$words" out/race.json || fail "race.json does not say $words"
done

said=$("$cluster" --peer "$peer" --data data --nodes 3 --batch 8 --step 0.05 --compute fixed:500us --until 1s --measure-every 100ms --out out \
  --algorithms r_fast,m_synchronous_sgd,d_psgd --quiet 2>&1) || fail "on tiny data: status $?: $said"
echo "$said"
awk '/^(r_fast|m_synchronous_sgd|d_psgd) / { ++seen; if (!($3 < 2.2)) { print "the loss of " $1 " is " $3; bad = 1 } }
     END { exit bad || seen != 3 }' <<<"$said" || fail "not every algorithm learned"
finish
