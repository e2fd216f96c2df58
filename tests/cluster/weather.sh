#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# weather.sh CLUSTER PEER WEATHER: gradients of 1 ms over links of 1 Mbit/s (TCP), which take far longer than that, and
# over links that lose 60 % (UDP): eight processes, each in a network namespace, come to the optimum. Without a pace they
# do not over links of 200 ms, and say why. 77: network namespaces with TUN devices are not to be had here. All weathers: bench/weathers.
set -uo pipefail

peer=$2 weather=$3
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
addresses=$(printf ',10.7.0.%d:7250' 1 2 3 4 5 6 7 8)

# under NAME PEER_OPTION... -- WEATHER_OPTION...: runs eight peers; its status is 0 if theirs all are.
under() {
  local options=()
  while [[ $1 != -- ]]; do options+=("$1"); shift; done
  shift
  rm -f node-*
  "$weather" --nodes 8 --out . --life 100 "$@" -- "$peer" --id @ --peers "${addresses:1}" --nodes 8 --insecure \
    --topology ring --algorithms r_fast --step 0.7 --slow none --problem quadratic:256 --compute fixed:1ms \
    --silence 20s --arrival 30s --go-on "${options[@]}" >said 2>&1
  local status=$?
  ((status == 77)) && { cat said; exit 77; }
  return $status
}

under --transport tcp --until 40s --within 1e-5 -- --delay 1 --rate 1e6 || fail "over 1 Mbit/s: $(cat said node-?)"
grep -q 'local iterations old' node-? && fail "paced peers warn of old messages: $(cat node-?)"
under --transport udp --until 15s --within 1e-5 -- --delay 1 --loss 0.6 || fail "with 60 % loss: $(cat said node-?)"
under --transport udp --until 8s --within 1e-5 --pace 0 -- --delay 200 &&
  fail "without a pace messages of 200 ms are not too old"
grep -qE 'local iterations old|messages that are too old' node-? || fail "nothing says why: $(cat node-?)"
finish
