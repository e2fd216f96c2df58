// SPDX-License-Identifier: MIT
// What drivers measure during a run (loss and accuracy of the mean model, the distance between nodes, the residual of
// the tracking law) and count at its end. Senders count what they sent, receivers what they used. Both are joined here,
// so that counters mean the same under every driver.
#pragma once

#include <algorithm>
#include <cmath>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/finite.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/node.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/core/text.hpp>
#include <rubato/problem/any_oracle.hpp>
#include <rubato/run/result.hpp>

namespace rubato {

namespace detail {
inline void widen(shared_buffer const& b, std::vector<double>& out) {
  if (b.kind() == element::f32) out.assign(b.view<float>().begin(), b.view<float>().end());
  else out.assign(b.view<double>().begin(), b.view<double>().end());
}

/// newest - consumed of one edge and coordinate; totals of a fixed-point ledger wrap at 2^32.
inline auto in_flight(double pushed, double consumed, bool wraps) -> double {
  if (!wraps) return pushed - consumed;
  auto const low = static_cast<std::uint32_t>(static_cast<std::int64_t>(pushed)) -
                   static_cast<std::uint32_t>(static_cast<std::int64_t>(consumed));
  return static_cast<double>(static_cast<std::int32_t>(low));
}
/// Throws run_error if this node's model, which must be in host memory, is not finite: one pass. Algorithms notice this
/// in the sweep that causes it, unless that would mean waiting for a device.
inline void refuse_not_finite(shared_buffer const& model, node_id id) {
  auto const at = first_not_finite(model);
  if (at == model.size()) return;
  throw run_error{"the model of node " + std::to_string(to_index(id)) + " is not finite at value " +
                  std::to_string(at) +
                  ": a gradient or a message was not, or the run diverges and a smaller step helps"};
}

}  // namespace detail

/// sqrt( (1/n) sum_i |x_i - mean x|^2 ). Models are on the host (shared_buffer::on_host).
[[nodiscard]] inline auto consensus_distance(std::span<shared_buffer const> models) -> double {
  if (models.empty()) return 0;
  std::vector<double> mean(models[0].size(), 0.0), x;
  for (auto const& m : models) {
    detail::widen(m, x);
    for (std::size_t i = 0; i < x.size(); ++i) mean[i] += x[i] / static_cast<double>(models.size());
  }
  double sum = 0;
  for (auto const& m : models) {
    detail::widen(m, x);
    for (std::size_t i = 0; i < x.size(); ++i) sum += (x[i] - mean[i]) * (x[i] - mean[i]);
  }
  return std::sqrt(sum / static_cast<double>(models.size()));
}

namespace detail {
/// That of the first node that tracks, or null; nodes that are absent have none.
inline auto first_tracking(std::span<tracking_audit const> audits) -> tracking_audit const* {
  auto const at = std::find_if(audits.begin(), audits.end(), [](auto const& a) { return !a.tracker.empty(); });
  return at == audits.end() ? nullptr : &*at;
}
/// Takes off what nodes consumed over edges that their senders have closed. True if there was any, or anything was
/// pushed over an edge that its receiver has closed, in a ledger of fixed point.
inline auto add_one_ended(std::span<tracking_audit const> audits, std::vector<double>& law) -> bool {
  auto any = false;
  auto const counts = [](std::vector<tracking_audit::edge> const& edges, std::size_t peer) {
    return std::any_of(edges.begin(), edges.end(),
                       [peer](auto const& e) { return to_index(e.peer) == peer && !e.total.empty(); });
  };
  for (std::size_t i = 0; i < audits.size(); ++i) {
    for (auto const& out : audits[i].pushed)
      any = any || (!out.total.empty() && !counts(audits[to_index(out.peer)].consumed, i));
    for (auto const& in : audits[i].consumed) {
      if (in.total.empty() || counts(audits[to_index(in.peer)].pushed, i)) continue;
      for (std::size_t c = 0; c < law.size(); ++c) law[c] -= in.total[c];
      any = true;
    }
  }
  auto const* const first = first_tracking(audits);
  return any && first != nullptr && first->fixed_point;
}
}  // namespace detail

/// In what a residual is told: units of the ledger (those of the model, where it is floating), or of the model.
enum class residual_units : std::uint8_t { ledger, model };

/// max over coordinates of |sum_i (z_i - g_i) + sum_(i->j) (rho_ji - rho~_ji)|, from the audits of all nodes at one
/// instant. rho of either end is matched by the pair of ids; ledgers are alike at all nodes. What only one end of an
/// edge still counts, since the other has closed it, is under way too, and in fixed point is known modulo 2^32.
[[nodiscard]] inline auto tracking_residual(std::span<tracking_audit const> audits,
                                            residual_units in = residual_units::ledger) -> double {
  std::vector<double> law;
  for (std::size_t i = 0; i < audits.size(); ++i) {
    auto const& a = audits[i];
    law.resize((std::max)(law.size(), a.tracker.size()), 0.0);
    for (std::size_t c = 0; c < a.tracker.size(); ++c) law[c] += a.tracker[c] - a.gradient[c];
    for (auto const& out : a.pushed) {
      if (out.total.empty()) continue;
      auto const& receiver = audits[to_index(out.peer)];
      auto const match = std::find_if(receiver.consumed.begin(), receiver.consumed.end(),
                                      [&](auto const& from) { return to_index(from.peer) == i; });
      auto const* seen = match == receiver.consumed.end() || match->total.empty() ? nullptr : &match->total;
      for (std::size_t c = 0; c < out.total.size(); ++c) {
        law[c] += detail::in_flight(out.total[c], seen == nullptr ? 0.0 : (*seen)[c], a.fixed_point);
      }
    }
  }
  auto const wraps = !audits.empty() && detail::add_one_ended(audits, law);
  for (auto& v : law)
    if (wraps) v = detail::in_flight(v, 0, true);
  auto const* const tracks = detail::first_tracking(audits);
  double worst = 0;
  for (std::size_t c = 0; c < law.size(); ++c)
    worst = (std::max)(worst, std::abs(law[c]) * (in == residual_units::model ? tracks->quantum(c) : 1.0));
  return worst;
}

/// One node's share of the same law, z - g + all it pushed - all it consumed: zero at every instant of every node, so
/// it can be watched while nodes run on their own. Max norm.
[[nodiscard]] inline auto local_residual(tracking_audit const& a, residual_units in = residual_units::ledger)
    -> double {
  double worst = 0;
  for (std::size_t c = 0; c < a.tracker.size(); ++c) {
    auto sum = a.tracker[c] - a.gradient[c];
    for (auto const& e : a.pushed) sum += e.total.empty() ? 0.0 : e.total[c];
    for (auto const& e : a.consumed) sum -= e.total.empty() ? 0.0 : e.total[c];
    auto const off = std::abs(a.fixed_point ? detail::in_flight(sum, 0, true) : sum);
    worst = (std::max)(worst, off * (in == residual_units::model ? a.quantum(c) : 1.0));
  }
  return worst;
}

/// Looks, at one instant, at the nodes whose models are the run's result; `first` is the first of them.
class metrics {
 public:
  explicit metrics(problem::any_oracle oracle, std::size_t first = 0) : oracle_{std::move(oracle)}, first_{first} {}

  /// `absent`: by node, who is not looked at; empty: nobody. (The loss is that of the whole problem in any case.)
  [[nodiscard]] auto measure(std::span<any_node const> nodes, std::size_t peers, std::chrono::nanoseconds at,
                             std::vector<bool> const& absent = {}) -> measurement {
    models_.clear();
    audits_.assign(peers, {});
    for (std::size_t i = 0; i < peers; ++i) {
      if (!absent.empty() && absent[i]) continue;
      models_.push_back(nodes[i].estimate());
      nodes[i].audit(audits_[i]);
    }
    auto m = measurement{};
    m.at = at;
    if (!models_.empty()) m = of_models(models_, at);
    m.tracking_residual = tracking_residual(audits_);
    return m;
  }

  /// What measure() saw last of each node's tracking.
  [[nodiscard]] auto audits() const -> std::span<tracking_audit const> { return audits_; }
  /// The models that measure() looked at last.
  [[nodiscard]] auto models() const -> std::span<shared_buffer const> { return models_; }

  /// The part of a measurement that needs only the models. Parts of one model (joined) are measured as that model;
  /// of some of its parts alone nothing is known. Throws run_error if one of them is not finite.
  [[nodiscard]] auto of_models(std::span<shared_buffer const> models, std::chrono::nanoseconds at) const
      -> measurement {
    if (auto const m = where_they_lie(models, at)) return *m;
    std::vector<shared_buffer> here;
    for (auto const& each : models) here.push_back(each.on_host());
    if (!here.empty() && here[0].size() < oracle_.dimension()) {
      here = {joined(here)};
      if (here[0].size() != oracle_.dimension()) {
        measurement unknown;
        unknown.at = at;
        return unknown;
      }
    }
    auto const distance = consensus_distance(here);
    for (std::size_t i = 0; !std::isfinite(distance) && i < here.size(); ++i)
      detail::refuse_not_finite(here[i], to_node(first_ + i));
    return scored(here, at, distance);
  }

 private:
  /// Models of a device on which their problem computes are measured there, and not copied.
  [[nodiscard]] auto where_they_lie(std::span<shared_buffer const> models, std::chrono::nanoseconds at) const
      -> std::optional<measurement> {
    if (models.empty() || models[0].is_on_host() || oracle_.is_staged() || models[0].size() != oracle_.dimension())
      return {};
    auto const distance = oracle_.distance_between(models);
    if (!std::isfinite(distance)) return {};  // the host says which model is not finite
    return scored(models, at, distance);
  }
  [[nodiscard]] auto scored(std::span<shared_buffer const> models, std::chrono::nanoseconds at, double distance) const
      -> measurement {
    auto const s = oracle_.score_mean(models);
    measurement m;
    m.at = at;
    m.loss = s.loss;
    m.accuracy = s.accuracy;
    m.consensus_distance = distance;
    return m;
  }

  problem::any_oracle oracle_;
  std::size_t first_;
  std::vector<shared_buffer> models_;
  std::vector<tracking_audit> audits_;
};

namespace detail {

/// Throws run_error if nothing but a target loss ends the run, and its loss is not a number any more.
inline void refuse_unknown_loss(until const& end, measurement const& m) {
  auto others = end;
  others.target_loss = -std::numeric_limits<double>::infinity();
  if (end.never() || !others.never() || !std::isnan(m.loss)) return;
  throw run_error{"the loss is not a number at " + shortest(to_seconds(m.at)) +
                  " s, and nothing but a target loss ends this run: give it a time too"};
}

/// Finds a report by edge and channel; the reports must stay where they are.
class edge_index {
 public:
  explicit edge_index(std::span<edge_report> reports) {
    sorted_.reserve(reports.size());
    for (auto& r : reports) sorted_.push_back(&r);
    std::sort(sorted_.begin(), sorted_.end(),
              [](edge_report const* a, edge_report const* b) { return key_of(*a) < key_of(*b); });
  }

  /// Null if nothing was sent there.
  [[nodiscard]] auto find(node_id from, node_id to, channel_id channel) const -> edge_report* {
    auto const wanted = key{from, to, channel};
    auto const at = std::lower_bound(sorted_.begin(), sorted_.end(), wanted,
                                     [](edge_report const* r, key const& k) { return key_of(*r) < k; });
    return at != sorted_.end() && !(wanted < key_of(**at)) ? *at : nullptr;
  }

 private:
  struct key {  // (a std::tuple takes compilers far longer to compare)
    node_id from;
    node_id to;
    channel_id channel;
    // Written out, because nvcc 13 loses a defaulted one.
    friend auto operator<(key const& a, key const& b) -> bool {
      if (a.from != b.from) return a.from < b.from;
      return a.to != b.to ? a.to < b.to : a.channel < b.channel;
    }
  };
  static auto key_of(edge_report const& r) -> key { return {r.from, r.to, r.channel}; }

  std::vector<edge_report*> sorted_;
};

/// Adds the counters of one node, and its final model if it is measured; that must be finite (run_error). What the node
/// counted of its in-edges is added to the existing edges, which `edges` indexes. They are sorted once for all nodes,
/// so the end of a run takes O(edges log edges). `before`: of a node that went on from a checkpoint, what it had
/// counted by then.
inline void collect_node(any_node const& n, node_id id, bool computes, edge_index const& edges, run_result& result,
                         node_statistics const& before = {}) {
  auto const s = n.statistics().since(before);
  result.nodes.push_back({id, s.iterations, s.gradients, s.dropped, before.iterations});
  if (computes) {
    result.models.push_back(n.estimate().on_host());
    refuse_not_finite(result.models.back(), id);
  }
  for (auto const& in : s.edges) {
    auto* const e = edges.find(in.peer, id, in.channel);
    if (e == nullptr) continue;
    e->age = in.age;
    e->overtaken = in.overtaken;
    e->refused = in.refused;
    e->refused_last = in.refused_last;
    e->weights = in.weights;
  }
}

/// Requires a result with all its counters. Warns of the node whose messages were oldest, if they were very old:
/// tracking diverges if a step is too large for their age (algorithm/r_fast.hpp). O(nodes + edges).
inline void warn_of_ages(run_result& r) {
  static constexpr auto old = 8.0;  // local iterations
  struct sum {
    double total_ns = 0;
    std::uint64_t uses = 0;
  };
  std::vector<sum> ages;
  for (auto const& e : r.edges) {
    if (e.channel != channel_id::model && e.channel != channel_id::tracker) continue;
    if (to_index(e.to) >= ages.size()) ages.resize(to_index(e.to) + 1);
    ages[to_index(e.to)].total_ns += e.age.total_ns;
    ages[to_index(e.to)].uses += e.age.uses;
  }
  auto oldest = std::pair{old, node_id{}};
  for (auto const& n : r.nodes) {
    if (to_index(n.id) >= ages.size() || r.ended.count() == 0) continue;
    auto const& a = ages[to_index(n.id)];
    auto const iterations_a_ns =
        static_cast<double>(n.iterations - n.iterations_before) / static_cast<double>(r.ended.count());
    if (a.uses == 0) continue;
    auto const mean_ns = a.total_ns / static_cast<double>(a.uses);
    if (mean_ns > static_cast<double>(r.ended.count()))
      continue;  // no message is older than the run: the clocks disagree
    oldest = (std::max)(oldest, {mean_ns * iterations_a_ns, n.id});
  }
  if (!(oldest.first > old)) return;
  auto const age = with_digits(std::round(oldest.first), 6);
  r.warnings.push_back("messages were " + age + " local iterations old, on average, where node " +
                       std::to_string(to_index(oldest.second)) + " used them: that needs a raw step of about 1 / (" +
                       age + " L), L the largest curvature, and this run took " + with_digits(r.raw_step, 3) +
                       "; let nodes keep a pace, or take a smaller step");
}

/// Requires a result with all its counters. Warns if the server, which follows the first `peers` nodes, made no step
/// though it got gradients, or messages without any: the answer is the first model then. O(nodes + edges).
inline void warn_of_no_step(std::size_t peers, run_result& r) {
  auto const server =
      std::find_if(r.nodes.begin(), r.nodes.end(), [&](auto const& n) { return to_index(n.id) >= peers; });
  if (server == r.nodes.end()) return;
  auto got = server->dropped, heard = std::uint64_t{0};
  for (auto const& e : r.edges) {
    if (e.to != server->id) continue;
    heard += e.delivered;
    if (e.channel == channel_id::gradient) got += e.age.uses;
  }
  if (got > 0 && server->iterations == 0) {
    r.warnings.push_back("the server took " + std::to_string(got) +
                         " gradients and made no step, so its model is still the first one: a step needs more "
                         "gradients, or some of each worker");
  } else if (got + server->gradients == 0 && heard > 0) {
    r.warnings.push_back(
        "the server heard from its workers and got no gradient in time, so its model is still the "
        "first one: give workers more time for a gradient");
  }
}

/// Of one process, which knows its own edges only.
inline auto words_of_silence(node_id node) -> std::string {
  return "node " + std::to_string(to_index(node)) +
         " sent and received no message, so its model is what it made of its own data alone";
}

/// Requires a result with all its counters. Warns if nodes worked and no message was sent or lost, of a run of several:
/// merges so rare that the run ended before the first. Of one node's result it speaks of that node. O(nodes + edges).
inline void warn_of_silence(std::size_t peers, run_result& r) {
  auto const worked = std::any_of(r.nodes.begin(), r.nodes.end(), [](auto const& n) { return n.gradients > 0; });
  auto const is_silent = [](auto const& e) { return e.packets_sent == 0 && e.delivered == 0 && e.lost == 0; };
  if (peers < 2 || !worked || !std::all_of(r.edges.begin(), r.edges.end(), is_silent)) return;
  r.warnings.push_back(
      r.nodes.size() == 1
          ? words_of_silence(r.nodes.front().id)
          : std::string{
                "no message was sent, so each node's model is what it made of its own data alone: the run ended "
                "before nodes were to exchange anything"});
}

/// Requires a result with all its counters. Warns of each node whose models others refused (run/admission.hpp).
/// O(edges log nodes).
inline void warn_of_refusals(run_result& r) {
  struct refusals {
    std::uint64_t models = 0;
    std::size_t nodes = 0;
  };
  std::map<node_id, refusals> by_sender;
  for (auto const& e : r.edges) {
    if (e.refused == 0) continue;
    auto& of = by_sender[e.from];
    of.models += e.refused;
    ++of.nodes;
  }
  for (auto const& [sender, of] : by_sender) {
    r.warnings.push_back(std::to_string(of.models) + (of.models == 1 ? " model" : " models") + " of node " +
                         std::to_string(to_index(sender)) + " did not pass the rule of admission of " +
                         std::to_string(of.nodes) + (of.nodes == 1 ? " node, which" : " nodes, which") +
                         " took a model of its own in place of each");
  }
}

/// Requires a result with all its counters. Warns of each node that had let in none of its neighbours' newest models at
/// the end: it is far from them, or its radius is too small for any. O(edges log nodes).
inline void warn_of_lone_nodes(run_result& r) {
  std::map<node_id, bool> lets_some_in;
  for (auto const& e : r.edges)
    if (e.channel == channel_id::model && e.delivered > 0) lets_some_in[e.to] |= e.refused_last == 0;
  for (auto const& [node, some] : lets_some_in) {
    if (some) continue;
    r.warnings.push_back("node " + std::to_string(to_index(node)) +
                         " refused the newest models of all its neighbours to the end: its own is far from theirs, or "
                         "its rule of admission lets too little in. Its model is its own, and no result of the run");
  }
}

/// All warnings that counters give rise to, of a run whose first `peers` nodes compute.
inline void warn_of_counters(std::size_t peers, run_result& r) {
  warn_of_ages(r);
  warn_of_no_step(peers, r);
  warn_of_silence(peers, r);
  warn_of_refusals(r);
  warn_of_lone_nodes(r);
}

/// Requires a result with all its counters, and the audits at its end. Warns if all that nodes track has fallen to a
/// few units of a ledger of fixed point: from there on steps are made of rounding. One pass over the audits.
inline void warn_of_resolution(std::span<tracking_audit const> audits, run_result& r) {
  static constexpr auto few = 16.0;
  auto const none = std::none_of(r.nodes.begin(), r.nodes.end(), [](auto const& n) { return n.gradients > 0; });
  if (first_tracking(audits) == nullptr || none) return;
  auto coarsest = 0.0;
  for (auto const& a : audits) {
    if (a.tracker.empty()) continue;
    if (!a.fixed_point) return;
    auto const is_more = [](double z) { return std::abs(z) > few; };
    if (std::any_of(a.tracker.begin(), a.tracker.end(), is_more)) return;
    for (auto const q : a.quanta) coarsest = (std::max)(coarsest, q);
  }
  r.warnings.push_back("tracked gradients are at most " + with_digits(few, 2) +
                       " units of the ledger (a unit: " + with_digits(coarsest, 2) +
                       "), and are rounded to units: models come no nearer to the optimum than about one unit over the "
                       "least curvature; a finer ledger (a smaller margin, larger exponents) or a floating one does");
}

/// Adds the counters of all nodes, and the final models of the measured ones (run/assemble.hpp).
inline void collect_nodes(std::span<any_node const> nodes, range measured, run_result& result) {
  auto const edges = edge_index{result.edges};
  result.nodes.reserve(result.nodes.size() + nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    collect_node(nodes[i], to_node(i), i >= measured.begin && i < measured.end, edges, result);
  }
}

}  // namespace detail
}  // namespace rubato
