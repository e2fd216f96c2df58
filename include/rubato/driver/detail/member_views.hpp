// SPDX-License-Identifier: MIT
// Who is present, as each node of a simulation sees it, and which ends of edges are open. Bookkeeping only: the
// simulator decides when somebody hears of something, and tells the nodes (driver/simulator_members.hpp).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <rubato/core/ids.hpp>
#include <rubato/environment/members.hpp>

namespace rubato::detail {

/// One end of an edge. Both ends of an open edge have the same session, unless one of them does not know yet that the
/// other has closed it.
struct member_end {
  bool is_open = false;
  std::uint8_t wanted = 0;  // what is to flow over it (mixing::flows_with), as the node of this end sees it; 0: nothing
  std::uint8_t flows = 0;  // what flows over it
  std::uint32_t session = 0;
  std::uint32_t count = 0;  // of the other node, when it was opened
  static void visit_state(auto& self, auto&& visit) {
    visit("is open", self.is_open), visit("wanted", self.wanted), visit("flows", self.flows);
    visit("session", self.session), visit("count", self.count);
  }
};

class member_views {
 public:
  static void visit_state(auto& self, auto&& visit) {
    visit("counts", self.counts_), visit("known", self.known_), visit("ends", self.ends_);
  }

  member_views() = default;
  /// `nodes`: with servers, which follow the members and are always there.
  member_views(environment::membership const& plan, std::size_t members, std::size_t nodes)
      : first_(members, false),
        counts_(members, 0),
        known_(nodes, std::vector<std::uint32_t>(members, 0)),
        ends_(nodes, std::vector<member_end>(nodes)) {
    for (auto const id : plan.beginning(members)) first_[to_index(id)] = true;
    std::vector<std::uint32_t> count(members, 0);
    for (auto const& c : plan.changes) after_.push_back(++count[to_index(c.node)]);
  }

  /// How often the node of that change has come or gone with it.
  [[nodiscard]] auto count_after(std::size_t change) const -> std::uint32_t { return after_[change]; }
  /// How often a node really has; a server never.
  [[nodiscard]] auto count(std::size_t node) const -> std::uint32_t {
    return node < counts_.size() ? counts_[node] : 0;
  }
  void set_count(std::size_t node, std::uint32_t to) { counts_[node] = to; }
  [[nodiscard]] auto is_present(std::size_t node) const -> bool { return is_there(node, count(node)); }

  [[nodiscard]] auto known(std::size_t viewer, std::size_t of) const -> std::uint32_t {
    return of < counts_.size() ? known_[viewer][of] : 0;
  }
  /// False if that was known.
  auto learn(std::size_t viewer, std::size_t of, std::uint32_t count) -> bool {
    auto& its = known_[viewer][of];
    if (count <= its) return false;
    its = count;
    return true;
  }
  [[nodiscard]] auto all_known(std::size_t viewer) const -> std::vector<std::uint32_t> const& { return known_[viewer]; }
  /// Who is present, as this node sees it; ids in rising order.
  [[nodiscard]] auto view(std::size_t viewer) const -> std::vector<node_id> {
    std::vector<node_id> all;
    for (std::size_t i = 0; i < counts_.size(); ++i)
      if (is_there(i, known_[viewer][i])) all.push_back(to_node(i));
    return all;
  }

  [[nodiscard]] auto end(std::size_t at, std::size_t to) -> member_end& { return ends_[at][to]; }
  /// Whether the two nodes, both of which are there, know each other and want the same to flow over a closed edge.
  [[nodiscard]] auto may_open(std::size_t i, std::size_t j) const -> bool {
    auto const &a = ends_[i][j], &b = ends_[j][i];
    return !a.is_open && !b.is_open && a.wanted != 0 && a.wanted == b.wanted && known(i, j) == count(j) &&
           known(j, i) == count(i);
  }
  /// Opens both ends, and gives the session.
  auto open(std::size_t i, std::size_t j) -> std::uint32_t {
    auto &a = ends_[i][j], &b = ends_[j][i];
    auto const session = (std::max)(a.session, b.session) + 1;
    a = {true, a.wanted, a.wanted, session, count(j)};
    b = {true, b.wanted, b.wanted, session, count(i)};
    return session;
  }

 private:
  [[nodiscard]] auto is_there(std::size_t node, std::uint32_t count) const -> bool {
    return node >= first_.size() || first_[node] == (count % 2 == 0);
  }

  std::vector<bool> first_;  // by member: whether it is there at the beginning
  std::vector<std::uint32_t> after_;  // by change
  std::vector<std::uint32_t> counts_;  // by member
  std::vector<std::vector<std::uint32_t>> known_;  // by node and member
  std::vector<std::vector<member_end>> ends_;  // by node and node
};

}  // namespace rubato::detail
