// SPDX-License-Identifier: MIT
// libFuzzer's target for everything that reads bytes from a wire: frames with and without checksum, standings in them,
// and hellos. What is accepted must be what encoding makes of it again; tests/fuzz/run.sh builds and runs it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/transport/peer_status.hpp>
#include <rubato/wire/frame.hpp>
#include <rubato/wire/hello.hpp>
#include <rubato/wire/xxhash.hpp>

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
  if (transport::detail::is_status(f)) {
    if (auto const said = transport::detail::status_in(f)) {
      auto const again = transport::detail::frame_of(*said, f.head.from, f.head.to);
      require(again.based_on == f.head.based_on && again.number == f.head.number,
              "a standing is not what it was read from");
    }
  }
  f.head.body = wire::copy_body(f, pool);
  std::vector<std::byte> again;
  wire::encode(f.head, {f.blocks, f.head.body.bytes()}, again, s);
  require(std::ranges::equal(again, bytes), "a frame that was accepted is not what encoding makes of it");
}

void read_hello(std::span<std::byte const> bytes) {
  if (bytes.size() < wire::hello_bytes) return;
  auto const text = std::string_view{reinterpret_cast<char const*>(bytes.data()) + wire::hello_bytes,
                                     bytes.size() - wire::hello_bytes};
  require(wire::difference("seed=1\n", text, "node 2").empty() == (text == "seed=1\n"), "a difference is not seen");
  auto const said = wire::decode_whole_hello(bytes);
  if (!said) return;
  require(std::ranges::equal(wire::encode_hello(said->who, said->text), bytes),
          "a hello is not what encoding makes of it");
}

/// A good frame and a good hello, from which inputs start in earnest: from nothing, a fuzzer rarely finds the magic.
auto good_frame() -> std::vector<std::byte> {
  buffer_pool pool;
  auto body = pool.allocate<float>(4);
  for (std::size_t i = 0; i < 4; ++i) body.data()[i] = 0.5F * static_cast<float>(i);
  packet p;
  p.number = iteration{1};
  p.extra.set(scalar_slot::loss, 1.0);
  p.body = std::move(body).publish();
  std::vector<std::byte> bytes;
  wire::encode(p, wire::uncut(p, block_partition{4}), bytes);
  return bytes;
}
auto good_standing() -> std::vector<std::byte> {
  using transport::cause, transport::peer_status;
  std::vector<std::byte> bytes;
  auto const ended = peer_status{peer_status::phase::ended, 0, {node_id{3}, cause::how::gone}};
  wire::encode(transport::detail::frame_of(ended, node_id{1}, node_id{2}), {}, bytes);
  return bytes;
}
auto good_hello() -> std::vector<std::byte> {
  wire::agreement agreed;
  agreed.add("seed", 1);
  return wire::encode_hello({agreed.id(), node_id{1}, node_id{2}, 3, 4, 0, 0}, agreed.text());
}

/// Pairs of input bytes are a place and what is changed there; the first one cuts or lengthens.
auto changed(std::vector<std::byte> bytes, std::span<std::byte const> how) -> std::vector<std::byte> {
  if (how.empty()) return bytes;
  auto const cut = std::to_integer<std::size_t>(how[0]);
  if (cut < 64) bytes.resize(bytes.size() > cut ? bytes.size() - cut : 0);
  if (cut > 250) bytes.resize(bytes.size() + cut - 250);
  for (std::size_t i = 1; i + 1 < how.size() && !bytes.empty(); i += 2) {
    bytes[std::to_integer<std::size_t>(how[i]) % bytes.size()] ^= how[i + 1];
  }
  return bytes;
}

}  // namespace

extern "C" auto LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) -> int {
  auto const bytes = std::as_bytes(std::span{data, size});
  read_frame(bytes, {});
  read_frame(bytes, {7, &wire::xxh3_of});
  read_hello(bytes);
  static auto const frame = good_frame();
  static auto const hello = good_hello();
  read_frame(changed(frame, bytes), {});
  static auto const peer_status = good_standing();
  read_frame(changed(peer_status, bytes), {});
  read_hello(changed(hello, bytes));
  return 0;
}
