// SPDX-License-Identifier: MIT
// A gradient in buckets, equal ranges of its values, filled by parts that come in any order or by the whole.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/blocks.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/outbox.hpp>
#include <rubato/core/shared_buffer.hpp>

namespace rubato::detail {

/// Bucket b of K is [b d/K, (b+1) d/K). A part that is one whole bucket, and a whole gradient, are kept by reference;
/// other parts are copied (reads n, writes 2n of a bucket's n values in all).
template<class Backend>
class gradient_buckets {
 public:
  using scalar = typename Backend::scalar;

  static void visit_state(auto& self, auto&& visit) { visit("slots", self.slots_); }

  /// Buckets of about `most` values, at most; 0: one of all.
  gradient_buckets(std::size_t values, std::size_t most)
      : values_{values}, slots_(most == 0 || values == 0 ? 1 : (values - 1) / most + 1) {}

  [[nodiscard]] auto count() const -> std::size_t { return slots_.size(); }
  [[nodiscard]] auto range_of(std::size_t b) const -> range {
    return {b * values_ / slots_.size(), (b + 1) * values_ / slots_.size()};
  }
  /// Whether all values of a bucket are there.
  [[nodiscard]] auto is_full(std::size_t b) const -> bool { return static_cast<bool>(slots_[b].body); }
  [[nodiscard]] auto is_empty() const -> bool {
    return std::all_of(slots_.begin(), slots_.end(), [](slot const& s) { return s.there == 0 && !s.body; });
  }
  /// The values of a full bucket, and the body that they are in.
  [[nodiscard]] auto values_of(std::size_t b) const -> scalar const* {
    return slots_[b].body.template view<scalar>().data() + slots_[b].from;
  }
  [[nodiscard]] auto body_of(std::size_t b) const -> shared_buffer const& { return slots_[b].body; }

  void add(Backend& backend, gradient_part const& part) {
    for (std::size_t b = 0; b < slots_.size(); ++b) {
      auto const of = range_of(b);
      auto const both = range{(std::max)(of.begin, part.values.begin), (std::min)(of.end, part.values.end)};
      if (both.begin >= both.end) continue;
      auto& s = slots_[b];
      RUBATO_EXPECTS(!s.body && s.there + both.size() <= of.size(), "no part of a gradient comes twice");
      if (both.size() == of.size()) {
        s.body = part.value;
        s.from = of.begin - part.values.begin;
        continue;
      }
      if (s.there == 0) s.gathered = backend::zeros<scalar>(backend, of.size());
      auto const* from = part.value.template view<scalar>().data() + (both.begin - part.values.begin);
      backend.sweep({0, both.size()}, backend::copy_kernel<scalar>{from, s.gathered.data() + (both.begin - of.begin)});
      s.there += both.size();
      if (s.there == of.size()) s.body = std::move(s.gathered).publish();
    }
  }
  /// The rest: all buckets are full.
  void add_whole(shared_buffer const& g) {
    for (std::size_t b = 0; b < slots_.size(); ++b) {
      if (slots_[b].body) continue;
      slots_[b] = {};
      slots_[b].body = g;
      slots_[b].from = range_of(b).begin;
    }
  }
  void clear() {
    for (auto& s : slots_) s = {};
  }

 private:
  struct slot {
    std::size_t there = 0;  // values in `gathered`
    writable_buffer<scalar> gathered{};
    shared_buffer body{};  // once the bucket is full
    std::size_t from = 0;  // where it begins in the body
    static void visit_state(auto& self, auto&& visit) {
      visit("there", self.there), visit("gathered", self.gathered);
      visit("body", self.body), visit("from", self.from);
    }
  };
  std::size_t values_;
  std::vector<slot> slots_;
};

}  // namespace rubato::detail
