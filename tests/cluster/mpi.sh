#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# mpi.sh CLUSTER PEER: the same nodes as ranks of an MPI run end at the optimum of the sum; what MPI cannot do is said in
# one sentence; and who interrupts or kills a cluster leaves no rank behind. 77, with a sentence, where peer was built
# without MPI or there is no mpirun.
set -uo pipefail

peer=$2
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
command -v mpirun >/dev/null || { echo "there is no mpirun (Debian: openmpi-bin)"; exit 77; }
[[ $(ldd "$peer") == *libmpi* ]] || { echo "peer was built without MPI (Debian: libopenmpi-dev)"; exit 77; }
# Loopback and shared memory only; and nothing is bound, for there may be fewer cores than ranks. (MPICH does so anyway.)
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_pml=ob1
mpi=(timeout 120 mpirun)

said=$("${mpi[@]}" -n 4 "$peer" --transport mpi --problem quadratic:200 --nodes 4 --slow none --algorithms r_fast \
  --step 0.1 --compute fixed:1ms --until 12s --within 1e-5 --report report 2>&1) || fail "r_fast: status $?: $said"
echo "$said"
(($(grep -c 'no value of the model is farther than' <<<"$said") == 4)) || fail "not all four ranks reported"
for rank in 0 1 2 3; do [[ -s report-$rank && -s report-$rank.models ]] || fail "rank $rank wrote no report"; done

said=$(timeout 120 "$1" --peer "$peer" --transport mpi --problem quadratic:200 --nodes 4 --slow none --algorithms ring_allreduce_sgd \
  --step 1 --compute fixed:1ms --until 8s --within 1e-5 --out out 2>&1) || fail "a cluster: status $?: $said"
echo "$said"
for file in out/race.csv out/race.json; do [[ -s $file ]] || fail "there is no $file"; done
said=$(timeout 120 "$1" --peer "$peer" --transport mpi --problem quadratic:200 --nodes 4 --slow none --algorithms r_fast \
  --until 5s --silence 1ns --out out 2>&1)
(($? == 1 || $? == 2)) || fail "a cluster whose ranks refuse an option ends well: $said"
grep -q 'cluster: mpirun ended with status .*: peer: the silence after which a peer counts as dead must be 1 ms at least' <<<"$said" || fail "it does not say why: $said"

# ended CLUSTER SIGNAL STATUS [stopped]: a cluster of four ranks, one of them stopped, is sent that signal; nobody is left.
ended() {
  local started tries folder
  folder=$(mktemp -d)
  TMPDIR=$folder "$1" --peer "$peer" --transport mpi --problem quadratic:50 --nodes 4 --slow none --step 0.1 --until 100s --quiet --out out \
    >said 2>&1 &
  started=$!
  of_it() { pgrep -f "$folder/rubato-cluster-"; } # mpirun and its ranks, by where they report to
  for ((tries = 0; tries < 600; ++tries)); do (($(of_it | wc -l) == 5)) && break; sleep 0.05; done
  (($(of_it | wc -l) == 5)) || fail "a cluster under MPI is not mpirun and four ranks: $(cat said)"
  sleep 0.5 # not for correctness: so that they have met
  [[ ${4:-} == stopped ]] && kill -STOP "$(of_it | tail -1)"
  kill "-$2" $started
  wait $started 2>/dev/null
  (($? == $3)) || fail "a cluster that got SIG$2 does not end with status $3: $(cat said)"
  for ((tries = 0; tries < 200; ++tries)); do of_it >/dev/null || { rm -rf "$folder"; return; }; sleep 0.05; done
  fail "after SIG$2 there are left: $(pgrep -af "$folder/rubato-cluster-")"
}
ended "$1" INT 130
ended "$1" INT 130 stopped
ended "$1" KILL 137

said=$("${mpi[@]}" -n 2 "$peer" --transport mpi --problem quadratic:200 --nodes 4 --slow none --algorithms r_fast --step 0.1 \
  --until 5s --quiet 2>&1) && fail "a run with too few ranks ends with status 0"
grep -qE 'peer: node [0-9] has no rank: MPI runs 2 processes' <<<"$said" || fail "too few ranks: $said"
finish
