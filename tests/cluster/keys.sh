#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# keys.sh CLUSTER PEER: peers with a key or certificates run, who has none is kept out of a run that goes on, and each
# key that cannot be used is one sentence and status 2.
set -uo pipefail

cluster=$1 peer=$2 keys=$(dirname "${BASH_SOURCE[0]}")/../../examples/keys
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"

free_addresses 2
two=(--peers "$addresses" --nodes 2 --problem quadratic:20 --step 0.1 --slow none)
if "$peer" --id 0 "${two[@]}" --until 1s --arrival 1ms --key mine 2>&1 | grep -q "built without OpenSSL"; then
  echo "this peer was built without OpenSSL"
  exit 77
fi
rm -rf mine run.key other made-for-two made-again new by-cluster enough came readable short dangling

# pair OPTIONS_OF_0 OPTIONS_OF_1: both statuses into first and second, their words into said-0 and said-1.
pair() {
  # shellcheck disable=SC2086
  timeout -k 1 120 "$peer" --id 0 "${two[@]}" $1 >said-0 2>&1 &
  # shellcheck disable=SC2086
  timeout -k 1 120 "$peer" --id 1 "${two[@]}" $2 >said-1 2>&1
  second=$?
  wait $!
  first=$?
}
# The first of two by hand makes the key, whoever that is; both begin together many times.
for ((k = 0; k < 5; ++k)); do
  rm -f run.key
  pair "--until 100ms --key run.key" "--until 100ms --key run.key"
  [[ $first$second == 00 ]] || fail "two peers with a key of their own ended with $first and $second: $(cat said-0 said-1)"
  (($(cat said-0 said-1 | grep -c "made the key run.key") == 1)) || fail "not one of two peers made the key: $(cat said-0 said-1)"
  [[ $(stat -c %a run.key) == 600 ]] || fail "others can read run.key"
done
"$keys" other >made || fail "no key was made"
pair "--until 5s --arrival 3s --key run.key" "--until 5s --arrival 3s --key other/run.key"
[[ $first$second == 44 ]] || fail "peers with different keys ended with $first and $second"
grep -q "somebody has, and was turned away: it has another key, or none" said-0 || fail "node 0 says of a stranger: $(cat said-0)"
grep -q "it has another key, or none" said-1 || fail "a node with another key says: $(cat said-1)"
pair "--until 5s --arrival 3s --key run.key" "--until 5s --arrival 3s"
[[ $first$second == 44 ]] || fail "a peer with a key and one without ended with $first and $second"
grep -q "wants a key" said-1 || fail "a node without a key says: $(cat said-1)"

"$keys" made-for-two 2 >made || fail "no certificates were made"
pair "--until 1s --certificates made-for-two" "--until 1s --certificates made-for-two"
[[ $first$second == 00 ]] || fail "two peers with certificates ended with $first and $second: $(cat said-0 said-1)"
"$keys" made-again 2 >made
pair "--until 5s --arrival 3s --certificates made-for-two" "--until 5s --arrival 3s --certificates made-again"
[[ $first$second == 44 ]] || fail "peers of two authorities ended with $first and $second"
cat said-0 said-1 | grep -q "its certificate is refused here" || fail "peers of two authorities say: $(cat said-0 said-1)"

rm -rf swapped
cp -r made-for-two swapped
cp swapped/node-1.pem swapped/node-0.pem
cp swapped/node-1.key swapped/node-0.key
in_one_sentence "node-0.pem' is another node's: that of node 0 is made out to node-0.rubato" "$peer" --id 0 "${two[@]}" --until 1s \
  --certificates swapped

# The same over UDP.
pair "--transport udp --until 1s --certificates made-for-two" "--transport udp --until 1s --certificates made-for-two"
[[ $first$second == 00 ]] || fail "over UDP two peers with certificates ended with $first and $second: $(cat said-0 said-1)"
pair "--transport udp --until 5s --arrival 2s --key run.key" "--transport udp --until 5s --arrival 2s --key other/run.key"
[[ $first$second == 44 ]] || fail "over UDP peers with different keys ended with $first and $second"
grep -q "no keys could be agreed on over TCP: it has another key, or none" said-1 || fail "over UDP a node with another key says: $(cat said-1)"

# Strangers come to both ports all the time of a run, which ends as it would without them.
come_back() {
  local address
  while [[ ! -e enough ]]; do
    for address in ${addresses//,/ }; do
      # shellcheck disable=SC2016
      timeout 1 bash -c 'exec 3<>"/dev/tcp/${0%:*}/${0##*:}" && echo >>came && head -c 300 /dev/urandom >&3' \
        "$address" 2>/dev/null
      head -c 300 /dev/urandom 2>/dev/null >"/dev/udp/${address%:*}/${address##*:}"
    done
  done
}
for transport in tcp udp; do
  rm -f enough came
  come_back &
  strangers=$!
  for lasts in 4s 40s; do # a busy machine may need longer to come near
    both="--transport $transport --until $lasts --within 0.1 --key run.key --admit 100"
    pair "$both" "$both"
    grep -q "away from the optimum" said-0 said-1 || break
  done
  touch enough
  wait $strangers
  [[ -s came ]] || fail "no stranger came to a peer over $transport"
  [[ $first$second == 00 ]] || fail "peers that strangers called ended with $first and $second over $transport: $(cat said-0 said-1)"
done

# cluster makes a key for its run, and peers beside it that guess its ports do not get in: what it starts has the key.
for transport in tcp udp; do
  for lasts in 4s 40s; do
    "$cluster" --peer "$peer" --nodes 3 --problem quadratic:20 --transport $transport --until $lasts --within 0.1 --step 0.1 \
      --out by-cluster >said 2>&1 &
    running=$! seen=no
    while kill -0 "$running" 2>/dev/null; do
      ! pgrep -f -- "$peer --id 0 .*--key .*/run.key" >/dev/null || seen=yes
    done
    wait "$running"
    status=$?
    grep -q "away from the optimum" said || break
  done
  ((status == 0)) || fail "a cluster over $transport ended with $status: $(tail -n 2 said)"
  [[ $seen == yes ]] || fail "the peers of a cluster over $transport have no key"
done

bad() { in_one_sentence "$1" "$peer" --id 0 "${two[@]}" --until 1s "${@:2}"; }
cp run.key readable
chmod 644 readable
head -c 20 run.key >short
chmod 600 short
bad "is open to other users" --key readable
bad "holds no key" --key short
bad "is not a file" --key /dev/null
ln -s nowhere dangling
bad "No such file or directory" --key dangling
bad "the name of a file" --key ""
bad "the name of a folder" --certificates ""
bad "No such file or directory" --key nowhere/at-all
bad "No such file or directory" --certificates nowhere
bad "exclude each other" --key run.key --certificates made-for-two
bad "has no effect beside --key" --key run.key --insecure
bad "is for nodes that weigh whole models of their neighbours" --algorithms ring_allreduce_sgd --admit 1
bad "--admit must be a number of 0 or more, not '-1'" --admit -1
said=$(timeout -k 1 20 "$peer" --id 0 "${two[@]:2}" --until 1s --transport shared_memory --run "keys-$$" --key run.key 2>&1)
(($? == 2)) && [[ $said == *"it is for --transport tcp and udp"* ]] || fail "a key over shared memory: $said"
bad "takes two descriptors over udp with a key alone" --listener 5,6
"$keys" made-for-two 2 >said 2>&1
(($? == 2)) || fail "keys that are there were made again"
grep -q "keys are not overwritten" said || fail "keys says: $(cat said)"
"$keys" new -3 >said 2>&1
(($? == 2)) || fail "keys for -3 nodes were made"
for wrong in "--new" "new 2 more"; do
  # shellcheck disable=SC2086
  "$keys" $wrong >said 2>&1
  (($? == 2 && $(wc -l <said) == 1)) || fail "keys $wrong: $(cat said)"
done
[[ ! -e new ]] || fail "keys made a folder that it refused to make"
# What openssl says is shown, and half an authority is not left.
printf '#!/bin/sh\necho no entropy >&2\nexit 3\n' >openssl
chmod +x openssl
PATH=$PWD:$PATH "$keys" new 2 >said 2>&1
(($? == 2)) && grep -q "no entropy" said || fail "keys of an openssl that fails: $(cat said)"
rm openssl
[[ ! -e new ]] || fail "keys that failed left a folder"
finish
