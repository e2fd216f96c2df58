// SPDX-License-Identifier: MIT
// The same local iteration (degrees of an interior binary-tree node) without rubato, on the same kind of memory: a
// chain of axpy calls that swaps pointers where a copy would do, Eigen expressions, and one plain hand-fused loop.
// Both ledgers; the fixed-point ones leave out the range watch, which the node does besides.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <Eigen/Core>

#include <rubato/core/shared_buffer.hpp>

namespace bench {

enum class style { axpy_chain, eigen_expressions, fused_loop };

namespace blas {
// Plain loops that a compiler vectorises; noinline, as calls into a library are.
#define BENCH_CALL [[gnu::noinline]] inline void
template<class T>
BENCH_CALL axpy(std::size_t n, T a, T const* __restrict x, T* __restrict y) {
  for (std::size_t i = 0; i < n; ++i) y[i] += a * x[i];
}
/// axpy into another vector: a published rho is not written again.
template<class T>
BENCH_CALL waxpy(std::size_t n, T a, T const* __restrict x, std::pair<T const*, T*> rho) {
  auto const* __restrict y = rho.first;
  auto* __restrict out = rho.second;
  for (std::size_t i = 0; i < n; ++i) out[i] = y[i] + a * x[i];
}
template<class T>
BENCH_CALL scale(std::size_t n, T a, T* __restrict x) {
  for (std::size_t i = 0; i < n; ++i) x[i] *= a;
}
template<class T>
BENCH_CALL scaled_copy(std::size_t n, T a, T const* __restrict x, T* __restrict y) {
  for (std::size_t i = 0; i < n; ++i) y[i] = a * x[i];
}
/// y += sign round(units x), in wrapping integers.
BENCH_CALL add_rounded(std::size_t n, float units, float const* __restrict x, std::uint32_t* __restrict y) {
  for (std::size_t i = 0; i < n; ++i)
    y[i] += static_cast<std::uint32_t>(static_cast<std::int32_t>(std::rint(units * x[i])));
}
BENCH_CALL add(std::size_t n, std::uint32_t const* __restrict x, std::uint32_t* __restrict y) {
  for (std::size_t i = 0; i < n; ++i) y[i] += x[i];
}
BENCH_CALL subtract(std::size_t n, std::uint32_t const* __restrict x, std::uint32_t* __restrict y) {
  for (std::size_t i = 0; i < n; ++i) y[i] -= x[i];
}
/// A push: p = round(a z); after = before + p; z -= p. One loop, since p needs a vector of its own otherwise.
BENCH_CALL push(std::size_t n, float a, std::uint32_t* __restrict z,
                std::pair<std::uint32_t const*, std::uint32_t*> rho) {
  auto const* __restrict before = rho.first;
  auto* __restrict after = rho.second;
  for (std::size_t i = 0; i < n; ++i) {
    auto const p = static_cast<std::uint32_t>(
        static_cast<std::int32_t>(std::rint(a * static_cast<float>(static_cast<std::int32_t>(z[i])))));
    after[i] = before[i] + p;
    z[i] -= p;
  }
}
/// x -= gamma q z.
BENCH_CALL descend(std::size_t n, float gamma_q, std::uint32_t const* __restrict z, float* __restrict x) {
  for (std::size_t i = 0; i < n; ++i) x[i] -= gamma_q * static_cast<float>(static_cast<std::int32_t>(z[i]));
}
#undef BENCH_CALL
}  // namespace blas

/// U is float (floating ledger) or int32_t (fixed point).
template<class U>
class rival {
 public:
  rival(rubato::buffer_pool pool, std::size_t n) : n_{n} {
    auto const fill = [&](auto& buffer, std::size_t salt) {
      using value = std::remove_reference_t<decltype(*buffer.data())>;
      buffer = pool.allocate<value>(n);
      for (std::size_t i = 0; i < n; ++i) {
        auto const h = (i * 2654435761ULL + salt * 40503ULL) >> 7U & 1023U;
        if constexpr (std::is_same_v<value, std::int32_t>) buffer.data()[i] = static_cast<value>(h);
        else buffer.data()[i] = static_cast<value>(h) / value(1024) - value(0.5);
      }
    };
    for (std::size_t k = 0; k < 2; ++k) {
      fill(x_[k], 0);
      fill(v_[k], 1);
      fill(g_[k], 2 + k);
      fill(parent_[k], 4);
      fill(rho_[k], 5);
      for (std::size_t j = 0; j < 2; ++j) fill(in_[j][k], 6 + j);
    }
    fill(z_, 9);
  }

  void step(style s) {
    // Between two iterations neighbours post and the gradient comes: pointers swap, nothing is copied.
    now_ = 1 - now_;
    switch (s) {
      case style::axpy_chain:
        return chain();
      case style::eigen_expressions:
        return expressions();
      case style::fused_loop:
        return fused();
    }
  }

 private:
  static constexpr bool fixed = std::is_same_v<U, std::int32_t>;
  static constexpr float units = 65536.0F, quantum = 1 / units, gamma = 0.01F, w_self = 0.5F, w_in = 0.5F,
                         a_self = 0.5F, a_out = 0.5F;

  void chain() {
    auto const last = 1 - now_;
    auto* z = z_.data();
    if constexpr (fixed) {
      auto* u = words(z);
      blas::add_rounded(n_, -units, g_[last].data(), u);
      blas::add_rounded(n_, units, g_[now_].data(), u);
      for (auto& in : in_) {
        blas::add(n_, words(in[now_].data()), u);
        blas::subtract(n_, words(in[last].data()), u);
      }
      blas::push(n_, a_out, u, {words(rho_[last].data()), words(rho_[now_].data())});
      blas::descend(n_, gamma * quantum, u, x_[last].data());
    } else {
      blas::axpy(n_, -1.0F, g_[last].data(), z);
      blas::axpy(n_, 1.0F, g_[now_].data(), z);
      for (auto& in : in_) {
        blas::axpy(n_, 1.0F, in[now_].data(), z);
        blas::axpy(n_, -1.0F, in[last].data(), z);
      }
      blas::waxpy(n_, a_out, z, {rho_[last].data(), rho_[now_].data()});
      blas::scale(n_, a_self, z);
      blas::axpy(n_, -gamma, z, x_[last].data());
    }
    std::swap(x_[last], v_[now_]);  // the descended model is what is posted; its buffer comes back one round later
    blas::scaled_copy(n_, w_self, v_[now_].data(), x_[now_].data());
    blas::axpy(n_, w_in, parent_[now_].data(), x_[now_].data());
  }

  [[gnu::noinline]] void expressions() {
    auto const last = 1 - now_;
    auto const at = [&](auto* p) {
      return Eigen::Map<Eigen::Array<std::remove_pointer_t<decltype(p)>, Eigen::Dynamic, 1>>{
          p, static_cast<Eigen::Index>(n_)};
    };
    auto z = at(z_.data());
    auto rho = at(rho_[now_].data());
    auto const rho_before = at(rho_[last].data());
    auto const a3 = at(in_[0][now_].data()), b3 = at(in_[0][last].data());
    auto const a4 = at(in_[1][now_].data()), b4 = at(in_[1][last].data());
    auto const g_old = at(g_[last].data()), g_new = at(g_[now_].data());
    auto v = at(v_[now_].data());
    if constexpr (fixed) {
      z += (units * g_new).rint().template cast<std::int32_t>() - (units * g_old).rint().template cast<std::int32_t>() +
           (a3 - b3) + (a4 - b4);
      rho = rho_before + (a_out * z.template cast<float>()).rint().template cast<std::int32_t>();
      z -= rho - rho_before;
      v = at(x_[last].data()) - gamma * quantum * z.template cast<float>();
    } else {
      z = (z - g_old) + g_new + (a3 - b3) + (a4 - b4);
      rho = rho_before + a_out * z;
      z *= a_self;
      v = at(x_[last].data()) - gamma * z;
    }
    at(x_[now_].data()) = w_self * v + w_in * at(parent_[now_].data());
  }

  [[gnu::noinline]] void fused() {
    auto const last = 1 - now_;
    auto* __restrict z = z_.data();
    auto* __restrict x = x_[now_].data();
    auto* __restrict v = v_[now_].data();
    auto* __restrict rho = rho_[now_].data();
    auto const *x_before = x_[last].data(), *g_old = g_[last].data(), *g_new = g_[now_].data();
    auto const *rho_before = rho_[last].data(), *a3 = in_[0][now_].data(), *b3 = in_[0][last].data();
    auto const *a4 = in_[1][now_].data(), *b4 = in_[1][last].data();
    auto const* parent = parent_[now_].data();
    for (std::size_t i = 0; i < n_; ++i) {
      if constexpr (fixed) {
        auto const half = z[i] - static_cast<std::int32_t>(std::rint(units * g_old[i])) +
                          static_cast<std::int32_t>(std::rint(units * g_new[i])) + (a3[i] - b3[i]) + (a4[i] - b4[i]);
        auto const p = static_cast<std::int32_t>(std::rint(a_out * static_cast<float>(half)));
        rho[i] = rho_before[i] + p;
        z[i] = half - p;
        v[i] = x_before[i] - gamma * quantum * static_cast<float>(z[i]);
      } else {
        auto const half = z[i] - g_old[i] + g_new[i] + (a3[i] - b3[i]) + (a4[i] - b4[i]);
        rho[i] = rho_before[i] + a_out * half;
        z[i] = a_self * half;
        v[i] = x_before[i] - gamma * z[i];
      }
      x[i] = w_self * v[i] + w_in * parent[i];
    }
  }

  static auto words(std::int32_t* p) -> std::uint32_t* { return reinterpret_cast<std::uint32_t*>(p); }

  std::size_t n_;
  std::size_t now_ = 0;
  std::array<rubato::writable_buffer<float>, 2> x_, v_, g_, parent_;
  std::array<rubato::writable_buffer<U>, 2> rho_;
  std::array<std::array<rubato::writable_buffer<U>, 2>, 2> in_;
  rubato::writable_buffer<U> z_;
};

}  // namespace bench
