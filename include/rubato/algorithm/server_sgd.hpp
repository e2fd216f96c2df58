// SPDX-License-Identifier: MIT
// Asynchronous SGD, a server and n workers: whoever brings a gradient moves the model and goes on from there; nobody
// waits for anybody. Four policies of server/ make the family; algorithm/server_aliases.hpp names its members.
//   (As.G)  worker i: g at the model x_v that it was given, sent to the server with v and the time that it took
//   (As.D)  server, at version k: the delay of g is k - v; a gradient that is not accepted moves nothing
//   (As.W)  weight w of g: 1, or by its delay, or in proportion to its worker's time
//   (As.X)  x_{k+1} <- x_k - gamma w g, k <- k + 1 (of several gathered gradients: along their mean); a worker goes on at x
//   (As.C)  a job that could not be accepted any more may be stopped: its worker starts anew at x_k at once
// invariant: while all n workers compute and every gradient makes a step, the delays of k steps and the ages of the n
// jobs under way sum to (n - 1) k: the mean delay is n - 1, whatever the speeds.   tests/unit/algorithm/server_sgd.cpp
// limit: a small constant step solves min sum p_i F_i with p_i in proportion to (gradients a second of i) x (mean w of i);
// report/limit_weights.hpp prints them. Only where all are 1/n is it the optimum of the sum.
// A step reads 2 vectors and writes 1, besides what the step rule and a gathering policy move.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/asked_gradient.hpp>
#include <rubato/algorithm/finite.hpp>
#include <rubato/algorithm/incoming.hpp>
#include <rubato/algorithm/mean_step.hpp>
#include <rubato/algorithm/options.hpp>
#include <rubato/backend/concepts.hpp>
#include <rubato/core/node.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/server/accept_all.hpp>
#include <rubato/server/apply_at_once.hpp>
#include <rubato/server/by_delay.hpp>
#include <rubato/server/concepts.hpp>
#include <rubato/server/same_worker.hpp>
#include <rubato/step/concepts.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

/// Both roles in one class; the neighbourhood says which one a node has. Needs lossless, ordered links. The server's model
/// is the run's answer: workers hold older ones. A worker that leaves is not answered any more, and one that comes (back)
/// is given the present model; the others notice nothing. A worker whose server is gone waits for its model.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Acceptance = server::accept_all, class Weight = weighting::constant,
         class Aggregation = server::apply_at_once, class Assignment = server::same_worker, class Step = step::sgd>
class server_sgd {
  using weighing = server::as_weight<Weight>;
  static_assert(step::check_step<Step, Backend>() &&
                server::check_policies<Acceptance, weighing, Aggregation, Assignment, Backend>());

 public:
  using backend_type = Backend;
  static constexpr auto name() -> std::string_view { return "server SGD"; }
  static void visit_state(auto& self, auto&& visit) {
    visit.same("node", to_index(self.self_)), visit.same("values", self.x_.size());
    visit("seed", self.seed_), visit("weight", self.weight_), visit("gathered", self.gathered_), visit("assignment", self.assignment_);
    visit("step", self.step_state_), visit("x", self.x_), visit("ends", self.ends_), visit("version", self.version_), visit("gradients", self.gradients_);
    visit("late", self.late_), visit("draws", self.draws_), visit("gradient asked for", self.asked_);
  }
  using scalar = typename Backend::scalar;
  struct options {
    double step = 0.1;
    step_scale scale = step_scale::per_gain;
    std::uint64_t seed = 0;
    std::size_t block_values = 0;
    Acceptance acceptance{};
    weighing weight{};
    Aggregation aggregation{};
    Assignment assignment{};
    Step step_rule{};

    static void visit_options(auto& self, auto&& visit) {
      detail::visit_common_options(self, visit);
      visit("acceptance", self.acceptance);
      visit("weight", self.weight);
      visit("aggregation", self.aggregation);
      visit("assignment", self.assignment);
      visit("step rule", self.step_rule);
    }
  };

  /// A star of its own around an extra node, whatever the network. Its gain is n: when every worker has brought one
  /// gradient of weight 1, the model has moved by n gamma times their mean.
  [[nodiscard]] static auto arrange(topology::pair const& network) -> mixing::plan {
    auto plan = mixing::server_plan(network.pull().nodes());
    plan.gain = static_cast<double>(network.pull().nodes());
    return plan;
  }
  static constexpr bool calibrates = false;
  static constexpr bool server_has_the_model = true;
  static void agree(options& o, block_partition const&, std::span<double const>, std::size_t nodes) {
    o.acceptance.agree(nodes);
    o.weight.agree(nodes);
    o.aggregation.agree();
  }
  static auto channels() -> std::span<channel_spec const> {
    static constexpr std::array<channel_spec, 3> all{
        channel_spec{channel::model, channel_kind::event, element_of<scalar>},
        channel_spec{channel::gradient, channel_kind::event, element_of<scalar>, carrying(scalar_slot::duration_ns)},
        channel_spec{channel::control, channel_kind::event, element_of<scalar>}};  // a model that stops a job
    return std::span{all}.first(Acceptance::may_stop ? 3 : 2);
  }

  server_sgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : backend_{std::move(b)},
        self_{self},
        n_{plan.nodes[to_index(self)].nodes},
        gamma_{rubato::raw_step(o, plan.gain)},
        seed_{o.seed},
        blocks_{partition_of(o, x0.size())},
        acceptance_{o.acceptance},
        weight_{o.weight, n_},
        gathered_{o.aggregation},
        assignment_{o.assignment},
        step_state_{o.step_rule, backend_, x0.size()},
        x_{std::move(x0)},
        ends_(plan.nodes[to_index(self)].part == mixing::role::server ? n_ : 1) {}

  void start(instant now, outbox& out) {
    for (auto& end : ends_) end.given_at = now;
    if (!serves()) request_gradient(out);  // all begin at the common first model, version 0
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    if (serves() && p.lane == channel::gradient && to_index(p.from) < n_) collect(now, p, out);
    else if (!serves() && p.from == server() && (p.lane == channel::model || (Acceptance::may_stop && p.lane == channel::control))) follow(now, p, out);
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!asked_.accept(g)) return;
    ++gradients_;
    out.failure = detail::spoilt_gradient(self_, server(), x_, g);
    auto p = packet_to(server(), channel::gradient, now);
    p.number = iteration{gradients_};
    p.based_on = iteration{version_};
    p.body = std::move(g.value);  // (As.G)
    p.extra.set(scalar_slot::duration_ns, static_cast<std::uint64_t>(g.duration.count()));
    out.packets.push_back(std::move(p));
    out.wait = waiting{server(), channel::model, iteration{ends_[0].order[static_cast<std::size_t>(channel::model)].newest() + 1}};
  }

  void on_wakeup(instant, wakeup, outbox&) {}
  void on_neighbours(instant now, neighbour_change const& change, outbox& out);

  [[nodiscard]] auto estimate() const -> shared_buffer { return x_; }
  /// The server's iterations are its versions, a worker's its gradients.
  [[nodiscard]] auto statistics() const -> node_statistics;
  void audit(tracking_audit& a) const { a = {}; }

 private:
  /// What a node knows of the other end of one of its edges. A worker has one of them, the server one a worker.
  struct other_end {
    session incoming{}, outgoing{};
    bool open = true;
    bool busy = true;           // server: this worker has a job whose gradient is awaited
    std::uint64_t version = 0;  // server: of the model of that job
    instant given_at{};         // server: when the worker was told to begin it
    std::array<detail::message_order, channel_count> order{};  // worker: of the models on each channel
    std::array<std::uint64_t, channel_count> versions{};        // and the version of the last of them
    std::array<std::uint64_t, channel_count> sent{};
    std::uint64_t refused = 0;
    age_counter age{}, age_of_stops{};
    weight_counter weights{};
    static void visit_state(auto& self, auto&& visit) {
      visit("incoming", self.incoming), visit("outgoing", self.outgoing), visit("open", self.open);
      visit("busy", self.busy), visit("version", self.version), visit("given at", self.given_at);
      visit("order", self.order), visit("versions", self.versions), visit("sent", self.sent), visit("refused", self.refused);
      visit("age", self.age), visit("age of stops", self.age_of_stops), visit("weights", self.weights);
    }
  };

  [[nodiscard]] auto serves() const -> bool { return to_index(self_) == n_; }
  [[nodiscard]] auto server() const -> node_id { return to_node(n_); }
  [[nodiscard]] auto end_of(node_id peer) -> other_end& { return ends_[serves() ? to_index(peer) : 0]; }

  [[nodiscard]] auto packet_to(node_id to, channel lane, instant now) -> packet {
    packet p;
    p.from = self_;
    p.to = to;
    p.lane = lane;
    p.life = end_of(to).outgoing;
    p.posted_at = now;
    return p;
  }

  void request_gradient(outbox& out);
  void follow(instant now, patch const& p, outbox& out);
  void collect(instant now, patch const& p, outbox& out);
  void apply(patch const& p, double weight, outbox& out);
  void give_model(std::size_t worker, channel lane, instant now, outbox& out);
  void stop_late_jobs(instant now, outbox& out);

  Backend backend_;
  node_id self_;
  std::size_t n_;
  double gamma_;
  std::uint64_t seed_;
  block_partition blocks_;
  Acceptance acceptance_;
  typename weighing::state weight_;
  typename Aggregation::template state<Backend> gathered_;
  Assignment assignment_;
  typename Step::template state<Backend> step_state_;
  shared_buffer x_;
  std::vector<other_end> ends_;
  std::uint64_t version_ = 0, gradients_ = 0, late_ = 0, draws_ = 0;
  detail::asked_gradient asked_;
};

#define RUBATO_SERVER_SGD server_sgd<Backend, Acceptance, Weight, Aggregation, Assignment, Step>
#define RUBATO_SERVER_SGD_TEMPLATE \
  template<backend::array_backend Backend, class Acceptance, class Weight, class Aggregation, class Assignment, class Step>

RUBATO_SERVER_SGD_TEMPLATE
void RUBATO_SERVER_SGD::on_neighbours(instant now, neighbour_change const& change, outbox& out) {
  auto const closes = change.what == neighbour_change::edge::closes;
  if (!serves() && change.peer != server()) return;
  if (serves() && to_index(change.peer) >= n_) return;
  auto& end = end_of(change.peer);
  end.incoming = change.incoming;
  end.order = {};
  end.versions = {};
  end.outgoing = change.outgoing;
  end.open = !closes;
  end.busy = false;
  if (serves() && !closes) give_model(to_index(change.peer), channel::model, now, out);
  if (serves()) return;
  version_ = 0;  // a server that was started again has none yet
  asked_.cancel(out);
  out.wait = waiting{server(), channel::model, iteration{1}};
}

RUBATO_SERVER_SGD_TEMPLATE
auto RUBATO_SERVER_SGD::statistics() const -> node_statistics {
  node_statistics s{serves() ? version_ : gradients_, gradients_, asked_.dropped() + late_, {}};
  for (std::size_t i = 0; i < ends_.size(); ++i) {
    auto const& e = ends_[i];
    if (serves()) {
      s.edges.push_back({to_node(i), channel::gradient, e.age.uses, e.refused, e.age, e.weights});
    } else {
      s.edges.push_back({server(), channel::model, e.age.uses, e.refused, e.age, {}});
      s.edges.push_back({server(), channel::control, e.age_of_stops.uses, 0, e.age_of_stops, {}});
    }
  }
  return s;
}

RUBATO_SERVER_SGD_TEMPLATE
void RUBATO_SERVER_SGD::request_gradient(outbox& out) {
  asked_.ask(x_, {seed_, self_, draws_++}, out);
}

/// Worker: a model is where to go on, at once, whatever is being computed.
RUBATO_SERVER_SGD_TEMPLATE
void RUBATO_SERVER_SGD::follow(instant now, patch const& p, outbox& out) {
  auto& end = ends_[0];
  if (!end.open || !(p.life == end.incoming)) return;  // of another life of this edge
  auto const lane = static_cast<std::size_t>(p.lane);
  out.failure = detail::malformed(p, blocks_, channels()[p.lane == channel::model ? 0 : 2]);
  if (!out.failure) out.failure = end.order[lane].follow(p);
  if (!out.failure && to_count(p.based_on) < end.versions[lane]) {
    out.failure = fault{"the server, node " + std::to_string(n_) + ", sent version " + std::to_string(to_count(p.based_on)) +
                        " of its model after version " + std::to_string(end.versions[lane])};
  }
  if (out.failure) return;
  end.versions[lane] = to_count(p.based_on);
  if (to_count(p.based_on) < version_) {  // a stop overtook it: 1. model 5 posted; 2. model 9 stops; 3. model 5 arrives
    ++end.refused;
    return;
  }
  (p.lane == channel::control ? end.age_of_stops : end.age).add(now - p.posted_at);
  version_ = to_count(p.based_on);
  x_ = p.body;
  asked_.cancel(out);
  request_gradient(out);
}

/// Server: takes one gradient, and says where the workers go on.
RUBATO_SERVER_SGD_TEMPLATE
void RUBATO_SERVER_SGD::collect(instant now, patch const& p, outbox& out) {
  auto const from = to_index(p.from);
  auto& end = ends_[from];
  if (!end.open || !(p.life == end.incoming)) return;
  out.failure = detail::malformed(p, blocks_, channels()[1]);
  if (!out.failure && to_count(p.based_on) > version_) {
    out.failure = fault{"node " + std::to_string(from) + " sent a gradient at version " + std::to_string(to_count(p.based_on)) +
                        " of the model, and the server has only come to version " + std::to_string(version_)};
  }
  if (out.failure) return;
  if (!end.busy || to_count(p.based_on) != end.version) {  // of a job that was stopped: its worker computes already
    ++end.refused;
    ++late_;
    return;
  }
  end.busy = false;
  auto const delay = version_ - end.version;  // (As.D)
  if (acceptance_.accepts(delay)) {
    // A worker's word for it, and no longer than it can have been.
    auto const most = static_cast<std::uint64_t>(std::max<std::int64_t>((now - end.given_at).count(), 0));
    auto const said = (std::min)(p.extra.count(scalar_slot::duration_ns).value_or(0), most);
    auto const duration = std::chrono::nanoseconds{static_cast<std::int64_t>(said)};
    auto const w = weight_(server::arrival{from, delay, duration, now - end.given_at});  // (As.W)
    end.age.add(now - p.posted_at);
    end.weights.add(w.factor, w.capped, delay);
    apply(p, w.factor, out);
  } else {
    ++end.refused;
    ++late_;
  }
  give_model(assignment_(from), channel::model, now, out);
  stop_late_jobs(now, out);
}

RUBATO_SERVER_SGD_TEMPLATE
void RUBATO_SERVER_SGD::apply(patch const& p, double weight, outbox& out) {
  ++gradients_;
  auto const along = gathered_.take(backend_, p.body, weight);
  if (!along) return;
  if (!detail::step_on(backend_, x_, step_state_.next(gamma_), {along->values, along->share})) {  // (As.X)
    out.failure = detail::blame{self_}.message(p.from, channel::gradient, p.body).sentence();
  }
  ++version_;
}

RUBATO_SERVER_SGD_TEMPLATE
void RUBATO_SERVER_SGD::give_model(std::size_t worker, channel lane, instant now, outbox& out) {
  auto& end = ends_[worker];
  RUBATO_EXPECTS(lane == channel::control || !end.busy, "a worker is given a job only when it has none");
  if (!end.open) return;
  end.busy = true;
  end.version = version_;
  end.given_at = now;
  auto p = packet_to(to_node(worker), lane, now);
  p.number = iteration{++end.sent[static_cast<std::size_t>(lane)]};
  p.based_on = iteration{version_};
  p.body = x_;
  out.packets.push_back(std::move(p));
}

RUBATO_SERVER_SGD_TEMPLATE
void RUBATO_SERVER_SGD::stop_late_jobs(instant now, outbox& out) {
  if (!acceptance_.stops()) return;
  for (std::size_t i = 0; i < n_; ++i) {
    if (!ends_[i].busy || acceptance_.accepts(version_ - ends_[i].version)) continue;
    give_model(i, channel::control, now, out);  // (As.C)
  }
}

#undef RUBATO_SERVER_SGD
#undef RUBATO_SERVER_SGD_TEMPLATE

}  // namespace rubato
