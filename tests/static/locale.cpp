// SPDX-License-Identifier: MIT
// Numbers with a fraction are never written by std::to_string, whose decimal point is the locale's: here it takes whole
// numbers only. Everything of the standard library that rubato's headers use comes before.
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <concepts>
#include <condition_variable>
#include <deque>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace std {
template<class T>
auto whole_number_to_string(T value) -> string {
  static_assert(is_integral_v<T>,
                "a number with a fraction is written by rubato::shortest or its kin, in any locale alike");
  return to_string(value);
}
}  // namespace std
#define to_string whole_number_to_string

#include <rubato/backend/host.hpp>
#include <rubato/driver/peer.hpp>
#include <rubato/report.hpp>
#include <rubato/rubato.hpp>
#include <rubato/run/replay.hpp>
#include <rubato/transport/in_process.hpp>

// What is in templates is looked at where they are used.
template class rubato::problem::sharded_loss<float, rubato::problem::softmax_model<float>>;
