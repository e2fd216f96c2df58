// SPDX-License-Identifier: MIT
// The mean of each worker's gradients, and the mean of these means, kept up to date as gradients arrive.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/shared_buffer.hpp>

namespace rubato::server::detail {

/// old <- mean, or 0 if first;  mean <- old + (w g - old) / b;  all <- all + (w g - old) / (n b).
template<class T>
struct fold_kernel {
  T const* g;
  T* mean;
  T* all;
  T weight, inverse, share;
  bool first;
  static constexpr bool raises = false;
  template<class Lanes>
  RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
    auto const fresh = weight * at.load(g);
    auto const old = first ? at.template broadcast<T>(T{0}) : at.load(mean);
    auto const change = fresh - old;
    auto const sum = at.load(all) + share * change;
    at.expect_finite(sum);
    at.store(mean, old + inverse * change);
    at.store(all, sum);
  }
  [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 5 * sizeof(T); }
};

/// Memory: one vector a worker that has sent something, and one. A gradient reads 3 vectors and writes 2.
template<class Backend>
class worker_means {
  using scalar = typename Backend::scalar;

 public:
  static void visit_state(auto& self, auto&& visit) { visit("means", self.means_), visit("all", self.all_); }
  explicit worker_means(std::size_t workers) : means_(workers) {}

  /// False if a value is not finite.
  [[nodiscard]] auto fold(Backend& backend, std::size_t worker, shared_buffer const& g, double weight) -> bool {
    auto const everything = range{0, g.size()};
    if (!all_) all_ = backend.template allocate<scalar>(g.size());
    if (missing() == means_.size()) backend.sweep(everything, backend::zero_kernel<scalar>{all_.data()});
    auto& its = means_[worker];
    if (!its.mean) its.mean = backend.template allocate<scalar>(g.size());
    auto const inverse = 1 / static_cast<double>(++its.count);
    auto const share = inverse / static_cast<double>(means_.size());
    auto const raised =
        backend.sweep(everything, fold_kernel<scalar>{g.template view<scalar>().data(), its.mean.data(), all_.data(),
                                                      static_cast<scalar>(weight), static_cast<scalar>(inverse),
                                                      static_cast<scalar>(share), its.count == 1});
    return (raised & backend::not_finite) == 0;
  }
  void clear() {
    for (auto& m : means_) m.count = 0;
  }

  [[nodiscard]] auto count(std::size_t worker) const -> std::uint64_t { return means_[worker].count; }
  /// Workers without a gradient.
  [[nodiscard]] auto missing() const -> std::size_t {
    std::size_t none = 0;
    for (auto const& m : means_) none += m.count == 0 ? 1 : 0;
    return none;
  }
  /// Of the counts; 0 if one is.
  [[nodiscard]] auto harmonic_mean() const -> double {
    double sum = 0;
    for (auto const& m : means_) {
      if (m.count == 0) return 0;
      sum += 1 / static_cast<double>(m.count);
    }
    return static_cast<double>(means_.size()) / sum;
  }
  /// (1/n) sum of the means, once each worker has one.
  [[nodiscard]] auto mean() const -> scalar const* { return all_.data(); }

 private:
  struct mean_of_one {
    std::uint64_t count = 0;
    writable_buffer<scalar> mean{};  // made with its first gradient, because workers need none
    static void visit_state(auto& self, auto&& visit) { visit("count", self.count), visit("mean", self.mean); }
  };
  std::vector<mean_of_one> means_;
  writable_buffer<scalar> all_;
};

}  // namespace rubato::server::detail
