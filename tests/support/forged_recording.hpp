// SPDX-License-Identifier: MIT
// Recordings forged by someone who knows the format: parts that can be changed, and
// files made of them with correct digests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <span>
#include <vector>

#include <rubato/run/recorder.hpp>

namespace rubato::test {

using bytes = std::vector<std::byte>;

struct recorded_event {
  std::uint8_t kind = 0;
  bytes input;
  std::uint64_t outputs = 0;
};
struct recorded_parts {
  bytes head;  ///< without its digest
  std::vector<recorded_event> records;
};

inline auto number_at(bytes const& all, std::size_t at) -> std::uint64_t {
  return wire::detail::get<std::uint64_t>(all.data() + at);
}

inline auto bytes_of_file(std::filesystem::path const& path) -> bytes {
  bytes all(std::filesystem::file_size(path));
  auto* const file = std::fopen(path.c_str(), "rb");
  if (file == nullptr || std::fread(all.data(), 1, all.size(), file) != all.size()) std::abort();
  std::fclose(file);
  return all;
}

/// The parts of a recording that is whole.
inline auto taken_apart(bytes const& all) -> recorded_parts {
  recorded_parts r;
  std::size_t at = 12;
  for (auto text = 0; text < 3; ++text) at += 8 + number_at(all, at);
  at += 4;
  r.head.assign(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(at));
  for (at += 8; at < all.size();) {
    auto const size = number_at(all, at + 1);
    auto const input = all.begin() + static_cast<std::ptrdiff_t>(at + 9);
    r.records.push_back({std::to_integer<std::uint8_t>(all[at]),
                         {input, input + static_cast<std::ptrdiff_t>(size)},
                         number_at(all, at + 17 + size)});
    at += size + 25;
  }
  return r;
}

/// The bytes of a file with right digests.
inline auto sealed(recorded_parts const& r) -> bytes {
  auto all = r.head;
  auto const put = [&](std::uint64_t v) { rubato::detail::byte_writer{all}.put(v); };
  put(digest{}.add(std::span<std::byte const>{all}).value());
  for (std::size_t i = 0; i < r.records.size(); ++i) {
    auto const begin = all.size();
    all.push_back(std::byte{r.records[i].kind});
    put(r.records[i].input.size());
    all.insert(all.end(), r.records[i].input.begin(), r.records[i].input.end());
    put(digest{}.add(i).add(std::span<std::byte const>{all}.subspan(begin)).value());
    put(r.records[i].outputs);
  }
  return all;
}

}  // namespace rubato::test
