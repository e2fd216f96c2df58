// SPDX-License-Identifier: MIT
// Hosts files: one host a line, and where each node of a run is by them.
//   # a comment
//   node1 slots=2        two processes, on the base port and the next one
//   node2:7100           one process, on port 7100
//   [fd00::7]:7000 slots=4
#pragma once

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <istream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>

namespace rubato::examples {

inline constexpr std::size_t most_processes = 65536;

struct host {
  std::string name{};  ///< IPv6 addresses with their brackets
  std::uint16_t port = 0;  ///< of its first process; 0: the base port
  std::size_t slots = 1;  ///< processes that may run there
  std::size_t line = 0;  ///< of the file
};

/// Where a process is.
struct seat {
  std::string host{};
  std::size_t local = 0;  ///< its number among those of its host
  std::uint32_t port = 0;
  [[nodiscard]] auto address() const -> std::string { return host + ":" + std::to_string(port); }
};

namespace detail {

[[noreturn]] inline void refuse_line(std::string const& file, std::size_t line, std::string const& why) {
  throw config_error{escaped(file, 200) + ":" + std::to_string(line) + ": " + why};
}

template<class Number>
auto is_number(std::string_view text, Number& into) -> bool {
  auto const* const end = text.data() + text.size();
  auto const read = std::from_chars(text.data(), end, into);
  return read.ec == std::errc{} && read.ptr == end;
}

/// Letters, digits, '.', '-' and '_'; or an IPv6 address in brackets. None begins with '-': ssh takes such for options.
inline auto is_host_name(std::string_view name) -> bool {
  auto const consists_of = [](std::string_view text, std::string_view allowed) {
    return !text.empty() && text.find_first_not_of(allowed) == text.npos;
  };
  if (name.starts_with('['))
    return name.ends_with(']') && consists_of(name.substr(1, name.size() - 2), "0123456789abcdefABCDEF:.");
  return !name.starts_with('-') &&
         consists_of(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
}

inline auto host_in(std::string const& text, std::string const& file, std::size_t line) -> host {
  std::istringstream words{text};
  std::string first, word;
  words >> first;
  auto h = host{.line = line};
  auto const colon = first.rfind(':');
  auto const has_port = colon != first.npos && first.find(']', colon) == first.npos;
  h.name = first.substr(0, has_port ? colon : first.npos);
  if (!is_host_name(h.name))
    refuse_line(file, line, "'" + escaped(h.name, 100) + "' is no name of a host (IPv6 addresses are in brackets)");
  if (has_port && (!is_number(std::string_view{first}.substr(colon + 1), h.port) || h.port == 0))
    refuse_line(file, line,
                "'" + escaped(first.substr(colon + 1), 100) + "' is no port: that is a number from 1 to 65535");
  for (auto slots = 0; words >> word; ++slots) {
    if (!word.starts_with("slots="))
      refuse_line(file, line, "'" + escaped(word, 100) + "' is not understood: a line is NAME[:PORT] [slots=N]");
    if (slots > 0) refuse_line(file, line, "slots is given twice");
    if (!is_number(std::string_view{word}.substr(6), h.slots) || h.slots == 0 || h.slots > most_processes)
      refuse_line(file, line,
                  "slots must be a whole number from 1 to 65536, not '" + escaped(word.substr(6), 100) + "'");
  }
  return h;
}

/// The same for all ways to write a host that need no look-up.
inline auto one_spelling(std::string name) -> std::string {
  for (auto& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (name == "localhost") return "127.0.0.1";
  auto number = in6_addr{};
  auto text = std::array<char, INET6_ADDRSTRLEN>{};
  if (!name.starts_with('[') || inet_pton(AF_INET6, name.substr(1, name.size() - 2).c_str(), &number) != 1) return name;
  return std::string{"["} + inet_ntop(AF_INET6, &number, text.data(), text.size()) + "]";
}

}  // namespace detail

[[nodiscard]] inline auto addresses_of(std::vector<seat> const& seats) -> std::vector<std::string> {
  std::vector<std::string> all;
  for (auto const& s : seats) all.push_back(s.address());
  return all;
}
/// As --peers takes them.
[[nodiscard]] inline auto peers_text(std::vector<std::string> const& addresses) -> std::string {
  std::string text;
  for (auto const& a : addresses) text += (text.empty() ? "" : ",") + a;
  return text;
}

/// `file` is for sentences, which name the line at fault. Throws config_error.
[[nodiscard]] inline auto hosts_in(std::istream& text, std::string const& file) -> std::vector<host> {
  constexpr auto longest = std::size_t{1000};  // a line without an end is no hosts file
  std::vector<host> all;
  std::string line;
  auto const next = [&](std::size_t number) {
    line.clear();
    for (char c = 0; line.size() <= longest && text.get(c) && c != '\n';) line += c;
    if (line.size() > longest) detail::refuse_line(file, number, "it is longer than 1000 characters");
    return !line.empty() || text.good();
  };
  for (std::size_t number = 1; next(number); ++number) {
    if (constexpr auto mark = std::string_view{"\xEF\xBB\xBF"}; number == 1 && line.starts_with(mark))
      line.erase(0, mark.size());  // which some editors write before UTF-8
    line.resize((std::min)(line.size(), line.find('#')));
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    all.push_back(detail::host_in(line, file, number));
    if (all.size() > most_processes) detail::refuse_line(file, number, "there are more than 65536 hosts");
  }
  if (all.empty()) throw config_error{escaped(file, 200) + " names no host: a line is NAME[:PORT] [slots=N]"};
  return all;
}

[[nodiscard]] inline auto read_hosts(std::string const& file) -> std::vector<host> {
  errno = 0;
  std::ifstream in{file};
  in.peek();  // which fails on a folder
  if (in.bad() || !in.is_open())
    throw config_error{"the hosts file '" + escaped(file, 200) + "' cannot be read: " + std::strerror(errno)};
  in.clear();
  return hosts_in(in, file);
}

/// Seats of the first `processes` nodes: those of a host follow each other. `file` is for sentences. Throws
/// config_error if there are too few, or if two have the same address.
[[nodiscard]] inline auto seats_on(std::vector<host> const& hosts, std::string const& file, std::uint16_t base,
                                   std::size_t processes) -> std::vector<seat> {
  std::vector<seat> all;
  std::map<std::string, std::size_t> on_host;
  std::map<std::string, std::size_t> line_of;
  auto slots = std::size_t{0};
  for (auto const& h : hosts) {
    slots += h.slots;
    for (std::size_t k = 0; k < h.slots && all.size() < processes; ++k) {
      auto const name = detail::one_spelling(h.name);
      auto const local = on_host[name]++;
      auto const port = h.port != 0 ? h.port + k : base + local;
      auto const& at = all.emplace_back(seat{h.name, local, static_cast<std::uint32_t>(port)});
      if (port > 65535)
        detail::refuse_line(file, h.line,
                            "process " + std::to_string(local) + " of " + h.name + " would have port " +
                                std::to_string(port) + ", and the last one is 65535");
      if (auto const [other, fresh] = line_of.emplace(seat{name, local, at.port}.address(), h.line); !fresh)
        detail::refuse_line(file, h.line, at.address() + " is taken by line " + std::to_string(other->second));
    }
  }
  if (all.size() < processes)
    throw config_error{"the hosts of " + escaped(file, 200) + " have " + std::to_string(slots) +
                       (slots == 1 ? " slot" : " slots") + ", and this run has " + std::to_string(processes) +
                       " processes: add hosts, or slots=N to their lines"};
  return all;
}

}  // namespace rubato::examples
