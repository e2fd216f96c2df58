// SPDX-License-Identifier: MIT
// What the peers of a cluster complain of, for its owner to read.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/text.hpp>

#include "follower.hpp"  // not "support/...", so that a test may include this

namespace rubato::examples {

enum class speakers : std::uint8_t {
  one_a_file,  ///< the file of node 0, of node 1 and so on
  unknown,  ///< as of mpirun, which mixes what its ranks say
};

/// Passes on each sentence of a node once, and tells whose it is.
class listener {
 public:
  /// What ends with a sentence that is `told` elsewhere is not passed on.
  listener(std::vector<std::string> const& files, speakers who, std::vector<std::string> told)
      : outputs_{files.begin(), files.end()}, who_{who}, told_{std::move(told)} {}

  void add_told(std::vector<std::string> const& more) { told_.insert(told_.end(), more.begin(), more.end()); }

  /// Gives `say` what has come since the last call; `rest`: nothing comes after it.
  template<class Say>
  void pass_on(Say say, bool rest = false) {
    for (std::size_t i = 0; i < outputs_.size(); ++i) {
      for (auto const& line : outputs_[i].next(rest)) pass_on(i, line, say);
    }
  }

 private:
  static constexpr std::size_t most = 1000;  // sentences
  static constexpr std::string_view peer = "peer: ";

  template<class Say>
  void pass_on(std::size_t node, std::string const& line, Say const& say) {
    auto const is_told = [&](auto const& sentence) { return line.ends_with(sentence); };
    if (said_.size() > most || !line.starts_with(peer) || std::any_of(told_.begin(), told_.end(), is_told)) return;
    auto words = who_ == speakers::unknown ? std::string{peer} : "node " + std::to_string(node) + ": ";
    words += escaped(line.substr(peer.size()), 1000);
    if (said_.insert(words).second) say(said_.size() > most ? std::string{"what peers say more is left out"} : words);
  }

  std::vector<follower> outputs_;
  speakers who_;
  std::vector<std::string> told_;
  std::set<std::string> said_;
};

}  // namespace rubato::examples
