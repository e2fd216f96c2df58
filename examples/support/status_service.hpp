// SPDX-License-Identifier: MIT
// What a program serves of a run: how its node stands, or its nodes, and a page that shows the whole run.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/report/access_token.hpp>
#include <rubato/report/http.hpp>
#include <rubato/report/nlohmann_json.hpp>
#include <rubato/report/prometheus.hpp>
#include <rubato/report/status_page.hpp>
#include <rubato/run/node_status.hpp>

#include "race_text.hpp"  // not "support/...", so that a test may include this

namespace rubato::examples {

struct status_options {
  std::size_t self = 0;
  std::vector<std::string> addresses;  ///< of all nodes, by id, or of this one alone
  std::string token;
  std::chrono::milliseconds deadline = std::chrono::seconds{5};
  std::size_t most_connections = 32;
  std::chrono::milliseconds stale = std::chrono::seconds{3};  ///< age from which a status of another node counts as old
};

/// Serves from its construction to its destruction. Only its own thread serves, from what is on the board, so neither
/// the run nor its transport waits for any reader.
class status_service {
 public:
  /// Throws config_error if nobody can be served there, or where an address is none.
  explicit status_service(status_options const& o) : self_{o.self}, is_whole_{o.addresses.size() > 1}, stale_{o.stale} {
    for (std::size_t i = 0; is_whole_ && i < o.addresses.size(); ++i) {
      if (i != self_) others_.push_back(o.addresses[i]);
      report::ensure_http_address(o.addresses[i]);
    }
    server_.emplace(
        report::http_options{is_whole_ ? o.addresses.at(self_) : o.addresses.at(0), o.token,
                             [this](std::string_view path, report::http_server& self) { return page(path, self); },
                             o.deadline, o.most_connections});
  }

  /// Of the one node, until show().
  [[nodiscard]] auto board() const -> std::shared_ptr<status_board> { return shown()->boards.front(); }
  /// From now on all nodes of another run, which is in this process, and then the next one. Any thread may call it.
  void show(status_boards boards) {
    auto next = std::make_shared<run const>(run{std::move(boards)});
    std::scoped_lock const hold{lock_};
    shown_ = std::move(next);
  }
  [[nodiscard]] auto server() const -> report::http_server const& { return *server_; }

 private:
  using json = nlohmann::ordered_json;
  struct run {
    status_boards boards{std::make_shared<status_board>()};  // of the nodes in this process, from the node `self` on
    std::string begun = report::new_token();  // another text for each run
  };

  [[nodiscard]] auto shown() const -> std::shared_ptr<run const> {
    std::scoped_lock const hold{lock_};
    return shown_;
  }

  auto page(std::string_view path, report::http_server& self) -> std::optional<report::http_page> {
    if (path == "/") return report::http_page{"text/html; charset=utf-8", std::string{report::status_page}};
    auto const its = shown();
    if (path == "/network.json") return as_text(network(*its, self));
    if (its->boards.size() != 1) return std::nullopt;  // the others tell of one node
    auto const own = its->boards.front()->newest();
    if (path == "/metrics")
      return report::http_page{"text/plain; version=0.0.4; charset=utf-8", report::prometheus_text(*own)};
    if (path == "/status.json") return as_text(report::json_of(*own));
    return std::nullopt;
  }
  static auto as_text(json const& all) -> report::http_page {
    return {"application/json", all.dump(-1, ' ', false, json::error_handler_t::replace)};
  }

  /// One entry a node: its status, as far as it is known, and why it is not, or not of now.
  auto network(run const& its, report::http_server& self) -> json {
    auto nodes = json::array();
    auto const all = is_whole_ ? others_.size() + 1 : its.boards.front()->newest()->of;
    auto const answers = self.gathered_from(others_, "/status.json");
    for (std::size_t i = 0; i < all; ++i) {
      auto status = json(nullptr);
      auto why = std::string{is_whole_ ? "" : "--status names no address of this node"};
      if (i >= self_ && i - self_ < its.boards.size()) {
        auto const own = its.boards[i - self_]->newest();
        why = own->of == 0 ? "it has not begun" : "";
        if (own->of != 0) status = report::json_of(*own);
      } else if (is_whole_) {
        auto const& answer = answers[i < self_ ? i : i - 1];
        why = why_not_of_now(answer);
        status = status_in(answer.text, i);
      }
      nodes.push_back({{"node", i}, {"status", std::move(status)}, {"why", std::move(why)}});
    }
    return {{"self", self_}, {"begun", its.begun}, {"nodes", std::move(nodes)}};
  }
  /// Others are asked when somebody looks, so the first look after a pause finds what was heard before it.
  [[nodiscard]] auto why_not_of_now(report::gathered const& answer) const -> std::string {
    auto const age = std::chrono::steady_clock::now() - answer.at;
    if (!answer.why.empty() || answer.text.empty() || age <= stale_) return answer.why;
    return "last seen " + std::to_string(std::chrono::floor<std::chrono::seconds>(age).count()) + " s ago";
  }
  /// Null unless it is one of node i.
  static auto status_in(std::string const& text, std::size_t i) -> json {
    auto status = json::parse(text, nullptr, false);
    auto const is_one = status.is_object() && status.value("node", json{}) == i && status.value("of", json{}) != 0;
    return is_one ? status : json(nullptr);
  }

  std::size_t self_;
  bool is_whole_;  // all addresses are known
  std::chrono::milliseconds stale_;
  std::vector<std::string> others_;
  mutable std::mutex lock_;
  std::shared_ptr<run const> shown_ = std::make_shared<run const>();
  std::optional<report::http_server> server_;  // last: its thread uses all of the above
};

/// As `--status` and `--status-token` ask for; null if they do not. Throws config_error.
[[nodiscard]] inline auto status_asked_for(std::string const& list, std::string const& token_file, std::size_t self,
                                           std::size_t nodes) -> std::unique_ptr<status_service> {
  if (list.empty()) return nullptr;
  auto addresses = list_in(list);
  if (addresses.size() != 1 && addresses.size() != nodes)
    throw config_error{"--status must name one address, for this node alone, or one for each of the " +
                       std::to_string(nodes) + " processes of this run, in the order of their ids"};
  if (addresses.size() > 1 && token_file.empty())
    throw config_error{
        "--status names all nodes, which read each other by one token: give them the same "
        "--status-token, a file that the first of them makes"};
  auto o = status_options{self, std::move(addresses), {}};
  o.token = token_file.empty() ? report::new_token() : report::token_in(token_file);
  return std::make_unique<status_service>(o);
}

}  // namespace rubato::examples
