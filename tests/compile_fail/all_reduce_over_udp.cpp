// SPDX-License-Identifier: MIT
// A sum of which a part is lost is none.
// illegal: udp
// legal:   tcp
// error:   every message of an all-reduce counts
#include <rubato/collective/all_reduce.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/transport/udp.hpp>

using rubato::transport::SUBJECT;

void add_up(rubato::collective::port<SUBJECT>& port, std::span<float> values) {
  rubato::collective::all_reduce(port, values);
}
