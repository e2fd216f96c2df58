// SPDX-License-Identifier: MIT
// What the tests of methods that send compressed differences share: a codec and a problem with golden values, and
// codecs applied to the rows of a matrix.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/backend/host.hpp>
#include <rubato/codec/concepts.hpp>
#include <rubato/core/node.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/topology/pair.hpp>

#include "support/dense.hpp"

namespace rubato::test {

/// The nearest of 15 levels of the largest value.
struct fifteen_levels {
  static constexpr auto name() -> std::string_view { return "fifteen levels"; }
  static void visit_options(auto&, auto&&) {}
  template<class T>
  using code = T;
  static constexpr auto error = codec::error_class::contractive;
  static constexpr bool needs_lossless_links = false;
  template<class T>
  [[nodiscard]] auto codes(std::size_t n) const -> std::size_t {
    return n;
  }
  [[nodiscard]] auto relative_error(std::size_t n) const -> double { return static_cast<double>(n) / (4 * 49); }
  template<class Backend, class T>
  void encode(Backend&, T const* x, std::size_t n, T* codes) const {
    T most = 0;
    for (std::size_t i = 0; i < n; ++i) most = std::max(most, std::abs(x[i]));
    for (std::size_t i = 0; i < n; ++i) codes[i] = most > 0 ? std::rint(7 * x[i] / most) / 7 * most : T{0};
  }
  template<class Backend, class T>
  void decode(Backend&, T const* codes, std::size_t n, T* x) const {
    std::copy_n(codes, n, x);
  }
};

/// The codec of each row, without draws.
template<class Codec>
auto coded(Codec const& c, matrix const& z) -> matrix {
  matrix q = z;
  backend::host<double> b;
  for (Eigen::Index i = 0; i < z.rows(); ++i) {
    std::vector<double> row(static_cast<std::size_t>(z.cols())), out(row.size());
    for (Eigen::Index k = 0; k < z.cols(); ++k) row[static_cast<std::size_t>(k)] = z(i, k);
    codec::decode_body(c, b, codec::encoded(c, b, row.data(), row.size()), {0, row.size()}, out.data());
    for (Eigen::Index k = 0; k < z.cols(); ++k) q(i, k) = out[static_cast<std::size_t>(k)];
  }
  return q;
}

/// f_i = 1/2 sum_k H_ik (x_k - C_ik)^2 with H_ik = 1 + ((i + 2k) mod 4)/2, C_ik = ((3i + 5k) mod 7) - 3; for a ring of
/// 4, all weights 1/3.
struct golden_problem {
  [[nodiscard]] auto dimension() const -> std::size_t { return 3; }
  auto gradient(backend::host<double>&, std::span<double const> x, sample_key key, std::span<double> g) const
      -> double {
    auto const i = to_index(key.node);
    for (std::size_t k = 0; k < 3; ++k) {
      auto const curvature = 1 + static_cast<double>((i + 2 * k) % 4) / 2;
      g[k] = curvature * (x[k] - (static_cast<double>((3 * i + 5 * k) % 7) - 3));
    }
    return 0;
  }
  static auto optimum() -> std::vector<double> { return {1.0 / 14, -9.0 / 14, 15.0 / 14}; }
};

/// Nodes by their own type, all in lock-step.
template<class Node>
struct together {
  template<class Problem>
  together(topology::pair const& network, Problem const& p, typename Node::options const& o) {
    auto const plan = Node::make_plan(network);
    auto a = assemble<Node>(plan, p, o);
    oracle = a.oracle;
    auto const x0 = a.nodes[0].estimate();
    for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
      nodes.push_back(Node{{}, plan, to_node(i), x0, o});
      asked.emplace_back();
      nodes[i].start({}, out);
      take(i);
    }
  }
  void round() {
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      nodes[i].on_gradient({}, oracle.evaluate(asked[i]), out);
      take(i);
    }
    for (auto const& p : std::exchange(sent, {})) {
      patch arrived{p.from,      p.to,   p.channel,      p.session, p.based_on,
                    p.posted_at, {0, 1}, {&p.number, 1}, p.body,    p.extra};
      nodes[to_index(p.to)].on_patch({}, arrived, out);
      take(to_index(p.to));
    }
  }
  [[nodiscard]] auto point(std::size_t i) const -> std::vector<double> {
    std::vector<double> x;
    rubato::detail::widen(asked[i].point, x);
    return x;
  }
  void take(std::size_t i) {
    if (out.request) asked[i] = std::move(*out.request);
    for (auto& p : out.packets) sent.push_back(std::move(p));
    if (out.failure) failure = out.failure->sentence;
    out.clear();
  }
  problem::any_oracle oracle;
  std::vector<Node> nodes;
  std::vector<gradient_request> asked;
  std::vector<packet> sent;
  std::string failure;
  outbox out;
};

}  // namespace rubato::test
