// SPDX-License-Identifier: MIT
// A small convolutional network of LibTorch learns pictures of clothes. Each of four nodes has pictures of two or three
// of the ten kinds alone, and learns the others from messages: R-FAST ends at the optimum of all nodes' data.
//
//      0 --- 1       0: kinds 0 to 2      1: 2 to 4      2: 5 to 7      3: 7 to 9
//      |     |
//      3 --- 2       18_torch_images [simulator | threads | tcp]
//
// The module and the loss are what any program of LibTorch would write. The pictures are Debian's package
// dataset-fashion-mnist; needs the components torch, asio and xxhash, and zlib.
// Expected output, in each of the three ways: expected/18_torch_images.txt
#include <rubato/problem/torch.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "support/idx_files.hpp"
#include "support/torch_run.hpp"

namespace nn = torch::nn;
namespace problem = rubato::problem;

constexpr std::size_t members = 4, pictures_a_gradient = 32;

auto network() {
  return nn::Sequential(nn::Conv2d(nn::Conv2dOptions(1, 8, 5).stride(2)), nn::ReLU(),  // 28 x 28 -> 12 x 12
                        nn::Conv2d(nn::Conv2dOptions(8, 16, 5).stride(2)), nn::ReLU(),  // -> 4 x 4
                        nn::Flatten(), nn::Linear(256, 10));
}

auto cross_entropy(torch::Tensor const& outputs, torch::Tensor const& kinds) {
  return torch::cross_entropy_loss(outputs, kinds);
}

auto first_of(problem::dataset const& all, std::size_t samples) -> problem::dataset {
  auto const values = all.features().first(samples * all.width());
  auto const labels = all.labels().first(samples);
  return {{values.begin(), values.end()}, {labels.begin(), labels.end()}, all.classes()};
}

auto clothes() {
  auto const all = rubato::examples::read_idx_folder();
  auto const data = problem::train_and_test{first_of(all.train, 2000), first_of(all.test, 1000)};
  auto const shards = rubato::split::by_label(data.train, members, 1);
  torch::manual_seed(1);  // all processes begin with the same model
  return problem::from_torch<float>(members, &network, &cross_entropy,
                                    problem::torch_samples<float>{data, shards, {1, 28, 28}, pictures_a_gradient});
}

int main(int argc, char** argv) {
  return rubato::examples::train(
      argc, argv, {.nodes = members, .step = 0.003, .untrained = 2.2, .loss = 0.7, .right = 0.6}, &clothes);
}
