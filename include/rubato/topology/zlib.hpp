// SPDX-License-Identifier: MIT
// Edge lists that may be gzipped, by zlib; topology/edge_list.hpp says what they look like.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>

#include <zlib.h>

#include <rubato/core/errors.hpp>
#include <rubato/core/text.hpp>
#include <rubato/topology/edge_list.hpp>

namespace rubato::topology {
namespace detail {

struct close_zipped {
  void operator()(gzFile file) const { gzclose(file); }
};

/// All of a file, unpacked where it is gzipped.
inline auto unzipped_text_in(std::string const& path) -> std::string {
  auto const file = std::unique_ptr<gzFile_s, close_zipped>{gzopen(path.c_str(), "rb")};
  if (!file)
    throw config_error("graph file '" + escaped(path) + "' cannot be opened: check the path and its permissions");
  auto text = std::string{};
  char piece[1U << 15];
  auto got = 0;
  while ((got = gzread(file.get(), piece, sizeof piece)) > 0) text.append(piece, static_cast<std::size_t>(got));
  auto code = Z_OK;
  auto const* const words = gzerror(file.get(), &code);
  if (code == Z_ERRNO) throw config_error("graph file '" + escaped(path) + "' cannot be read: " + std::strerror(errno));
  if (code == Z_BUF_ERROR)
    throw config_error("graph file '" + escaped(path) + "' lacks the end of its gzip stream: is it cut?");
  if (got < 0) throw config_error("graph file '" + escaped(path) + "' is damaged: " + escaped(words));
  return text;
}

}  // namespace detail

/// As read_edge_list, of a file that is plain or gzipped.
[[nodiscard]] inline auto read_zipped_edge_list(std::string const& path) -> digraph {
  return parse_edge_list(detail::unzipped_text_in(path), path);
}
/// As read_edge_weights, of a file that is plain or gzipped.
[[nodiscard]] inline auto read_zipped_edge_weights(std::string const& path) -> weighted_edges {
  return parse_edge_weights(detail::unzipped_text_in(path), path);
}

}  // namespace rubato::topology
