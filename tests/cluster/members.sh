#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# members.sh CLUSTER PEER: of a run with room for six nodes four begin. One is killed, one is new, the root leaves in order
# and comes again: those who are there end at the optimum of their own sum, over TCP and shared memory. So do workers of a server. What members
# cannot be is refused in one sentence.
set -uo pipefail

cluster=$1 peer=$2
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
run=(--problem quadratic:20 --step 0.1 --compute fixed:2ms --slow none --topology binary-tree --silence 2s
     --members 6 --nodes 4 --within 1e-3)

# said FILE WORDS: waits until it has them, half a minute at most.
said() {
  local tries=0
  until grep -q "$2" "$1" 2>/dev/null; do
    ((++tries < 600)) || { fail "$1 does not say '$2': $(cat "$1")"; return; }
    sleep 0.05
  done
}
# ends I STATUS: that node does, with this status.
ends() {
  local status
  wait "${pids[$1]}"
  status=$?
  ((status == $2)) || fail "node $1 over $transport ends with status $status, not $2: $(cat "said.$1")"
}
# Nobody stays behind where a test fails.
end_all() { for i in "${!pids[@]}"; do kill -KILL "${pids[i]}" 2>/dev/null; done; }
begin() {
  "$peer" --id "$1" --transport "$transport" "${where[@]}" "${run[@]}" "${@:2}" >"said.$1" 2>&1 &
  pids[$1]=$!
}

# come_and_go TRANSPORT: in a folder of its own.
come_and_go() {
  local i
  transport=$1 where=(--peers "$addresses") pids=()
  rm -rf "$1"
  mkdir "$1" && cd "$1" || exit 1
  trap end_all EXIT
  [[ $1 != shared_memory ]] || where=(--run "members-$$")
  begin 0 --until 300s
  for i in 1 2; do begin $i --until 20s; done
  begin 3 --until 300s
  begin 5 --join --until 300s # needs a model, so it comes once the others have begun
  for i in 0 1 2 3; do said said.$i "node 5 has come"; done
  kill -KILL "${pids[3]}"
  wait "${pids[3]}" 2>/dev/null
  for i in 0 1 2 5; do said said.$i "node 3 .*is gone"; done
  begin 4 --join --until 300s
  for i in 0 1 2 5; do said said.$i "node 4 has come"; done
  kill -TERM "${pids[0]}"
  for i in 1 2 4 5; do said said.$i "node 0 has left"; done
  ends 0 3 # since node 3 was lost
  grep -q "this node has left the others" said.0 || fail "node 0 over $1 does not say that it has left: $(cat said.0)"
  begin 0 --join --restart 1 --until 300s
  for i in 1 2 4 5; do said said.$i "node 0 has come"; done
  for i in 1 2; do
    ends $i 3
    grep -q "from the optimum of those who are there" said.$i || fail "node $i over $1 says nothing of its optimum: $(cat said.$i)"
    grep -q "node 3 was lost to node $i and had not come back" said.$i || fail "node $i over $1 does not name who was lost: $(cat said.$i)"
    grep -q "seen different members\|saw different members" said.$i && fail "views differ over $1: $(cat said.$i)"
  done
  kill -TERM "${pids[0]}" "${pids[4]}" "${pids[5]}"
  for i in 0 4 5; do
    ends $i 3 # since node 3 was lost to some of them
    grep -q "seen different members\|saw different members" said.$i && fail "views differ over $1: $(cat said.$i)"
  done
  exit $((failures > 0))
}
all=()
for transport in tcp shared_memory; do
  free_addresses 6
  (come_and_go $transport) &
  all+=($!)
done
for each in "${all[@]}"; do wait "$each" || failures=$((failures + 1)); done

# Workers of a server, which is node 3: one leaves, and one is new.
transport=tcp pids=()
trap end_all EXIT
free_addresses 4
where=(--peers "$addresses")
run=(--problem quadratic:20 --algorithms dude_asgd --step 0.3 --compute fixed:2ms --slow none --members 3 --nodes 2 --silence 2s)
begin 3 --until 15s --within 1e-4
begin 0 --until 300s
begin 1 --until 300s
begin 2 --until 300s --join
said said.3 "node 2 has come"
kill -TERM "${pids[1]}"
said said.3 "node 1 has left"
for i in 0 1 2 3; do ends $i 0; done
grep -q "this node has left the others" said.1 || fail "node 1 does not say that it has left: $(cat said.1)"
grep -q "from the optimum of those who are there" said.3 || fail "the server says nothing of its optimum: $(cat said.3)"

# A server that is interrupted has not left: its run has failed.
free_addresses 4
where=(--peers "$addresses")
rm -f said.*
for i in 3 0 1; do begin $i --until 300s; done
begin 2 --until 300s --join
said said.3 "node 2 has come"
kill -TERM "${pids[3]}"
ends 3 130
grep -q "has left the others" said.3 && fail "a server that is interrupted says that it has left: $(cat said.3)"
kill -TERM "${pids[@]:0:3}" 2>/dev/null
wait

# cluster says how to join, and its result counts who did.
for transport in tcp shared_memory; do
  timeout -k 1 60 "$cluster" --members 4 --nodes 3 --transport $transport --problem quadratic:20 --step 0.1 --compute fixed:2ms \
    --slow none --until 8s --within 1e-3 --out "by-$transport" >"said.by-$transport" 2>&1 &
  started=$!
  said "said.by-$transport" "there is room for 1 more"
  bash -c "exec $(grep -e "--join --id 3" "said.by-$transport")" >joined 2>&1 || fail "who joins over $transport ends with status $?: $(cat joined)"
  wait $started || fail "cluster over $transport: status $?, $(cat "said.by-$transport")"
  grep -q "node 3 has come" "said.by-$transport" || fail "cluster over $transport does not say who has come: $(cat "said.by-$transport")"
done

free_addresses 4
four=(--peers "$addresses" --problem quadratic:20 --until 1s)
in_one_sentence "cannot begin where --members leaves room for 3" "$peer" --id 0 --nodes 4 --members 3 "${four[@]}"
in_one_sentence "it can --join once they have begun" "$peer" --id 3 --nodes 3 --members 4 "${four[@]}"
in_one_sentence "no effect without --members" "$peer" --id 0 --nodes 4 --join "${four[@]}"
in_one_sentence "no effect without --members" "$peer" --id 0 --nodes 4 --leave-after 1s "${four[@]}"
in_one_sentence "no effect from --until on" "$peer" --id 0 --nodes 3 --members 4 --leave-after 1s "${four[@]}"
in_one_sentence "may lose the last message" "$peer" --id 0 --nodes 3 --members 4 --transport udp "${four[@]}"
in_one_sentence "exclude each other" "$peer" --id 0 --nodes 3 --members 4 --pace 2 "${four[@]}"
in_one_sentence "exclude each other" "$peer" --id 0 --nodes 3 --members 4 --checkpoint saved "${four[@]}"
in_one_sentence "exclude each other" "$peer" --id 0 --nodes 3 --members 4 --doctor "${four[@]}"
in_one_sentence "from 1 to 1024" "$peer" --id 0 --nodes 3 --members 100000 "${four[@]}"
in_one_sentence "is the server of this run" "$peer" --id 3 --nodes 3 --members 3 --algorithms dude_asgd --join "${four[@]}"
in_one_sentence "it takes no --leave-after" "$peer" --id 3 --nodes 3 --members 3 --algorithms dude_asgd --leave-after 500ms "${four[@]}"
in_one_sentence "needs --join" "$peer" --id 0 --nodes 3 --members 4 --restart 1 "${four[@]}"
in_one_sentence "needs every one" "$peer" --id 0 --nodes 3 --members 4 --algorithms d_psgd "${four[@]}"
in_one_sentence "needs all its nodes" "$peer" --id 0 --nodes 3 --members 4 --algorithms extra "${four[@]}"
in_one_sentence "a number of its own" "$peer" --id 0 --nodes 3 --members 4 --topology torus:2x2 "${four[@]}"
in_one_sentence "changes from round to round" "$peer" --id 0 --nodes 3 --members 4 --topology base-k:2 "${four[@]}"
in_one_sentence "peers that are started by hand" "$cluster" --members 4 --nodes 3 --algorithms dude_asgd --problem quadratic:20
in_one_sentence "exclude each other" "$cluster" --members 4 --nodes 3 --hosts "$0" --problem quadratic:20 --until 1s
finish
