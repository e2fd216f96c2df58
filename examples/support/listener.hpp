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

/// Passes on each event once, whoever says it and however often, and tells who was the first to say it.
class listener {
 public:
  /// What ends with a sentence that is `told` elsewhere is not passed on.
  listener(std::vector<std::string> const& files, speakers who, std::vector<std::string> told)
      : outputs_{files.begin(), files.end()}, who_{who}, told_{std::move(told)} {}

  /// A sentence, as it stands in a result.
  [[nodiscard]] auto has_passed_on(std::string_view sentence) const -> bool {
    return said_.find(event_in(sentence)) != said_.end();
  }
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
  static constexpr std::string_view peer = "peer: ", gone = " is gone", back = " has come back";

  /// What all say of it alike: without the time, and of a node that is lost or back without its address and the reason.
  static auto event_in(std::string_view sentence) -> std::string {
    if (auto const end = sentence.find(" s: "); sentence.starts_with("after ") && end != sentence.npos)
      sentence.remove_prefix(end + 4);
    constexpr auto node = std::string_view{"node "};
    if (!sentence.starts_with(node)) return std::string{sentence};
    auto const who = sentence.substr(0, sentence.find(' ', node.size()));
    auto what = sentence.substr(who.size());
    if (what.starts_with(" at ")) what.remove_prefix((std::min)(what.size(), what.find(' ', 4)));
    for (auto const each : {gone, back}) {
      if (what.starts_with(each)) return std::string{who} + std::string{each};
    }
    return std::string{sentence};
  }

  template<class Say>
  void pass_on(std::size_t node, std::string const& line, Say const& say) {
    auto const is_told = [&](auto const& sentence) { return line.ends_with(sentence); };
    if (said_.size() > most || !line.starts_with(peer) || std::any_of(told_.begin(), told_.end(), is_told)) return;
    auto const sentence = std::string_view{line}.substr(peer.size());
    auto const event = event_in(sentence);
    for (auto const& [one, other] : {std::pair{gone, back}, std::pair{back, gone}}) {  // which may happen again
      if (event.ends_with(one)) said_.erase(event.substr(0, event.size() - one.size()) + std::string{other});
    }
    if (!said_.insert(event).second) return;
    if (said_.size() > most) return say(std::string{"what peers say more is left out"});
    say((who_ == speakers::unknown ? std::string{peer} : "node " + std::to_string(node) + ": ") +
        escaped(std::string{sentence}, 1000));
  }

  std::vector<follower> outputs_;
  speakers who_;
  std::vector<std::string> told_;
  std::set<std::string> said_;  // events
};

}  // namespace rubato::examples
