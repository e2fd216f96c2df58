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

for algorithm in r_fast ring_allreduce_sgd; do
  said=$("${mpi[@]}" -n 4 "$peer" --transport mpi --problem quadratic:200 --nodes 4 --slow none --algorithms $algorithm \
    --step 0.1 --compute fixed:1ms --until 5s --within 1e-5 --report report 2>&1) || fail "$algorithm: status $?: $said"
  echo "$said"
  (($(grep -c 'no value of the model is farther than' <<<"$said") == 4)) || fail "$algorithm: not all four ranks reported"
  for rank in 0 1 2 3; do [[ -s report-$rank && -s report-$rank.models ]] || fail "$algorithm: rank $rank wrote no report"; done
done

said=$("${mpi[@]}" -n 2 "$peer" --transport mpi --problem quadratic:200 --nodes 4 --slow none --algorithms r_fast --step 0.1 \
  --until 5s --quiet 2>&1) && fail "a run with too few ranks ends with status 0"
grep -qE 'peer: node [0-9] has no rank: MPI runs 2 processes' <<<"$said" || fail "too few ranks: $said"
finish
