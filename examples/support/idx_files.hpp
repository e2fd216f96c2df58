// SPDX-License-Identifier: MIT
// Reads a folder of four IDX files (the format of MNIST: big-endian header, one byte per pixel or label), gzipped or
// plain. A header is never trusted: it limits what is read, and only what was read is allocated.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <zlib.h>

#include <rubato/core/errors.hpp>
#include <rubato/problem/dataset.hpp>

namespace rubato::examples {

/// Where Debian's package dataset-fashion-mnist puts the files.
inline constexpr auto default_data_folder = "/usr/share/datasets/fashion-mnist";
/// Labels are 0 .. 9.
inline constexpr std::size_t idx_classes = 10;

namespace detail {

/// One open file, read in pieces; every failure is a config_error that names the file.
class idx_file {
 public:
  /// Opens folder/name or folder/name.gz.
  idx_file(std::string const& folder, std::string const& name) {
    for (auto const* const ending : {"", ".gz"}) {
      path_ = folder + "/" + name + ending;
      errno = 0;
      file_.reset(gzopen(path_.c_str(), "rb"));
      if (file_ != nullptr) return;
      if (errno != ENOENT) fail(std::string{"cannot be opened: "} + std::strerror(errno));
    }
    throw config_error{"there is no " + name + ", plain or with .gz, in " + folder +
                       "; Debian's package dataset-fashion-mnist has it in " + default_data_folder};
  }

  [[noreturn]] void fail(std::string const& what) const { throw config_error{path_ + " " + what}; }

  /// Appends up to `count` bytes to `bytes`; fewer only if the file ends, even in the middle of a gzip stream.
  void read(std::vector<unsigned char>& bytes, std::uint64_t count) {
    unsigned char piece[1U << 15];
    while (count > 0) {
      auto const wanted = static_cast<unsigned>(std::min<std::uint64_t>(count, sizeof piece));
      errno = 0;
      auto const got = gzread(file_.get(), piece, wanted);
      if (got < 0) return read_failed();
      if (got == 0) return;
      bytes.insert(bytes.end(), piece, piece + got);
      count -= static_cast<std::uint64_t>(got);
    }
  }

  /// Fails unless the file ends here, after `bytes` bytes, and its gzip stream, if any, is complete.
  void expect_end(std::uint64_t bytes) {
    std::vector<unsigned char> rest;
    read(rest, 1);
    if (!rest.empty()) fail("goes on after the " + std::to_string(bytes) + " bytes that its header announces");
    auto code = Z_OK;
    gzerror(file_.get(), &code);
    if (code != Z_OK) fail("lacks the end of its gzip stream");
  }

 private:
  struct closer {
    void operator()(gzFile file) const { gzclose(file); }
  };

  // A truncated gzip stream ends like a truncated plain file: the caller counts the bytes.
  void read_failed() const {
    auto code = Z_OK;
    auto const* const text = gzerror(file_.get(), &code);
    if (code == Z_BUF_ERROR) return;
    fail(code == Z_ERRNO ? std::string{"cannot be read: "} + std::strerror(errno)
                         : std::string{"is damaged: "} + (std::strlen(text) > 0 ? text : "zlib gives no reason"));
  }

  std::string path_;
  std::unique_ptr<gzFile_s, closer> file_;
};

inline auto number_at(std::vector<unsigned char> const& bytes, std::size_t at) -> std::uint32_t {
  return std::uint32_t{bytes[at]} << 24 | std::uint32_t{bytes[at + 1]} << 16 | std::uint32_t{bytes[at + 2]} << 8 |
         std::uint32_t{bytes[at + 3]};
}

inline auto hexadecimal(std::uint32_t number) -> std::string {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", number);
  return text;
}

struct idx_content {
  std::size_t samples = 0;
  std::size_t bytes_per_sample = 0;
  std::vector<unsigned char> bytes;
};

enum class idx_kind : std::uint32_t { labels = 0x00000801, images = 0x00000803 };

inline void expect_size(idx_file const& file, std::size_t have, std::uint64_t size) {
  if (have >= size) return;
  file.fail("ends after " + std::to_string(have) + " of " + std::to_string(size) + " bytes");
}

// The checked contents of the header; the number of bytes that must follow cannot overflow 64 bits.
inline auto read_header(idx_file& file, idx_kind kind) -> idx_content {
  auto const images = kind == idx_kind::images;
  std::size_t const size = images ? 16 : 8;
  std::vector<unsigned char> header;
  file.read(header, size);
  auto const expected = static_cast<std::uint32_t>(kind);
  if (header.size() >= 4 && number_at(header, 0) != expected) {
    file.fail("has magic " + hexadecimal(number_at(header, 0)) + ", expected " + hexadecimal(expected) + " for " +
              (images ? "images" : "labels"));
  }
  expect_size(file, header.size(), size);
  idx_content content{number_at(header, 4), 1, {}};
  if (content.samples == 0) file.fail("holds no samples");
  if (!images) return content;
  auto const rows = number_at(header, 8);
  auto const columns = number_at(header, 12);
  if (rows < 1 || rows > 4096 || columns < 1 || columns > 4096) {
    file.fail("says that images have " + std::to_string(rows) + " x " + std::to_string(columns) +
              " pixels, but 1 to 4096 either way are possible");
  }
  content.bytes_per_sample = std::size_t{rows} * columns;
  return content;
}

inline auto read_idx(std::string const& folder, std::string const& name, idx_kind kind) -> idx_content {
  idx_file file{folder, name};
  auto content = read_header(file, kind);
  std::uint64_t const header = kind == idx_kind::images ? 16 : 8;
  auto const body = std::uint64_t{content.samples} * content.bytes_per_sample;
  file.read(content.bytes, body);
  expect_size(file, header + content.bytes.size(), header + body);
  file.expect_end(header + body);
  if (kind == idx_kind::images) return content;
  for (std::size_t i = 0; i < content.bytes.size(); ++i) {
    if (content.bytes[i] < idx_classes) continue;
    file.fail("gives sample " + std::to_string(i) + " the label " + std::to_string(content.bytes[i]) +
              ", but labels are 0 to " + std::to_string(idx_classes - 1));
  }
  return content;
}

inline auto read_pair(std::string const& folder, std::string const& prefix) -> problem::dataset {
  auto const images_name = prefix + "-images-idx3-ubyte";
  auto const labels_name = prefix + "-labels-idx1-ubyte";
  auto const images = read_idx(folder, images_name, idx_kind::images);
  auto const labels = read_idx(folder, labels_name, idx_kind::labels);
  if (images.samples != labels.samples) {
    throw config_error{images_name + " in " + folder + " holds " + std::to_string(images.samples) + " images, but " +
                       labels_name + " holds " + std::to_string(labels.samples) + " labels"};
  }
  std::vector<float> features(images.bytes.size());
  std::transform(images.bytes.begin(), images.bytes.end(), features.begin(),
                 [](unsigned char pixel) { return static_cast<float>(pixel) / 255.0F; });
  return {std::move(features), {labels.bytes.begin(), labels.bytes.end()}, idx_classes};
}

}  // namespace detail

/// Training and test data from train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and
/// t10k-labels-idx1-ubyte in `folder`, each plain or with the ending .gz (plain first); pixels become 0..1. Throws
/// config_error naming a file that is missing, truncated, damaged or inconsistent with the others.
[[nodiscard]] inline auto read_idx_folder(std::string const& folder = default_data_folder) -> problem::train_and_test {
  auto train = detail::read_pair(folder, "train");
  auto test = detail::read_pair(folder, "t10k");
  if (train.width() != test.width()) {
    throw config_error{"t10k-images-idx3-ubyte in " + folder + " has images of " + std::to_string(test.width()) +
                       " pixels, but those of train-images-idx3-ubyte have " + std::to_string(train.width())};
  }
  return {std::move(train), std::move(test)};
}

}  // namespace rubato::examples
