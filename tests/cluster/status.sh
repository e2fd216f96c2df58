#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# status.sh CLUSTER PEER: the page of one node shows all of them while they run, readers that hang hold up nobody, and
# what cannot be served is one sentence and status 2.
set -uo pipefail

cluster=$1 peer=$2
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"

# get PATH [TOKEN]: what the server at $at answers.
get() { get_page "$at" "$1" "${2-$token}"; }
# known: how many nodes of $1 node 0 knows the status of, and which have computed something.
known() { get /network.json | grep -o "\"status\":{\"node\":[0-9]*,\"of\":$1,[^[]*\"phase\":\"running\",[^[]*\"iterations\":[1-9]" | wc -l; }
# all_known N: waits for that, a minute at most.
all_known() {
  local tries=0
  while (($(known "$1") != $1)) && ((++tries < 300)); do sleep 0.2; done
  ((tries < 300)) || fail "node 0 does not know how all $1 nodes stand: $(get /network.json)"
}

timeout -s INT -k 20 120 "$cluster" --peer "$peer" --nodes 3 --problem quadratic:20 --transport tcp --until 100s --step 0.1 \
  --status auto --out by-cluster >said 2>&1 &
run=$!
tries=0
until grep -q "^status: http" said || ((++tries == 600)); do sleep 0.1; done
url=$(sed -n 's/^status: //p' said) token=${url##*=}
at=${url#http://} at=${at%%/*}
all_known 3
get / | grep -q "<title>rubato</title>" || fail "node 0 gives no page"
get /metrics | grep -q '^rubato_iterations_total{node="0"} [1-9]' || fail "node 0 gives no metrics: $(get /metrics | head -20)"
get /metrics | grep -q '^rubato_peer_standing{node="0",peer="[12]",standing="here"} 1' || fail "nobody is here: $(get /metrics)"
get /status.json | grep -q '"tracking_residual":0\.0,' || fail "node 0's residual is not 0: $(get /status.json)"
tries=0
until get /status.json | grep -q '"loss":[-0-9]' || ((++tries == 300)); do sleep 0.1; done
((tries < 300)) || fail "node 0 knows no loss: $(get /status.json)"
get / wrong | grep -q "401 Unauthorized" || fail "a page is given without the token"

# Forty readers say half a word and hang; the run goes on, and who asks is answered.
for ((k = 0; k < 40; ++k)); do
  # shellcheck disable=SC2016
  timeout 60 bash -c 'exec 3<>"/dev/tcp/${0%:*}/${0##*:}" && printf "GET /status" >&3 && sleep 60' "$at" 2>/dev/null &
  hang+=($!)
done
count() { get /status.json | sed -n 's/.*"iterations":\([0-9]*\),.*/\1/p'; }
first=$(count) tries=0
until (($(count) > first + 5)) || ((++tries == 100)); do sleep 0.1; done
[[ -n $first ]] && ((tries < 100)) || fail "a run that is looked at stands still at $first iterations"
kill "${hang[@]}" 2>/dev/null
kill -INT "$(pgrep -P "$run" -x cluster)" # the child of timeout
wait "$run"
status=$?
((status == 130)) || fail "the cluster ended with $status: $(cat said)"

# Two by hand: one on a port, the other on a Unix socket in this folder.
free_addresses 2
two=(--peers "$addresses" --nodes 2 --problem quadratic:20 --step 0.1 --slow none)
free_addresses 1
at=$addresses
both=(--status "$at,unix:one.sock" --status-token status.token --quiet)
for i in 0 1; do timeout -s INT -k 20 90 "$peer" --id "$i" "${two[@]}" "${both[@]}" --until 60s >"said-$i" 2>&1 & peers[i]=$!; done
all_there status.token one.sock
token=$(<status.token)
all_known 2
[[ $(stat -c %a status.token)$(stat -c %a one.sock) == 600600 ]] || fail "others can read the token or the socket"

bad() { in_one_sentence "$1" "$peer" --id 0 "${two[@]}" --until 1s "${@:2}"; }
bad "no status can be served at $at: Address already in use" --status "$at"
bad "can be reached from other machines" --status 10.0.0.7:8000
bad "is no address" --status "$at,somewhere" --status-token status.token
bad "--status must name one address, for this node alone, or one for each of the 2 processes" --status "$at,$at,$at"
bad "give them the same --status-token" --status "$at,unix:two.sock"
bad "--status-token has no effect without --status" --status-token status.token
bad "--status with --quiet needs a --status-token" --status "$at" --quiet
cp status.token readable && chmod 644 readable
bad "is open to other users" --status "$at" --status-token readable
echo no token >other && chmod 600 other
bad "holds no token" --status "$at" --status-token other
# A token that nobody has is printed, and one in a file is not.
timeout 20 "$peer" --id 0 "${two[@]}" --until 1s --arrival 1ms --status unix:two.sock >said 2>&1
grep -q '^status: unix:two.sock, with the token [0-9a-f]\{32\}$' said || fail "the token of a socket is not said: $(cat said)"
timeout 20 "$peer" --id 0 "${two[@]}" --until 1s --arrival 1ms --status unix:two.sock --status-token status.token >said 2>&1
grep -q '^status: unix:two.sock, with the token in status.token$' said || fail "where the token is is not said: $(cat said)"
grep -qF "$token" said && fail "the token of a file is in what is printed"

timeout 20 "$cluster" --peer "$peer" --nodes 2 --problem quadratic:5 --until 1s --status 70000 >said 2>&1
(($? == 2)) && grep -q "a port from 1 to 65535, or auto" said || fail "cluster --status 70000 says: $(cat said)"

for i in 0 1; do kill -INT "$(pgrep -P "${peers[i]}" -x peer)" 2>/dev/null; done
for i in 0 1; do
  wait "${peers[i]}"
  status=$? # interrupted, or told so by the other one first
  ((status == 130 || status == 4)) || fail "peer $i ended with status $status: $(cat "said-$i")"
done
[[ ! -e one.sock ]] || fail "a peer left its socket behind"
finish
