// SPDX-License-Identifier: MIT
// A problem must take the key that names its mini-batch.
// illegal: int
// legal:   rubato::sample_key
// error:   and a sample_key, and returns the loss
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/topology/builders.hpp>

struct mine {
  auto dimension() const -> std::size_t { return 1; }
  auto gradient(rubato::backend::host<float>&, std::span<float const>, SUBJECT, std::span<float>) const -> double {
    return 0;
  }
};

auto build() {
  return rubato::assemble<rubato::r_fast<rubato::backend::host<float>>>(rubato::topology::ring(3), mine{}, {});
}
