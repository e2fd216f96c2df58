#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# live.sh RACE: while a race goes on, its page tells how all nodes stand, under either driver. (That it begins anew with
# the next algorithm is in tests/transport/status_service.cpp.)
set -uo pipefail

race=$1
. "$(dirname "${BASH_SOURCE[0]}")/common.bash"
forty=(--problem quadratic:40 --nodes 4 --topology ring --slow none --step 0.05)
in_one_sentence "--live must be a port from 1 to 65535, or auto, not '70000'" "$race" "${forty[@]}" --algorithms r_fast --live 70000
if "$race" "${forty[@]}" --algorithms r_fast --until 1s --live auto 2>&1 | grep -q "needs Boost"; then finish; fi

complete=(--problem quadratic:4 --nodes 142 --topology complete --algorithms d_psgd)
"$race" "${complete[@]}" --until 1s --live auto --quiet >said 2>&1
(($? == 2)) && [[ $(tail -n 1 said) == "race: --live shows at most 20000 edges, not 20022" ]] || fail "too many edges: $(cat said)"

get() { get_page "$at" "$1" "${2-$token}"; }
begins() { # ARGUMENT...: a race that would take days, and its page
  rm -f said # which tells of another run
  env --default-signal=INT timeout -k 20 200 "$race" "${forty[@]}" --live auto --out out --quiet "$@" >said 2>&1 &
  run=$!
  tries=0
  until grep -qs "^live: http" said || ((++tries == 600)); do sleep 0.1; done
  url=$(sed -n 's/^live: //p' said) token=${url##*=}
  at=${url#http://} at=${at%%/*}
}
known() { get /network.json | grep -o '"phase":"running",[^[]*"iterations":[1-9][^[]*"loss":[-0-9][^[]*"tracking_residual":[0-9]' | wc -l; }
shows_all() {
  tries=0
  until (($(known) == 4)) || ((++tries == 300)); do sleep 0.1; done
  ((tries < 300)) || fail "$1: the page does not know all nodes: $(get /network.json | head -c 3000) $(cat said)"
}
ends() {
  kill -INT "$(pgrep -P "$run" -x race)"
  wait "$run"
  local status=$?
  ((status == 130)) || fail "$1: status $status, not 130: $(cat said)"
}

begins --algorithms r_fast --until 9000000s --measure-every 100s
shows_all sim
get / | grep -q "<title>rubato</title>" || fail "there is no page"
get /network.json wrong | grep -q "401 Unauthorized" || fail "who has no token is told how the run stands"
get /status.json | grep -q "404 Not Found" || fail "the status of one of four nodes is given"
in_one_sentence "no status can be served at $at: Address already in use" "$race" "${forty[@]}" --algorithms r_fast --until 1s --live "${at##*:}"
ends sim

begins --algorithms r_fast --driver threads --until 5000s --measure-every 100ms --compute fixed:5ms
shows_all threads
ends threads

# At a terminal the page of a short race stays until Enter.
if command -v script >/dev/null; then
  rm -f keys said
  mkfifo keys
  timeout -k 20 200 script -qefc "$race ${forty[*]} --algorithms r_fast --until 1s --live auto --out out --quiet" said <keys >/dev/null 2>&1 &
  run=$!
  exec 7>keys
  tries=0
  until grep -q "^live: the page stays" said 2>/dev/null || ((++tries == 600)); do sleep 0.1; done
  url=$(tr -d '\r' <said | sed -n 's/^live: http/http/p') token=${url##*=}
  at=${url#http://} at=${at%%/*}
  get /network.json | grep -q '"phase":"ended"' || fail "the page of a race that has ended: $(get /network.json | head -c 500) $(cat said)"
  echo >&7
  wait $run || fail "a race whose page stayed ended with $?: $(cat said)"
  exec 7>&-
fi
finish
