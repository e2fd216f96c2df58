// SPDX-License-Identifier: MIT
// The round at which all nodes end that go on together (any_node::common_round), so that the run can be resumed where
// it ended. Who comes to its end, or is interrupted, names the earliest round that no node can have begun before it
// hears of it, and goes on to that round like all others.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>

#include <rubato/core/ids.hpp>
#include <rubato/driver/detail/hosted_node.hpp>
#include <rubato/run/checkpoint_writer.hpp>
#include <rubato/run/result.hpp>
#include <rubato/transport/peer_status.hpp>

namespace rubato::detail {

/// As one process sees it.
/// **Thread safety:** one owner.
class last_meeting {
 public:
  /// A node that has come to its end, or knows that another one was interrupted, waits `linger` at most for the round.
  last_meeting(node_checkpoints& saves, hosted_node& host, std::chrono::nanoseconds linger)
      : saves_{&saves}, host_{&host}, linger_{linger} {}

  /// This node may compute so many gradients since it began. Names the round at which it will have done so once nobody
  /// can have begun that round; a node that may compute no more could not go on to a later one.
  void foresee(std::uint64_t gradients) {
    if (gradients == (std::numeric_limits<std::uint64_t>::max)()) return;
    saves_->meet_after(gradients, *host_);
    if (auto const last = saves_->last_round(); last && *last <= earliest()) is_named_ = true;
  }
  /// This node has come to its end, or was interrupted.
  void name_earliest(bool interrupted, instant now) {
    auto const round = earliest();
    if (round >= transport::peer_status::most_rounds) return;
    interrupted_ = interrupted_ || interrupted;
    meet_at(round);
    if (is_named_ && !latest_) latest_ = later_by(now, linger_);
  }
  /// A neighbour meets the others at that round.
  void hear(transport::peer_status const& s, instant now) {
    auto const round = s.meeting();
    if (!round || !saves_->together()) return;
    interrupted_ = interrupted_ || s.is_interrupted();
    meet_at(*round);
    if (is_named_ && interrupted_ && !latest_) latest_ = later_by(now, linger_);
  }
  /// This node was interrupted after it had come to its end: it waits no longer than until then.
  void hurry(instant latest) {
    if (latest_) latest_ = (std::min)(*latest_, latest);
  }
  /// It cannot be held any more: one of the nodes is gone.
  void give_up() { given_up_ = true; }

  /// Whether a round was named, be it met or not.
  [[nodiscard]] auto is_named() const -> bool { return is_named_; }
  /// Whether this node goes on for no other reason than to meet the others.
  [[nodiscard]] auto is_awaited(instant now) const -> bool { return latest_ && !given_up_ && now <= *latest_; }
  [[nodiscard]] auto was_held() const -> bool { return saves_->has_met(); }
  /// Whether it was named because a node was interrupted.
  [[nodiscard]] auto is_interrupted() const -> bool { return interrupted_; }
  /// What neighbours are to be told, in place of that; they must hear it before anything else that this node sends.
  [[nodiscard]] auto status_after(transport::peer_status const& told) const -> transport::peer_status {
    if (!is_named_) return told;
    auto const s = transport::peer_status::meets_at(*saves_->last_round(), interrupted_, told.parted);
    return s > told ? s : told;
  }
  /// Of one that was held: why a node ended that had not come to its own end.
  [[nodiscard]] auto words_of_all() const -> std::string {
    return "another node had come to its end, and all were saved at round " + std::to_string(*saves_->last_round());
  }
  /// Of one that was not: what is to follow the name of a node that was saved once.
  [[nodiscard]] auto words_of_none() const -> std::string {
    return " ended before it was saved at one more round together with the others: the run goes on from the last round "
           "at which all were saved, round " +
           std::to_string(*saves_->newest_round()) + " or an earlier one";
  }

 private:
  [[nodiscard]] auto earliest() const -> std::uint64_t {
    return saves_->earliest_meeting(host_->node().common_round()->done);
  }
  void meet_at(std::uint64_t round) {
    static_cast<void>(saves_->meet_at(*host_, round));
    is_named_ = saves_->last_round().has_value();
  }

  node_checkpoints* saves_;
  hosted_node* host_;
  std::chrono::nanoseconds linger_;
  bool is_named_ = false;
  std::optional<instant> latest_;  // until then the round has to come
  bool interrupted_ = false;
  bool given_up_ = false;
};

}  // namespace rubato::detail
