#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# comeback.sh CLUSTER PEER: where nodes --go-on, a process that was stopped for longer than it may be silent comes back and
# all end at the optimum, over TCP, UDP, shared memory and (where there is mpirun) MPI; so does one that is started again over UDP where
# the wall clock is an hour behind, or weeks ahead. Hosts may be given by name; what cannot be reached is said at once.
set -uo pipefail

peer=$2
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
run=(--problem quadratic:50 --step 0.1 --compute fixed:2ms --slow none --within 1e-3 --quiet --go-on)
three=(--nodes 3 --topology ring --silence 800ms --until 12s)

# stopped PID: for longer than it may be silent, while the others listen.
stopped() {
  sleep 2 # not for correctness: so that they have met, and it is stopped in the middle of its run
  kill -STOP "$1"
  sleep 3
  kill -CONT "$1"
}
# told FILE0 FILE1 HOW: node 0 lost node 1, which heard of it.
told() {
  cat said*
  grep -q 'node 1.* is gone: it has been silent for 0.8 s' "$1" || fail "nobody took the stopped process for dead over $3"
  grep -q 'node 0.* is gone: ' "$2" || fail "the stopped process did not hear that over $3"
}

# come_back TRANSPORT: in a folder of its own, so that those of all transports run at a time.
come_back() {
  rm -rf "$1" # of a run before
  mkdir "$1" && cd "$1" || exit 1
  local where=(--peers "${addresses//127.0.0.1/LocalHost}") pids=()
  [[ $1 != shared_memory ]] || where=(--run "comeback-$$")
  for i in 0 1 2; do
    "$peer" --id $i --transport "$1" "${where[@]}" "${three[@]}" "${run[@]}" >said.$i 2>&1 &
    pids+=($!)
  done
  stopped "${pids[1]}"
  for i in 0 1 2; do wait "${pids[i]}" || fail "node $i over $1 does not end with status 0: $(cat said.$i)"; done
  told said.0 said.1 "$1"
  [[ $1 != shared_memory ]] || [[ -z $(compgen -G "/dev/shm/rubato-*-comeback-$$:*") ]] || fail "shared memory is left"
  exit $((failures > 0))
}
all=()
for transport in tcp udp shared_memory; do
  free_addresses 3
  (come_back $transport) &
  all+=($!)
done
for each in "${all[@]}"; do wait "$each" || failures=$((failures + 1)); done

if command -v mpirun >/dev/null && [[ $(ldd "$peer") == *libmpi* ]]; then
  rm -f said* pid.*
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
  export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_pml=ob1
  timeout 120 mpirun -n 3 bash -c 'echo $$ >"pid.${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-}}"; exec "$@"' rank \
    "$peer" --transport mpi "${three[@]}" "${run[@]}" >said 2>&1 &
  started=$!
  while kill -0 $started && [[ ! -s pid.1 ]]; do sleep 0.05; done
  stopped "$(cat pid.1)"
  wait $started || fail "ranks do not end with status 0: $(cat said)"
  told said said MPI
else
  echo "left out: MPI, for there is no mpirun or peer was built without it"
fi

# The wall clock of one process, SKEW_S seconds off.
cat >skew.cpp <<'SKEW'
#include <dlfcn.h>
#include <time.h>
#include <cstdlib>
extern "C" int clock_gettime(clockid_t id, timespec* t) noexcept {
  static auto* const system = reinterpret_cast<int (*)(clockid_t, timespec*)>(dlsym(RTLD_NEXT, "clock_gettime"));
  auto const result = system(id, t);
  if (auto const* const off = std::getenv("SKEW_S"); off != nullptr && id == CLOCK_REALTIME) t->tv_sec += std::atol(off);
  return result;
}
SKEW
"${CXX:-c++}" -shared -fPIC skew.cpp -o skew.so -ldl || fail "the clock cannot be built"
for skew in -3600 2160000; do
  free_addresses 2
  two=(--peers "$addresses" --transport udp --nodes 2 --silence 800ms)
  rm -rf saved
  "$peer" --id 0 "${two[@]}" "${run[@]}" --until 12s --checkpoint saved --every 100ms >said.0 2>&1 &
  first=$!
  "$peer" --id 1 "${two[@]}" "${run[@]}" --until 12s --checkpoint saved --every 100ms >said.1 2>&1 &
  second=$!
  all_there saved/r_fast/node-{0,1}.checkpoint # so they have met
  kill -KILL $second
  wait $second 2>/dev/null # its port is free then
  SKEW_S=$skew LD_PRELOAD=$PWD/skew.so "$peer" --id 1 --restart 1 "${two[@]}" "${run[@]}" --until 6s >said.1 2>&1 ||
    fail "started again $skew s off it is not taken in: $(cat said.1)"
  wait $first || fail "the other of one that is started again $skew s off: $(cat said.0)"
done

# said_at_once WORDS PEERS OPTION...: status 2, and one sentence.
said_at_once() {
  local words=$1 peers=$2 said
  shift 2
  said=$(timeout 20 "$peer" --id 0 --peers "$peers" --nodes 2 --problem quadratic:10 --step 0.1 --until 1s --arrival 1min "$@" 2>&1)
  (($? == 2)) && [[ $said == *"$words"* && $(grep -c . <<<"$said") == 1 ]] || fail "$peers: $said"
}
said_at_once "for one address is IPv4 and the other IPv6" "127.0.0.1:20001,[::1]:20002" --transport udp
said_at_once "no host is known here by the name 'no..where'" "127.0.0.1:20001,no..where:20002" --transport tcp
finish
