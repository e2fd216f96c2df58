// SPDX-License-Identifier: MIT
// One node whose place among members changes while its edges stay open, as between processes.
#include <rubato/mixing/members.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <rubato/algorithm/r_fast.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/run/assemble.hpp>
#include <rubato/topology/builders.hpp>
#include <rubato/topology/members.hpp>

#include "support/catch.hpp"
#include "support/contract.hpp"

namespace rubato::test {
namespace {

using host = backend::host<double>;
using fast = r_fast<host>;

constexpr auto optimum = 100.0;

auto trees() -> topology::member_graphs { return {4, topology::binary_tree}; }
auto data() -> problem::quadratic {
  return {problem::quadratic::rows(4, {1.0}), problem::quadratic::rows(4, {optimum})};
}
auto value(double x) -> shared_buffer {
  auto b = host{}.allocate<double>(1);
  b.data()[0] = x;
  return std::move(b).publish();
}

/// Node 3 of four, whose gradients are those of its quadratic.
class third {
 public:
  third() : all_{assemble<fast>(trees(), data(), {.step = 0.1})} {}

  void among(std::vector<node_id> const& present) { node().on_members(present); }
  void closes(node_id peer) { node().on_neighbours(at_, {peer, neighbour_change::edge::closes, {}, {}}, out_); }
  void hears_model(node_id from, double model) {
    packet p;
    p.from = from;
    p.to = node_id{3};
    p.channel = channel_id::model;
    p.number = iteration{++sent_};
    p.posted_at = at_;
    p.body = value(model);
    node().on_patch(at_, patch_of(p, {0, 1}), out_);
    REQUIRE_FALSE(out_.failure);
  }
  void start() { node().start(at_, out_); }
  void iterates() {
    REQUIRE(out_.request);
    auto const wanted = std::exchange(out_.request, std::nullopt);
    out_.clear();
    at_.since_start += std::chrono::milliseconds{1};
    node().on_gradient(at_, {.id = wanted->id, .value = value(wanted->point.view<double>()[0] - optimum)}, out_);
    REQUIRE_FALSE(out_.failure);
  }
  auto model() -> double { return node().estimate().view<double>()[0]; }

 private:
  auto node() -> any_node& { return all_.nodes[3]; }
  assembly all_;
  outbox out_;
  instant at_{};
  std::uint64_t sent_ = 0;
};

auto ids(std::vector<std::uint32_t> const& all) -> std::vector<node_id> {
  std::vector<node_id> made;
  for (auto const i : all) made.push_back(node_id{i});
  return made;
}

TEST_CASE("a node with a new parent pulls nothing of it that is older, such as the common first model") {
  third node;
  node.among(ids({0, 1, 2, 3}));  // its parent is node 1
  node.hears_model(node_id{0}, -1000);  // kept, and not pulled
  node.start();
  for (int k = 0; k < 400; ++k) {
    node.hears_model(node_id{1}, optimum);
    node.iterates();
  }
  REQUIRE(node.model() == Approx(optimum));
  node.closes(node_id{1});
  node.among(ids({0, 2, 3}));  // its parent is node 0, which is slow
  for (int k = 0; k < 5; ++k) {
    node.iterates();
    CHECK(node.model() == Approx(optimum));
  }
  node.hears_model(node_id{0}, optimum + 8);
  node.iterates();
  CHECK(node.model() > optimum + 1);
}

TEST_CASE("a number of members for which there is no room is a broken contract") {
  auto const all = assemble<fast>(trees(), data(), {});
  CHECK(broken_by([&] { static_cast<void>(all.members->of(0)); }).find("room") != std::string::npos);
  CHECK(broken_by([&] { static_cast<void>(all.members->of(5)); }).find("room") != std::string::npos);
  CHECK(broken_by([&] { static_cast<void>(trees().of(0)); }).find("room") != std::string::npos);
}

}  // namespace
}  // namespace rubato::test
