// SPDX-License-Identifier: MIT
// The state of a node, each part listed once. All that need the whole state walk this list: checkpoints, resuming,
// digests.
#pragma once

#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/core/shared_buffer.hpp>

namespace rubato {

/// Visits every part of a state in order, to write (core/snapshot.hpp), read, hash or count it. A type lists its state
/// in a static member. It names once each data member that may differ from what the constructor made of the options:
///   static void visit_state(auto& self, auto&& visit) { visit("model", self.x_), visit("iterations",
///   self.iterations_); }
/// A part is a number, an enumerator, a duration, text, a body, another type that lists its state, or an array, vector,
/// pair, optional or unique_ptr of parts. What is rebuilt for each pass over memory is not state.
class state_visitor {
 public:
  state_visitor() = default;
  state_visitor(state_visitor const&) = delete;
  auto operator=(state_visitor const&) -> state_visitor& = delete;
  virtual ~state_visitor() = default;

  template<class V>
  void operator()(std::string_view name, V& part) {
    if constexpr (requires { V::visit_state(part, *this); }) {
      V::visit_state(part, *this);
    } else if constexpr (std::is_integral_v<V> || std::is_enum_v<V> || std::is_floating_point_v<V>) {
      number(name, part);
    } else if constexpr (requires {
                           part.on_host();
                           part.bytes();
                         }) {
      body(name, part);
    } else if constexpr (requires {
                           V{nullptr};
                           *part;
                           part.get();
                         }) {
      if (has(name, static_cast<bool>(part))) {
        if (!part) part = std::make_unique<typename V::element_type>();
        (*this)(name, *part);
      } else {
        part.reset();
      }
    } else if constexpr (requires {
                           part.has_value();
                           part.reset();
                         }) {
      if (has(name, part.has_value())) {
        if (!part) part.emplace();
        (*this)(name, *part);
      } else {
        part.reset();
      }
    } else if constexpr (requires {
                           part.resize(part.size());
                           part[0];
                         }) {
      auto n = std::uint64_t{part.size()};
      length(name, n);
      if (n != part.size()) part.resize(n);
      for (auto& each : part) (*this)(name, each);
    } else if constexpr (requires {
                           part.begin();
                           std::tuple_size<V>::value;
                         }) {
      for (auto& each : part) (*this)(name, each);
    } else if constexpr (requires {
                           part.first;
                           part.second;
                         }) {
      (*this)(name, part.first);
      (*this)(name, part.second);
    } else if constexpr (requires {
                           part.count();
                           V{part.count()};
                         }) {
      auto ticks = part.count();
      number(name, ticks);
      part = V{ticks};
    } else if constexpr (!std::is_empty_v<V>) {
      unlisted(name);
    }
  }

  /// A vector that its owner may still write, so a copy of it is kept.
  template<class T>
  void operator()(std::string_view name, writable_buffer<T>& part) {
    auto copy = is_reading() ? shared_buffer{} : part.host_copy();
    values(name, copy);
    if (!is_reading()) return;
    if (copy && (copy.kind() != element_of<T> || (part && copy.size() != part.size()))) refuse(name);
    part = own_copy<T>(copy);
  }

  /// Not state, but what the state belongs to: an id, a size, a hash. It must be the same where a state is put back.
  void same(std::string_view name, std::uint64_t what) {
    auto kept = what;
    word(name, kept);
    if (kept != what) refuse(name);
  }

  /// Whether this visitor overwrites the parts with kept values.
  [[nodiscard]] virtual auto is_reading() const -> bool { return false; }

 protected:
  virtual void word(std::string_view name, std::uint64_t& bits) = 0;
  /// The number of parts in a list.
  virtual void length(std::string_view name, std::uint64_t& parts) { word(name, parts); }
  virtual void body(std::string_view name, shared_buffer& part) = 0;
  /// A vector that its owner may still write: a writing visitor is given a copy of it, a reading one supplies a copy.
  virtual void values(std::string_view name, shared_buffer& copy) { body(name, copy); }
  /// A part whose type should list its state and does not.
  virtual void unlisted(std::string_view name) = 0;
  /// In a reading visitor: throws, since the saved part does not fit here.
  virtual void refuse(std::string_view) {}
  /// In a reading visitor: the pool of the node's own vectors.
  [[nodiscard]] virtual auto memory() -> buffer_pool* { return nullptr; }

 private:
  template<class V>
  void number(std::string_view name, V& part) {
    if constexpr (std::is_enum_v<V>) {
      auto value = static_cast<std::underlying_type_t<V>>(part);
      number(name, value);
      part = static_cast<V>(value);
    } else {
      std::uint64_t bits = 0;
      if constexpr (std::is_integral_v<V>) bits = static_cast<std::uint64_t>(part);
      else bits = std::bit_cast<std::uint64_t>(static_cast<double>(part));  // a float comes back as it was
      word(name, bits);
      if constexpr (std::is_integral_v<V>) part = static_cast<V>(bits);
      else part = static_cast<V>(std::bit_cast<double>(bits));
    }
  }
  auto has(std::string_view name, bool there) -> bool {
    auto bits = std::uint64_t{there};
    word(name, bits);
    return bits != 0;
  }
  template<class T>
  auto own_copy(shared_buffer const& kept) -> writable_buffer<T> {
    return kept ? memory()->writable_copy<T>(kept) : writable_buffer<T>{};
  }
};

}  // namespace rubato
