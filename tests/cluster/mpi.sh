#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# mpi.sh CLUSTER PEER: the same nodes as ranks of an MPI run end at the optimum of the sum; what MPI cannot do is said in
# one sentence. 77, with a sentence, where peer was built without MPI or there is no mpirun.
set -uo pipefail

peer=$2
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
command -v mpirun >/dev/null || { echo "there is no mpirun (Debian: openmpi-bin)"; exit 77; }
ldd "$peer" | grep -q libmpi || { echo "peer was built without MPI (Debian: libopenmpi-dev)"; exit 77; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
# Loopback and shared memory only; and nothing is bound, for there may be fewer cores than ranks.
mpi=(timeout 120 mpirun --bind-to none --mca btl self,vader,tcp --mca btl_tcp_if_include lo --mca pml ob1)

said=$("${mpi[@]}" -n 4 "$peer" --transport mpi --problem quadratic:200 --nodes 4 --slow none --algorithms r_fast \
  --step 0.1 --compute fixed:1ms --until 5s --within 1e-5 --report report 2>&1) || fail "r_fast: status $?: $said"
echo "$said"
(($(grep -c 'no value of the model is farther than' <<<"$said") == 4)) || fail "not all four ranks reported"
for rank in 0 1 2 3; do [[ -s report-$rank && -s report-$rank.models ]] || fail "rank $rank wrote no report"; done

export OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_pml=ob1
said=$(timeout 120 "$1" --peer "$peer" --transport mpi --problem quadratic:200 --nodes 4 --slow none --algorithms ring_allreduce_sgd \
  --step 1 --compute fixed:1ms --until 8s --within 1e-5 --out out 2>&1) || fail "a cluster: status $?: $said"
echo "$said"
for file in out/race.csv out/race.json; do [[ -s $file ]] || fail "there is no $file"; done
said=$(timeout 120 "$1" --peer "$peer" --transport mpi --problem quadratic:200 --nodes 4 --slow none --algorithms r_fast \
  --until 5s --block-values 7 --out out 2>&1)
(($? == 1 || $? == 2)) || fail "a cluster whose ranks refuse an option ends well: $said"
grep -q 'cluster: mpirun ended with status .*: peer: the block size must be a positive multiple of 64' <<<"$said" || fail "it does not say why: $said"

said=$("${mpi[@]}" -n 2 "$peer" --transport mpi --problem quadratic:200 --nodes 4 --slow none --algorithms r_fast --step 0.1 \
  --until 5s --quiet 2>&1) && fail "a run with too few ranks ends with status 0"
grep -qE 'peer: node [0-9] has no rank: MPI runs 2 processes' <<<"$said" || fail "too few ranks: $said"
finish
