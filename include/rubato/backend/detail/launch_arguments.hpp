// SPDX-License-Identifier: MIT
// Tables that travel to a device among the arguments of a launch: that needs no copy, no wait and no memory there.
#pragma once

#include <cstddef>
#include <cstring>
#include <optional>
#include <type_traits>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/host_device.hpp>

namespace rubato::backend::detail {

/// What a launch takes along. The room is enough for eight neighbours of which each sends and gets models and sums, or
/// for thirty that send models; every launch pays for all of it.
struct launch_arguments {
  static constexpr std::size_t room = 512;
  alignas(16) std::byte bytes[room];
};

/// The tables of the next launch of one handle.
class argument_tables {
 public:
  /// A table with copies of these entries; nothing where there is no room left for them.
  template<class Entry>
  [[nodiscard]] auto place(Entry const* entries, std::size_t n) -> std::optional<table<Entry>> {
    static_assert(std::is_trivially_copyable_v<Entry> && alignof(Entry) <= alignof(launch_arguments));
    auto const begin = (used_ + alignof(Entry) - 1) / alignof(Entry) * alignof(Entry);
    if (begin > launch_arguments::room || n > (launch_arguments::room - begin) / sizeof(Entry)) return {};
    if (n > 0) std::memcpy(all_.bytes + begin, entries, n * sizeof(Entry));
    used_ = begin + n * sizeof(Entry);
    return table<Entry>::taken_along(begin, n);
  }
  [[nodiscard]] auto all() const -> launch_arguments const& { return all_; }
  /// After the launch.
  void clear() { used_ = 0; }

 private:
  launch_arguments all_{};
  std::size_t used_ = 0;
};

/// The lanes of a kernel that is launched with these arguments, which outlive them.
template<class T>
class argument_lanes : public scalar_lanes<T> {
 public:
  RUBATO_HOST_DEVICE argument_lanes(std::size_t at, launch_arguments const& arguments)
      : scalar_lanes<T>{at}, arguments_{&arguments} {}
  [[nodiscard]] RUBATO_HOST_DEVICE auto taken_along() const -> std::byte const* { return arguments_->bytes; }

 private:
  launch_arguments const* arguments_;
};

}  // namespace rubato::backend::detail
