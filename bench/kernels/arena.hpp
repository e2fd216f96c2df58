// SPDX-License-Identifier: MIT
// Vectors for kernels of one backend and size. They are made once and used by every kernel in turn, so that thousands
// of measurements do not fill memory thousands of times.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <tuple>
#include <type_traits>
#include <typeindex>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/formulas.hpp>
#include <rubato/backend/concepts.hpp>
#include <rubato/ledger/fixed_point.hpp>
#include <rubato/step/sgd.hpp>

#include "support/huge_pages.hpp"

namespace bench {

/// Seven tenths of the memory that was free when this was first called.
inline auto memory_to_use() -> std::size_t {
  static auto const bytes =
      static_cast<std::size_t>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) / 10 * 7;
  return bytes;
}

template<class B>
auto new_backend() -> B {
  if constexpr (rubato::backend::has_host_twin<B>) return B{};
  else return B{rubato::buffer_pool{std::make_shared<huge_pages>(memory_to_use(), 64)}};
}

/// in() and out() hand out one vector after the other, `rewind()` begins anew. Values that are read lie in (-1/2, 1/2),
/// as integers in 0 .. 1023; those that are written begin so.
template<class B>
class arena {
 public:
  using backend_type = B;
  using scalar = typename B::scalar;

  explicit arena(std::size_t n) : n_{n} {}

  [[nodiscard]] auto n() const -> std::size_t { return n_; }
  [[nodiscard]] auto degree() const -> std::size_t { return degree_; }
  [[nodiscard]] auto backend() -> B& { return backend_; }

  /// For another kernel: what it writes has its first values again, and nothing is kept of the one before.
  void begin(std::size_t degree) {
    degree_ = degree;
    kept_.clear();
    rewind();
    std::apply([&](auto&... each) { (renew(each), ...); }, lists_);
  }
  void rewind() {
    tables_.clear();
    std::apply([](auto&... each) { ((each.read = each.written = 0), ...); }, lists_);
  }

  template<class U = scalar>
  auto in() -> U const* {
    auto& l = std::get<list<U>>(lists_);
    if (l.read == l.in.size()) l.in.push_back(fresh<U>(l.in.size() + 1));
    return std::as_const(l.in[l.read++]).data();
  }
  template<class U = scalar>
  auto out() -> U* {
    auto& l = std::get<list<U>>(lists_);
    if (l.written == l.out.size()) l.out.push_back(fresh<U>(l.out.size() + 101));
    return l.out[l.written++].data();
  }

  /// A table where the backend's kernels read it.
  template<class E>
  auto table(std::vector<E> entries) -> rubato::backend::table<E> {
    auto const size = entries.size();
    if (on_host_) {
      auto kept = std::make_shared<std::vector<E>>(std::move(entries));
      tables_.push_back(kept);
      return {kept->data(), size};
    }
    return backend_.table(entries.data(), size);
  }
  /// w_ii and the models of the neighbours.
  auto pull() -> rubato::detail::pull_terms<scalar> {
    auto const weight = static_cast<scalar>(1.0 / static_cast<double>(degree_ + 1));
    return {weight, models(weight)};
  }
  auto models(scalar weight) -> rubato::backend::table<rubato::detail::model_source<scalar>> {
    std::vector<rubato::detail::model_source<scalar>> from;
    for (std::size_t j = 0; j < degree_; ++j) from.push_back({in(), weight});
    return table(std::move(from));
  }
  /// z, both gradients, and the sums of the neighbours, in the values of a ledger.
  template<class U>
  auto track() -> rubato::detail::tracking_terms<scalar, U> {
    auto const weight = static_cast<scalar>(1.0 / static_cast<double>(degree_ + 1));
    rubato::detail::tracking_terms<scalar, U> t;
    t.z = out<U>();
    t.g_old = in();
    t.g_new = in();
    t.push_self = weight;
    std::vector<rubato::detail::sum_source<U>> from;
    std::vector<rubato::detail::sum_target<scalar, U>> to;
    for (std::size_t j = 0; j < degree_; ++j) {
      from.push_back({in<U>(), in<U>()});
      to.push_back({in<U>(), out<U>(), weight});
    }
    t.sums_in = table(std::move(from));
    t.sums_out = table(std::move(to));
    return t;
  }
  template<class Ledger>
  auto arithmetic() {
    Ledger l;
    if constexpr (Ledger::exact) l.exponents = {16};
    return l.template arithmetic_for<scalar>(0);
  }
  /// The rule of a step, whose own vectors last as long as the kernel.
  template<class Step = rubato::step::sgd>
  auto rule(Step const& step = Step{}) {
    using state = typename Step::template state<B>;
    auto& s = keep<state>([&] { return state{step, backend_, n_}; });
    if constexpr (requires { s.next(0.01, 1.0); }) return s.next(0.01, 1.0);
    else return s.next(0.01);
  }
  /// One object a type, made when it is first asked for, that lasts as long as the kernel.
  template<class Kept, class Make>
  auto keep(Make const& make) -> Kept& {
    auto& place = kept_[std::type_index{typeid(Kept)}];
    if (!place) place = std::make_shared<Kept>(make());
    return *static_cast<Kept*>(place.get());
  }
  /// While this is so, kernels are only counted: their tables are the host's.
  void count_on_host(bool yes) { on_host_ = yes || !rubato::backend::has_host_twin<B>; }

 private:
  template<class U>
  struct list {
    std::vector<rubato::writable_buffer<U>> in, out;
    std::size_t read = 0, written = 0;
  };

  template<class U>
  auto fresh(std::uint64_t salt) -> rubato::writable_buffer<U> {
    auto here = backend_.pool().host_side().template allocate<U>(n_);
    for (std::size_t i = 0; i < n_; ++i) {
      auto const h = (i * 2654435761ULL + salt * 40503ULL) >> 7U & 1023U;
      if constexpr (std::is_integral_v<U>) here.data()[i] = static_cast<U>(h);
      else here.data()[i] = static_cast<U>(h) / U(1024) - U(0.5) + U(1) / U(4096);
    }
    if constexpr (!rubato::backend::has_host_twin<B>) return here;
    else {
      auto const there = backend_.pool().bring_in(std::move(here).publish());
      return rubato::backend::copied(backend_, there.template view<U>().data(), n_);
    }
  }
  template<class U>
  void renew(list<U>& l) {
    if (!l.out.empty() && l.in.empty()) l.in.push_back(fresh<U>(1));
    for (auto& each : l.out) {
      using copy = rubato::backend::copy_kernel<U>;
      backend_.sweep({0, n_}, copy{std::as_const(l.in[0]).data(), each.data()});
    }
  }

  std::size_t n_;
  std::size_t degree_ = 0;
  bool on_host_ = !rubato::backend::has_host_twin<B>;
  B backend_ = new_backend<B>();
  std::tuple<list<float>, list<double>, list<std::int32_t>> lists_;
  std::vector<std::shared_ptr<void>> tables_;
  std::map<std::type_index, std::shared_ptr<void>> kept_;
};

/// The arena of a size; the one before it is let go of, whatever its backend, since two might not fit.
template<class B>
auto arena_of(std::size_t n) -> arena<B>&;

namespace detail {
struct last_arena {
  std::shared_ptr<void> it;
  std::type_index backend = typeid(void);
  std::size_t n = 0;
};
inline last_arena last;
}  // namespace detail

template<class B>
auto arena_of(std::size_t n) -> arena<B>& {
  auto& last = detail::last;
  if (last.n != n || last.backend != std::type_index{typeid(B)}) {
    last = {};
    last = {std::make_shared<arena<B>>(n), typeid(B), n};
  }
  return *static_cast<arena<B>*>(last.it.get());
}

}  // namespace bench
