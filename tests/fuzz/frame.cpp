// SPDX-License-Identifier: MIT
// libFuzzer's target for everything that reads bytes from a wire: frames with and without checksum, and hellos. What is
// accepted must be what encoding makes of it again, byte for byte; tests/fuzz/run.sh builds and runs it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rubato/wire/frame.hpp>
#include <rubato/wire/hello.hpp>
#include <rubato/wire/zlib.hpp>

namespace {

using namespace rubato;

void require(bool holds, char const* sentence) {
  if (holds) return;
  std::fprintf(stderr, "frame fuzzer: %s\n", sentence);
  std::abort();
}

void read_frame(std::span<std::byte const> bytes, wire::seal const& s) {
  static buffer_pool pool;
  wire::frame_view f;
  if (wire::decode(bytes, f, s)) return;
  f.head.body = wire::copy_body(f, pool);
  std::vector<std::byte> again;
  wire::encode(f.head, {f.blocks, f.head.body.bytes()}, again, s);
  require(std::ranges::equal(again, bytes), "a frame that was accepted is not what encoding makes of it");
}

void read_hello(std::span<std::byte const> bytes) {
  if (bytes.size() < wire::hello_bytes) return;
  auto const head = bytes.first<wire::hello_bytes>();
  auto const who = wire::decode_hello(head);
  if (!who || who->text_bytes != bytes.size() - wire::hello_bytes) return;
  auto const text = std::string_view{reinterpret_cast<char const*>(bytes.data()) + wire::hello_bytes, who->text_bytes};
  require(wire::difference("seed=1\n", text, "node 2").empty() == (text == "seed=1\n"), "a difference is not seen");
  if (!wire::is_intact(head, text)) return;
  require(std::ranges::equal(wire::encode_hello(*who, text), bytes), "a hello is not what encoding makes of it");
}

}  // namespace

extern "C" auto LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) -> int {
  auto const bytes = std::as_bytes(std::span{data, size});
  read_frame(bytes, {});
  read_frame(bytes, {7, &wire::crc32_of});
  read_hello(bytes);
  return 0;
}
