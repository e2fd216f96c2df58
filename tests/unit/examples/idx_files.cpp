// SPDX-License-Identifier: MIT
#include "../../../examples/support/idx_files.hpp"

#include <unistd.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/problem_checks.hpp"

namespace {

using rubato::examples::read_idx_folder;
using rubato::test::refusal;
using bytes = std::vector<unsigned char>;

constexpr auto train_images = "train-images-idx3-ubyte";
constexpr auto train_labels = "train-labels-idx1-ubyte";
constexpr auto test_images = "t10k-images-idx3-ubyte";
constexpr auto test_labels = "t10k-labels-idx1-ubyte";

// 3 training images of 2 x 2 pixels and 2 test images, in a folder that goes away with this object.
class tiny_folder {
 public:
  tiny_folder() {
    auto pattern = (std::filesystem::temp_directory_path() / "rubato_idx_XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
    write(train_images, images(3));
    write(train_labels, {0, 0, 8, 1, 0, 0, 0, 3, 0, 9, 4});
    write(test_images, images(2));
    write(test_labels, {0, 0, 8, 1, 0, 0, 0, 2, 1, 2});
  }
  tiny_folder(tiny_folder const&) = delete;
  auto operator=(tiny_folder const&) -> tiny_folder& = delete;
  ~tiny_folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] static auto images(unsigned char count) -> bytes {
    bytes file{0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 2, 0, 0, 0, 2};
    for (unsigned i = 0; i < 4U * count; ++i) file.push_back(static_cast<unsigned char>(51 * (i % 6)));
    return file;
  }
  [[nodiscard]] auto path() const -> std::string { return path_.string(); }
  [[nodiscard]] auto file(std::string const& name) const -> std::string { return path() + "/" + name; }
  [[nodiscard]] auto refused() const -> std::string {
    return refusal([&] { return read_idx_folder(path()); });
  }

  void write(std::string const& name, bytes const& content) const {
    std::ofstream out{file(name), std::ios::binary};
    for (auto const byte : content) out.put(static_cast<char>(byte));
  }
  [[nodiscard]] auto read(std::string const& name) const -> bytes {
    std::ifstream in{file(name), std::ios::binary};
    return {std::istreambuf_iterator<char>{in}, {}};
  }
  void remove(std::string const& name) const { std::filesystem::remove(file(name)); }
  /// Replaces a file by its gzipped form.
  void compress(std::string const& name) const {
    auto const content = read(name);
    auto* const out = gzopen(file(name + ".gz").c_str(), "wb");
    REQUIRE(out != nullptr);
    CHECK(gzwrite(out, content.data(), static_cast<unsigned>(content.size())) == static_cast<int>(content.size()));
    CHECK(gzclose(out) == Z_OK);
    remove(name);
  }

 private:
  std::filesystem::path path_;
};

auto changed(bytes content, std::size_t at, unsigned char value) -> bytes {
  content.at(at) = value;
  return content;
}

}  // namespace

TEST_CASE("a folder of IDX files is read, plain or gzipped or mixed") {
  tiny_folder const folder;
  auto const check = [&] {
    auto const data = read_idx_folder(folder.path());
    CHECK(data.train.samples() == 3);
    CHECK(data.train.width() == 4);
    CHECK(data.train.classes() == 10);
    CHECK(data.train.row(0)[1] == 51.0F / 255.0F);
    CHECK(data.train.row(1)[1] == 1.0F);
    CHECK(data.train.labels()[1] == 9);
    CHECK(data.test.samples() == 2);
    CHECK(data.test.labels()[1] == 2);
  };
  check();
  folder.compress(train_images);
  check();
  for (auto const* const name : {train_labels, test_images, test_labels}) folder.compress(name);
  check();
}

TEST_CASE("a missing IDX file is named, with the package that has it") {
  for (auto const* const name : {train_images, train_labels, test_images, test_labels}) {
    tiny_folder const folder;
    folder.remove(name);
    CHECK(folder.refused() == std::string{"there is no "} + name + ", plain or with .gz, in " + folder.path() +
                                  "; Debian's package dataset-fashion-mnist has it in "
                                  "/usr/share/datasets/fashion-mnist");
  }
  CHECK(refusal([] { return read_idx_folder("/no/such/folder"); }).find("in /no/such/folder;") != std::string::npos);
}

TEST_CASE("an IDX file that is cut anywhere is refused with the bytes it has and should have") {
  tiny_folder const folder;
  for (auto const* const name : {train_images, train_labels, test_images, test_labels}) {
    auto const whole = folder.read(name);
    auto const header = std::string{name}.find("images") != std::string::npos ? std::size_t{16} : std::size_t{8};
    for (std::size_t size = 0; size < whole.size(); ++size) {
      folder.write(name, bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
      auto const expected = size < header ? header : whole.size();
      CHECK(folder.refused() ==
            folder.file(name) + " ends after " + std::to_string(size) + " of " + std::to_string(expected) + " bytes");
    }
    folder.write(name, whole);
  }
  CHECK(folder.refused().empty());
}

TEST_CASE("a gzipped IDX file that is cut or damaged anywhere is refused") {
  tiny_folder const folder;
  folder.compress(train_images);
  auto const name = std::string{train_images} + ".gz";
  auto const whole = folder.read(name);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    folder.write(name, bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
    CHECK(folder.refused().find(folder.file(name)) == 0);
  }
  for (std::size_t at = whole.size() - 8; at < whole.size(); ++at) {  // check sum and size
    folder.write(name, changed(whole, at, static_cast<unsigned char>(whole[at] ^ 1U)));
    CHECK(folder.refused().find(folder.file(name) + " is damaged: ") == 0);
  }
}

TEST_CASE("an IDX file of the wrong kind is refused with both magic numbers") {
  tiny_folder const folder;
  folder.write(train_images, folder.read(train_labels));
  CHECK(folder.refused() == folder.file(train_images) + " has magic 0x00000801, expected 0x00000803 for images");
  folder.write(train_images, tiny_folder::images(3));
  folder.write(test_labels, tiny_folder::images(2));
  CHECK(folder.refused() == folder.file(test_labels) + " has magic 0x00000803, expected 0x00000801 for labels");
}

TEST_CASE("an IDX file that goes on after its end is refused") {
  tiny_folder const folder;
  auto longer = folder.read(test_labels);
  longer.push_back(0);
  folder.write(test_labels, longer);
  CHECK(folder.refused() == folder.file(test_labels) + " goes on after the 10 bytes that its header announces");
}

TEST_CASE("IDX files that disagree with each other are refused") {
  tiny_folder const folder;
  folder.write(train_images, tiny_folder::images(2));
  CHECK(folder.refused() ==
        "train-images-idx3-ubyte in " + folder.path() + " holds 2 images, but train-labels-idx1-ubyte holds 3 labels");
  folder.write(train_images, tiny_folder::images(3));
  folder.write(test_images, {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 5, 6});
  CHECK(folder.refused() == "t10k-images-idx3-ubyte in " + folder.path() +
                                " has images of 1 pixels, but those of train-images-idx3-ubyte have 4");
}

TEST_CASE("labels of ten and above, no samples, and impossible image sizes are refused") {
  tiny_folder const folder;
  auto const labels = folder.read(train_labels);
  folder.write(train_labels, changed(labels, 9, 10));
  CHECK(folder.refused() == folder.file(train_labels) + " gives sample 1 the label 10, but labels are 0 to 9");
  folder.write(train_labels, {0, 0, 8, 1, 0, 0, 0, 0});
  CHECK(folder.refused() == folder.file(train_labels) + " holds no samples");
  folder.write(train_images, changed(tiny_folder::images(3), 11, 0));
  CHECK(folder.refused() ==
        folder.file(train_images) + " says that images have 0 x 2 pixels, but 1 to 4096 either way are possible");
}

TEST_CASE("a header that claims far more than the file holds allocates no more than that") {
  tiny_folder const folder;  // 2^32 - 1 images of 4096 x 4096 pixels would be 72 petabytes
  bytes content{0, 0, 8, 3, 255, 255, 255, 255, 0, 0, 16, 0, 0, 0, 16, 0, 1, 2, 3};
  folder.write(train_images, content);
  CHECK(folder.refused() == folder.file(train_images) + " ends after 19 of 72057594021150736 bytes");
}

TEST_CASE("a folder in the place of an IDX file is refused") {
  tiny_folder const folder;
  folder.remove(train_labels);
  std::filesystem::create_directory(folder.file(train_labels));
  CHECK(folder.refused().find(folder.file(train_labels) + " cannot be ") == 0);
}
