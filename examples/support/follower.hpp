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
    std::string line;
    for (char c = 0; in.get(c);) {
      if (c != '\n' && line.size() < longest) line += c;
      if (c != '\n') continue;
      at_ = in.tellg();
      lines.push_back(std::exchange(line, {}));
    }
    if (rest && !line.empty()) lines.push_back(line);
    return lines;
  }

 private:
  static constexpr std::size_t longest = 4096;  // of what is kept of a line
  std::string file_;
  std::streamoff at_ = 0;
};

}  // namespace rubato::examples
