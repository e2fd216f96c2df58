// SPDX-License-Identifier: MIT
// A state as data: it is taken from an object that lists its state, and can be put back into another of the same
// layout. Published bodies are shared. Vectors that the owner may still write are copied, in one pass each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/digest.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/visit_state.hpp>

namespace rubato {

/// The last word is a hash of the layout: states of one layout have the same parts under the same names.
struct snapshot {
  std::vector<std::uint64_t> words;
  std::vector<shared_buffer> bodies;  ///< each once, however many parts share it

  [[nodiscard]] auto size_bytes() const -> std::size_t {
    auto bytes = words.size() * sizeof(std::uint64_t);
    for (auto const& b : bodies) bytes += b.size_bytes();
    return bytes;
  }
};

namespace detail {

/// The layout, and one more part of it.
inline void add_part(digest& layout, std::string_view name, char kind) {
  layout.add(std::as_bytes(std::span{name})).add(static_cast<std::uint64_t>(kind));
}

class state_writer final : public state_visitor {
 public:
  [[nodiscard]] auto take() -> snapshot {
    kept_.words.push_back(layout_.value());
    return std::move(kept_);
  }

 protected:
  void word(std::string_view name, std::uint64_t& bits) override {
    add_part(layout_, name, 'w');
    kept_.words.push_back(bits);
  }
  void body(std::string_view name, shared_buffer& part) override {
    add_part(layout_, name, 'b');
    kept_.words.push_back(part ? place_of(part) : 0);
  }
  void unlisted(std::string_view name) override {
    throw config_error{"this state cannot be saved: its part \"" + std::string{name} +
                       "\" has a type that lists no state; give it a visit_state (core/visit_state.hpp)"};
  }

 private:
  /// From 1 on.
  auto place_of(shared_buffer const& part) -> std::uint64_t {
    auto const [at, is_new] = places_.try_emplace(part.bytes().data(), kept_.bodies.size() + 1);
    if (is_new) kept_.bodies.push_back(part);
    return at->second;
  }
  snapshot kept_;
  digest layout_;
  std::map<std::byte const*, std::uint64_t> places_;
};

class state_reader final : public state_visitor {
 public:
  state_reader(snapshot const& from, buffer_pool pool)
      : from_{&from}, pool_{std::move(pool)}, here_(from.bodies.size()) {}
  [[nodiscard]] auto is_reading() const -> bool override { return true; }
  /// Throws config_error unless everything was read and the layout is the saved one.
  void finish() {
    if (next_ + 1 != from_->words.size() || from_->words.back() != layout_.value()) refuse("number");
  }

 protected:
  void word(std::string_view name, std::uint64_t& bits) override {
    add_part(layout_, name, 'w');
    bits = take();
  }
  void length(std::string_view name, std::uint64_t& parts) override {
    word(name, parts);
    if (parts > from_->words.size()) refuse(name);
  }
  void body(std::string_view name, shared_buffer& part) override {
    add_part(layout_, name, 'b');
    auto const place = take();
    if (place > here_.size()) refuse(name);
    if (place == 0) {
      part = {};
      return;
    }
    auto const& kept = from_->bodies[static_cast<std::size_t>(place) - 1];
    if (part && (part.kind() != kept.kind() || part.size() != kept.size())) refuse(name);
    part = brought_in(static_cast<std::size_t>(place) - 1);
  }
  void unlisted(std::string_view name) override { refuse(name); }
  void refuse(std::string_view name) override {
    throw config_error{
        "this state was saved by another version of the algorithm, or for another node or run, or only one of saving "
        "and "
        "resuming has a rule of admission (--admit): its part \"" +
        std::string{name} + "\" does not fit"};
  }
  [[nodiscard]] auto memory() -> buffer_pool* override { return &pool_; }

 private:
  auto take() -> std::uint64_t {
    if (next_ + 1 >= from_->words.size()) refuse("number");
    return from_->words[next_++];
  }
  auto brought_in(std::size_t place) -> shared_buffer const& {
    if (!here_[place]) here_[place] = pool_.bring_in(from_->bodies[place]);
    return here_[place];
  }
  snapshot const* from_;
  buffer_pool pool_;
  std::vector<shared_buffer> here_;
  std::size_t next_ = 0;
  digest layout_;
};

/// Digests every word, and the bytes of every body, in the order in which they are visited. Published bodies that the
/// last digest visited are not read again.
class state_digest final : public state_visitor {
 public:
  template<class Stateful>
  [[nodiscard]] auto of(Stateful& it) -> std::uint64_t {
    digest_ = {};
    (*this)("state", it);
    before_ = std::exchange(met_, {});
    return digest_.value();
  }

 protected:
  void word(std::string_view, std::uint64_t& bits) override { digest_.add(bits); }
  void body(std::string_view, shared_buffer& part) override {
    auto const [at, is_new] = met_.try_emplace(part.bytes().data());
    if (is_new) at->second = known(part);
    digest_.add(at->second.second);
  }
  void values(std::string_view, shared_buffer& copy) override { digest_.add(digest_of(copy)); }
  void unlisted(std::string_view) override {}

 private:
  using entry = std::pair<shared_buffer, std::uint64_t>;
  static auto digest_of(shared_buffer const& b) -> std::uint64_t {
    return digest{}.add(static_cast<std::uint64_t>(b.kind())).add(b.on_host().bytes()).value();
  }
  [[nodiscard]] auto known(shared_buffer const& b) const -> entry {
    auto const at = before_.find(b.bytes().data());
    return at != before_.end() ? at->second : entry{b, digest_of(b)};
  }
  digest digest_;
  std::map<std::byte const*, entry> before_, met_;  // holding a body keeps its address from being used again
};

}  // namespace detail

/// The state of `it`, as it is now: valid for ever, and safe to hand to another thread. Throws config_error where a
/// part has a type that lists no state.
template<class Stateful>
[[nodiscard]] auto take_snapshot(Stateful& it) -> snapshot {
  detail::state_writer writer;
  writer("state", it);
  return writer.take();
}

/// Puts a state into `it`, which was made from the same options and has not run since. `pool` is that of its vectors.
/// Throws config_error if the state has other parts, or a vector of another type or size than the one in its place;
/// `it` is of no use then.
template<class Stateful>
void restore(Stateful& it, snapshot const& from, buffer_pool pool) {
  detail::state_reader reader{from, std::move(pool)};
  reader("state", it);
  reader.finish();
}

/// The digest of the whole state: one pass over every vector. Equal states give equal digests.
template<class Stateful>
[[nodiscard]] auto digest_of_state(Stateful& it) -> std::uint64_t {
  return detail::state_digest{}.of(it);
}

}  // namespace rubato
