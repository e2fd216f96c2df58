// SPDX-License-Identifier: MIT
// Where every message counts, none may be lost.
// illegal: udp
// legal:   tcp
// error:   every message of this node counts, and this transport may lose some: run it over one that is lossless
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/transport/udp.hpp>

using node = rubato::ring_allreduce_sgd<rubato::backend::host<float>>;
using rubato::transport::SUBJECT;

auto run(rubato::assembly& a, rubato::transport::identity const& me, SUBJECT& wires) {
  return rubato::run_peer<node>(a, me, wires, {.gradients = 10});
}
