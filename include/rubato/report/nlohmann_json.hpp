// SPDX-License-Identifier: MIT
// Results as JSON by the library nlohmann_json. Only what the runs determine is written: no date, no wall-clock value.
// Results of single processes are written so that they can be read again.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <rubato/core/digest.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/core/text.hpp>
#include <rubato/report/limit_weights.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/report/totals.hpp>
#include <rubato/run/atomic_file.hpp>
#include <rubato/run/checkpoint.hpp>
#include <rubato/run/node_status.hpp>
#include <rubato/run/peer_result.hpp>
#include <rubato/run/result.hpp>

namespace rubato::report {
namespace detail {

/// JSON has neither NaN nor infinities.
inline auto number_or_null(double x) -> nlohmann::ordered_json {
  return std::isfinite(x) ? nlohmann::ordered_json(x) : nlohmann::ordered_json(nullptr);
}

inline auto json_of(node_report const& n) -> nlohmann::ordered_json {
  return {{"node", to_index(n.id)},
          {"iterations", n.iterations},
          {"iterations_before", n.iterations_before},
          {"gradients", n.gradients},
          {"dropped", n.dropped}};
}

inline auto json_of(edge_report const& e) -> nlohmann::ordered_json {
  return {{"from", to_index(e.from)},
          {"to", to_index(e.to)},
          {"channel", std::string{name_of(e.channel)}},
          {"packets_sent", e.packets_sent},
          {"values_sent", e.values_sent},
          {"bytes_sent", e.bytes_sent},
          {"lost", e.lost},
          {"duplicated", e.duplicated},
          {"conflated", e.conflated},
          {"delivered", e.delivered},
          {"bytes_received", e.bytes_received},
          {"overtaken", e.overtaken},
          {"refused", e.refused},
          {"uses", e.age.uses},
          {"mean_age_s", number_or_null(mean_age(e.age))},
          {"largest_age_s", number_or_null(largest_age(e.age))}};
}

/// Null for what a node counts whose result is missing.
inline auto edges_of(run_result const& r) -> nlohmann::ordered_json {
  auto const ends = counting_ends{r};
  auto all = nlohmann::ordered_json::array();
  for (auto const& e : r.edges) {
    auto& one = all.emplace_back(json_of(e));
    auto const forget = [&](bool known, std::initializer_list<char const*> names) {
      for (auto const* const name : names) {
        if (!known) one[name] = nullptr;
      }
    };
    forget(ends.has(e.from), {"packets_sent", "values_sent", "bytes_sent", "lost", "duplicated", "conflated"});
    forget(ends.has(e.to), {"duplicated", "conflated", "delivered", "bytes_received", "overtaken", "refused", "uses"});
  }
  return all;
}

inline auto json_of(worker_weight const& w) -> nlohmann::ordered_json {
  return {{"gradients", number_or_null(w.gradients)},
          {"mean_delay", number_or_null(w.mean_delay)},
          {"mean_weight", number_or_null(w.mean_weight)},
          {"capped", number_or_null(w.capped)},
          {"limit", number_or_null(w.limit)}};
}

inline auto object_of(std::vector<std::pair<std::string, std::string>> const& options) -> nlohmann::ordered_json {
  auto all = nlohmann::ordered_json::object();
  for (auto const& [name, value] : options) all[name] = value;
  return all;
}

/// Only the channels that the run's edges have.
inline auto mean_ages_by_channel(run_totals const& sums) -> nlohmann::ordered_json {
  auto ages = nlohmann::ordered_json::object();
  for (auto c = std::size_t{0}; c < channel_count; ++c) {
    if (sums.edges_of_channel[c] == 0) continue;
    ages[std::string{name_of(static_cast<channel_id>(c))}] = number_or_null(mean_age(sums.age_of_channel[c]));
  }
  return ages;
}

inline auto json_of(neighbour_status const& n) -> nlohmann::ordered_json {
  return {{"node", to_index(n.peer)},
          {"standing", std::string{name_of(n.is)}},
          {"why", n.why},
          {"packets_sent", n.packets_sent},
          {"bytes_sent", n.bytes_sent},
          {"lost", n.packets_lost},
          {"delivered", n.delivered},
          {"bytes_received", n.bytes_received},
          {"sends", n.sends},
          {"refused", n.refused},
          {"uses", n.age.uses},
          {"mean_age_s", number_or_null(n.age.uses == 0 ? std::nan("") : n.age.mean_seconds())},
          {"largest_age_s", seconds_of(n.age.largest)},
          {"recent_age_s", number_or_null(n.recent_age_s)}};
}

template<class Report>
auto list_of(std::span<Report const> reports) -> nlohmann::ordered_json {
  auto list = nlohmann::ordered_json::array();
  for (auto const& r : reports) list.push_back(json_of(r));
  return list;
}

}  // namespace detail

/// One run. Times are in seconds on the run's clock; null stands for a missing number. If a server weighed gradients,
/// `limit_weights` has an entry for each worker, in the order of their ids; otherwise it is empty. `warnings` is
/// present only if there are any.
[[nodiscard]] inline auto json_of(run_result const& r) -> nlohmann::ordered_json {
  auto const sums = totals_of(r);
  auto const workers = measured_weights(r);
  auto all = nlohmann::ordered_json{
      {"algorithm", r.algorithm},
      {"network", r.network},
      {"step", detail::number_or_null(r.step)},
      {"raw_step", detail::number_or_null(r.raw_step)},
      {"gain", detail::number_or_null(r.gain)},
      {"options", detail::object_of(r.options)},
      {"stopped", std::string{name_of(r.stopped)}},
      {"ended_s", seconds_of(r.ended)},
      {"events", r.events},
      {"seconds_to_target", r.time_to_target ? nlohmann::ordered_json(seconds_of(*r.time_to_target)) : nullptr},
      {"final_loss", detail::number_or_null(final_loss(r))},
      {"test_accuracy", detail::number_or_null(final_accuracy(r))},
      {"gradients", sums.gradients},
      {"bytes_sent", sums.bytes_sent},
      {"packets_sent", sums.packets_sent},
      {"packets_lost", sums.packets_lost},
      {"mean_age_s", detail::number_or_null(mean_age(sums.age))},
      {"largest_age_s", detail::number_or_null(largest_age(sums.age))},
      {"mean_age_s_by_channel", detail::mean_ages_by_channel(sums)},
      {"limit_weights", detail::list_of(std::span<worker_weight const>{workers})},
      {"nodes", detail::list_of(std::span<node_report const>{r.nodes})},
      {"edges", detail::edges_of(r)}};
  if (!r.warnings.empty()) all["warnings"] = r.warnings;
  return all;
}

/// How one node of a run stands. `history` has rows of seconds, loss, accuracy and tracking residual. The newest
/// `tracking_residual` stands beside it: the node's own share of the law, z - g + all it pushed - all it consumed. That
/// is 0 at every moment (rounding aside), and null where the algorithm has no such law.
[[nodiscard]] inline auto json_of(node_status const& s) -> nlohmann::ordered_json {
  auto history = nlohmann::ordered_json::array();
  auto const residual = [&](measurement const& m) {
    return s.tracks ? detail::number_or_null(m.tracking_residual) : nlohmann::ordered_json(nullptr);
  };
  for (auto const& m : s.history) {
    history.push_back(nlohmann::ordered_json::array(
        {seconds_of(m.at), detail::number_or_null(m.loss), detail::number_or_null(m.accuracy), residual(m)}));
  }
  return {{"node", to_index(s.id)},
          {"of", s.of},
          {"algorithm", s.algorithm},
          {"network", s.network},
          {"phase", std::string{name_of(s.at)}},
          {"ran_s", seconds_of(s.ran)},
          {"iterations", s.iterations},
          {"gradients", s.gradients},
          {"dropped", s.dropped},
          {"iterations_a_second", detail::number_or_null(s.iterations_a_second)},
          {"gradients_a_second", detail::number_or_null(s.gradients_a_second)},
          {"bytes_sent", s.bytes_sent()},
          {"bytes_a_second", detail::number_or_null(s.bytes_a_second)},
          {"loss", detail::number_or_null(newest_loss(s))},
          {"tracking_residual", detail::number_or_null(newest_residual(s))},
          {"resident_bytes", s.resident_bytes},
          {"waits", s.waits},
          {"neighbours", detail::list_of(std::span<neighbour_status const>{s.neighbours})},
          {"history", std::move(history)},
          {"said", s.said}};
}

/// An object with `options`, as given, and the list `results` in the given order.
[[nodiscard]] inline auto json_report(nlohmann::ordered_json options, std::span<run_result const> results)
    -> nlohmann::ordered_json {
  auto list = nlohmann::ordered_json::array();
  for (auto const& r : results) list.push_back(json_of(r));
  auto report = nlohmann::ordered_json::object();
  report["options"] = std::move(options);
  report["results"] = std::move(list);
  return report;
}

/// Indented, with a newline at the end. Bytes that are not UTF-8 (in a file's name) are replaced; they do not throw.
[[nodiscard]] inline auto json_text(nlohmann::ordered_json const& report) -> std::string {
  return report.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
}

namespace detail {

template<class V>
concept is_body = requires(V part) {
  part.on_host();
  part.bytes();
};
template<class V>
concept is_optional = requires(V part) {
  part.has_value();
  part.reset();
};
template<class V>
concept is_duration = requires(V part) { V{part.count()}; };
template<class V>
concept is_pair = requires(V part) {
  part.first;
  part.second;
};

/// What lists its parts (core/visit_state.hpp) as an object, each part under its name. Bodies are put aside, each once;
/// a number, from 1 on, stands for a body.
class json_writer {
 public:
  template<class V>
  void operator()(std::string_view name, V const& part) {
    object_[std::string{name}] = value_of(part);
  }
  template<class V>
  [[nodiscard]] auto value_of(V const& part) -> nlohmann::ordered_json {
    using json = nlohmann::ordered_json;
    if constexpr (requires { V::visit_state(part, *this); }) {
      auto outer = std::exchange(object_, json::object());
      V::visit_state(part, *this);
      return std::exchange(object_, std::move(outer));
    } else if constexpr (std::is_enum_v<V>) {
      return json(static_cast<std::underlying_type_t<V>>(part));
    } else if constexpr (std::is_floating_point_v<V>) {
      return std::isfinite(part) ? json(part) : json(rubato::shortest(part));
    } else if constexpr (is_body<V>) {
      return json(part ? place_of(part) : 0);
    } else if constexpr (is_optional<V>) {
      return part ? value_of(*part) : json(nullptr);
    } else if constexpr (is_duration<V>) {
      return json(part.count());
    } else if constexpr (is_pair<V>) {
      return json::array({value_of(part.first), value_of(part.second)});
    } else if constexpr (std::is_integral_v<V> || std::is_same_v<V, std::string>) {
      return json(part);
    } else {
      auto list = json::array();
      for (auto const& each : part) list.push_back(value_of(each));
      return list;
    }
  }
  [[nodiscard]] auto bodies() const -> std::vector<shared_buffer> const& { return bodies_; }

 private:
  auto place_of(shared_buffer const& part) -> std::size_t {
    auto const [at, is_new] = places_.try_emplace(part.bytes().data(), bodies_.size() + 1);
    if (is_new) bodies_.push_back(part);
    return at->second;
  }
  nlohmann::ordered_json object_ = nlohmann::ordered_json::object();
  std::vector<shared_buffer> bodies_;
  std::map<std::byte const*, std::size_t> places_;
};

/// Reads what json_writer wrote. Throws std::exception where a part is missing or of another type.
class json_reader {
 public:
  json_reader(nlohmann::ordered_json const& object, std::span<shared_buffer const> bodies)
      : object_{&object}, bodies_{bodies} {}
  template<class V>
  void operator()(std::string_view name, V& part) {
    read(object_->at(std::string{name}), part);
  }
  template<class V>
  void read(nlohmann::ordered_json const& from, V& part) {
    if constexpr (requires { V::visit_state(part, *this); }) {
      auto const* const outer = std::exchange(object_, &from);
      V::visit_state(part, *this);
      object_ = outer;
    } else if constexpr (std::is_enum_v<V>) {
      part = static_cast<V>(from.get<std::underlying_type_t<V>>());
    } else if constexpr (std::is_floating_point_v<V>) {
      if (from.is_string()) part = number_in(from.get<std::string>());
      else part = from.get<V>();
    } else if constexpr (is_body<V>) {
      auto const place = from.get<std::size_t>();
      if (place > bodies_.size()) throw config_error{"it names a body that does not exist"};
      part = place == 0 ? V{} : bodies_[place - 1];
    } else if constexpr (is_optional<V>) {
      if (from.is_null()) part.reset();
      else read(from, part.emplace());
    } else if constexpr (is_duration<V>) {
      part = V{from.get<typename V::rep>()};
    } else if constexpr (is_pair<V>) {
      read(from.at(0), part.first);
      read(from.at(1), part.second);
    } else if constexpr (std::is_integral_v<V> || std::is_same_v<V, std::string>) {
      from.get_to(part);
    } else {
      part.clear();
      for (auto const& each : from) read(each, part.emplace_back());
    }
  }

 private:
  static auto number_in(std::string const& text) -> double {
    auto value = 0.0;
    if (read_number(text, value) != text.size()) throw config_error{"it has a text where a number should be"};
    return value;
  }
  nlohmann::ordered_json const* object_;
  std::span<shared_buffer const> bodies_;
};

inline auto models_beside(std::filesystem::path const& path) -> std::filesystem::path {
  return path.string() + ".models";
}

inline auto digest_of(std::string const& text) -> std::uint64_t {
  return digest{}.add(std::as_bytes(std::span{text})).value();
}

inline auto text_in(std::filesystem::path const& path) -> std::string {
  auto file = std::ifstream{path, std::ios::binary};
  if (!file) throw config_error{"it cannot be opened"};
  return {std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
}

}  // namespace detail

/// Throws config_error, before a run, if its result could not be written to this path.
inline void ensure_peer_result_writable(std::filesystem::path const& path) {
  auto const folder = path.parent_path();
  ensure_writable_folder(folder.empty() ? "." : folder);
  ensure_replaceable(path);
  ensure_replaceable(detail::models_beside(path));
}

/// Writes what one process knows of a run as two files: `path` is JSON, and `path`.models holds the models (in the form
/// of run/checkpoint.hpp) and a digest of both. Each is written aside, synced and renamed, the JSON last; so where it
/// exists, both are whole, or reading refuses them. Bytes that are not UTF-8 are replaced. Throws run_error, whose
/// sentence names the path. Reads every model once.
inline void write_peer_result(std::filesystem::path const& path, peer_result const& result) {
  auto writer = detail::json_writer{};
  auto const text =
      writer.value_of(result).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
  // The digest stands in the place of a checkpoint's progress.
  write_checkpoint(detail::models_beside(path),
                   {result.agreed, result.id, detail::digest_of(text), 0, {{}, writer.bodies()}});
  auto file = atomic_file{path};
  file.write(text);
  file.commit(atomic_file::survives::power);
}

/// Reads what write_peer_result() wrote; models are in host memory. Throws config_error, with one sentence that names
/// the file, if it is missing, damaged or something else.
[[nodiscard]] inline auto read_peer_result(std::filesystem::path const& path) -> peer_result {
  try {
    auto const text = detail::text_in(path);
    auto const models = read_checkpoint(detail::models_beside(path));
    if (models.progress != detail::digest_of(text)) {
      throw config_error{"it is damaged, or '" + escaped(detail::models_beside(path).string()) +
                         "' is of another result"};
    }
    auto result = peer_result{};
    auto const object = nlohmann::ordered_json::parse(text);
    detail::json_reader{object, models.state.bodies}.read(object, result);
    return result;
  } catch (std::exception const& e) {
    throw config_error{"'" + escaped(path.string()) + "' is not the result of a process: " + e.what()};
  }
}

}  // namespace rubato::report
