// SPDX-License-Identifier: MIT
// Networks and quadratics as plain matrices: n x n for weights, n x d for what all nodes hold. Slow and obvious.
#pragma once

#include <cstddef>
#include <vector>

#include <Eigen/Dense>

#include <rubato/mixing/neighbourhood.hpp>
#include <rubato/problem/quadratic.hpp>

namespace rubato::test {

using matrix = Eigen::MatrixXd;

inline auto index_of(std::size_t i) -> Eigen::Index { return static_cast<Eigen::Index>(i); }
inline auto index_of(node_id id) -> Eigen::Index { return index_of(to_index(id)); }

/// W and A of a plan.
struct dense_network {
  explicit dense_network(mixing::plan const& plan) : gain{plan.gain} {
    auto const n = index_of(plan.nodes.size());
    w = a = matrix::Zero(n, n);
    for (auto const& node : plan.nodes) {
      auto const i = index_of(node.self);
      w(i, i) = node.pull_self;
      for (auto const& e : node.pull_from) w(i, index_of(e.peer)) = e.weight;
      a(i, i) = node.push_self;
      for (auto const& e : node.push_to) a(index_of(e.peer), i) = e.weight;
    }
  }
  matrix w;
  matrix a;
  double gain;
};

/// The gradients of all nodes, node i at row i of x.
inline auto gradients(problem::quadratic const& q, matrix const& x) -> matrix {
  matrix g = x;
  for (std::size_t i = 0; i < q.nodes(); ++i) {
    for (std::size_t k = 0; k < q.dimension(); ++k) {
      auto const r = index_of(i), c = index_of(k);
      g(r, c) = q.curvature(i, k) * (x(r, c) - q.centre(i, k));
    }
  }
  return g;
}

/// Column k of the fixed point X of (I - W) X + gamma M (H X - H B) = 0: D-PSGD with M = I, adapt-then-combine with
/// M = W.
inline auto gossip_fixed_point(problem::quadratic const& q, matrix const& w, double gamma, matrix const& m) -> matrix {
  auto const n = w.rows();
  matrix x(n, index_of(q.dimension()));
  for (std::size_t k = 0; k < q.dimension(); ++k) {
    Eigen::VectorXd h(n), b(n);
    for (Eigen::Index i = 0; i < n; ++i) {
      h(i) = q.curvature(static_cast<std::size_t>(i), k);
      b(i) = q.centre(static_cast<std::size_t>(i), k);
    }
    matrix const step = gamma * m * h.asDiagonal();
    x.col(index_of(k)) = (matrix::Identity(n, n) - w + step).lu().solve(step * b);
  }
  return x;
}

/// Where sum_i grad f_i / slower_i = 0: the end of methods in which a node counts as often as it computes.
inline auto optimum_by_speed(problem::quadratic const& q, std::vector<double> const& slower) -> std::vector<double> {
  std::vector<double> x;
  for (std::size_t k = 0; k < q.dimension(); ++k) {
    auto above = 0.0, below = 0.0;
    for (std::size_t i = 0; i < q.nodes(); ++i) {
      above += q.curvature(i, k) * q.centre(i, k) / slower[i];
      below += q.curvature(i, k) / slower[i];
    }
    x.push_back(above / below);
  }
  return x;
}

/// Row i as a vector.
inline auto row(matrix const& x, std::size_t i) -> std::vector<double> {
  std::vector<double> out(static_cast<std::size_t>(x.cols()));
  for (std::size_t k = 0; k < out.size(); ++k) out[k] = x(index_of(i), index_of(k));
  return out;
}

/// The largest absolute difference.
inline auto distance(std::vector<double> const& a, std::vector<double> const& b) -> double {
  auto worst = a.size() == b.size() ? 0.0 : 1e300;
  for (std::size_t k = 0; k < a.size() && k < b.size(); ++k) {
    auto const off = std::abs(a[k] - b[k]);
    worst = off <= worst ? worst : off;  // a NaN counts
  }
  return worst;
}

}  // namespace rubato::test
