#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# folders.sh CLUSTER PEER: what a cluster writes in TMPDIR is its own and goes with it, however it ends; what somebody
# planted there stays as it is. A recording that a peer could not write is told of. Two runs never save into one folder of
# checkpoints, not even where one is the former life of the other.
set -uo pipefail

cluster=$1 peer=$2
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
rm -rf tmp victim data out logs && mkdir tmp victim && tiny_data data
export TMPDIR=$PWD/tmp
run=(--peer "$peer" --problem quadratic:20 --nodes 2 --slow none --step 0.1 --compute fixed:1ms --quiet --out out)

# empties WHY: nothing is left in TMPDIR, after a moment at most.
empties() {
  local tries
  for ((tries = 0; tries < 200; ++tries)); do
    [[ -z $(ls tmp) ]] && return
    read -r -t 0.05 <> <(:) || true
  done
  fail "$1: there is still $(ls tmp)"
}

# The name that a process of that number would give a folder, had it no more imagination.
echo precious >victim/node-0.output
bash -c 'ln -s "$PWD/victim" "tmp/rubato-cluster-$BASHPID" && exec "$@"' - "$cluster" "${run[@]}" --until 300ms >said 2>&1 ||
  fail "a cluster beside a planted link: status $?: $(cat said)"
[[ $(cat victim/node-0.output) == precious ]] || fail "a cluster follows a link that was planted"
rm tmp/rubato-cluster-*
empties "an orderly end"

for signals in INT "INT INT" "TERM TERM" QUIT KILL; do
  env --default-signal=INT,QUIT "$cluster" "${run[@]}" --until 60s >said 2>&1 &
  started=$!
  while kill -0 $started 2>/dev/null && ! ls tmp/*/node-1.output >/dev/null 2>&1; do read -r -t 0.01 <> <(:) || true; done
  for signal in $signals; do kill -"$signal" $started 2>/dev/null; done
  wait $started 2>/dev/null
  empties "after $signals"
done

(
  trap '' XFSZ
  ulimit -f 256
  "$cluster" --peer "$peer" --data data --nodes 2 --slow none --step 0.05 --compute fixed:1ms --until 3s --quiet --out out \
    --transport tcp --record "$PWD/logs" >table 2>said
)
status=$?
cat said
((status == 1)) || fail "a recording that cannot be written: status $status"
grep -qE "^cluster: the recording '.*/logs/r_fast.node-[01].log' failed after [0-9]+ events: File too large$" said || fail "it says: $(cat said)"
grep -q '^r_fast ' table && [[ -s out/race.csv ]] || fail "the results are lost: $(cat table)"

# await COMMAND...: until it succeeds, as long as the process $started lives.
await() { until "$@" || ! kill -0 $started 2>/dev/null; do read -r -t 0.05 <> <(:) || true; done; }
has_files() { (($(find saved -name '*.checkpoint' 2>/dev/null | wc -l) >= 2)); }
for algorithm in r_fast ring_allreduce_sgd; do
  rm -rf saved
  saves=(--algorithms $algorithm --checkpoint saved --every 100ms --every-rounds 10)
  "$cluster" "${run[@]}" "${saves[@]}" --until 60s >first 2>&1 &
  started=$!
  await has_files
  said=$("$cluster" "${run[@]}" "${saves[@]}" --until 1s 2>&1)
  (($? == 2)) && [[ $said == *"another run saves into 'saved/$algorithm' (the run: process $started on "* && $(grep -c . <<<"$said") == 1 ]] ||
    fail "a second run in one folder: $said"
  kill -KILL $started # and what its processes save at last is what the next life begins with
  wait $started 2>/dev/null
  "$cluster" "${run[@]}" "${saves[@]}" --until 500ms --resume >said 2>&1 || fail "a run that goes on at once: $(cat said)"
  # Processes of a former life that are still there.
  free_addresses 2
  pids=()
  for i in 0 1; do
    "$peer" --id $i --peers "$addresses" "${run[@]:2:11}" "${saves[@]}" --until 60s --resume >"former.$i" 2>&1 &
    pids+=($!)
  done
  started=${pids[0]}
  await grep -qs "node 1: process ${pids[1]} " saved/$algorithm/lock
  said=$("$peer" --id 1 --peers 127.0.0.1:9,127.0.0.1:0 "${run[@]:2:11}" "${saves[@]}" --until 1s 2>&1)
  (($? == 2)) && [[ $said == *"another run saves into 'saved/$algorithm' (node 1: process ${pids[1]} on "* ]] || fail "a second process of a node: $said"
  "$cluster" "${run[@]}" "${saves[@]}" --until 500ms --resume >said 2>&1 &
  started=$!
  await grep -q "cluster: waiting for another process that still saves into 'saved/$algorithm' (node [01]: process " said
  kill -KILL "${pids[@]}" || fail "the former life has ended before the next: $(cat former.?)"
  wait "${pids[@]}" 2>/dev/null
  wait $started && grep -q 'waiting for' said || fail "a run that goes on after its former life: $(cat said)"
done

"$cluster" "${run[@]}" --until 300ms >/dev/full 2>said && fail "a table on a full disk ends with status 0"
grep -q '^cluster: not all that was to be printed could be: No space left on device$' said || fail "it says: $(cat said)"
finish
