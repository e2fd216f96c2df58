// SPDX-License-Identifier: MIT
// Asynchronous SGD, a server and n workers: each gradient moves the model, and its worker goes on from there; nobody
// waits for anybody. Four policies of server/ define the family; its members are the servers of README's table.
//   (As.G)  worker i: g at the model x_v that it was given, sent to the server with v and the time it took
//   (As.D)  server, at version k: the delay of g is k - v; a gradient that is not accepted moves nothing
//   (As.W)  weight w of g: 1, or by its delay, or in proportion to its worker's time
//   (As.X)  x_{k+1} <- x_k - gamma w g, k <- k + 1 (for several buffered gradients: along their mean); a worker goes on
//           at x
//   (As.C)  a job that can no longer be accepted may be stopped: its worker starts again at x_k at once
// invariant: while all n workers compute and every gradient makes a step, the delays of k steps and the ages of the n
// jobs under way sum to (n - 1) k: the mean delay is n - 1, whatever the speeds.   tests/unit/algorithm/server_sgd.cpp
// limit: a small constant step minimises sum p_i F_i, with p_i in proportion to (gradients per second of i) x (mean w
// of i); report/limit_weights.hpp prints the p_i. This is the optimum of the sum only if all p_i are 1/n.
// Several servers: server s of k holds a range of blocks of x, and has a version, an order of arrivals and policies of
// its own; a formula above is then about its values alone. The form is for policies that are `by_shard`.
//   (As.S)  worker: sends each server its values of g, with the version of its values at which g was computed; goes on
//           once all have answered. What it reads is torn by at most the spread of their versions, which is counted
// A step reads 2 vectors and writes 1, besides the traffic of the step rule and of an aggregation policy. With several
// servers a worker reads and writes two more for each gradient: its parts are copied, and those of the model joined.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/algorithm/detail/server_core.hpp>
#include <rubato/core/blocks.hpp>
#include <rubato/core/visit_options.hpp>
#include <rubato/fwd.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/server/accept_all.hpp>
#include <rubato/server/apply_at_once.hpp>
#include <rubato/server/by_delay.hpp>
#include <rubato/server/concepts.hpp>
#include <rubato/server/same_worker.hpp>
#include <rubato/step/sgd.hpp>
#include <rubato/topology/pair.hpp>
#include <rubato/weighting/constant.hpp>

namespace rubato {

namespace detail {

template<class Acceptance, class Weight, class Aggregation, class Assignment, class Step>
struct server_options {
  double step = 0.1;
  step_scale scale = step_scale::per_gain;
  std::uint64_t seed = 0;
  std::size_t block_values = 0;
  step::schedule schedule{};
  std::size_t servers = 1;  ///< that share the model, each a range of its blocks
  Acceptance acceptance{};
  server::as_weight<Weight> weight{};
  Aggregation aggregation{};
  Assignment assignment{};
  Step step_rule{};

  static void visit_options(auto& self, auto&& visit) {
    visit_common_options(self, visit);
    visit("servers", self.servers, "machines that share the model, each a range of its blocks");
    visit("acceptance", self.acceptance, "which gradients the server takes");
    visit("weight", self.weight, "what a gradient counts");
    visit("aggregation", self.aggregation, "how many gradients make a step");
    visit("assignment", self.assignment, "which worker computes next");
    visit("step rule", self.step_rule, "how a step is made of a direction");
  }
};

/// Whether a part of a model may be held by a server of its own, which decides about its part of each gradient alone.
template<class Policy>
constexpr auto is_by_shard() -> bool {
  if constexpr (requires { Policy::by_shard; }) return Policy::by_shard;
  else return false;
}

/// The values of part s of k: whole blocks, or multiples of block_partition::alignment if the vector is one block.
/// Throws config_error if there are fewer of them than parts.
inline auto shard_of(block_partition const& blocks, std::size_t s, std::size_t k) -> range {
  if (k == 1) return {0, blocks.values()};
  auto const unit = blocks.blocks() == 1 ? block_partition::alignment : blocks.block_values();
  auto const cut = blocks.values() == 0 ? block_partition{} : block_partition{blocks.values(), unit};
  if (cut.blocks() < k) {
    throw config_error{"a model of " + std::to_string(blocks.values()) + " values has " + std::to_string(cut.blocks()) +
                       " blocks of " + std::to_string(unit) + " values, which " + std::to_string(k) +
                       " servers cannot share; give fewer servers, or smaller blocks"};
  }
  return cut.values_of({cut.blocks() * s / k, cut.blocks() * (s + 1) / k});
}

}  // namespace detail

/// Both roles in one class; the neighbourhood says which one a node has. Needs lossless, ordered links. The server's
/// model is the result of the run: workers hold older ones. A worker that leaves gets no more answers; one that joins
/// or returns is given the current model; the others are not affected. A worker whose
/// server is gone waits for its model.
/// **Thread safety:** one owner at a time. **Models:** node. **Determinism:** as Backend.
template<backend::array_backend Backend, class Acceptance, class Weight, class Aggregation, class Assignment,
         class Step>
class server_sgd
    : public detail::server_core<Backend, detail::server_options<Acceptance, Weight, Aggregation, Assignment, Step>> {
  using core = detail::server_core<Backend, detail::server_options<Acceptance, Weight, Aggregation, Assignment, Step>>;
  using weighing = server::as_weight<Weight>;
  static constexpr bool queues = server::queueing_assignment<Assignment>;
  static constexpr bool paces = server::pacing_assignment<Assignment>;
  static constexpr bool has_local_steps = requires { typename Assignment::template local<Backend>; };
  static constexpr bool has_grace = !queues && requires(Assignment const& a) { a.grace; };
  static constexpr bool may_be_shared = detail::is_by_shard<Acceptance>() && detail::is_by_shard<Aggregation>() &&
                                        !queues && !paces && !step::needs_norm<Step, Backend>;
  static constexpr std::uint8_t with_models = paces ? carrying(scalar_slot::sample_count) : 0;
  static constexpr auto form = may_be_shared ? body_form::part : body_form::whole;
  static_assert(server::check_policies<Acceptance, weighing, Aggregation, Assignment, Backend>());
  static_assert(
      !requires { requires Aggregation::needs_plain_steps; } || std::same_as<Step, step::sgd>,
      "a server that mixes models takes a plain step, step::sgd: it restores a worker's model by it, and what other "
      "rules add would be no model of a worker");

 public:
  using typename core::options, typename core::scalar;
  static constexpr auto name() -> std::string_view { return "server SGD"; }
  static constexpr bool server_has_the_model = true;
  static constexpr bool needs_given = requires { requires Aggregation::needs_given; };
  /// Unless models are mixed, or gradients are corrected at them.
  static constexpr bool moves_by_steps_alone = !needs_given;
  static constexpr bool reports_weights = !(
      requires { requires Aggregation::workers_count_alike; } ||
      requires { requires Aggregation::shares_are_its_own; });

  /// A star around an extra node, whatever the network. Its gain is n: when every worker has delivered one gradient of
  /// weight 1, the model has moved by n gamma times their mean. It is 1 if the aggregation makes one step by_round.
  [[nodiscard]] static auto make_plan(topology::pair const& network, options const& o = {}) -> mixing::plan {
    constexpr auto most = std::size_t{10'000};  // each has an edge to every worker
    if (o.servers > most)
      throw config_error{"a run has at most " + std::to_string(most) + " servers, not " + std::to_string(o.servers)};
    auto plan = mixing::server_plan(network.pull().nodes(), (std::max)(o.servers, std::size_t{1}));
    if constexpr (!requires { requires Aggregation::by_round; })
      plan.gain = static_cast<double>(network.pull().nodes());
    return plan;
  }
  static void resolve_options(options& o, block_partition const& blocks, std::span<double const>, std::size_t nodes) {
    if (o.servers == 0) throw config_error{"a run of a server method needs at least 1 server, not 0"};
    static_cast<void>(detail::shard_of(blocks, 0, o.servers));
    if (o.servers > 1) check_shared(o);
    o.acceptance.resolve_options(nodes);
    o.weight.resolve_options(nodes);
    o.aggregation.resolve_options(nodes);
    if constexpr (requires { o.assignment.resolve_options(nodes); }) o.assignment.resolve_options(nodes);
    if constexpr (requires { o.aggregation.check_jobs(o.assignment.rate); })
      o.aggregation.check_jobs(o.assignment.rate);
  }
  static constexpr std::array<channel_spec, 3> all_channels{
      channel_spec{channel_id::model, channel_kind::event, element_of<scalar>, with_models, form},
      channel_spec{channel_id::gradient, channel_kind::event, element_of<scalar>, carrying(scalar_slot::duration_ns),
                   form},
      channel_spec{channel_id::control, channel_kind::event, element_of<scalar>, with_models,
                   form}};  // a model that stops a job
  static constexpr auto channels() -> std::span<channel_spec const> {
    return std::span{all_channels}.first(Acceptance::may_stop ? 3 : 2);
  }

  server_sgd(Backend b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      : core{b, plan, self, own_values(b, plan, self, std::move(x0), o), o},
        servers_{servers_in(plan, self)},
        weight_{core::options_->weight, core::n_},
        gathered_{core::options_->aggregation, core::n_},
        assignment_{server::assignment_state<Assignment>::make(o.assignment, core::n_, o.seed)},
        local_{o.assignment},
        ends_(core::serves() ? core::n_ : servers_) {
    for (std::size_t i = 0; i < ends_.size(); ++i) ends_[i].peer = to_node(core::serves() ? i : core::n_ + i);
    if (servers_ != o.servers) {
      throw config_error{"the plan has " + std::to_string(servers_) + " servers, and the options say " +
                         std::to_string(o.servers)};
    }
  }

  void start(instant now, outbox& out) {
    for (auto& end : ends_) {
      end.given_at = now;
      if (needs_given && this->serves()) end.given = this->x_;
      if constexpr (paces) end.steps = this->options_->assignment.count;
    }
    if (!this->serves()) this->ask_next(this->x_, out);  // all begin at the common first model, version 0
  }

  void on_gradient(instant now, gradient g, outbox& out) {
    if (!this->accept(g)) return;
    if constexpr (has_local_steps) {
      if (!local_.ends(this->backend_, this->x_, g, this->gamma_)) {
        out.failure = detail::spoilt_gradient(this->self_, this->server(), this->x_, g);
        if (!local_.finite()) out.failure = detail::blame{this->self_}.gradient(g.value).sentence();
        return this->ask_next(local_.model(), out);
      }
    }
    auto const took = static_cast<std::uint64_t>(g.duration.count());
    for (std::size_t s = 0; s < servers_; ++s) {
      auto part = gradient{g.id, values_of_server(g.value, s), g.loss, g.duration};
      auto& p = this->send_gradient(part, ends_[s].outward(), now, out);  // (As.G) (As.S)
      p.extra.set(scalar_slot::duration_ns, took);
      if (servers_ > 1) p.based_on = iteration{ends_[s].version};
      ends_[s].busy = false;
    }
    if (takes(to_index(this->self_)))  // another one's gradient is its last, and it waits for nothing
      out.wait = waiting{this->server(), channel_id::model, iteration{ends_[0].models.order.newest() + 1}};
  }

  void on_patch(instant now, patch const& p, outbox& out) {
    auto const brings_a_model =
        p.channel == channel_id::model || (Acceptance::may_stop && p.channel == channel_id::control);
    if (this->serves() && p.channel == channel_id::gradient && to_index(p.from) < this->n_) collect(now, p, out);
    else if (!this->serves() && brings_a_model && end_of(p.from) != nullptr) follow(*end_of(p.from), now, p, out);
  }

  void on_wakeup(instant now, wakeup w, outbox& out) {
    if (has_grace && window_open_ && w.id == windows_) end_window(now, out);
  }

  void on_neighbours(instant now, neighbour_change const& change, outbox& out) {
    auto* const found = end_of(change.peer);
    if (found == nullptr) return;
    auto& end = *found;
    end.change(change);
    local_.begin();
    if (!this->serves()) {
      if (takes(to_index(this->self_))) this->wait_for(end.peer, out);
      return;
    }
    if constexpr (requires { gathered_.leaves(std::size_t{}); })
      if (!end.open) gathered_.leaves(to_index(change.peer));
    if constexpr (paces)
      if (!end.open) assignment_.leaves(to_index(change.peer));
    for (auto lost = std::exchange(end.queue, {}).size(); lost > 0; --lost)  // anew, so that no worker's versions fall
      queue_or_give(to_index(change.peer), {this->x_, this->version_}, now, out);
    if (end.open && takes(to_index(change.peer))) admit(end, now, out);
    if constexpr (queues) give_held_if_idle(now, out);
    if (!has_grace || !window_open_) return;
    if (!any_computes()) return end_window(now, out);
    wake_later(now, out);  // anew: the wake-up may be of a run that was cut
  }

  /// Members come and go under every aggregation that makes steps without some workers.
  void on_members([[maybe_unused]] std::span<node_id const> present)
    requires(!requires { requires Aggregation::needs_every_worker; })
  {
    if constexpr (requires { gathered_.members(present); }) {
      if (this->serves()) gathered_.members(present);
    }
  }

  /// The server's iterations are its versions, a worker's are its gradients.
  [[nodiscard]] auto statistics() const -> node_statistics {
    auto s = this->counts();
    s.iterations = this->serves() ? this->version_ : this->gradients_;
    s.dropped += this->late_;
    for (auto const& e : ends_) {
      auto& edge = s.edges.emplace_back(e.counted(this->serves() ? channel_id::gradient : channel_id::model));
      edge.weights = e.weights;
      if (!this->serves()) s.edges.push_back({e.peer, channel_id::control, e.age_of_stops.uses, 0, e.age_of_stops, {}});
    }
    return s;
  }
  static void visit_state(auto& self, auto&& visit) {
    core::visit_state(self, visit);
    visit("weight", self.weight_), visit("gathered", self.gathered_), visit("assignment", self.assignment_);
    if constexpr (has_local_steps) visit("local", self.local_);
    visit("ends", self.ends_);
    if constexpr (has_grace) visit("windows", self.windows_), visit("window open", self.window_open_);
  }

 private:
  /// The models sent in one direction on one channel.
  struct model_stream {
    detail::message_order order{};  // worker
    std::uint64_t version = 0;  // worker: of the last that arrived
    std::uint64_t sent = 0;  // server
    static void visit_state(auto& self, auto&& visit) {
      visit("order", self.order), visit("version", self.version), visit("sent", self.sent);
    }
  };
  /// A model for a worker that still computes at another one.
  struct queued_job {
    shared_buffer model{};
    std::uint64_t version = 0;
    static void visit_state(auto& self, auto&& visit) { visit("model", self.model), visit("version", self.version); }
  };
  /// What a node knows about the other end of an edge. A worker has one such end, the server one per worker.
  struct other_end : detail::two_way_edge {
    bool busy = true;  // server: this worker has a job whose gradient is awaited; worker: this server awaits one
    std::uint64_t version = 0;  // of the model, or of this server's values of it, of that job
    shared_buffer values{};  // worker: of several servers, the values that this one sent last
    instant given_at{};  // server: when the model of that job was posted
    std::size_t steps = 0;  // server: of that job, if it says how many
    shared_buffer given{};  // server: that model, if the aggregation needs it
    std::vector<queued_job> queue{};  // server: of an assignment that may name a busy worker
    model_stream models{}, stops{};
    age_counter age_of_stops{};
    weight_counter weights{};

    static void visit_state(auto& self, auto&& visit) {
      two_way_edge::visit_state(self, visit);
      visit("busy", self.busy), visit("version", self.version), visit("given at", self.given_at);
      if constexpr (needs_given) visit("given", self.given);
      if constexpr (queues) visit("queue", self.queue);
      if constexpr (paces) visit("steps", self.steps);
      if constexpr (may_be_shared) visit("values", self.values);
      visit("models", self.models), visit("stops", self.stops);
      visit("age of stops", self.age_of_stops), visit("weights", self.weights);
    }
    [[nodiscard]] auto on(channel_id channel) -> model_stream& {
      return channel == channel_id::control ? stops : models;
    }
    void change(neighbour_change const& c) {
      two_way_edge::change(c);
      busy = false;
      for (auto* const s : {&models, &stops}) *s = {{}, 0, s->sent};
    }
  };

  static auto servers_in(mixing::plan const& plan, node_id self) -> std::size_t {
    return plan.nodes.size() - plan.nodes[to_index(self)].nodes;
  }
  /// What this node holds of a model: a server among several its own values, a copy; all others all.
  static auto own_values(Backend& b, mixing::plan const& plan, node_id self, shared_buffer x0, options const& o)
      -> shared_buffer {
    auto const n = plan.nodes[to_index(self)].nodes, k = servers_in(plan, self);
    if (to_index(self) < n || k == 1) return x0;
    return copied(b, x0, detail::shard_of(partition_of(o, x0.size()), to_index(self) - n, k));
  }
  static auto copied(Backend& b, shared_buffer const& whole, range those) -> shared_buffer {
    auto part = b.template allocate<scalar>(those.size());
    b.sweep({0, those.size()}, backend::copy_kernel<scalar>{core::values_of(whole) + those.begin, part.data()});
    return std::move(part).publish();
  }
  static void check_shared(options const& o) {
    auto const shared = std::to_string(o.servers) + " servers cannot share this method's model: ";
    if (!detail::is_by_shard<Acceptance>())
      throw config_error{shared + "its acceptance, " + std::string{name_of_type<Acceptance>()} +
                         ", is about one version of the whole model; give 1 server"};
    if (!detail::is_by_shard<Aggregation>())
      throw config_error{shared + "its aggregation, " + std::string{name_of_type<Aggregation>()} +
                         ", decides about whole gradients; give 1 server"};
    if (queues) throw config_error{shared + "each would draw another order of workers; give 1 server"};
    if (paces) throw config_error{shared + "each would give a worker another number of steps; give 1 server"};
    if (step::needs_norm<Step, Backend>)
      throw config_error{shared + "its step needs the norm of the whole gradient; give 1 server"};
    if (o.acceptance.stops())
      throw config_error{shared +
                         "one would stop jobs that others still accept; let late jobs finish, or give 1 server"};
  }
  /// The other end of the edge to this node; null if there is none.
  [[nodiscard]] auto end_of(node_id peer) -> other_end* {
    auto const first = this->serves() ? std::size_t{0} : this->n_;
    auto const i = to_index(peer);
    return i >= first && i - first < ends_.size() ? &ends_[i - first] : nullptr;
  }
  /// Worker: one server's values of a vector, or all of it if there is one server.
  [[nodiscard]] auto values_of_server(shared_buffer const& whole, std::size_t s) -> shared_buffer {
    return servers_ == 1 ? whole : copied(this->backend_, whole, detail::shard_of(this->blocks_, s, servers_));
  }
  /// What is wrong with the shape of a message of these values.
  [[nodiscard]] auto misshapen(patch const& p, channel_spec const& spec, std::size_t values) const
      -> std::optional<fault> {
    if (servers_ == 1) return detail::malformed(p, this->blocks_, spec);
    return detail::malformed(p, spec.values, values);
  }

  /// Worker: goes on at the model that arrived, at once, whatever is being computed.
  void follow(other_end& end, instant now, patch const& p, outbox& out) {
    if (!end.is_of_session(p)) return;
    auto& came = end.on(p.channel);
    auto const version = to_count(p.based_on);
    auto const its = detail::shard_of(this->blocks_, to_index(p.from) - this->n_, servers_);
    out.failure = misshapen(p, all_channels[p.channel == channel_id::model ? 0 : 2], its.size());
    if (!out.failure) out.failure = came.order.follow(p);
    if (!out.failure && version < came.version) {
      out.failure = fault{"the server, node " + std::to_string(to_index(p.from)) + ", sent version " +
                          std::to_string(version) + " of its model after version " + std::to_string(came.version)};
    }
    auto const steps = p.extra.count(scalar_slot::sample_count).value_or(0);
    if (!out.failure && paces) out.failure = wrong_steps(steps);
    if (out.failure) return;
    came.version = version;
    if (servers_ > 1) return follow_part(end, now, p, out);
    if (version < this->version_) {  // a stop overtook it: 1. model 5 posted; 2. model 9 stops; 3. model 5 arrives
      ++end.overtaken;
      return;
    }
    if (p.channel == channel_id::model) ++end.accepted;
    (p.channel == channel_id::control ? end.age_of_stops : end.age).add(now - p.posted_at);
    if constexpr (paces) local_.begin(static_cast<std::size_t>(steps));
    else local_.begin();
    this->go_on_at(p.body, version, out);
  }

  /// Worker: what is wrong with the number of steps of a job.
  [[nodiscard]] auto wrong_steps(std::uint64_t steps) const -> std::optional<fault> {
    if constexpr (paces) {
      auto const most = this->options_->assignment.count;
      if (steps == 0 || steps > most)
        return fault{"the server, node " + std::to_string(to_index(this->server())) + ", gave a job of " +
                     std::to_string(steps) + " local steps, where 1 to " + std::to_string(most) + " are agreed"};
    }
    return std::nullopt;
  }

  /// Worker, of several servers: takes this one's values, and goes on once all have sent some.
  void follow_part(other_end& end, instant now, patch const& p, outbox& out) {
    ++end.accepted;
    end.age.add(now - p.posted_at);
    end.values = p.body;
    end.version = to_count(p.based_on);
    end.busy = true;
    for (auto const& e : ends_) {
      if (e.busy) continue;
      if (!this->pending_.under_way())
        out.wait = waiting{e.peer, channel_id::model, iteration{e.models.order.newest() + 1}};
      return;
    }
    std::uint64_t newest = 0;
    for (auto const& e : ends_) newest = (std::max)(newest, e.version);
    for (auto& e : ends_) e.weights.add(1, 0, newest - e.version);  // the spread of what is read (As.S)
    local_.begin();
    this->go_on_at(joined_values(), newest, out);
  }
  /// The model, of all servers' values: reads and writes one vector.
  [[nodiscard]] auto joined_values() -> shared_buffer {
    auto whole = this->backend_.template allocate<scalar>(this->size());
    for (std::size_t s = 0; s < servers_; ++s) {
      auto const its = detail::shard_of(this->blocks_, s, servers_);
      auto const* const from = ends_[s].values ? core::values_of(ends_[s].values) : this->x() + its.begin;
      this->backend_.sweep({0, its.size()}, backend::copy_kernel<scalar>{from, whole.data() + its.begin});
    }
    return std::move(whole).publish();
  }

  /// Server: takes one gradient and gives jobs to workers.
  void collect(instant now, patch const& p, outbox& out) {
    auto& end = ends_[to_index(p.from)];
    if (!end.is_of_session(p)) return;
    if (out.failure = misshapen(p, all_channels[1], this->size()); out.failure) return;
    if (out.failure = this->wrong_version(p); out.failure) return;
    if (!end.busy || to_count(p.based_on) != end.version)
      return refuse(end);  // of a job that was stopped: the worker already computes the next one
    end.busy = false;
    if (!takes(to_index(p.from))) return refuse(end);
    auto const delay = this->version_ - end.version;  // (As.D)
    if (this->options_->acceptance.accepts(delay)) apply(end, delay, now, p, out);
    else refuse(end);
    assign_after(to_index(p.from), now, out);
    stop_late_jobs(now, out);
  }
  /// Whether this worker is given jobs.
  [[nodiscard]] auto takes(std::size_t worker) const -> bool {
    if constexpr (requires { this->options_->acceptance.takes(worker); })
      return this->options_->acceptance.takes(worker);
    else return true;
  }
  void refuse(other_end& end) {
    ++end.overtaken;
    ++this->late_;
  }

  void apply(other_end& end, std::uint64_t delay, instant now, patch const& p, outbox& out) {
    // The duration that the worker reports, limited to the time that has passed since it was given the job.
    auto const round_trip = now - end.given_at;
    auto const most = static_cast<std::uint64_t>((std::max<std::int64_t>)(round_trip.count(), 0));
    auto const said = (std::min)(p.extra.count(scalar_slot::duration_ns).value_or(0), most);
    auto const duration = std::chrono::nanoseconds{static_cast<std::int64_t>(said)};
    auto arrived = server::received_gradient{to_index(p.from), delay, duration, round_trip, now};
    if constexpr (needs_given) arrived.model = &this->x_, arrived.given = &end.given;
    if constexpr (paces) assignment_.measured(arrived.worker, end.steps, duration);
    auto const w = weight_(arrived);  // (As.W)
    ++end.accepted;
    end.age.add(now - p.posted_at);
    if constexpr (reports_weights) end.weights.add(w.factor, w.capped, delay);
    ++this->gradients_;
    auto const along = gathered_.take(this->backend_, p.body, w.factor, arrived);
    if (!along) return;
    if (along->from) this->x_ = along->from;
    if (!this->step_along(now, along->values, along->share, along->step)) {  // (As.X)
      out.failure = detail::blame{this->self_}.message(p.from, channel_id::gradient, p.body).sentence();
    }
    ++this->version_;
  }

  void assign_after(std::size_t arrived, instant now, outbox& out) {
    if constexpr (queues) {
      for (auto const to : assignment_(arrived)) queue_or_give(to, {this->x_, this->version_}, now, out);
      auto& end = ends_[arrived];
      if (!end.busy && !end.queue.empty()) {
        auto const job = std::move(end.queue.front());
        end.queue.erase(end.queue.begin());
        give_job(end, channel_id::model, job, now, out);
      }
      give_held_if_idle(now, out);
    } else {
      if constexpr (has_grace) {
        if (this->options_->assignment.grace.count() > 0) return wait_for_others(now, out);
      }
      give_model(ends_[assignment_(arrived)], channel_id::model, now, out);
    }
  }
  /// Whether a result is to come.
  [[nodiscard]] auto any_computes() const -> bool {
    return std::ranges::any_of(ends_, [](auto const& e) { return e.open && e.busy; });
  }
  /// Server: a result came, and its worker is not busy until the window ends.
  void wait_for_others(instant now, outbox& out)
    requires(has_grace)
  {
    if (!any_computes()) return end_window(now, out);
    if (std::exchange(window_open_, true)) return;
    ++windows_;
    wake_later(now, out);  // (Wg.O)
  }
  void wake_later(instant now, outbox& out) {
    if constexpr (has_grace) out.wakeups.push_back({windows_, later_by(now, this->options_->assignment.grace)});
  }
  void end_window(instant now, outbox& out) {
    window_open_ = false;
    for (auto& end : ends_)
      if (end.open && !end.busy && takes(to_index(end.peer))) give_model(end, channel_id::model, now, out);  // (Wg.E)
  }
  /// To this worker or, if it is gone, to the next one by id: the number of jobs under way stays the same.
  void queue_or_give(std::size_t to, queued_job job, instant now, outbox& out) {
    for (std::size_t tried = 0; tried < this->n_; ++tried) {
      auto& end = ends_[(to + tried) % this->n_];
      if (!end.open) continue;
      if (!end.busy && end.queue.empty()) return give_job(end, channel_id::model, job, now, out);
      end.queue.push_back(std::move(job));  // (As.A)
      return;
    }
  }

  void give_held(instant now, outbox& out)
    requires(queues)
  {
    for (auto const to : assignment_.give_held()) queue_or_give(to, {this->x_, this->version_}, now, out);
  }
  /// If no gradient is to come, since workers left with their jobs, nothing is waited for.
  void give_held_if_idle(instant now, outbox& out)
    requires(queues)
  {
    if (!any_computes()) give_held(now, out);
  }
  /// Server: a worker that joins or returns gets the current model. If no job was lost, so that there are n without it,
  /// it takes over the last one of the longest queue: there are never more jobs than workers.
  void admit(other_end& end, instant now, outbox& out) {
    if constexpr (queues) {
      if (end.busy) return;
      auto jobs = assignment_.held();
      for (auto const& e : ends_) jobs += e.queue.size() + (e.busy ? 1 : 0);
      if (jobs >= this->n_) {
        give_held(now, out);
        if (end.busy) return;
        std::ranges::max_element(ends_, {}, [](auto const& e) { return e.queue.size(); })->queue.pop_back();
      }
    }
    give_model(end, channel_id::model, now, out);
  }

  void give_model(other_end& end, channel_id channel, instant now, outbox& out) {
    give_job(end, channel, {this->x_, this->version_}, now, out);
  }
  void give_job(other_end& end, channel_id channel, queued_job const& job, instant now, outbox& out) {
    RUBATO_EXPECTS(channel == channel_id::control || !end.busy, "a worker is given a job only when it has none");
    if (!end.open) return;
    end.busy = true;
    end.version = job.version;
    end.given_at = now;
    if (needs_given) end.given = job.model;
    auto& p = this->post(end.outward(), channel, job.model, now, out);
    p.number = iteration{++end.on(channel).sent};
    p.based_on = iteration{job.version};
    if constexpr (paces) {
      end.steps = assignment_.steps_of(to_index(end.peer));
      p.extra.set(scalar_slot::sample_count, static_cast<std::uint64_t>(end.steps));
    }
  }

  void stop_late_jobs(instant now, outbox& out) {
    if (!this->options_->acceptance.stops()) return;
    for (auto& end : ends_) {
      if (!end.busy || this->options_->acceptance.accepts(this->version_ - end.version)) continue;
      give_model(end, channel_id::control, now, out);  // (As.C)
    }
  }

  std::size_t servers_;
  typename weighing::state weight_;
  typename Aggregation::template state<Backend> gathered_;
  typename server::assignment_state<Assignment>::type assignment_;
  typename server::local_work<Assignment, Backend>::type local_;
  std::vector<other_end> ends_;
  std::uint32_t windows_ = 0;  // of grace, opened so far; the id of a wake-up, which may go round
  bool window_open_ = false;
};

}  // namespace rubato
