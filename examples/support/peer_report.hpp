// SPDX-License-Identifier: MIT
// What one process of a run knows at its end, as two files: counters as JSON, and models as frames of the wire.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <rubato/driver/peer.hpp>
#include <rubato/report/nlohmann_json.hpp>
#include <rubato/run/atomic_file.hpp>
#include <rubato/wire/frame.hpp>

namespace rubato::examples {

namespace detail {

inline auto json_of(edge_report const& e) -> nlohmann::ordered_json {
  return {
      {"from", to_index(e.from)},
      {"to", to_index(e.to)},
      {"channel", static_cast<int>(e.channel)},
      {"packets", e.packets_sent},
      {"values", e.values_sent},
      {"bytes", e.bytes_sent},
      {"lost", e.lost},
      {"duplicated", e.duplicated},
      {"conflated", e.conflated},
      {"delivered", e.delivered},
      {"bytes_received", e.bytes_received},
      {"overtaken", e.overtaken},
      {"age_uses", e.age.uses},
      {"age_total", e.age.total_ns},
      {"age_largest", e.age.largest.count()},
      {"weights", {e.weights.uses, e.weights.total, e.weights.capped, e.weights.delay_total, e.weights.delay_largest}}};
}
inline auto edge_in(nlohmann::json const& j) -> edge_report {
  edge_report e{to_node(j.at("from").get<std::size_t>()), to_node(j.at("to").get<std::size_t>()),
                static_cast<channel_id>(j.at("channel").get<int>())};
  e.packets_sent = j.at("packets");
  e.values_sent = j.at("values");
  e.bytes_sent = j.at("bytes");
  e.lost = j.at("lost");
  e.duplicated = j.at("duplicated");
  e.conflated = j.at("conflated");
  e.delivered = j.at("delivered");
  e.bytes_received = j.at("bytes_received");
  e.overtaken = j.at("overtaken");
  e.age = {j.at("age_uses"), j.at("age_total"), std::chrono::nanoseconds{j.at("age_largest").get<std::int64_t>()}};
  auto const& w = j.at("weights");
  e.weights = {w.at(0), w.at(1), w.at(2), w.at(3), w.at(4)};
  return e;
}

inline auto bytes_of_file(std::string const& path) -> std::vector<char> {
  std::ifstream file{path, std::ios::binary};
  if (!file) throw run_error{path + " cannot be read"};
  return {std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
}

}  // namespace detail

/// Throws config_error, before a run, where its report could not be written.
inline void ensure_report(std::string const& path) {
  auto const folder = std::filesystem::path{path}.parent_path();
  ensure_writable_folder(folder.empty() ? "." : folder);
  for (auto const* const ending : {"", ".models"}) ensure_replaceable(path + ending);
}

/// Both files appear whole or not at all; throws what atomic_file throws.
/// `unwritten` is a sentence, where this process could not write its recording to the end, or its node's last state.
inline void write_peer_report(std::string const& path, peer_result const& r, std::string const& unwritten = {}) {
  nlohmann::ordered_json j{{"id", to_index(r.id)},
                           {"of", r.of},
                           {"network", r.result.network},
                           {"step", r.result.step},
                           {"raw_step", r.result.raw_step},
                           {"gain", r.result.gain},
                           {"options", r.result.options},
                           {"stopped", static_cast<int>(r.result.stopped)},
                           {"ended", r.result.ended.count()},
                           {"events", r.result.events},
                           {"computes", !r.result.models.empty()},
                           {"lost", r.lost},
                           {"returned", r.returned},
                           {"cut_off", nlohmann::ordered_json::array()},
                           {"parted", r.parted},
                           {"unwritten", unwritten},
                           {"warnings", r.result.warnings},
                           {"rejected", r.rejected.total()}};
  for (auto const& n : r.result.nodes) j["node"] = {n.iterations, n.gradients, n.dropped, n.iterations_before};
  j["edges"] = nlohmann::ordered_json::array();
  for (auto const& e : r.result.edges) j["edges"].push_back(detail::json_of(e));
  for (auto const id : r.cut_off) j["cut_off"].push_back(to_index(id));
  atomic_file models{path + ".models"}, counters{path};
  std::vector<std::byte> frame;
  j["looks"] = nlohmann::ordered_json::array();
  for (auto const& l : r.looks) {
    j["looks"].push_back({{"residual", l.residual}, {"gradients", l.gradients}});
    packet p;
    p.from = r.id;
    p.number = iteration{j["looks"].size()};
    p.posted_at = {l.at};
    p.body = l.model;
    frame.clear();
    wire::encode(p, wire::uncut(p, block_partition{l.model.size()}), frame);
    models.write({reinterpret_cast<char const*>(frame.data()), frame.size()});
  }
  counters.write(j.dump() + "\n");
  models.flush();
  counters.flush();
  models.commit();
  counters.commit();
}

/// What a report, which can be read, says of its process's recording: see write_peer_report().
[[nodiscard]] inline auto unwritten_in(std::string const& path) -> std::string {
  auto const text = detail::bytes_of_file(path);
  return nlohmann::json::parse(text.begin(), text.end()).at("unwritten").get<std::string>();
}

/// Throws run_error with a sentence that names the file if it is not what write_peer_report wrote.
[[nodiscard]] inline auto read_peer_report(std::string const& path) -> peer_result {
  auto const text = detail::bytes_of_file(path);
  auto const frames = detail::bytes_of_file(path + ".models");
  peer_result r;
  try {
    auto const j = nlohmann::json::parse(text.begin(), text.end());
    r.id = to_node(j.at("id").get<std::size_t>());
    r.of = j.at("of");
    r.result.network = j.at("network");
    r.result.step = j.at("step");
    r.result.raw_step = j.at("raw_step");
    r.result.gain = j.at("gain");
    r.result.options = j.at("options").get<std::vector<std::pair<std::string, std::string>>>();
    r.result.stopped = static_cast<stop_reason>(j.at("stopped").get<int>());
    r.result.ended = std::chrono::nanoseconds{j.at("ended").get<std::int64_t>()};
    r.result.events = j.at("events");
    r.lost = j.at("lost").get<std::vector<std::string>>();
    r.returned = j.at("returned").get<std::vector<std::string>>();
    r.parted = j.at("parted");
    for (auto const& id : j.at("cut_off")) r.cut_off.push_back(to_node(id.get<std::size_t>()));
    r.result.warnings = j.at("warnings").get<std::vector<std::string>>();
    r.result.nodes.push_back({r.id, j.at("node").at(0), j.at("node").at(1), j.at("node").at(2), j.at("node").at(3)});
    for (auto const& e : j.at("edges")) r.result.edges.push_back(detail::edge_in(e));
    buffer_pool pool;
    auto rest = std::as_bytes(std::span{frames});
    for (auto const& l : j.at("looks")) {
      wire::frame_view f;
      if (rest.size() < wire::header_bytes || wire::decode_header(rest.first<wire::header_bytes>(), f)) {
        throw run_error{"it holds no frame where one should be"};
      }
      auto const size = wire::header_bytes + f.values * rubato::bytes_of(f.kind);
      if (rest.size() < size || wire::decode(rest.first(size), f)) throw run_error{"its last frame is cut"};
      r.looks.push_back({f.head.posted_at.since_start, wire::copy_body(f, pool), l.at("residual"), l.at("gradients")});
      rest = rest.subspan(size);
    }
    if (j.at("computes") && !r.looks.empty()) r.result.models.push_back(r.looks.back().model);
  } catch (std::exception const& e) {
    throw run_error{path + " is not the report of a peer: " + e.what()};
  }
  return r;
}

}  // namespace rubato::examples
