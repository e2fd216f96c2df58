// SPDX-License-Identifier: MIT
// libFuzzer's target for what nodes make of messages: every algorithm is handed messages of a fuzzer's making, as far
// as a wire can deliver them to it, between gradients, edges that close and open, and wake-ups. Whatever comes, a call
// ends soon, posts little and breaks no promise of the node concept; tests/fuzz/run.sh builds and runs it.
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/algorithm/s_ab.hpp>
#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/algorithm/server_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/block_top_k.hpp>
#include <rubato/codec/error_feedback.hpp>
#include <rubato/codec/measured_bits.hpp>
#include <rubato/codec/top_k.hpp>
#include <rubato/core/channel_table.hpp>
#include <rubato/ledger/floating.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/server/buffered.hpp>
#include <rubato/synchrony/bounded_staleness.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/weighting/exponential.hpp>

#include "../../examples/support/catalogue.hpp"

namespace {

using namespace rubato;
using space = backend::host<float>;

void require(bool holds, char const* algorithm, char const* sentence) {
  if (holds) return;
  std::fprintf(stderr, "on_patch fuzzer, %s: %s\n", algorithm, sentence);
  std::abort();
}

/// The input, a byte at a time; zeros once it has ended.
class reader {
 public:
  explicit reader(std::span<std::uint8_t const> bytes) : left_{bytes} {}
  auto byte() -> std::size_t {
    if (left_.empty()) return 0;
    auto const b = left_.front();
    left_ = left_.subspan(1);
    return b;
  }
  [[nodiscard]] auto ended() const -> bool { return left_.empty(); }

 private:
  std::span<std::uint8_t const> left_;
};

/// One node of a small network, and what its driver knows.
struct scene {
  any_node node;
  char const* name = "";
  std::size_t self = 0, nodes = 0, all = 0;  // nodes: those that compute
  bool serves = false;
  block_partition blocks;
  std::vector<node_id> neighbours;
};

/// How large a vector is, and of how many blocks.
struct shape {
  std::size_t values;
  std::size_t block_values;
};

auto networks() -> std::array<topology::pair, 3> const& {
  static auto const all =
      std::array<topology::pair, 3>{topology::binary_tree(4), topology::ring(4), topology::complete(3)};
  return all;
}

template<class Node>
auto scene_of(char const* name, std::size_t where, std::size_t self, shape s, typename Node::options o) -> scene {
  static std::array<std::optional<mixing::plan>, 3> plans;  // weights take longer than all that a node does here
  if constexpr (requires { Node::needs_two_sides; }) where %= 2;  // the third one has a triangle
  auto const& network = networks()[where];
  if (!plans[where]) {
    if constexpr (requires { Node::make_plan(network, o); }) plans[where] = Node::make_plan(network, o);
    else plans[where] = Node::make_plan(network);
  }
  auto const& plan = *plans[where];
  auto backend = space{};
  auto const x0 = backend::zeros<float>(backend, s.values);
  auto first = backend::copied(backend, x0.data(), s.values);
  o.step = 0.125;
  o.block_values = s.block_values;
  if constexpr (requires { o.sum_codec.remembered; }) o.block_values = 0;  // travels whole
  if constexpr (requires { o.ledger.exponents; }) o.ledger.exponents = {20};
  Node::resolve_options(o, partition_of(o, s.values), std::vector<double>(partition_of(o, s.values).blocks(), 1.0),
                        network.nodes());
  scene made;
  made.self = self % plan.nodes.size();
  auto const& n = plan.nodes[made.self];
  made.node = Node{backend, plan, to_node(made.self), std::move(first).publish(), o};
  made.name = name;
  made.nodes = network.nodes();
  made.all = plan.nodes.size();
  made.serves = n.part == mixing::role::server;
  made.blocks = partition_of(o, s.values);
  for (std::size_t j = 0; j < plan.nodes.size(); ++j) {
    auto const id = to_node(j);
    auto const among = [id](auto const& list) {
      return std::any_of(list.begin(), list.end(), [id](auto const& e) { return e.peer == id; });
    };
    auto const listed = [id](auto const& list) { return std::find(list.begin(), list.end(), id) != list.end(); };
    if (among(n.pull_from) || among(n.push_to) || listed(n.pull_to) || listed(n.push_from))
      made.neighbours.push_back(id);
  }
  return made;
}

template<class Order, class Synchrony = synchrony::free, class Weighting = weighting::constant>
using tracking = gradient_tracking<space, Order, step::sgd, Weighting, Synchrony, ledger::floating>;
using gathering = server_sgd<space, server::accept_all, weighting::constant, server::buffered>;

using scene_maker = std::function<scene(std::size_t where, std::size_t self, shape s)>;

template<class Node>
auto maker_of(char const* name) -> scene_maker {
  return [name](std::size_t where, std::size_t self, shape s) {
    typename Node::options o;
    if constexpr (requires { o.m; }) o.m = 2;
    if constexpr (requires { o.delay; }) o.delay = std::chrono::microseconds{5};  // an event takes one
    if constexpr (requires { o.acceptance.late; }) o.acceptance.late = server::late_jobs::stop;
    if constexpr (requires { o.aggregation.size; }) o.aggregation.size = 2;
    return scene_of<Node>(name, where, self, s, o);
  };
}

/// Every algorithm of the catalogue, and policies that no row of it has.
auto scene_makers() -> std::vector<scene_maker> {
  std::vector<scene_maker> all;
  examples::for_each_algorithm<space>(
      [&]<class Node>(examples::catalogue_row<Node> const& row) { all.push_back(maker_of<Node>(row.name.data())); });
  all.push_back(maker_of<tracking<order::r_fast, synchrony::free, weighting::exponential>>("r_fast, floating, by age"));
  all.push_back(maker_of<r_fast<space, step::sgd, weighting::constant, ledger::fixed_point, codec::measured_bits>>(
      "r_fast, measured bits"));
  all.push_back(maker_of<tracking<order::late_post, synchrony::bounded_staleness>>("bounded staleness"));
  all.push_back(maker_of<s_ab<space, step::sgd, ledger::floating>>("s_ab, floating"));
  all.push_back(maker_of<scatter_allreduce_sgd<space>>("scatter_allreduce_sgd"));
  all.push_back(maker_of<gathering>("buffered server"));
  all.push_back(maker_of<scatter_allreduce_sgd<space, codec::error_feedback<codec::top_k>>>("error feedback"));
  all.push_back(maker_of<async_model_average<space, codec::ef21<codec::block_top_k>>>("ef21"));
  all.push_back(maker_of<choco_sgd<space, codec::top_k>>("choco_sgd, top k"));
  return all;
}

auto scene_number(std::size_t k, std::size_t on, std::size_t self, shape s) -> scene {
  static auto const makers = scene_makers();
  return makers[k % makers.size()](on, self, s);
}

/// Hands one input to one node.
class session_of_fuzzing {
 public:
  explicit session_of_fuzzing(reader& in) : in_{&in} {
    auto const kind = in.byte(), where = in.byte();
    it_ = scene_number(kind, where % 3, where / 3, where >= 128 ? shape{130, 64} : shape{12, 0});
    table_.add(it_.node.channels());
  }

  void run() {
    call([&] { it_.node.start(now_, out_); });
    while (!in_->ended() && !failed_) {
      now_.since_start += std::chrono::microseconds{1};
      auto const what = in_->byte();
      if (what < 160) deliver();
      else if (what < 230) answer();
      else if (what < 250) change();
      else call([&] { it_.node.on_wakeup(now_, {static_cast<std::uint32_t>(what), now_}, out_); });
    }
    static_cast<void>(it_.node.statistics());
    tracking_audit a;
    it_.node.audit(a);
  }

 private:
  template<class Call>
  void call(Call const& handler) {
    out_.clear();
    handler();
    if (out_.failure) {
      require(out_.failure->sentence.find("node") != std::string::npos, it_.name, "a fault names no node");
      failed_ = true;
      return;
    }
    require(out_.packets.size() <= 16 * it_.all, it_.name, "one call posts a great many packets");
    for (auto const& p : out_.packets) table_.check(p);
    if (out_.cancel) asked_.reset();
    if (out_.request) {
      require(!asked_, it_.name, "a node asks for a second gradient");
      asked_ = std::move(out_.request);
    }
    if (out_.request || out_.wait) waits_ = out_.wait.has_value();
    require(asked_ || waits_ || it_.serves, it_.name, "a node stands still and does not say for whom");
    if (it_.all > it_.nodes && !it_.serves) return;  // a worker holds the server's model, over which it makes no pass
    auto const model = it_.node.estimate();
    for (auto const v : model.view<float>())
      require(std::isfinite(v), it_.name, "a model is not finite, and nobody is blamed");
  }

  // --- messages

  void deliver() {
    patch p;
    p.from =
        it_.neighbours.empty() ? to_node(in_->byte() % it_.all) : it_.neighbours[in_->byte() % it_.neighbours.size()];
    auto const channels = it_.node.channels();
    auto const& spec = channels[in_->byte() % channels.size()];
    p.to = to_node(it_.self);
    p.channel = spec.channel;
    auto const detail = in_->byte();
    p.session = detail % 8 == 7 ? session_id{1, 2} : lives_[p.from];
    auto& next = next_[{p.from, p.channel}];
    auto const number = iteration{number_near(next)};
    p.posted_at = instant{std::chrono::nanoseconds{posted_near(detail / 8)}};
    p.based_on = iteration{based_on(in_->byte())};
    p.blocks = blocks_for(spec, detail / 64);
    p.numbers = {&number, 1};
    p.body = body_for(spec, it_.blocks.values_of(p.blocks).size());
    scalars_for(spec, p.extra);
    call([&] { it_.node.on_patch(now_, p, out_); });
    if (to_count(number) == next + 1) ++next;
  }
  auto number_near(std::uint64_t last) -> std::uint64_t {
    auto const b = in_->byte();
    constexpr auto big = std::uint64_t{1};
    switch (b % 32) {
      case 0:
        return std::max<std::uint64_t>(last, 1);
      case 1:
        return last + 2;
      case 2:
        return last + (big << 31);
      case 3:
        return big << 47;
      case 4:
        return big << 63;
      case 5:
        return ~std::uint64_t{0};
      case 6:
        return 1;
      case 7:
        return last + b;
      case 8:
        return last > b ? last - b : 1;
      default:
        return last + 1;
    }
  }
  auto posted_near(std::size_t how) const -> std::int64_t {
    auto const now = now_.since_start.count();
    switch (how % 8) {
      case 5:
        return -(std::int64_t{1} << 62);  // as far as a transport's clock goes
      case 6:
        return std::int64_t{1} << 62;
      case 7:
        return now - 3000;
      default:
        return now;
    }
  }
  auto based_on(std::size_t b) const -> std::uint64_t {
    switch (b % 16) {
      case 0:
        return ~std::uint64_t{0};
      case 1:
        return std::uint64_t{1} << 63;
      case 2:
        return std::uint64_t{1} << 40;
      case 3:
      case 4:
      case 5:
        return posted_;
      default:
        return b / 16 + (b % 2) * posted_;
    }
  }
  auto blocks_for(channel_spec const& spec, std::size_t how) const -> range {
    auto const n = it_.blocks.blocks();
    if (spec.kind == channel_kind::event || how == 0) return {0, n};
    return {how - 1 < n ? how - 1 : 0, how - 1 < n ? how : n};
  }
  auto body_for(channel_spec const& spec, std::size_t right) -> shared_buffer {
    auto const how = in_->byte(), content = in_->byte();
    if (spec.body == body_form::none) return {};
    auto const codes = spec.values == element::u8;
    auto const d = it_.blocks.values();
    if (spec.channel == channel_id::chunk) {
      auto const c = how / 16 % it_.nodes;
      right = (c + 1) * d / it_.nodes - c * d / it_.nodes;
    }
    if (codes) right += 2 * sizeof(float);
    // What a transport lets through: exactly its blocks, or of chunks and codes whatever fits into memory.
    if (spec.body != body_form::whole)
      right = how % 16 == 0 ? 0 : how % 16 == 1 ? right + 1 : how % 16 == 2 && right > 0 ? right - 1 : right;
    switch (spec.values) {
      case element::f32:
        return filled<float>(right, content);
      case element::i32:
        return filled<std::int32_t>(right, content);
      case element::u16:
        return filled<std::uint16_t>(right, content);
      case element::u8:
        return filled<std::byte>(right, content);
      default:
        return {};
    }
  }
  template<class T>
  auto filled(std::size_t n, std::size_t content) -> shared_buffer {
    auto b = pool_.allocate<T>(n);
    for (std::size_t i = 0; i < n; ++i) b.data()[i] = value<T>(content, i);
    return std::move(b).publish();
  }
  template<class T>
  static auto value(std::size_t content, std::size_t i) -> T {
    if constexpr (std::is_floating_point_v<T>) {
      auto const odd = i == content / 16;
      switch (content % 16) {
        case 0:
          return odd ? std::numeric_limits<T>::quiet_NaN() : T{1};
        case 1:
          return odd ? -std::numeric_limits<T>::infinity() : T{0};
        case 2:
          return std::numeric_limits<T>::max();
        case 3:
          return -std::numeric_limits<T>::denorm_min();
        default:
          return static_cast<T>(content) / 64;
      }
    } else if constexpr (std::is_same_v<T, std::int32_t>) {
      return content % 8 == 0   ? std::numeric_limits<T>::min()
             : content % 8 == 1 ? std::numeric_limits<T>::max()
                                : static_cast<T>(content + i);
    } else {
      return static_cast<T>(content % 8 == 0 ? 0xFF : i < 8 ? 0 : content + i);
    }
  }
  void scalars_for(channel_spec const& spec, scalars& extra) {
    if (spec.carried_scalars == 0) return;
    auto const how = in_->byte();
    if (how == 255) return;  // a wire may leave them out
    auto const big = how % 8 == 0 ? ~std::uint64_t{0} : how % 8 == 1 ? std::uint64_t{1} << 62 : how % 8;
    auto const real = how % 8 == 0   ? std::numeric_limits<double>::quiet_NaN()
                      : how % 8 == 1 ? -1.0
                      : how % 8 == 2 ? 1e300
                                     : 1.0 / static_cast<double>(how % 8);
    auto const carries = [&](scalar_slot s) { return ((spec.carried_scalars >> static_cast<unsigned>(s)) & 1U) != 0; };
    if (carries(scalar_slot::push_sum_weight)) extra.set(scalar_slot::push_sum_weight, real);
    if (carries(scalar_slot::sample_count)) extra.set(scalar_slot::sample_count, std::uint64_t{big});
    if (carries(scalar_slot::loss)) extra.set(scalar_slot::loss, real);
    if (carries(scalar_slot::duration_ns)) extra.set(scalar_slot::duration_ns, std::uint64_t{big});
  }

  // --- the driver's own events

  void answer() {
    auto const content = in_->byte();
    auto g = gradient{};
    if (asked_) {
      g.id = asked_->id;
      g.value = filled<float>(asked_->point.size(), content);
    }
    if (!asked_ || content == 255) {  // a late one, which nobody wants any more
      g.id = ticket{0};
      g.value = filled<float>(it_.blocks.values(), 200);
    } else {
      asked_.reset();
      ++posted_;
    }
    g.loss = content % 3 == 0 ? std::numeric_limits<double>::quiet_NaN() : 1.0;
    g.duration = std::chrono::microseconds{content};
    auto const late = g.id == ticket{0};
    auto const waited = waits_;
    waits_ = false;
    if (late) waits_ = waited;
    call([&] { it_.node.on_gradient(now_, std::move(g), out_); });
  }
  void change() {
    if (it_.neighbours.empty()) return;
    auto const peer = it_.neighbours[in_->byte() % it_.neighbours.size()];
    auto const session = static_cast<std::uint32_t>(in_->byte() % 4);
    auto const how = in_->byte() % 3;
    auto const round = it_.node.common_round();
    auto const may_resume = round && round->begins;  // the only moment at which a driver says it
    auto const what = how == 0                  ? neighbour_change::edge::opens
                      : how == 1 || !may_resume ? neighbour_change::edge::closes
                                                : neighbour_change::edge::resumes;
    if (may_resume && what == neighbour_change::edge::resumes) it_.node.meet_at(round->done + 1 + how, 1 + how);
    for (auto const channel :
         {channel_id::model, channel_id::tracker, channel_id::chunk, channel_id::gradient, channel_id::control})
      next_[{peer, channel}] = 0;
    lives_[peer] = {session, 0};
    call([&] { it_.node.on_neighbours(now_, {peer, what, {0, session}, {session, 0}}, out_); });
  }

  reader* in_;
  scene it_;
  channel_table table_;
  buffer_pool pool_;
  outbox out_;
  instant now_{};
  std::optional<gradient_request> asked_;
  bool waits_ = false;
  bool failed_ = false;
  std::uint64_t posted_ = 0;  // gradients handed in: near what a node counts
  std::map<std::pair<node_id, channel_id>, std::uint64_t> next_;  // the number of the last message that was in order
  std::map<node_id, session_id> lives_;
};

}  // namespace

extern "C" auto LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) -> int {
  auto in = reader{std::span{data, size}};
  session_of_fuzzing{in}.run();
  return 0;
}
