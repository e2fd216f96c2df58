// SPDX-License-Identifier: MIT
// The history of runs as CSV (RFC 4180, with plain newlines), one row a measurement; and limit weights, one row a
// worker.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/report/limit_weights.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/run/observer.hpp>
#include <rubato/run/result.hpp>

namespace rubato::report {
namespace detail {

inline auto csv_field(std::string_view text) -> std::string {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string{text};
  auto field = std::string{"\""};
  for (auto const letter : text) {
    if (letter == '"') field += '"';
    field += letter;
  }
  return field + '"';
}

inline constexpr std::string_view history_titles =
    "algorithm,time_s,loss,accuracy,consensus_distance,tracking_residual,gradients,bytes_sent\n";

inline auto csv_row(std::string const& algorithm, measurement const& m) -> std::string {
  return algorithm + ',' + shortest(seconds_of(m.at)) + ',' + shortest(m.loss) + ',' + shortest(m.accuracy) + ',' +
         shortest(m.consensus_distance) + ',' + shortest(m.tracking_residual) + ',' + std::to_string(m.gradients) +
         ',' + std::to_string(m.bytes_sent) + '\n';
}

}  // namespace detail

/// One line of titles, then every measurement of every run in order. Numbers read back bit for bit; a field is empty
/// where there is no number. Equal results give equal bytes.
[[nodiscard]] inline auto history_csv(std::span<run_result const> results) -> std::string {
  auto text = std::string{detail::history_titles};
  for (auto const& r : results) {
    auto const algorithm = detail::csv_field(r.algorithm);
    for (auto const& m : r.history) text += detail::csv_row(algorithm, m);
  }
  return text;
}

/// A ready observer (run/observer.hpp) that writes a history as it grows, in the form of history_csv: the titles at
/// once, then a row for each look. Each row is flushed to the system, so that a run that is killed leaves its rows.
class history_to_csv {
 public:
  /// Overwrites an existing file. Throws config_error if the file cannot be opened.
  history_to_csv(std::string const& path, std::string const& algorithm)
      : path_{path}, algorithm_{detail::csv_field(algorithm)}, file_{std::fopen(path.c_str(), "w"), &close} {
    if (!file_) throw config_error{"the file '" + escaped(path) + "' cannot be written: " + std::strerror(errno)};
    put(std::string{detail::history_titles});
  }

  /// Throws run_error if the row cannot be written.
  void operator()(look const& l) const { put(detail::csv_row(algorithm_, l.seen)); }

 private:
  static void close(std::FILE* file) {
    if (file != nullptr) std::fclose(file);
  }
  void put(std::string const& row) const {
    auto const done = std::fwrite(row.data(), 1, row.size(), file_.get()) == row.size();
    if (done && std::fflush(file_.get()) == 0) return;
    throw run_error{"the history cannot be written to '" + escaped(path_) + "': " + std::strerror(errno)};
  }

  std::string path_;
  std::string algorithm_;
  std::shared_ptr<std::FILE> file_;
};

/// How the servers of these runs weighed their workers (report/limit_weights.hpp): one line of titles, then one row for
/// each worker of every run whose server weighed gradients. Numbers are written as above.
[[nodiscard]] inline auto limit_weights_csv(std::span<run_result const> results) -> std::string {
  auto text = std::string{"algorithm,worker,gradients,mean_delay,mean_weight,capped,limit\n"};
  for (auto const& r : results) {
    auto const workers = measured_weights(r);
    for (auto i = std::size_t{0}; i < workers.size(); ++i) {
      auto const& w = workers[i];
      text += detail::csv_field(r.algorithm) + ',' + std::to_string(i) + ',' + shortest(w.gradients) + ',' +
              shortest(w.mean_delay) + ',' + shortest(w.mean_weight) + ',' + shortest(w.capped) + ',' +
              shortest(w.limit) + '\n';
    }
  }
  return text;
}

}  // namespace rubato::report
