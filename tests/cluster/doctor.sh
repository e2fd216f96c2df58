#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# doctor.sh CLUSTER PEER: peer --doctor at three nodes ends with 0 where a run would work, and with 1 and a table that
# names what is to be mended, at every node that could know it, where one would not; in bounded time.
set -uo pipefail

peer=$2 keys=$(dirname "${BASH_SOURCE[0]}")/../../examples/keys
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"

# begin FOLDER ARRIVAL OPTIONS_OF_0 OPTIONS_OF_1 OPTIONS_OF_2: starts them; "-" leaves a node out.
# ADDRESSES stands for three that are free, WRONG and NAMELESS for these with another port, or no known name, of node 1.
declare -A pids
begin() {
  local i all at=$1 arrival=$2 options
  shift 2
  mkdir -p "$at"
  free_addresses 4
  IFS=, read -ra all <<<"$addresses"
  for i in 2 0 1; do
    options=${*:i+1:1}
    : >"$at/said.$i"
    [[ $options != - ]] || continue
    options=${options/ADDRESSES/${all[0]},${all[1]},${all[2]}}
    options=${options/WRONG/${all[0]},${all[3]},${all[2]}}
    options=${options/NAMELESS/${all[0]},no-such-host.invalid:7000,${all[2]}}
    # shellcheck disable=SC2086
    timeout -k 1 120 "$peer" --doctor --id $i --nodes 3 --problem quadratic:20 --until 1s --arrival "$arrival" \
      $options >"$at/said.$i" 2>&1 &
    pids[$at.$i]=$!
  done
}
# ended FOLDER STATUSES: those that were begun there end with these; the tables are in $at/said.0 to $at/said.2 then.
ended() {
  local i statuses=
  at=$1
  for i in 0 1 2; do
    [[ -n ${pids[$at.$i]:-} ]] || continue
    wait "${pids[$at.$i]}"
    statuses+=$?
  done
  [[ $statuses == "$2" ]] || fail "$at: $statuses, not $2: $(cat "$at"/said.?)"
}
# found NODE 'WORDS'...: the table of that node has a line with each of these.
found() {
  local node=$1 words
  shift
  for words in "$@"; do
    grep -qE -- "$words" "$at/said.$node" || fail "$at: node $node does not say '$words': $(cat "$at/said.$node")"
  done
}
right="--peers ADDRESSES" long=60s # which is more than three processes take to start

begin well $long "$right" "$right" "$right"
ended well 000
found 0 "^ *0  names  3 of 3" "^ *1  link   .* ms one way, [0-9.]+ Mbit/s out, MTU [0-9]+ " "^ *2  clock  .* ms (ahead|behind)" "^nothing here would"
found 2 "^ *0  link " "^ *1  link "
(($(cat well/said.? | grep -cE "^ *[0-2]  link ") == 6)) || fail "not every link is measured: $(cat well/said.?)"

begin datagrams $long "$right --transport udp" "$right --transport udp" "$right --transport udp"
ended datagrams 000
found 0 "^ *1  udp  +[0-9]+ of 100 of 1200 bytes arrive there, [0-9.]+ ms one way  -$" "^nothing here would"
(($(cat datagrams/said.? | grep -cE "^ *[0-2]  udp ") == 6)) || fail "not every way of datagrams is tried: $(cat datagrams/said.?)"

begin options $long "$right" "$right --step 0.3" "$right" # another option on one node
ended options 111
found 0 "^ *1  options  node 1 has step 0.3, but this node has .*  give all nodes the same options$" "^1 thing to mend"
found 1 "^ *0  options " "^ *2  options " "^2 things to mend"

# Where a node is missing, the others wait for it as long as --arrival: all at once, so that this may be long too.
rm -rf with without # of an earlier run
has_keys=false
"$keys" with >made && "$keys" without >made && has_keys=true
begin missing 6s "$right" "$right" - # a node that never comes
begin wrong 6s "$right" "--peers WRONG" "$right" # node 1 listens on a port of which nobody knows
begin nameless 6s "$right" "$right" "--peers NAMELESS" # a name that does not resolve, which node 2 alone is told
! $has_keys || begin other_key 6s "$right --key with/run.key" "$right --key with/run.key" "$right --key without/run.key"
ended missing 11
found 0 "^ *2  reached  node 2 at .* has not come within 6[.]0 s: it has not called  start it"
found 1 "^ *2  reached  node 2 at .* has not come within 6[.]0 s"
ended wrong 111
found 2 "^ *1  reached  node 1 at .*: Connection refused"
found 0 "^ *1  reached  (node 2 says: )?node 1 "
found 1 "^ *(1|2)  reached  "
ended nameless 111
found 2 "^ *1  name  +no host is known here by the name 'no-such-host.invalid'" "2 of 3 addresses are known"
found 0 "^ *1  name  +node 2 says: no host is known here"
found 1 "^ *2  reached  node 2 at .* has not come"
if $has_keys && ! grep -q "built without OpenSSL" other_key/said.0; then
  ended other_key 111
  found 0 "^ *2  reached  .*it has another key, or none"
  found 2 "^ *0  reached  .*it has another key, or none" "^ *1  reached  .*it has another key, or none"
  begin keys $long "$right --key with/run.key" "$right --key with/run.key" "$right --key with/run.key"
  ended keys 000
  chmod 644 without/run.key
  begin readable $long - "$right --key without/run.key" -
  ended readable 1
  found 1 "^ *1  key    .*chmod 600 it.*  mend --key or --certificates of this node"
fi

# A node twice, on one machine: the second one says why it cannot listen, and waits for nobody.
free_addresses 2
one=(--doctor --nodes 2 --problem quadratic:20 --until 1s --peers "$addresses")
"$peer" --id 0 "${one[@]}" --arrival 60s >said.0 2>&1 &
first=$!
address=${addresses%,*}
listened_on "${address##*:}" $first
mkdir -p twice && at=twice
"$peer" --id 0 "${one[@]}" --arrival 60s >twice/said.1 2>&1
(($? == 1)) || fail "a node that is there twice: $(cat twice/said.1)"
found 1 "^ *0  port   nobody can listen on $address here: Address already in use"
kill $first
wait $first
(($? == 130)) || fail "a doctor that is interrupted ends with $?"

# What cannot be asked.
in_one_sentence "--doctor has no effect over shared_memory: it is for" "$peer" --doctor --nodes 2 --problem quadratic:20 --until 1s \
  --transport shared_memory --run doctor
for bad in "--id 3|no node 3" "--transport udp --algorithms d_psgd|udp may lose some"; do
  "$peer" "${one[@]}" ${bad%|*} >said 2>&1
  (($? == 2)) && (($(wc -l <said) == 1)) && grep -qF -- "${bad#*|}" said || fail "${bad%|*}: $(cat said)"
done
finish
