#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# limits.sh CLUSTER PEER: looks neither hold up a peer nor fill its memory, who is cut off at the end says so, a terminal
# that closes interrupts, and times as long as may be asked for overflow nowhere.
set -uo pipefail

cluster=$1 peer=$2 race=$(dirname "$1")/race
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"

# Two peers whose every look costs more than the time between two: they end, and in time.
free_addresses 3
two=(--peers "${addresses%,*}" --nodes 2 --step 0.02 --compute fixed:5ms --slow none --quiet --problem quadratic:200000)
timeout -k 1 30 "$peer" --id 0 "${two[@]}" --until 1s --measure-every 1ms &
timeout -k 1 30 "$peer" --id 1 "${two[@]}" --until 1s --measure-every 1ms || fail "status $? where looks cost more than their interval"
wait $! || fail "status $? where looks cost more than their interval"

# 0.8 MB a look, of which there may be a hundred a second.
timeout -k 1 30 "$peer" --id 0 "${two[@]}" --until 4s --measure-every 10ms &
timeout -k 1 30 "$peer" --id 1 "${two[@]}" --until 4s --measure-every 10ms &
other=$!
most=0
while kill -0 $other 2>/dev/null; do
  now=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$(pgrep -P $other)/status" 2>/dev/null)
  most=${now:-$most}
  sleep 0.1
done
wait
echo "looks: $most kB at most"
((most > 0 && most < 80000)) || fail "a peer that looks often takes $most kB"

# Of three peers that may go on without each other one dies: the others say so at their end, and in their reports.
three=(--peers "$addresses" --nodes 3 --topology complete --step 0.1 --slow none --quiet --problem quadratic:50 --until 3s --go-on)
for id in 0 1 2; do
  "$peer" --id $id "${three[@]}" --report report-$id >said-$id 2>&1 &
  started[id]=$!
done
sleep 1 # not for correctness: so that it dies in the middle
kill -KILL "${started[2]}"
for id in 0 1; do
  wait "${started[id]}"
  (($? == 3)) || fail "a peer that ends without another one ends with status $?: $(cat said-$id)"
  grep -q "peer: node $id was cut off from node 2 when the run ended" said-$id || fail "it does not say so: $(cat said-$id)"
  grep -q '"cut_off":\[2\]' report-$id || fail "the report does not say so"
done

# The terminal is gone.
"$cluster" --peer "$peer" --problem quadratic:50 --nodes 2 --step 0.1 --slow none --until 60s --quiet --out out >said 2>&1 &
started=$!
while kill -0 $started && (($(pgrep -cP $started) < 2)); do sleep 0.05; done
kill -HUP $started
wait $started
(($? == 130)) || fail "a cluster that got SIGHUP does not end with status 130: $(cat said)"
"$peer" --nodes 1 --peers "${addresses%%,*}" --problem quadratic:50 --step 0.1 --slow none --until 60s --report alone >said 2>&1 &
started=$!
while kill -0 $started && ! grep -q SigCgt:.*[13579bdf]$ /proc/$started/status; do sleep 0.05; done # SIGHUP is the lowest bit
kill -HUP $started
wait $started
(($? == 130)) || fail "a peer that got SIGHUP does not end with status 130: $(cat said)"
[[ -s alone ]] || fail "a peer that got SIGHUP wrote no report"

# As long as may be asked for: far longer than this test waits.
"$cluster" --peer "$peer" --problem quadratic:50 --nodes 2 --step 0.1 --slow none --until 9e9s --quiet --out out >said 2>&1 &
started=$!
while kill -0 $started && (($(pgrep -cP $started) < 2)); do sleep 0.05; done
sleep 0.5 # not for correctness: it looks for ends every 50 ms
kill -INT $started || fail "a cluster that has 9e9 s ends by itself: $(cat said)"
wait $started
(($? == 130)) || fail "a cluster that has 9e9 s does not end with status 130: $(cat said)"
for option in --until=9.1e9s --arrival=9e9s --silence=9e9s --measure-every=9e9s; do
  said=$("$cluster" --peer "$peer" --nodes 2 "$option" 2>&1) && fail "$option is taken"
  [[ $said == "cluster: ${option%=*} must be a time of at most "*"not '${option#*=}'" ]] || fail "$option: $said"
done
for option in --arrival=0s --arrival=1us; do
  said=$("$cluster" --peer "$peer" --nodes 2 "$option" 2>&1) && fail "$option is taken"
  [[ $said == "cluster: ${option%=*} must be a time of 1ms or more, not '${option#*=}'" ]] || fail "$option: $said"
done
said=$(ulimit -n 256; "$cluster" --peer "$peer" --transport tcp --problem quadratic:3 --nodes 1000 --topology ring --quiet 2>&1) &&
  fail "a cluster of more sockets than files is begun"
[[ $said == *"1000 processes need a socket each"*"open 256 files"* ]] || fail "$said"
said=$("$cluster" --peer /bin/true --problem quadratic:3 --nodes 2 --quiet --out out 2>&1) && fail "/bin/true is a peer"
[[ $said == "cluster: the process of node 0 ended without a result: is '/bin/true' a peer of this version?" ]] ||
  fail "$said"
said=$("$race" --latency 9e9s 2>&1) && fail "a latency of 9e9 s is taken"
[[ $said == *"--latency must be a time of at most 1e7 s"* ]] || fail "$said"

# In a /dev/shm of 2 MiB, as in a container: cluster says so and goes over TCP, or names the cure where memory was asked for.
little=(unshare -m bash -c 'mount -t tmpfs -o size=2m none /dev/shm && exec "$@"' little)
small=(--peer "$peer" --problem quadratic:20 --nodes 4 --topology complete --step 0.1 --slow none --quiet --until 300ms --out out)
if "${little[@]}" true 2>/dev/null; then
  "${little[@]}" timeout -k 1 60 "$cluster" "${small[@]}" >said 2>&1 || fail "status $? with little shared memory: $(cat said)"
  grep -q 'cluster: the links over shared memory need 6.0.* MiB, and /dev/shm has 2 MiB left, so they go over TCP' said ||
    fail "no remark of little shared memory: $(cat said)"
  "${little[@]}" timeout -k 1 60 "$cluster" "${small[@]}" --transport shared_memory >said 2>&1
  (($? == 2)) && grep -q 'take --transport tcp' said || fail "no cure for little shared memory: $(cat said)"
  "${little[@]}" timeout -k 1 60 "$peer" --id 3 --transport shared_memory --run little "${small[@]:2:11}" >said 2>&1
  (($? == 2)) && grep -q 'take --transport tcp' said || fail "no cure for a peer's little shared memory: $(cat said)"
fi

finish
