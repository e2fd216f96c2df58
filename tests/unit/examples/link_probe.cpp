// SPDX-License-Identifier: MIT
#include "../../../examples/support/link_probe.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <mutex>
#include <thread>

#include <rubato/core/packet.hpp>

#include "support/catch.hpp"

namespace rubato::test {
namespace {

/// One end of a link in this process.
class end_of_link {
 public:
  explicit end_of_link(end_of_link* other = nullptr) : other_{other} {
    if (other != nullptr) other->other_ = this;
  }
  [[nodiscard]] auto piece_values() const -> std::size_t { return 16; }
  [[nodiscard]] auto may_send() const -> bool { return true; }
  [[nodiscard]] auto copy_of(std::span<double const> values) -> shared_buffer {
    auto copy = pool_.allocate<double>(values.size());
    std::copy(values.begin(), values.end(), copy.data());
    return std::move(copy).publish();
  }
  void send(std::size_t, channel_id, shared_buffer body, std::uint64_t) {
    ++sent;
    packet p;
    p.body = std::move(body);
    std::lock_guard const lock{other_->mutex_};
    other_->waiting_.push_back(std::move(p));
  }
  [[nodiscard]] auto receive(std::size_t) -> std::optional<packet> {
    std::lock_guard const lock{mutex_};
    if (waiting_.empty()) return std::nullopt;
    auto first = std::move(waiting_.front());
    waiting_.pop_front();
    return first;
  }
  void wait(std::size_t, bool) { std::this_thread::yield(); }

  int sent = 0;

 private:
  buffer_pool pool_;
  end_of_link* other_;
  std::mutex mutex_;
  std::deque<packet> waiting_;
};

/// `look(probe, begins)` at both ends, which may take so long.
template<class Look>
void at_both_ends(end_of_link& low, end_of_link& high, std::chrono::nanoseconds longest, Look const& look) {
  std::thread other{[&] {
    auto link = examples::link_probe{high, longest};
    look(link, false);
  }};
  auto link = examples::link_probe{low, longest};
  look(link, true);
  other.join();
}

TEST_CASE("a link with long round trips is measured in two of them, and a quick one in fifty") {
  for (auto const& [longest, rounds] : {std::pair{std::chrono::seconds{0}, 2}, {std::chrono::seconds{3600}, 50}}) {
    end_of_link low, high{&low};
    at_both_ends(low, high, longest, [](auto& link, bool begins) {
      auto const [least, more] = link.delays(begins ? 1 : 0, begins);
      if (begins) REQUIRE((least > 0 && more >= 0));
    });
    CHECK(low.sent == rounds);
    CHECK(high.sent == rounds);
  }
}

TEST_CASE("clocks are compared in two round trips if these are long, else in ten, and both ends say the same") {
  for (auto const& [longest, rounds] : {std::pair{std::chrono::seconds{0}, 2}, {std::chrono::seconds{3600}, 10}}) {
    end_of_link low, high{&low};
    double ahead[2] = {};
    at_both_ends(low, high, longest,
                 [&](auto& link, bool begins) { ahead[begins] = link.clock_ahead(begins ? 1 : 0, begins); });
    CHECK(ahead[0] == -ahead[1]);
    CHECK(low.sent == rounds + 1);  // and what it has found
    CHECK(high.sent == rounds);
  }
}

}  // namespace
}  // namespace rubato::test
