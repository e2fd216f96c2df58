// SPDX-License-Identifier: MIT
// Reads what other processes write into a file while they write it.
#pragma once

#include <cstddef>
#include <fstream>
#include <ios>
#include <string>
#include <utility>
#include <vector>

namespace rubato::examples {

/// The lines of a file that grows.
class follower {
 public:
  explicit follower(std::string file) : file_{std::move(file)} {}

  /// Those that have come whole since the last call, without their ends. `rest`: also one that has no end yet.
  [[nodiscard]] auto next(bool rest = false) -> std::vector<std::string> {
    std::ifstream in{file_, std::ios::binary};
    in.seekg(at_);
    std::vector<std::string> lines;
    for (char c = 0; in.get(c); ++at_) {
      if (c == '\n') lines.push_back(std::exchange(begun_, {}));
      else if (begun_.size() < longest) begun_ += c;
    }
    if (rest && !begun_.empty()) lines.push_back(begun_);
    return lines;
  }

 private:
  static constexpr std::size_t longest = 4096;  // of what is kept of a line
  std::string file_;
  std::streamoff at_ = 0;
  std::string begun_;  // a line without its end
};

}  // namespace rubato::examples
