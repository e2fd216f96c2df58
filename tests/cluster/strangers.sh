#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# strangers.sh CLUSTER PEER: what processes of another user do who have no key of the run: call in place of a peer before it
# is there and all the time, say nothing, flood the ports, take the place of a node that died. The run goes on, and what it
# saves leads to the optimum. 77, with a sentence, unless this is root, who alone can be somebody else.
set -uo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
((EUID == 0)) && id nobody >/dev/null 2>&1 && command -v setpriv >/dev/null ||
  { echo "only root can start processes of another user (nobody, by setpriv)"; exit 77; }
# Where the others can come to.
open=$(mktemp -d)
trap 'rm -rf "$open"' EXIT
chmod 755 "$open"
install -m 755 "$2" "$open/peer"
install -d -o nobody -m 700 "$open/theirs"
peer=$open/peer
as_stranger() { setpriv --reuid nobody --regid "$(id -gn nobody)" --clear-groups "$@"; }
if "$peer" --peers 127.0.0.1:1,127.0.0.1:2 --nodes 2 --until 1s --arrival 1ms --key nowhere/at-all 2>&1 | grep -q "built without OpenSSL"; then
  echo "this peer was built without OpenSSL"
  exit 77
fi
run=(--problem quadratic:20 --nodes 3 --topology ring --step 0.1 --slow none --compute fixed:2ms --silence 800ms --go-on --quiet)

# call ADDRESSES TRANSPORT OPTION...: a node 1 of theirs, which ends badly; says what it said.
call() {
  local said
  said=$(cd "$open/theirs" && as_stranger timeout -k 1 20 "$peer" --id 1 --peers "$1" --transport "$2" "${run[@]}" --until 1s --arrival 1s "${@:3}" 2>&1) &&
    echo "a stranger's node has run well: $said"
  echo "$said"
}
# call_again ADDRESSES TRANSPORT: with other keys, with none, with nonsense, and without a word, until there is a file `enough`.
call_again() {
  local first=${1%%,*} theirs=${1%%,*},127.0.0.1:$((${1##*:} + 1)),${1##*,}
  while [[ ! -e enough ]]; do
    call "$theirs" "$2"
    call "$theirs" "$2" --key own.key
    # shellcheck disable=SC2016
    as_stranger timeout 5 bash -c 'for ((k = 0; k < 150; ++k)); do
        exec {mute}<>"/dev/tcp/${0%:*}/${0##*:}"
        ((k % 2)) || head -c 300 /dev/urandom >&$mute
        head -c 300 /dev/urandom >"/dev/udp/${0%:*}/${0##*:}"
      done; read -rt 1 -u $mute' "$first" 2>/dev/null
  done >called 2>&1
}

# attacked TRANSPORT: in a folder of its own, at the addresses.
attacked() {
  local i pids=() strangers all=("${run[@]}" --transport "$1" --peers "$addresses" --key run.key --checkpoint saved --every 100ms)
  local tries near=0
  rm -rf "$1"
  mkdir "$1" && cd "$1" || exit 1
  call_again "$addresses" "$1" &
  strangers=$!
  env --default-signal=INT "$peer" --id 0 "${all[@]}" --until 600s >said.0 2>&1 &
  pids[0]=$!
  while [[ $(stat -c %s called 2>/dev/null || echo 0) == 0 ]] && kill -0 "${pids[0]}"; do sleep 0.05; done # they were there first
  as_stranger cat run.key >/dev/null 2>&1 && fail "another user reads the key"
  for i in 1 2; do
    env --default-signal=INT "$peer" --id $i "${all[@]}" --until 600s >said.$i 2>&1 &
    pids[i]=$!
  done
  all_there saved/r_fast/node-{0,1,2}.checkpoint # so they have met
  kill -KILL "${pids[1]}"
  wait "${pids[1]}" 2>/dev/null
  until grep -q "node 1 at .* is gone" said.0 || ! kill -0 "${pids[0]}"; do sleep 0.05; done
  call "$addresses" "$1" --key own.key >in-its-place # at the very address of the dead one
  grep -q "another key, or none\|no keys could be agreed on\|has not called" in-its-place || fail "over $1 who takes a dead node's place says: $(cat in-its-place)"
  grep -q "node 1 has come back" said.0 && fail "over $1 a stranger came back in place of node 1: $(cat said.0)"
  rm saved/r_fast/node-1.checkpoint # it begins anew
  env --default-signal=INT "$peer" --id 1 --restart 1 "${all[@]}" --until 600s >said.1 2>&1 &
  pids[1]=$!
  for ((tries = 0; tries < 1200; ++tries)); do
    grep -q "node 1 has come back" said.0 && grep -q "node 1 has come back" said.2 && break
    sleep 0.05
  done
  ((tries < 1200)) || fail "over $1 node 1 did not come back: $(cat said.0)"
  all_there saved/r_fast/node-1.checkpoint
  kill -INT "${pids[@]}"
  for i in 0 1 2; do
    wait "${pids[i]}"
    (($? == 130)) || fail "node $i over $1 did not end with status 130: $(cat said.$i)"
  done
  # From what they have saved they come to the optimum, so that it is whole.
  touch enough
  wait "$strangers"
  for ((tries = 0; tries < 10 && near != 3; ++tries)); do
    near=0
    for i in 0 1 2; do
      "$peer" --id $i "${all[@]}" --resume --until 1s --within 0.01 >said.$i 2>&1 &
      pids[i]=$!
    done
    for i in 0 1 2; do wait "${pids[i]}" && near=$((near + 1)); done
  done
  ((near == 3)) || fail "over $1 what was saved does not lead to the optimum: $(cat said.[012])"
  grep -q "another key, or none\|wants a key\|no keys could be agreed on" called || fail "over $1 strangers heard: $(sort called | uniq -c)"
  ! grep "has run well" called in-its-place || fail "over $1 a stranger took part"
  exit $((failures > 0))
}
setpriv --reuid nobody --regid "$(id -gn nobody)" --clear-groups bash -c 'umask 077; head -c 32 /dev/urandom | od -An -tx1 | tr -d " \n" >"$0"' \
  "$open/theirs/own.key"
begun=()
for transport in tcp udp; do
  free_addresses 4
  addresses=${addresses%,*} # the last is for who calls in place of node 1
  (failures=0; attacked $transport) &
  begun+=($!)
done
for each in "${begun[@]}"; do wait "$each" || failures=$((failures + 1)); done
finish
