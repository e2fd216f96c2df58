// SPDX-License-Identifier: MIT
// What would go wrong between the nodes of a run, before it runs: started at all nodes with the options of the run, it
// looks at names, addresses, ports and keys here, meets all others, compares versions, options and MTUs, and measures
// links and clocks. The nodes talk to each other over TCP; where the run is to go over UDP, they also try datagrams.
// Each node ends with one table of what it found and what the others say of themselves.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/ip/udp.hpp>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/report/table.hpp>
#include <rubato/transport/tcp.hpp>
#include <rubato/version.hpp>
#include <rubato/wire/agreement.hpp>

#include "datagram_probe.hpp"
#include "doctor_port.hpp"  // not "support/...", so that a test may include this
#include "hosts.hpp"
#include "link_probe.hpp"
#include "same_places.hpp"

namespace rubato::examples {

/// What a doctor is told: of the run, as tcp_options has it.
struct doctor_choice {
  std::size_t self = 0;
  std::vector<std::string> addresses{};  ///< of all nodes, by id
  bool goes_far = false;  ///< addresses beyond loopback are allowed
  std::optional<int> listener{};
  bool over_udp = false;  ///< the run sends datagrams, which are tried too
  std::optional<int> datagrams{};  ///< the socket of these, bound
  std::chrono::nanoseconds arrival{};
  std::chrono::nanoseconds silence{};
  std::chrono::nanoseconds turn = std::chrono::seconds{10};  ///< in which a pair of nodes measures its link
  wire::agreement agreed{};  ///< what all nodes of the run must have in common
};

struct finding {
  std::size_t node = 0;
  std::string check{}, found{};
  std::string mend{};  ///< empty: all is well
  bool fails = false;  ///< the run would
};

namespace detail {

/// Of packets to that address, as the system knows it before it has sent one; 0: it does not.
inline auto mtu_to(transport::address const& a) -> int {
  namespace ip = boost::asio::ip;
  boost::asio::io_context io;
  ip::udp::socket socket{io};
  boost::system::error_code error;
  socket.open(a.host.is_v6() ? ip::udp::v6() : ip::udp::v4(), error);
  if (!error) socket.connect({a.host, a.port}, error);
  auto mtu = 0;
  auto size = socklen_t{sizeof mtu};
  auto const known =
      !error && (a.host.is_v6() ? getsockopt(socket.native_handle(), IPPROTO_IPV6, IPV6_MTU, &mtu, &size)
                                : getsockopt(socket.native_handle(), IPPROTO_IP, IP_MTU, &mtu, &size)) == 0;
  return known ? mtu : 0;
}

inline auto own_version() -> std::string {
  return std::to_string(RUBATO_VERSION_MAJOR) + "." + std::to_string(RUBATO_VERSION_MINOR) + "." +
         std::to_string(RUBATO_VERSION_PATCH);
}

/// The first line of a text, which is taken from it.
inline auto cut_line(std::string_view& text) -> std::string {
  auto const end = text.find('\n');
  auto line = std::string{text.substr(0, end)};
  text.remove_prefix(end == text.npos ? text.size() : end + 1);
  return line;
}

inline auto rate_text(double rate) -> std::string {
  auto const mega = 1e-6 * rate;
  return (mega < 100 ? with_digits(mega, 3) : std::to_string(std::llround(mega))) + " Mbit/s";
}
inline auto milliseconds_text(double seconds) -> std::string { return with_digits(1e3 * seconds, 3) + " ms"; }

}  // namespace detail

/// **Thread safety:** one owner.
class doctor {
 public:
  explicit doctor(doctor_choice c) : c_{std::move(c)}, where_(c_.addresses.size()) {}

  /// Everything, within twice `arrival` and two turns a node, beside the time in which names are looked up. `security`
  /// is asked for the keys of this node, and may throw config_error.
  template<class Security>
  auto examine(Security const& security) -> std::vector<finding> {
    look_at_addresses();
    auto const keys = looked_at(c_.self, "key", "mend --key or --certificates of this node", security);
    auto const socket =
        looked_at(c_.self, "port", "free the port, or give this node another one", [&] { return own_socket(); });
    auto const probe = c_.over_udp ? looked_at(c_.self, "port", "free the port for UDP, or give this node another one",
                                               [&] { return own_probe(); })
                                   : std::unique_ptr<datagram_probe>{};
    if (keys && socket && probe) meet(*keys, *socket, probe->get());
    else if (socket && !c_.listener) ::close(*socket);
    return std::move(all_);
  }

 private:
  static constexpr auto unreached = "reached", unnamed = "name";  // checks of other nodes of which all are told

  void add(std::size_t node, std::string check, std::string found, std::string mend = {}, bool fails = true) {
    fails = fails && !mend.empty();
    all_.push_back({node, std::move(check), escaped(found, 300), escaped(mend, 300), fails});
  }
  void add_well(std::size_t node, std::string check, std::string found) {
    add(node, std::move(check), std::move(found));
  }
  void add_better(std::size_t node, std::string check, std::string found, std::string mend) {
    add(node, std::move(check), std::move(found), std::move(mend), false);
  }

  /// What `look` returns; where it throws config_error, that is found.
  template<class Look>
  auto looked_at(std::size_t node, char const* check, char const* mend, Look const& look)
      -> std::optional<decltype(look())> {
    try {
      return look();
    } catch (config_error const& e) {
      add(node, check, e.what(), mend);
      return std::nullopt;
    }
  }

  // --- what can be seen here

  void look_at_addresses() {
    auto const n = where_.size();
    for (std::size_t i = 0; i < n; ++i) {
      where_[i] = looked_at(i, unnamed, "mend --peers, --hosts or how names are looked up",
                            [&] { return transport::address_of(to_node(i), c_.addresses, c_.goes_far); });
    }
    auto const known = static_cast<std::size_t>(
        std::count_if(where_.begin(), where_.end(), [](auto const& a) { return a.has_value(); }));
    auto const count = [&](auto const& is) {
      return static_cast<std::size_t>(
          std::count_if(where_.begin(), where_.end(), [&](auto const& a) { return a && is(a->host); }));
    };
    add_well(c_.self, "names", std::to_string(known) + " of " + std::to_string(n) + " addresses are known");
    auto const six = count([](auto const& host) { return host.is_v6(); });
    if (six > 0 && six < known)
      add(c_.self, "family",
          std::to_string(six) + " of " + std::to_string(known) + " addresses are IPv6, the others IPv4",
          std::string{c_.over_udp ? "" : "better: "} + "take addresses of one family", c_.over_udp);
    if (auto const words = words_of_same_place(c_.addresses, where_); !words.empty())
      add(c_.self, "address", words, "mend --peers or --hosts");
    auto const here = count([](auto const& host) { return host.is_loopback(); });
    for (std::size_t i = 0; here > 0 && here < known && i < n; ++i) {
      if (where_[i] && where_[i]->host.is_loopback())
        add(i, "address", where_[i]->text() + " is loopback, where other machines do not reach it",
            "give an address of the network; /etc/hosts may have its name beside 127.0.1.1");
    }
  }

  auto own_socket() -> int {
    if (c_.listener) return *c_.listener;
    if (!where_[c_.self]) throw config_error{"this node has no address to listen on"};
    return transport::open_tcp_socket(c_.addresses[c_.self], c_.goes_far).descriptor;
  }

  auto own_probe() -> std::unique_ptr<datagram_probe> {
    if (c_.datagrams) return std::make_unique<datagram_probe>(*c_.datagrams);
    if (!where_[c_.self]) throw config_error{"this node has no address to receive at"};
    return std::make_unique<datagram_probe>(transport::open_udp_socket(c_.addresses[c_.self], c_.goes_far).descriptor);
  }

  // --- the others

  /// `probe`: null where the run goes over TCP.
  void meet(std::shared_ptr<transport::security const> const& keys, int socket, datagram_probe* probe) {
    std::vector<std::size_t> peers;
    for (std::size_t i = 0; i < where_.size(); ++i) {
      if (i != c_.self && where_[i]) peers.push_back(i);
    }
    doctor_port port{c_.self,
                     where_.size(),
                     peers,
                     {.addresses = c_.addresses,
                      .listener = socket,
                      .security = keys,
                      .insecure = c_.goes_far && !keys,
                      .arrival = c_.arrival,
                      .silence = c_.silence}};
    hear_reports(port, peers);
    for (auto const i : peers) judge_report(port, i);
    auto const is_whole = std::none_of(all_.begin(), all_.end(), [](auto const& f) { return f.fails; });
    if (compare(port, peers, is_whole)) return measure(port, peers, probe);
    if (std::none_of(all_.begin(), all_.end(), [](auto const& f) { return f.fails; }))
      add(c_.self, "links", "not measured", "mend what other nodes have found");
  }

  /// Until every peer has come and said what it is, or is known not to come.
  void hear_reports(doctor_port& port, std::vector<std::size_t> const& peers) {
    std::vector<bool> told(where_.size());
    auto const latest = transport::later(c_.arrival + std::chrono::seconds{2});
    auto const is_done = [&](std::size_t i) { return port.text_of(i, 0) != nullptr || !port.why_gone(i).empty(); };
    while (transport::clock::now() < latest) {
      for (auto const i : peers) {
        if (told[i] || !port.is_open(i)) continue;
        port.tell(i,
                  detail::own_version() + "\n" + std::to_string(detail::mtu_to(*where_[i])) + "\n" + c_.agreed.text());
        told[i] = true;
      }
      auto const complete =
          std::all_of(peers.begin(), peers.end(), [&](auto i) { return is_done(i) && (told[i] || !port.is_open(i)); });
      if (complete) return;
      port.listen((std::min)(latest, transport::later(std::chrono::milliseconds{50})));
    }
  }

  void judge_report(doctor_port const& port, std::size_t i) {
    auto const* const report = port.text_of(i, 0);
    if (report == nullptr) {
      auto const why =
          port.why_gone(i).empty() ? "node " + std::to_string(i) + " has come and says nothing" : port.why_gone(i);
      return add(i, unreached, why, "start it with the same options; mend its address, port, key or a firewall");
    }
    auto rest = std::string_view{*report};
    auto const version = detail::cut_line(rest), mtu = detail::cut_line(rest);
    if (version != detail::own_version())
      add(i, "version", "it has rubato " + version + ", and this node " + detail::own_version(),
          "install one version everywhere");
    if (auto const why = wire::difference(c_.agreed.text(), rest, "node " + std::to_string(i)); !why.empty())
      add(i, "options", why, "give all nodes the same options");
    auto const here = detail::mtu_to(*where_[i]);
    if (mtu != std::to_string(here))
      add_better(i, "MTU", mtu + " to this node, and " + std::to_string(here) + " from here",
                 "better: one MTU on the whole way");
  }

  /// Tells everyone what was found here, and notes what they found of themselves. True if all have met all.
  auto compare(doctor_port& port, std::vector<std::size_t> const& peers, bool is_whole) -> bool {
    auto verdict = std::string{is_whole ? "whole\n" : "parts\n"};
    for (auto const& f : all_) {
      if (!f.mend.empty() && (f.node == c_.self || f.check == unreached || f.check == unnamed))
        verdict += std::to_string(f.node) + "\t" + f.check + "\t" + f.found + "\t" + f.mend + "\n";
    }
    for (auto const i : peers) {
      if (port.is_open(i)) port.tell(i, verdict);
    }
    auto const latest = transport::later(c_.arrival + std::chrono::seconds{5});
    auto const is_done = [&](std::size_t i) { return port.text_of(i, 1) != nullptr || !port.is_open(i); };
    while (!std::all_of(peers.begin(), peers.end(), is_done) && transport::clock::now() < latest)
      port.listen((std::min)(latest, transport::later(std::chrono::milliseconds{50})));
    for (auto const i : peers) {
      auto rest = std::string_view{};
      if (auto const* const said = port.text_of(i, 1)) rest = *said;
      is_whole = detail::cut_line(rest) == "whole" && is_whole;
      for (std::size_t k = 0; k < where_.size() + 16 && !rest.empty(); ++k) note(i, detail::cut_line(rest));
    }
    return is_whole;
  }

  /// A line of what node `from` has found.
  void note(std::size_t from, std::string const& line) {
    auto rest = std::string_view{line};
    auto const next = [&] {
      auto const end = rest.find('\t');
      auto part = std::string{rest.substr(0, end)};
      rest.remove_prefix(end == rest.npos ? rest.size() : end + 1);
      return part;
    };
    auto const node = next(), check = next(), found = next(), mend = next();
    auto about = std::size_t{0};
    if (!detail::is_number(node, about) || about >= where_.size() || mend.empty()) return;
    auto const is_known = std::any_of(all_.begin(), all_.end(), [&](auto const& f) {
      return f.node == about && f.check == check && check == unreached;
    });
    if (is_known) return;
    add(about, check, about == from ? found : "node " + std::to_string(from) + " says: " + found, mend,
        !mend.starts_with("better: "));
  }

  /// The pair of nodes i and j has turn i + j: so each node has one pair a turn, and those before it have ended.
  void measure(doctor_port& port, std::vector<std::size_t> const& peers, datagram_probe* probe) {
    auto const began = transport::clock::now();
    auto link = link_probe{port};
    for (auto const other : peers) {
      auto const begins = c_.self < other;
      port.set_deadline(began + c_.turn * static_cast<std::int64_t>(c_.self + other));
      try {
        auto const ahead = link.clock_ahead(other, begins);
        tell_link(other, measured(link, other, begins, std::size_t{1} << 17), ahead);
        if (probe != nullptr) tell_datagrams(other, probe->tried(port, other, *where_[other], begins));
      } catch (link_late const& e) {
        add_better(other, "link", e.what(), "better: a link of more than 2 Mbit/s, with less delay");
      } catch (link_failed const& e) {
        return add(other, "link", e.what(), "if small messages pass and large ones do not, lower the MTU");
      }
    }
  }

  void tell_link(std::size_t other, measured_link const& seen, double ahead) {
    auto const mtu = detail::mtu_to(*where_[other]);
    auto const text = detail::milliseconds_text(seen.latency) + " one way, " + detail::rate_text(seen.rate) +
                      " out, MTU " + std::to_string(mtu);
    if (2 * seen.latency > to_seconds(c_.silence))
      add(other, "link", text, "give a longer --silence than messages take there and back");
    else add_well(other, "link", text);
    auto const apart = detail::milliseconds_text(std::abs(ahead)) + (ahead < 0 ? " behind" : " ahead");
    if (std::abs(ahead) > 1)
      add_better(other, "clock", apart, "better: set the clocks, for certificates and the times in results");
    else add_well(other, "clock", apart);
  }

  void tell_datagrams(std::size_t other, datagram_probe::both_ways const& seen) {
    add_datagrams(other, seen.out.text("there"), seen.out.to_mend());
    if (auto const mend = seen.in.to_mend(); !mend.empty()) add_datagrams(other, seen.in.text("from there"), mend);
  }
  void add_datagrams(std::size_t other, std::string found, std::string mend) {
    auto const fails = !mend.starts_with("better: ");
    add(other, "udp", std::move(found), std::move(mend), fails);
  }

  doctor_choice c_;
  std::vector<std::optional<transport::address>> where_;  // those that are known here
  std::vector<finding> all_;
};

/// The findings as a table, and a last line that says how many would let the run fail.
[[nodiscard]] inline auto text_of(std::vector<finding> const& all) -> std::string {
  using report::side;
  auto table = report::text_table{
      {{"node", side::right}, {"check", side::left}, {"found", side::left}, {"to mend", side::left}}};
  for (auto const& f : all) table.add_row({std::to_string(f.node), f.check, f.found, f.mend.empty() ? "-" : f.mend});
  auto const failing = std::count_if(all.begin(), all.end(), [](auto const& f) { return f.fails; });
  if (failing == 0) return table.text() + "nothing here would let the run fail\n";
  return table.text() + std::to_string(failing) + (failing == 1 ? " thing" : " things") +
         " to mend, or the run fails\n";
}

}  // namespace rubato::examples
