#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# doctor.sh CLUSTER PEER: peer --doctor at three nodes ends with 0 where a run would work, and with 1 and a table that
# names what is to be mended, at every node that could know it, where one would not; in bounded time.
set -uo pipefail

peer=$2 keys=$(dirname "${BASH_SOURCE[0]}")/../../examples/keys
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"

# doctors OPTIONS_OF_0 OPTIONS_OF_1 OPTIONS_OF_2: statuses into ended, tables into said.0 to said.2; "-" leaves a node out.
# ADDRESSES stands for three that are free, WRONG and NAMELESS for these with another port, or no known name, of node 1.
doctors() {
  local i all pids=()
  free_addresses 4
  IFS=, read -ra all <<<"$addresses"
  ended=
  for i in 2 0 1; do
    set -- "${@:1:i}" "${@:i+1}"
    local options=${*:i+1:1}
    : >said.$i
    [[ $options != - ]] || continue
    options=${options/ADDRESSES/${all[0]},${all[1]},${all[2]}}
    options=${options/WRONG/${all[0]},${all[3]},${all[2]}}
    options=${options/NAMELESS/${all[0]},no-such-host.invalid:7000,${all[2]}}
    # shellcheck disable=SC2086
    timeout -k 1 60 "$peer" --doctor --id $i --nodes 3 --problem quadratic:20 --until 1s --arrival 1500ms \
      $options >said.$i 2>&1 &
    pids[i]=$!
  done
  for i in 0 1 2; do
    [[ -n ${pids[i]:-} ]] || continue
    wait "${pids[i]}"
    ended+=$?
  done
}
# found NODE 'WORDS'...: the table of that node has a line with each of these.
found() {
  local node=$1 words
  shift
  for words in "$@"; do grep -qE -- "$words" said.$node || fail "node $node does not say '$words': $(cat said.$node)"; done
}
right="--peers ADDRESSES"

doctors "$right" "$right" "$right"
[[ $ended == 000 ]] || fail "three nodes that are well: $ended: $(cat said.?)"
found 0 "^ *0  names  3 of 3" "^ *1  link   .* ms one way, [0-9.]+ Mbit/s out, MTU [0-9]+ " "^ *2  clock  .* ms (ahead|behind)" "^nothing here would"
found 2 "^ *0  link " "^ *1  link "
(($(cat said.? | grep -cE "^ *[0-2]  link ") == 6)) || fail "not every link is measured: $(cat said.?)"

doctors "$right" "$right --step 0.3" "$right" # another option on one node
[[ $ended == 111 ]] || fail "a node with another option: $ended: $(cat said.?)"
found 0 "^ *1  options  node 1 has step 0.3, but this node has .*  give all nodes the same options$" "^1 thing to mend"
found 1 "^ *0  options " "^ *2  options " "^2 things to mend"

doctors "$right" "$right" - # a node that never comes
[[ $ended == 11 ]] || fail "a node that never comes: $ended: $(cat said.?)"
found 0 "^ *2  reached  node 2 at .* has not come within 1.5 s: it has not called  start it"
found 1 "^ *2  reached  node 2 at .* has not come within 1.5 s"

doctors "$right" "--peers WRONG" "$right" # node 1 listens on a port of which nobody knows
[[ $ended == 111 ]] || fail "a wrong port: $ended: $(cat said.?)"
found 2 "^ *1  reached  node 1 at .*: Connection refused"
found 0 "^ *1  reached  (node 2 says: )?node 1 "
found 1 "^ *(1|2)  reached  "

doctors "$right" "$right" "--peers NAMELESS" # which node 2 alone is told
[[ $ended == 111 ]] || fail "a name that does not resolve: $ended: $(cat said.?)"
found 2 "^ *1  name  +no host is known here by the name 'no-such-host.invalid'" "2 of 3 addresses are known"
found 0 "^ *1  name  +node 2 says: no host is known here"
found 1 "^ *2  reached  node 2 at .* has not come"

# A node twice, on one machine: the second one says why it cannot listen, and waits for nobody.
free_addresses 2
one=(--doctor --nodes 2 --problem quadratic:20 --until 1s --peers "$addresses")
"$peer" --id 0 "${one[@]}" --arrival 60s >said.0 2>&1 &
first=$!
address=${addresses%,*}
until timeout 1 bash -c "exec 3<>/dev/tcp/${address%:*}/${address##*:}" 2>/dev/null; do kill -0 $first 2>/dev/null || break; done # --arrival bounds it
"$peer" --id 0 "${one[@]}" --arrival 60s >said.1 2>&1
(($? == 1)) || fail "a node that is there twice: $(cat said.1)"
found 1 "^ *0  port   nobody can listen on $address here: Address already in use"
kill $first
wait $first
(($? == 130)) || fail "a doctor that is interrupted ends with $?"

if "$keys" with >made && "$keys" without >made; then
  doctors "$right --key with/run.key" "$right --key with/run.key" "$right --key without/run.key"
  if ! grep -q "built without OpenSSL" said.0; then
    [[ $ended == 111 ]] || fail "a node with another key: $ended: $(cat said.?)"
    found 0 "^ *2  reached  .*it has another key, or none"
    found 2 "^ *0  reached  .*it has another key, or none" "^ *1  reached  .*it has another key, or none"
    doctors "$right --key with/run.key" "$right --key with/run.key" "$right --key with/run.key"
    [[ $ended == 000 ]] || fail "three nodes with a key: $ended: $(cat said.?)"
    chmod 644 without/run.key
    doctors "$right --key with/run.key" "$right --key without/run.key" -
    found 1 "^ *1  key    .*chmod 600 it.*  mend --key or --certificates of this node"
  fi
fi

# What cannot be asked.
for bad in "--transport udp|--doctor has no effect over udp" "--id 3|no node 3"; do
  "$peer" "${one[@]}" ${bad%|*} >said 2>&1
  (($? == 2)) && (($(wc -l <said) == 1)) && grep -qF -- "${bad#*|}" said || fail "${bad%|*}: $(cat said)"
done
finish
