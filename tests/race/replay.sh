#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# replay.sh RACE: what race --record wrote down under either driver, another program repeats to identical bits; a flipped
# bit and a cut are noticed with a sentence and a status that is not 0.
set -uo pipefail

race=$1 replay=$(dirname "$1")/replay
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
rm -rf data sim threads && tiny_data data

for driver in sim threads; do
  "$race" --data data --out "$driver" --record "$driver" --driver "$driver" --algorithms r_fast,m_synchronous_sgd,ring_allreduce_sgd \
    --nodes 3 --compute fixed:2ms --until 300ms --quiet >/dev/null || fail "race --driver $driver --record: status $?"
  said=$("$replay" "$driver"/*.log 2>&1) || fail "replay of $driver: status $?: $said"
  replayed=$(grep -cE 'node [0-3]: [1-9][0-9]* events replay to identical bits$' <<<"$said")
  ((replayed == 10)) || fail "$replayed of the 3 + 4 + 3 nodes of $driver replay: $said"
  echo "$said"
done

# refused STATUSES WORDS FILE
refused() {
  local said status
  said=$("$replay" "$3" 2>&1 >/dev/null)
  status=$?
  [[ $status == [$1] ]] || fail "replay $3: status $status, not one of $1 ($said)"
  [[ $said == "replay: "*"$2"* ]] || fail "replay $3: '$said' does not say '$2'"
}

log=threads/r_fast.node-1.log
size=$(stat -c %s "$log")
for at in 3 40 $((size / 2)) $((size - 3)); do
  cp "$log" flipped.log
  byte=$(od -An -tu1 -j "$at" -N 1 "$log")
  printf "\\x$(printf %02x $((byte ^ 4)))" | dd of=flipped.log bs=1 seek="$at" conv=notrunc status=none
  refused 12 flipped.log flipped.log
done
head -c $((size / 2)) "$log" >cut.log
refused 2 "it ends in the middle" cut.log
refused 2 "cannot be opened" nowhere.log
"$replay" 2>/dev/null && fail "replay without a file ends with status 0"
finish
