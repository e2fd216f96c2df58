#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# replay.sh CLUSTER PEER: what peers recorded over TCP, UDP and MPI, another program, which has no socket, repeats to
# identical bits.
set -uo pipefail

cluster=$1 peer=$2 replay=$(dirname "$1")/replay
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
rm -rf data tcp udp mpi && tiny_data data

run=(--data data --nodes 4 --slow none --compute fixed:2ms --until 2s --measure-every 1s --algorithms r_fast)
"$cluster" "${run[@]}" --out tcp --record "$PWD/tcp" --transport tcp --quiet >/dev/null || fail "cluster over tcp: status $?"
"$cluster" "${run[@]}" --out udp --record "$PWD/udp" --transport udp --drop 0.2 --quiet >/dev/null || fail "cluster over udp: status $?"
transports=(tcp udp)
if command -v mpirun >/dev/null && [[ $(ldd "$peer") == *libmpi* ]]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
  export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_btl=self,vader,tcp OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_pml=ob1
  timeout 120 mpirun -n 4 "$peer" --transport mpi "${run[@]}" --record "$PWD/mpi" --quiet >/dev/null || fail "peers under mpirun: status $?"
  transports+=(mpi)
fi
for transport in "${transports[@]}"; do
  said=$("$replay" "$transport"/*.log 2>&1) || fail "replay of $transport: status $?: $said"
  (($(grep -cE 'r_fast, node [0-3]: [1-9][0-9]{2,} events replay to identical bits$' <<<"$said") == 4)) || fail "$transport: $said"
  echo "$said"
done
finish
