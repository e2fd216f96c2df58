// SPDX-License-Identifier: MIT
// What happened to one node, as bytes: its inputs in the order in which it consumed them, and a digest of its outputs.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/digest.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/node.hpp>
#include <rubato/core/outbox.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/core/snapshot.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/transport/concepts.hpp>
#include <rubato/version.hpp>
#include <rubato/wire/frame.hpp>

namespace rubato {

/// The kind of a record in a log. The numbers are in files, so they never change.
enum class logged : std::uint8_t { start = 0, patch = 1, gradient = 2, wakeup = 3, neighbours = 4, end = 5 };

constexpr auto name_of(logged l) -> std::string_view {
  constexpr std::array<std::string_view, 6> names{"start", "patch", "gradient", "wake-up", "change of neighbours",
                                                  "end"};
  return names[static_cast<std::size_t>(l)];
}

/// One input of a node. `kind` decides which members have a meaning.
struct logged_event {
  logged kind{};
  instant now{};
  patch part{};
  std::vector<iteration> numbers{};  ///< what part.numbers shows
  gradient answer{};
  wakeup woken{};
  neighbour_change change{};
};

/// What a node of a run may be given; decoding checks records against it.
struct event_rules {
  transport::detail::frame_filter bound_socket;  ///< of its messages
  std::vector<node_id> peers;          ///< its neighbours
  element scalar{};                    ///< of models and gradients
  std::size_t dimension = 0;

  /// *requires* a node of `a`, which was not moved out of it.
  [[nodiscard]] static auto of(assembly const& a, node_id self) -> event_rules {
    auto const& n = a.nodes[to_index(self)];
    transport::identity me{self,     a.factory.neighbours(to_index(self)),       {},
                           a.blocks, {n.channels().begin(), n.channels().end()}, a.pool};
    return {transport::detail::frame_filter{me}, me.peers, n.estimate().kind(), a.blocks.values()};
  }
  /// No record of the node is larger.
  [[nodiscard]] auto bytes_max() const -> std::uint64_t { return 8192 + std::uint64_t{48} * dimension; }
};

namespace detail {

/// Appends little-endian numbers to bytes.
class byte_writer {
 public:
  explicit byte_writer(std::vector<std::byte>& out) : out_{&out} {}
  template<class U>
  auto put(U v) -> byte_writer& {
    auto const at = out_->size();
    out_->resize(at + sizeof(U));
    wire::detail::put(out_->data() + at, v);
    return *this;
  }
  auto put(std::span<std::byte const> bytes) -> byte_writer& {
    put(std::uint64_t{bytes.size()});
    out_->insert(out_->end(), bytes.begin(), bytes.end());
    return *this;
  }
  auto put(shared_buffer const& body) -> byte_writer& {
    return put(static_cast<std::uint8_t>(body.kind())).put(body.on_host().bytes());
  }

 private:
  std::vector<std::byte>* out_;
};

/// Times of a run are less than this (36 years) from its beginning, so that their differences are valid times too.
inline constexpr auto latest_time = std::chrono::nanoseconds{std::int64_t{1} << 60};
/// A sender's clock may be further off; transport::run_clock::from() limits it to this.
inline constexpr auto latest_post = std::chrono::nanoseconds{std::int64_t{1} << 62};

/// Reads the numbers back; throws if bytes are missing.
class byte_reader {
 public:
  explicit byte_reader(std::span<std::byte const> in) : in_{in} {}
  template<class U>
  auto get() -> U {
    return wire::detail::get<U>(take(sizeof(U)).data());
  }
  auto bytes() -> std::span<std::byte const> { return take(get<std::uint64_t>()); }
  auto time(std::chrono::nanoseconds latest = latest_time) -> std::chrono::nanoseconds {
    auto const t = std::chrono::nanoseconds{get<std::int64_t>()};
    if (t > latest || t < -latest) throw config_error{"it holds a time that no run can reach"};
    return t;
  }
  /// The place and the type of a body's values.
  void body(wire::frame_view& f) {
    auto const kind = get<std::uint8_t>();
    if (kind > static_cast<std::uint8_t>(last_element)) throw config_error{"it holds a body of no known type"};
    f.kind = static_cast<element>(kind);
    f.body = bytes();
    auto const width = bytes_of(f.kind);
    if (width == 0 ? !f.body.empty() : f.body.size() % width != 0) throw config_error{"it holds a body that is cut"};
    f.values = width == 0 ? 0 : f.body.size() / width;
  }
  [[nodiscard]] auto rest() const -> std::size_t { return in_.size(); }

 private:
  auto take(std::uint64_t n) -> std::span<std::byte const> {
    if (n > in_.size()) throw config_error{"it ends in the middle"};
    auto const head = in_.first(n);
    in_ = in_.subspan(n);
    return head;
  }
  std::span<std::byte const> in_;
};

inline void put_patch(byte_writer w, patch const& p) {
  w.put(static_cast<std::uint32_t>(p.from)).put(static_cast<std::uint32_t>(p.to));
  w.put(static_cast<std::uint8_t>(p.channel)).put(p.session.sender).put(p.session.receiver);
  w.put(to_count(p.based_on)).put(p.posted_at.since_start.count());
  w.put(std::uint64_t{p.blocks.begin}).put(std::uint64_t{p.blocks.end}).put(std::uint64_t{p.numbers.size()});
  for (auto const n : p.numbers) w.put(to_count(n));
  w.put(p.extra.mask());
  for (std::size_t i = 0; i < scalar_slot_count; ++i) w.put(p.extra.word(i));
  w.put(p.body);
}

inline auto body_of(wire::frame_view const& f, buffer_pool& pool) -> shared_buffer {
  return f.kind == element::none ? shared_buffer{} : wire::copy_body(f, pool);
}

inline auto get_peer(byte_reader& r, event_rules const& rules) -> node_id {
  auto const id = node_id{r.get<std::uint32_t>()};
  if (std::find(rules.peers.begin(), rules.peers.end(), id) != rules.peers.end()) return id;
  throw config_error{"it names node " + std::to_string(to_index(id)) + ", which is no neighbour"};
}

inline void get_numbers(byte_reader& r, logged_event& e) {
  auto const numbers = r.get<std::uint64_t>();
  auto const blocks = e.part.blocks;
  if (numbers > r.rest() / 8) throw config_error{"it ends in the middle"};
  if (numbers == 0 || (numbers != 1 && (blocks.end < blocks.begin || numbers != blocks.size()))) {
    throw config_error{"it has " + std::to_string(numbers) + " iteration numbers for blocks " +
                       std::to_string(blocks.begin) + " to " + std::to_string(blocks.end)};
  }
  for (std::uint64_t i = 0; i < numbers; ++i) e.numbers.push_back(iteration{r.get<std::uint64_t>()});
}

inline void get_patch(byte_reader& r, buffer_pool& pool, event_rules const& rules, logged_event& e) {
  auto& p = e.part;
  wire::frame_view f;
  p.from = f.head.from = get_peer(r, rules);
  p.to = f.head.to = node_id{r.get<std::uint32_t>()};
  auto const channel = r.get<std::uint8_t>();
  if (channel >= channel_count)
    throw config_error{"it holds a message on channel " + std::to_string(channel) + ", and there is none"};
  p.channel = f.head.channel = static_cast<channel_id>(channel);
  p.session.sender = r.get<std::uint32_t>();
  p.session.receiver = r.get<std::uint32_t>();
  p.based_on = iteration{r.get<std::uint64_t>()};
  p.posted_at.since_start = r.time(latest_post);
  p.blocks.begin = r.get<std::uint64_t>();
  p.blocks.end = r.get<std::uint64_t>();
  get_numbers(r, e);
  auto const mask = r.get<std::uint8_t>();
  for (std::size_t i = 0; i < scalar_slot_count; ++i) {
    auto const word = r.get<std::uint64_t>();
    if (((mask >> i) & 1U) != 0) p.extra.set(static_cast<scalar_slot>(i), word);
  }
  r.body(f);
  f.head.extra = p.extra;
  f.head.number = *std::min_element(e.numbers.begin(), e.numbers.end());
  f.blocks = p.blocks;
  if (p.blocks.end < p.blocks.begin || !rules.bound_socket.admits(f, p.from)) {
    throw config_error{"it holds a " + std::string{name_of(p.channel)} + " message of node " +
                       std::to_string(to_index(p.from)) + " with " + std::to_string(f.values) + " values for blocks " +
                       std::to_string(p.blocks.begin) + " to " + std::to_string(p.blocks.end) +
                       ", which the node could not have been sent"};
  }
  p.body = body_of(f, pool);
  p.numbers = e.numbers;
}

inline void put_change(byte_writer w, neighbour_change const& c) {
  w.put(static_cast<std::uint32_t>(c.peer)).put(static_cast<std::uint8_t>(c.what));
  w.put(c.outgoing.sender).put(c.outgoing.receiver).put(c.incoming.sender).put(c.incoming.receiver);
}

inline auto get_change(byte_reader& r, event_rules const& rules) -> neighbour_change {
  neighbour_change c;
  c.peer = get_peer(r, rules);
  auto const what = r.get<std::uint8_t>();
  if (what > static_cast<std::uint8_t>(neighbour_change::edge::resumes))
    throw config_error{"it holds a change of no known kind"};
  c.what = static_cast<neighbour_change::edge>(what);
  for (auto* const session : {&c.outgoing, &c.incoming}) {
    session->sender = r.get<std::uint32_t>();
    session->receiver = r.get<std::uint32_t>();
  }
  return c;
}

inline void put_gradient(byte_writer w, gradient const& g) {
  w.put(static_cast<std::uint64_t>(g.id))
      .put(std::bit_cast<std::uint64_t>(g.loss))
      .put(g.duration.count())
      .put(g.value);
}

inline auto get_gradient(byte_reader& r, buffer_pool& pool, event_rules const& rules) -> gradient {
  gradient g;
  g.id = ticket{r.get<std::uint64_t>()};
  g.loss = std::bit_cast<double>(r.get<std::uint64_t>());
  g.duration = r.time();
  if (g.duration.count() < 0) throw config_error{"it holds a gradient with a negative duration"};
  wire::frame_view f;
  r.body(f);
  if (f.kind != rules.scalar || f.values != rules.dimension) {
    throw config_error{"it holds a gradient of " + std::to_string(f.values) + " values, and the run's have " +
                       std::to_string(rules.dimension)};
  }
  g.value = body_of(f, pool);
  return g;
}

/// Digests each body once, even if many packets of one call share it.
class outbox_digest {
 public:
  [[nodiscard]] auto of(outbox const& out, any_node& node) -> std::uint64_t {
    digest d;
    d.add(out.packets.size());
    for (auto const& p : out.packets) add(d, p);
    d.add(out.request.has_value() ? 1 : 0);
    if (out.request) {
      d.add(static_cast<std::uint64_t>(out.request->id)).add(body(out.request->point)).add(out.request->sample.seed);
      d.add(static_cast<std::uint64_t>(out.request->sample.node)).add(out.request->sample.draw);
    }
    d.add(out.cancel ? static_cast<std::uint64_t>(*out.cancel) + 1 : 0).add(out.wakeups.size());
    for (auto const& w : out.wakeups) d.add(w.id).add(static_cast<std::uint64_t>(w.at.since_start.count()));
    d.add(out.wait.has_value() ? 1 : 0);
    if (out.wait) {
      d.add(static_cast<std::uint64_t>(out.wait->peer)).add(static_cast<std::uint64_t>(out.wait->channel));
      d.add(to_count(out.wait->number));
    }
    if (out.failure) d.add(std::as_bytes(std::span{out.failure->sentence}));
    if (auto model = node.estimate();
        !model_digest_ || !(model == model_)) {  // a node that lists no state still has its model digested
      model_digest_ = body(model);
      model_ = std::move(model);
    }
    d.add(*model_digest_).add(state_.of(node));
    seen_.clear();
    return d.value();
  }

 private:
  state_digest state_;
  void add(digest& d, packet const& p) {
    d.add(static_cast<std::uint64_t>(p.from))
        .add(static_cast<std::uint64_t>(p.to))
        .add(static_cast<std::uint64_t>(p.channel));
    d.add(p.session.sender).add(p.session.receiver).add(to_count(p.number)).add(to_count(p.based_on));
    d.add(static_cast<std::uint64_t>(p.posted_at.since_start.count())).add(p.extra.mask());
    for (std::size_t i = 0; i < scalar_slot_count; ++i) d.add(p.extra.word(i));
    d.add(body(p.body));
  }
  auto body(shared_buffer const& b) -> std::uint64_t {
    for (auto const& [known, value] : seen_) {
      if (known == b) return value;
    }
    auto const value = digest{}.add(static_cast<std::uint64_t>(b.kind())).add(b.on_host().bytes()).value();
    seen_.emplace_back(b, value);
    return value;
  }

  shared_buffer model_;  // kept alive, so that its address is not reused by another body
  std::optional<std::uint64_t> model_digest_;
  std::vector<std::pair<shared_buffer, std::uint64_t>> seen_;
};

}  // namespace detail

/// The bytes of an input, without its outputs.
inline void encode_event(logged_event const& e, std::vector<std::byte>& out) {
  detail::byte_writer w{out};
  w.put(e.now.since_start.count());
  switch (e.kind) {
    case logged::patch:
      detail::put_patch(w, e.part);
      break;
    case logged::gradient:
      detail::put_gradient(w, e.answer);
      break;
    case logged::wakeup:
      w.put(e.woken.id).put(e.woken.at.since_start.count());
      break;
    case logged::neighbours:
      detail::put_change(w, e.change);
      break;
    case logged::start:
    case logged::end:
      break;
  }
}

/// Decodes an input, and checks it against what that node may be given before it allocates memory. Throws config_error
/// if the bytes are not a valid input; the sentence has no subject.
[[nodiscard]] inline auto decode_event(logged kind, std::span<std::byte const> bytes, event_rules const& rules,
                                       buffer_pool& pool) -> logged_event {
  detail::byte_reader r{bytes};
  logged_event e;
  e.kind = kind;
  e.now.since_start = r.time();
  if (e.now.since_start.count() < 0) throw config_error{"it holds a time before the run"};
  switch (kind) {
    case logged::patch:
      detail::get_patch(r, pool, rules, e);
      break;
    case logged::gradient:
      e.answer = detail::get_gradient(r, pool, rules);
      break;
    case logged::wakeup:
      e.woken.id = r.get<std::uint32_t>();
      e.woken.at.since_start = r.time();
      break;
    case logged::neighbours:
      e.change = detail::get_change(r, rules);
      break;
    case logged::start:
    case logged::end:
      break;
  }
  if (r.rest() != 0) throw config_error{"it holds a record that is too long"};
  return e;
}

}  // namespace rubato
