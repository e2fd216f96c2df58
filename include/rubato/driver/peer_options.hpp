// SPDX-License-Identifier: MIT
// What the driver of one node in one process is told, and how that node presents itself to its transport.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/environment/compute.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/run/checkpoint.hpp>
#include <rubato/run/checkpoint_lock.hpp>
#include <rubato/run/checkpoint_writer.hpp>
#include <rubato/run/node_status.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/run/pace.hpp>
#include <rubato/run/stop_token.hpp>
#include <rubato/transport/concepts.hpp>

namespace rubato {

/// What happens when a peer dies, falls silent or never comes.
enum class when_lost : std::uint8_t {
  ends,     ///< the run, with a peer_error that names the peer
  goes_on,  ///< without it: its edges close (law 11), and open again if it comes back; not for algorithms that need
            ///< every node
};

/// When a node comes, where members come and go.
enum class entry : std::uint8_t {
  first,  ///< at the beginning, with the common first model
  later,  ///< to a run that goes on, or back to it: with the model that a neighbour sends it
};

/// What a node that ends tells the others, where members come and go.
enum class farewell : std::uint8_t {
  run_has_ended,  ///< as theirs will soon: it counts for `linger` longer, and then who still runs goes on without it
  leaves,  ///< it is a member no longer: they rewire, and go on to the optimum of their own sum
};

struct peer_options {
  /// A node that waits longer ends the run, or gives up the peer that it waits for and goes on. Each time it gives up
  /// the same peer again, its patience is half as long, down to a sixteenth. A peer that itself waits for another node
  /// is given more time.
  std::chrono::nanoseconds patience = std::chrono::seconds{30};
  /// The time after its end in which all peers should end too. It should be longer than the transport's silence, so
  /// that a peer that dies at the end is noticed. Before that, nodes that are saved at the same rounds go on for as
  /// long at most, until all are saved at one more round. A stop that is requested after the end shortens both to a
  /// second.
  std::chrono::nanoseconds linger = std::chrono::seconds{6};
  /// For which a node that waits asks again and again before its threads sleep. 50 us make rounds of small gradients up
  /// to four times as many where each process has a core or two; where processes are many more than cores, any time
  /// that one is awake is lost to the others.
  std::chrono::nanoseconds awake{};
  std::chrono::nanoseconds look_every{};  ///< between two looks at this node; 0: at the start and the end only
  /// Memory for the models that looks keep until the end; at least that of eight models. If more would be needed, every
  /// second look is dropped and the interval doubles.
  std::size_t look_bytes = std::size_t{16} << 20;
  when_lost lost = when_lost::ends;
  /// Where nodes go on without lost ones: the time in which a lost server may come back. Then, or when the run ends
  /// without it, the runs of its workers fail with a peer_error, since they cannot go on without it.
  std::chrono::nanoseconds come_back = std::chrono::seconds{10};
  /// Where members come and go: those that begin, by rising id, the same at all nodes; empty: all that there may be.
  /// Each waits for these, and for no other.
  std::vector<node_id> first{};
  /// A node that comes later waits for a neighbour's model until its patience ends; without one it begins with the
  /// common first model. If it has met nobody when its patience, or the transport's arrival, ends, the run fails with a
  /// peer_error.
  rubato::entry entry = rubato::entry::first;
  /// Of a node that ends in order. A member that is told to stop leaves.
  rubato::farewell farewell = rubato::farewell::run_has_ended;
  std::uint64_t restarts = 0;  ///< of a node that comes back: how often, so that it draws other mini-batches
  environment::compute_model compute =
      environment::fixed({});  ///< least time of a gradient: a straggler sleeps, as on threads
  std::uint64_t compute_seed = 0;  ///< of the model's variation
  checkpoint_options checkpoint{};  ///< `end` counts from the resumption
  /// Of nodes that never wait, where gradients are faster than links; .ahead = 0: none. Where members come and go there
  /// is none.
  pace_options pace{};
  /// Called with each sentence of the result's warnings, `lost` and `returned`, once and as soon as it is known; what
  /// happens in the middle of a run is said with its time, and only the first twenty sentences of a kind in a minute.
  /// (A loss that ends the run is thrown, and not said.)
  void (*says)(std::string_view sentence) = nullptr;
  log_level least_said = log_level::news;  ///< sentences below this level are not said
  /// See this node alone, at each look, so look_every is above 0. An observer that asks to stop ends this node alone,
  /// as its time would: a neighbour that waits for it ends with a sentence, or goes on without it (when_lost::goes_on);
  /// the results of neighbours that run on warn of it. Nodes that are saved at the same rounds all end with it.
  observers watching{};
  /// Whether each look measures loss and accuracy at this node's model, which costs what the problem's loss costs; on a
  /// thread of its own, so a look that takes longer than look_every delays the next one and no message.
  bool measure_loss = false;
  stop_token stop{};  ///< ends this node, which tells the others so; a member leaves them in order
  /// Gets this node's status about four times a second, for whoever reads it there; null: nobody does.
  std::shared_ptr<status_board> status{};
};

/// How node `self` of an assembled run presents itself to its transport. `saved`: as in peer_options, where the node is
/// saved or resumes; it then waits for `saved.wait` at most until no other process saves the node any more, or until
/// `stop` is requested: run_peer(), given the same token, then ends as interrupted. Throws config_error, also if its
/// state is not there.
[[nodiscard]] inline auto identity_of(assembly const& a, node_id self, wire::checksum check = nullptr,
                                      checkpoint_options const& saved = {}, stop_token const& stop = {})
    -> transport::identity {
  if (to_index(self) >= a.nodes.size()) {
    throw config_error{"there is no node " + std::to_string(to_index(self)) + ": the run has nodes 0 to " +
                       std::to_string(a.nodes.size() - 1)};
  }
  if (!a.unlisted.empty()) {
    throw config_error{"processes cannot compare the settings of " + a.unlisted +
                       ", which lists none: give it a visit_options (core/visit_options.hpp)"};
  }
  auto const channels = a.nodes[to_index(self)].channels();
  transport::identity me{self,     a.factory.neighbours(to_index(self)), a.agreed,
                         a.blocks, {channels.begin(), channels.end()},   a.pool};
  me.check = check;
  me.agreed.add("checksum", check == nullptr ? "none" : "yes");
  if (a.members) me.agreed.add("members tell whom they see", "yes");  // builds that do not would refuse such frames
  saved.check();
  auto const resumes = saved.resume && checkpoint_lock{}.take(saved, {to_index(self), to_index(self) + 1}, stop);
  if (!saved.folder.empty() && a.nodes[to_index(self)].common_round()) {
    me.agreed.add("rounds between checkpoints", saved.every_rounds);
    if (resumes) me.agreed.add(detail::round_to_go_on_from, detail::round_of(saved, self).done);
  }
  me.opened_before = sessions_before(saved, self);
  return me;
}

/// Why the run cannot go on when a peer is lost, as far as node `self` and its neighbours are concerned, in words that
/// follow "not possible"; empty: it can.
[[nodiscard]] inline auto why_not_go_on(assembly const& a, node_id self) -> std::string {
  if (!a.factory) return {};
  auto all = a.factory.neighbours(to_index(self));
  all.insert(all.begin(), self);
  for (auto const node : all) {
    if (auto const end = a.factory.end_by_closed_edge(to_index(node)); !end.empty())
      return ", because this algorithm needs every node; if one was lost, the run would end with: " + end;
  }
  return {};
}

}  // namespace rubato
