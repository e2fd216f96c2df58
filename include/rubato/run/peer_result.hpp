// SPDX-License-Identifier: MIT
// What one process knows of a run at its end, and how the results of all processes are joined.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/problem/any_oracle.hpp>
#include <rubato/run/metrics.hpp>
#include <rubato/run/result.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/wire/agreement.hpp>

namespace rubato {

/// One look at a node. Looks are at its start, at multiples of look_every after it, and at its end.
struct peer_look {
  std::chrono::nanoseconds at{};
  shared_buffer model;
  double residual = 0;  ///< of the tracking law, see local_residual
  std::uint64_t gradients = 0;
  std::uint64_t bytes_sent = 0;

  /// Without what the model tells.
  [[nodiscard]] auto unscored() const -> measurement {
    return {.at = at, .tracking_residual = residual, .gradients = gradients, .bytes_sent = bytes_sent};
  }

  static void visit_state(auto& self, auto&& visit) {
    visit("at", self.at), visit("model", self.model), visit("residual", self.residual);
    visit("gradients", self.gradients), visit("bytes_sent", self.bytes_sent);
  }
};

/// What one process knows of a run. report/nlohmann_json.hpp writes and reads it; `merged` joins the results of all
/// processes.
struct peer_result {
  node_id id{};
  std::size_t of = 0;           ///< number of nodes of the run, servers included
  std::string agreed;           ///< what all its processes have in common: the text of their wire::agreement
  run_result result;            ///< the counters of this node, and of each edge the half that this end sees
  std::vector<peer_look> looks;
  transport::rejections rejected;
  std::vector<std::string> lost;  ///< a sentence for each loss of a peer, in order; the first thousand
  std::vector<std::string> returned;  ///< a sentence for each return of a peer, or a member that joined, likewise
  /// A sentence, if something of this process could not be written to its end: the node's last state, or what its
  /// program adds, such as a recording.
  std::string unwritten;
  /// Peers that were lost and had not come back when the run ended: it went on without them. Where members come and go,
  /// neither those that left nor those that never joined.
  std::vector<node_id> cut_off;
  /// If cut_off is empty: the distance, in edges, of the nearest node that was reported cut off from a peer when the
  /// run ended; 0: none was.
  std::uint64_t parted = 0;
  /// Where members come and go: of those present, who had seen other members than this node for longer than `linger`
  /// when the run ended. Some link between two of them could not be made, and models are off the optimum.
  std::vector<node_id> other_views;
  bool left = false;  ///< this node was a member, and has left the others in order

  static void visit_state(auto& self, auto&& visit) {
    visit("id", self.id), visit("of", self.of), visit("agreed", self.agreed), visit("result", self.result);
    visit("looks", self.looks), visit("rejected", self.rejected), visit("lost", self.lost);
    visit("returned", self.returned), visit("unwritten", self.unwritten), visit("cut_off", self.cut_off);
    visit("parted", self.parted), visit("other_views", self.other_views);
    visit("left", self.left);
  }
};

/// What becomes of nodes whose results are missing.
enum class gaps : std::uint8_t {
  refused,
  left_out,  ///< as of nodes without which the others went on: of their edges one half is known
};

namespace detail {

inline void add_to(edge_report& sum, edge_report const& part) {
  sum.packets_sent += part.packets_sent;
  sum.values_sent += part.values_sent;
  sum.bytes_sent += part.bytes_sent;
  sum.lost += part.lost;
  sum.duplicated += part.duplicated;
  sum.conflated += part.conflated;
  sum.delivered += part.delivered;
  sum.bytes_received += part.bytes_received;
  sum.overtaken += part.overtaken;
  sum.refused += part.refused;
  sum.refused_last += part.refused_last;
  if (part.age.uses > 0) sum.age = part.age;  // the receiver's
  if (part.weights.uses > 0) sum.weights = part.weights;  // a server's
}

/// The last look that is not later than that time; the first look, if all are later.
inline auto newest_at(std::vector<peer_look> const& looks, std::chrono::nanoseconds at) -> peer_look const& {
  auto const later =
      std::upper_bound(looks.begin(), looks.end(), at, [](auto t, peer_look const& l) { return t < l.at; });
  return later == looks.begin() ? looks.front() : *std::prev(later);
}

/// Requires results sorted by id. Throws config_error unless they are those of nodes of one run, each once, and of all
/// its nodes where gaps are refused.
inline void refuse_others(std::vector<peer_result> const& parts, gaps missing) {
  if (parts.empty()) throw config_error{"there are no results to be merged"};
  auto const nodes = parts.front().of;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    auto const id = to_index(parts[i].id);
    if (i > 0 && to_index(parts[i - 1].id) == id)
      throw config_error{"there are two results of node " + std::to_string(id)};
    if (id != i && missing == gaps::refused)
      throw config_error{"the result of node " + std::to_string(i) + " is missing"};
    if (id >= nodes) {
      throw config_error{"there is a result of node " + std::to_string(id) + ", and the run has only " +
                         std::to_string(nodes) + " nodes"};
    }
    if (parts[i].of == nodes) continue;
    throw config_error{"the result of node " + std::to_string(id) + " is of a run of " + std::to_string(parts[i].of) +
                       " nodes, and that of node " + std::to_string(to_index(parts.front().id)) + " of one of " +
                       std::to_string(nodes)};
  }
  if (parts.size() < nodes && missing == gaps::refused)
    throw config_error{"the result of node " + std::to_string(parts.size()) + " is missing"};
}

/// Throws config_error, which names the option that differs, unless all are of runs with the same options.
inline void refuse_other_runs(std::vector<peer_result> const& parts) {
  for (auto const& p : parts) {
    auto const different = wire::difference(parts.front().agreed, p.agreed,
                                            "the result of node " + std::to_string(to_index(p.id)), "that of node 0");
    if (!different.empty()) throw config_error{different + ": it is of another run"};
  }
}

/// Requires the edges and nodes of all. Where none of `of` nodes sent anything, one sentence says so, not one a node.
inline void join_silence(std::size_t of, run_result& all) {
  if (all.nodes.size() != of) return;
  auto const before = all.warnings.size();
  warn_of_silence(of, all);
  if (all.warnings.size() == before) return;
  for (auto const& n : all.nodes) std::erase(all.warnings, words_of_silence(n.id));
}

/// Requires the edges of all. Whose models others refused is said once, with all their counts, not once a node.
inline void join_refusals(std::vector<peer_result> const& parts, run_result& all) {
  for (auto const& p : parts) {
    auto alone = run_result{};
    alone.edges = p.result.edges;
    warn_of_refusals(alone);
    for (auto const& sentence : alone.warnings) std::erase(all.warnings, sentence);
  }
  warn_of_refusals(all);
}

}  // namespace detail

/// One result from those of all processes. Counters are joined by edge. The history is measured at mean models, at the
/// times of the node that looked least often; every other node contributes its last look up to then. The last entry is
/// made of the last looks. Warnings are those of all, each sentence once; where no node sent anything, one sentence
/// says so. Throws config_error unless each node of the run is among them, once (at most once with gaps::left_out), and
/// all have the same options.
[[nodiscard]] inline auto merged(std::vector<peer_result> parts, problem::any_oracle const& oracle,
                                 gaps missing = gaps::refused) -> run_result {
  std::sort(parts.begin(), parts.end(), [](auto const& a, auto const& b) { return a.id < b.id; });
  detail::refuse_others(parts, missing);
  detail::refuse_other_runs(parts);
  auto all = run_result{};
  auto const& first = parts.front().result;
  static_cast<run_setup&>(all) = first;
  all.stopped = first.stopped;
  all.absent = first.absent;
  std::vector<peer_result const*> computing;
  for (auto const& p : parts) {
    for (auto const& e : p.result.edges) {
      auto const at = std::find_if(all.edges.begin(), all.edges.end(), [&](auto const& known) {
        return known.from == e.from && known.to == e.to && known.channel == e.channel;
      });
      if (at == all.edges.end()) all.edges.push_back(e);
      else detail::add_to(*at, e);
    }
    all.nodes.insert(all.nodes.end(), p.result.nodes.begin(), p.result.nodes.end());
    all.models.insert(all.models.end(), p.result.models.begin(), p.result.models.end());
    for (auto const& sentence : p.result.warnings) {
      if (std::find(all.warnings.begin(), all.warnings.end(), sentence) == all.warnings.end())
        all.warnings.push_back(sentence);
    }
    all.events += p.result.events;
    all.ended = (std::max)(all.ended, p.result.ended);
    if (p.result.models.empty()) continue;
    computing.push_back(&p);
  }
  detail::join_silence(parts.front().of, all);
  detail::join_refusals(parts, all);
  auto const rarest = std::min_element(computing.begin(), computing.end(),
                                       [](auto const* a, auto const* b) { return a->looks.size() < b->looks.size(); });
  auto const looks = rarest == computing.end() ? 0 : (*rarest)->looks.size();
  auto const measuring = metrics{oracle, computing.empty() ? 0 : to_index(computing.front()->id)};
  std::vector<shared_buffer> models(computing.size());
  for (std::size_t k = 0; k < looks; ++k) {
    measurement sums;
    auto const at = (*rarest)->looks[k].at;
    // The last look of each is its end, however many there were before.
    auto const look_of = [&](peer_result const& p) -> peer_look const& {
      return k + 1 == looks ? p.looks.back() : detail::newest_at(p.looks, at);
    };
    for (std::size_t i = 0; i < computing.size(); ++i) {
      auto const& l = look_of(*computing[i]);
      models[i] = l.model;
      sums.at = (std::max)(sums.at, l.at);
      sums.tracking_residual = (std::max)(sums.tracking_residual, l.residual);
    }
    for (auto const& p : parts) {
      if (p.looks.empty()) continue;
      sums.gradients += look_of(p).gradients;
      sums.bytes_sent += look_of(p).bytes_sent;
    }
    auto m = measuring.of_models(models, sums.at);
    m.gradients = sums.gradients;
    m.bytes_sent = sums.bytes_sent;
    m.tracking_residual = sums.tracking_residual;
    all.history.push_back(m);
  }
  return all;
}

}  // namespace rubato
