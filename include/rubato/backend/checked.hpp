// SPDX-License-Identifier: MIT
// A backend that watches another one: every load and store of a kernel must hit a live vector, no load may see a value
// that was never written, and no store may touch a published body (law 4). For tests; slow.
#pragma once

#include <cstddef>
#include <cstring>
#include <utility>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>

namespace rubato::backend {

namespace detail {
inline constexpr unsigned char poison_byte =
    0xC5;  // as float -6e3, as double -2e26: wrong, and no NaN that could spread

template<class U>
auto poisoned(U const& value) -> bool {
  unsigned char pattern[sizeof(U)];
  std::memset(pattern, poison_byte, sizeof pattern);
  return std::memcmp(&value, pattern, sizeof pattern) == 0;
}
}  // namespace detail

/// Decorates B; results are those of one index at a time. A violation is a broken contract.
/// **Thread safety:** as B. **Models:** array_backend.
template<array_backend B>
class checked {
 public:
  using scalar = typename B::scalar;
  static constexpr auto level = B::level;
  static constexpr auto name() -> std::string_view { return "checked"; }

  checked() { pool_.track(); }

  template<class U>
  [[nodiscard]] auto allocate(std::size_t n) -> writable_buffer<U> {
    auto buffer = pool_.allocate<U>(n);
    std::memset(static_cast<void*>(buffer.data()), detail::poison_byte, n * sizeof(U));
    return buffer;
  }
  [[nodiscard]] auto pool() const -> buffer_pool const& { return pool_; }

  template<class Kernel>
  auto sweep(range r, Kernel const& kernel) -> flag_bits {
    lanes at{pool_, r.begin};
    for (auto i = r.begin; i < r.end; ++i) {
      at.move_to(i);
      kernel(at);
    }
    return at.raised();
  }

  template<class Entry>
  [[nodiscard]] auto table(Entry const* entries, std::size_t n) const -> backend::table<Entry> {
    return inner_.table(entries, n);
  }
  [[nodiscard]] auto dot(scalar const* x, scalar const* y, std::size_t n) const -> double {
    return inner_.dot(x, y, n);
  }
  void multiply(product_shape s, scalar alpha, scalar const* a, scalar const* b, scalar beta, scalar* c) const {
    inner_.multiply(s, alpha, a, b, beta, c);
  }

 private:
  class lanes {
   public:
    lanes(buffer_pool const& pool, std::size_t at) : pool_{&pool}, plain_{at}, at_{at} {}
    template<class U> auto load(U const* p) const -> U {
      RUBATO_EXPECTS(pool_->find(p + at_).begin != nullptr, "a kernel reads inside a live vector");
      // Every pattern of a byte or two is a value that may well have been written.
      RUBATO_EXPECTS(sizeof(U) < 4 || !detail::poisoned(p[at_]), "a kernel reads only values that were written");
      return plain_.load(p);
    }
    template<class U> void store(U* p, U v) const {
      auto const info = pool_->find(p + at_);
      RUBATO_EXPECTS(info.begin != nullptr, "a kernel writes inside a live vector");
      RUBATO_EXPECTS(!info.published, "a published body is never written again");
      plain_.store(p, v);
    }
    template<class U> void stream(U* p, U v) const { store(p, v); }
    auto round(scalar v) const -> std::int32_t { return plain_.round(v); }
    auto to_real(std::int32_t v) const -> scalar { return plain_.to_real(v); }
    auto sqrt(scalar v) const -> scalar { return plain_.sqrt(v); }
    auto clamp(scalar v, scalar limit) const -> scalar { return plain_.clamp(v, limit); }
    void flag(std::int32_t v) { plain_.flag(v); }
    void expect_finite(scalar v) { plain_.expect_finite(v); }
    template<class U> auto broadcast(U v) const -> U { return v; }
    template<class To, class U> auto cast(U v) const -> To { return static_cast<To>(v); }
    [[nodiscard]] auto raised() const -> flag_bits { return plain_.raised(); }
    [[nodiscard]] auto index() const -> std::size_t { return at_; }
    void move_to(std::size_t at) {
      at_ = at;
      plain_.move_to(at);
    }

   private:
    buffer_pool const* pool_;
    scalar_lanes<scalar> plain_;
    std::size_t at_;
  };

  B inner_;
  buffer_pool pool_;
};

}  // namespace rubato::backend
