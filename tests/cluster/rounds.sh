#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# rounds.sh CLUSTER PEER: where nodes --go-on, methods in rounds and methods of a server go on too when a process that was
# stopped for longer than it may be silent comes back, or one that died is started again, and end where they would have ended. What cannot
# go on says so in one sentence.
set -uo pipefail

peer=$2
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
run=(--problem quadratic:50 --step 0.1 --compute fixed:2ms --slow none --quiet --go-on --nodes 3 --topology ring --silence 800ms)

# disturbed ALGORITHM stopped|killed PROCESSES VICTIM OPTION...: at the addresses, fails unless all end well.
disturbed() {
  local algorithm=$1 how=$2 n=$3 victim=$4 i pids=() name
  shift 4
  name=$algorithm.$how.$victim
  for ((i = 0; i < n; ++i)); do
    "$peer" --id $i --peers "$addresses" --algorithms "$algorithm" "${run[@]}" --until 10s "$@" >"$name.$i" 2>&1 &
    pids+=($!)
  done
  sleep 2 # not for correctness: so that they have met, and it is lost in the middle of its run
  if [[ $how == stopped ]]; then
    kill -STOP "${pids[victim]}"
    sleep 2
    kill -CONT "${pids[victim]}"
  else
    kill -KILL "${pids[victim]}"
    sleep 1
    "$peer" --id "$victim" --restart 1 --peers "$addresses" --algorithms "$algorithm" "${run[@]}" --until 7s "$@" >"$name.$victim" 2>&1 &
    pids[victim]=$!
  fi
  for ((i = 0; i < n; ++i)); do
    wait "${pids[i]}" || fail "$name: node $i does not end with status 0: $(cat "$name.$i")"
    grep 'stood still' "$name.$i" && fail "$name: node $i stood still"
  done
  grep -q "node $victim.* is gone: " "$name".* || fail "$name: nobody lost node $victim"
  [[ $how == stopped || $victim == 1 ]] || grep -q "node $victim has come back; it is the server: " "$name".0 ||
    fail "$name: it is not said which model a server that is back has: $(cat "$name".0)"
}
# Each in a process of its own, so that they run side by side.
begin() {
  free_addresses "$3"
  (failures=0; disturbed "$@" 2>/dev/null; exit $((failures > 0))) &
  begun+=($!)
}
begun=()
# An asynchronous server's model is pulled to and fro by its workers. Node 3 is the server; one that is started again begins anew.
for victim in 1 3; do begin asgd stopped 4 $victim --within 0.3; done
begin asgd killed 4 3 --within 0.3
for each in "${begun[@]}"; do wait "$each" || fail "one with a server"; done
begun=()
for how in stopped killed; do
  for algorithm in push_pull s_ab; do begin $algorithm $how 3 1 --within 1e-2; done
  # A step of 0.1 leaves 0.083, and without node 1 both end 1.0 away. Who does not wait for its neighbours is a little
  # farther off where a busy machine gives them unequal time.
  begin d_psgd $how 3 1 --within 0.1
  begin non_blocking_d_psgd $how 3 1 --within 0.3
  for each in "${begun[@]}"; do wait "$each" || fail "one that was $how"; done
  begun=()
done

# On a line 0 - 1 - 2 - 3, node 0 knows of what happens to node 2 by hearsay: if it dies, none of the others ends with status 0
# and without a word; if it comes back, all do, and each loss and return was said when it happened, with the time.
line=("${run[@]}")
line[11]=4 line[13]=line
for how in killed stopped; do
  pids=()
  free_addresses 4
  for i in 0 1 2 3; do
    "$peer" --id $i --peers "$addresses" "${line[@]}" --until 6s >said.$i 2>&1 &
    pids+=($!)
  done
  sleep 1.5 # not for correctness: so that they have met
  if [[ $how == killed ]]; then kill -KILL "${pids[2]}"; else kill -STOP "${pids[2]}"; fi
  sleep 1.5
  grep -qE 'peer: after [0-9.]+ s: node 2 at .* is gone: ' said.1 || fail "it is not said at once that node 2 is gone: $(cat said.1)"
  kill -CONT "${pids[2]}" 2>/dev/null
  right=0
  [[ $how == killed ]] && right=3
  for i in 0 1 3; do
    wait "${pids[i]}"
    status=$?
    ((status == right)) || fail "node $i of a line whose node 2 was $how ends with status $status: $(cat said.$i)"
  done
  wait "${pids[2]}" 2>/dev/null
  (($(grep -c 'node 2 at .* is gone: ' said.1) == 1)) || fail "it is said again that node 2 is gone: $(cat said.1)"
  if [[ $how == killed ]]; then
    grep -q 'a node that is 1 edges\? away from node 0 was cut off' said.0 || fail "node 0 does not say so: $(cat said.0)"
  else
    grep -qE 'peer: after [0-9.]+ s: node 2 has come back' said.1 || fail "it is not said at once that node 2 is back: $(cat said.1)"
    (($(grep -c 'node 2 has come back' said.1) == 1)) || fail "it is said again that node 2 is back: $(cat said.1)"
  fi
done

# All end together, or each is to go on without the others.
free_addresses 2
two=(--problem quadratic:10 --step 0.1 --slow none --quiet --nodes 2 --peers "$addresses" --silence 800ms)
"$peer" --id 0 "${two[@]}" --until 4s >said.0 2>&1 &
first=$!
"$peer" --id 1 "${two[@]}" --until 2s >said.1 2>&1
(($? == 4)) && grep -q "node 0.* has --until 4 s, but this node has 2 s" said.1 || fail "times that differ: $(cat said.1)"
wait $first && fail "its peer ends well: $(cat said.0)"
"$peer" --id 0 "${two[@]}" --go-on --until 5s >said.0 2>&1 &
first=$!
"$peer" --id 1 "${two[@]}" --go-on --until 1s >said.1 2>&1 || fail "who was given less time: $(cat said.1)"
wait $first || fail "who was given more time: $(cat said.0)"
grep -qE 'node 1 has ended its run [34][0-9.]* s before the end that node 0 was given' said.0 || fail "who ends early is not named: $(cat said.0)"

# Without one of its nodes an all-reduce ends, with the status of a run that failed because of another node.
free_addresses 3
said=$("$peer" --id 0 --peers "$addresses" --algorithms ring_allreduce_sgd "${run[@]}" --until 20s 2>&1)
(($? == 2)) && [[ $said == *"--go-on is not possible, because this algorithm needs every node"* ]] || fail "an all-reduce is to go on: $said"
pids=()
for i in 0 1 2; do
  "$peer" --id $i --peers "$addresses" --algorithms ring_allreduce_sgd "${run[@]/--go-on/--quiet}" --until 20s >said.$i 2>&1 &
  pids+=($!)
done
sleep 1 # not for correctness: so that they have met
kill -KILL "${pids[1]}"
for i in 0 2; do
  wait "${pids[i]}"
  (($? == 4)) || fail "an all-reduce without one of its nodes does not end with status 4: $(cat said.$i)"
done
grep -qE 'node 1 .*is gone' said.0 && grep -qE 'node 1 .*is gone' said.2 || fail "it does not say why: $(cat said.0 said.2)"

said=$("$peer" --id 0 --peers "$addresses" --transport udp --algorithms d_psgd "${run[@]}" --until 1s 2>&1)
(($? == 2)) && [[ $said == *"every message counts, and udp may lose some: use tcp"* ]] || fail "rounds over UDP: $said"
finish
