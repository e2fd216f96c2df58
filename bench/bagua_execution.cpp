// SPDX-License-Identifier: MIT
// The time of a round of all-reduced SGD on virtual links, as BAGUA's paper (arXiv 2107.01499) takes its execution
// layer apart: buckets, overlap with the gradient, machines with leaders, each on and off; and with one byte a value.
//   bench_bagua_execution [SCALE]
// 4 machines of 4 nodes; models and bandwidths are divided by SCALE (100), so that times are those of the whole, but
// for the headers of messages, which are not.
//   a machine has one link of that bandwidth and 50 us to all others, shared evenly by the pairs of nodes that use it
//   (48 directed ones for all to all, 3 between leaders, 1 for a ring); 100 Gbit/s and 5 us from node to node inside
//   VGG16: 16 layers, times by operations, forward pass first; 140 ms a gradient, near the 142 ms of 32 images that the
//          asynchronous method of BAGUA's benchmark page takes, which waits for nobody
//   even:  24 layers of 12.6 million values that take the same time, and 31.8 million at the first; 250 ms, our choice
// Time for codecs is not charged. What would make it wrong: links that do not share evenly, slow codecs, jitter.
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/algorithm/bucketed_allreduce_sgd.hpp>
#include <rubato/algorithm/ring_allreduce_sgd.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/driver/simulate.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/report/table.hpp>
#include <rubato/topology/builders.hpp>

namespace {

using namespace rubato;
using namespace std::chrono_literals;
using space = backend::host<float>;
constexpr std::size_t machines = 4, in_machine = 4, nodes = machines * in_machine;

/// Layers from the first to the last: values, and operations of one forward pass. A backward pass takes twice as many.
struct network {
  std::string name;
  std::vector<std::pair<double, double>> layers;
  std::chrono::milliseconds gradient{};
};
auto vgg16() -> network {
  return {"VGG16",
          {{1'792, 87},
           {36'928, 1'850},
           {73'856, 925},
           {147'584, 1'850},
           {295'168, 925},
           {590'080, 1'850},
           {590'080, 1'850},
           {1'180'160, 925},
           {2'359'808, 1'850},
           {2'359'808, 1'850},
           {2'359'808, 462},
           {2'359'808, 462},
           {2'359'808, 462},
           {102'764'544, 103},
           {16'781'312, 17},
           {4'097'000, 4}},
          140ms};
}
auto even() -> network {
  network of{"even", {{31.8e6, 0}}, 250ms};
  for (int k = 0; k < 24; ++k) of.layers.emplace_back(12.6e6, 1);
  return of;
}

/// A gradient of the right size and order that costs little: g = x / 2.
struct stand_in {
  std::vector<problem::gradient_share> parts;
  std::size_t values = 0;

  stand_in(network const& of, double scale) {
    double work = 0;
    std::vector<std::size_t> begins{0};
    for (auto const& [size, operations] : of.layers) {
      begins.push_back(begins.back() + static_cast<std::size_t>(std::ceil(size / scale)));
      work += operations;
    }
    values = begins.back();
    for (auto k = of.layers.size(); k-- > 0;) {
      auto const forward = k + 1 == of.layers.size() ? 1.0 / 3 : 0.0;
      parts.push_back({{begins[k], begins[k + 1]}, forward + 2 * of.layers[k].second / work / 3});
    }
  }
  [[nodiscard]] auto dimension() const -> std::size_t { return values; }
  [[nodiscard]] auto gradient_parts() const { return parts; }
  auto gradient(space& b, std::span<float const> x, sample_key key, std::span<float> g) const -> double {
    return gradient(b, x, key, g, [](range) {});
  }
  template<class IsFinal>
  auto gradient(space&, std::span<float const> x, sample_key, std::span<float> g, IsFinal const& is_final) const
      -> double {
    for (auto const& part : parts) {
      for (auto k = part.values.begin; k < part.values.end; ++k) g[k] = x[k] / 2 + 1;
      is_final(part.values);
    }
    return 0;
  }
};

/// Links of machines of `bits` a second, each shared by so many directed pairs of nodes.
auto cluster(double bits, double pairs, std::chrono::milliseconds gradient, double scale) -> environment::scenario {
  environment::scenario s;
  s.compute = environment::fixed(gradient);
  s.link = {.latency = 50us, .bits_per_second = bits / pairs / scale};
  for (std::size_t i = 0; i < nodes; ++i) {
    for (std::size_t j = 0; j < nodes; ++j) {
      if (i != j && i / in_machine == j / in_machine)
        s.special.push_back({to_node(i), to_node(j), {.latency = 5us, .bits_per_second = 1e11 / scale}});
    }
  }
  s.measure_every = 1h;
  return s;
}

constexpr std::uint64_t rounds = 2;

/// Milliseconds of a round.
template<class Node>
auto round_of(stand_in const& p, typename Node::options options, environment::scenario const& s) -> double {
  options.step = 1e-3;
  auto const r =
      simulate(assemble<Node>(topology::ring(nodes), p, options), s, {.time = 1h, .gradients = rounds * nodes});
  return std::chrono::duration<double, std::milli>{r.ended}.count() / rounds;
}

template<class Codec>
void rows(report::text_table& table, network const& of, char const* codec, double scale) {
  using node = bucketed_allreduce_sgd<space, Codec>;
  auto const p = stand_in{of, scale};
  auto const ten_mib = static_cast<std::size_t>(10 * 1024 * 1024 / 4 / scale);
  struct setting {
    char const* name;
    std::size_t bucket;
    bucket_start begin;
    std::size_t machine;
    std::size_t under_way;
    bool for_codecs;
  };
  auto const after = bucket_start::after_gradient;
  auto const early = bucket_start::when_final;
  std::vector<setting> const settings{
      {"one bucket", 0, after, 1, 0, true},
      {"10 MiB", ten_mib, after, 1, 0, false},
      {"10 MiB, overlap", ten_mib, early, 1, 0, true},
      {"10 MiB, overlap, one at a time", ten_mib, early, 1, 1, false},
      {"1 MiB, overlap", ten_mib / 10, early, 1, 0, false},
      {"one bucket, leaders", 0, after, in_machine, 0, false},
      {"10 MiB, leaders", ten_mib, after, in_machine, 0, false},
      {"10 MiB, overlap, leaders", ten_mib, early, in_machine, 0, true},
      {"10 MiB, overlap, leaders, one at a time", ten_mib, early, in_machine, 1, false},
  };
  for (auto const& s : settings) {
    if (!std::is_same_v<Codec, codec::identity> && !s.for_codecs) continue;
    auto cells = std::vector<std::string>{of.name, codec, s.name};
    auto const pairs = s.machine == 1 ? in_machine * (nodes - in_machine) : machines - 1;
    for (auto const gbit : {1, 10, 25}) {
      typename node::options o;
      o.bucket_values = s.bucket;
      o.begin = s.begin;
      o.machine = s.machine;
      o.under_way = s.under_way;
      cells.push_back(
          report::readable(round_of<node>(p, o, cluster(gbit * 1e9, static_cast<double>(pairs), of.gradient, scale))));
    }
    std::fprintf(stderr, "%s, %s, %s\n", of.name.c_str(), codec, s.name);
    table.add_row(cells);
  }
}

void ablation(double scale) {
  report::text_table table{{{"model", report::side::left},
                            {"values", report::side::left},
                            {"execution", report::side::left},
                            {"1 Gbit/s"},
                            {"10 Gbit/s"},
                            {"25 Gbit/s"}}};
  for (auto const& of : {vgg16(), even()}) {
    auto cells = std::vector<std::string>{of.name, "float", "ring_allreduce_sgd"};
    for (auto const gbit : {1, 10, 25})
      cells.push_back(report::readable(
          round_of<ring_allreduce_sgd<space>>(stand_in{of, scale}, {}, cluster(gbit * 1e9, 1, of.gradient, scale))));
    table.add_row(cells);
    rows<codec::identity>(table, of, "float", scale);
    rows<codec::minmax_u8>(table, of, "byte", scale);
  }
  std::printf("milliseconds of a round, %zu machines of %zu nodes\n%s", machines, in_machine, table.text().c_str());
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    ablation(argc > 1 ? std::atof(argv[1]) : 100);
    return 0;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "bench_bagua_execution: %s\n", e.what());
    return 2;
  }
}
