// SPDX-License-Identifier: MIT
// A transformer of two layers learns to continue English, letter by letter. Each of four nodes has a licence of its own
// to read: their models come to know all four, and no text is ever sent.
//
//      0 --- 1       0: GPL      1: Apache      2: MPL      3: GFDL
//      |     |
//      3 --- 2       19_torch_text [simulator | threads | tcp]
//
// What a node learns from is a class of your own, `licences`: batches drawn from a key, and all data for the loss. The
// texts lie in /usr/share/common-licenses, which every Debian has; needs the components torch, asio and xxhash.
// Expected output, in each of the three ways: expected/19_torch_text.txt
#include <rubato/problem/torch.hpp>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "support/torch_run.hpp"

namespace nn = torch::nn;
namespace problem = rubato::problem;

constexpr std::int64_t letters = 128, passage = 16, features = 32, passages_a_gradient = 8;
constexpr std::size_t letters_of_a_text = 6000;  // few, so that the loss of all of them is soon known

/// Scores of each letter for each place of a passage, from the letters up to that place.
struct transformer : nn::Module {
  nn::Embedding letter{nullptr}, place{nullptr};
  nn::TransformerEncoderLayer first{nullptr}, second{nullptr};
  nn::Linear scores{nullptr};
  torch::Tensor later = torch::full({passage, passage}, -std::numeric_limits<float>::infinity()).triu(1);

  transformer() {
    // Dropout would draw from a generator that all nodes share; tests/torch/modules.cpp has one that does not.
    auto const layer = nn::TransformerEncoderLayerOptions(features, 2).dim_feedforward(2 * features).dropout(0);
    letter = register_module("letter", nn::Embedding(letters, features));
    place = register_module("place", nn::Embedding(passage, features));
    first = register_module("first", nn::TransformerEncoderLayer(layer));
    second = register_module("second", nn::TransformerEncoderLayer(layer));
    scores = register_module("scores", nn::Linear(features, letters));
  }
  auto forward(torch::Tensor const& text) -> torch::Tensor {
    auto const read = letter->forward(text) + place->forward(torch::arange(passage));
    auto const seen = second->forward(first->forward(read.transpose(0, 1), later), later);
    return scores->forward(seen).permute({1, 2, 0});  // passages x letters x places
  }
};

auto cross_entropy(torch::Tensor const& outputs, torch::Tensor const& next) {
  return torch::cross_entropy_loss(outputs, next);
}

/// A text a node; the last tenth of each is held out.
class licences {
 public:
  explicit licences(std::vector<std::string> const& names) {
    for (auto const& name : names) {
      auto const path = "/usr/share/common-licenses/" + name;
      auto file = std::ifstream{path};
      auto const text = std::string{std::istreambuf_iterator<char>{file}, {}};
      std::vector<std::int64_t> codes;
      for (auto const c : text.substr(0, letters_of_a_text)) codes.push_back(c & 0x7f);
      auto const length = static_cast<std::int64_t>(codes.size()), held_out = length / 10;
      if (held_out <= passage)
        throw rubato::config_error{path + " cannot be read, or is too short; Debian's package base-files has it"};
      train_.push_back(torch::tensor(codes).slice(0, 0, length - held_out));
      test_.push_back(torch::tensor(codes).slice(0, length - held_out));
    }
  }

  auto nodes() const { return train_.size(); }

  auto operator()(rubato::sample_key key) const -> problem::torch_batch {
    auto const& text = train_[to_index(key.node)];
    auto draw = rubato::random_stream{key};
    std::vector<torch::Tensor> drawn;
    for (std::int64_t i = 0; i < passages_a_gradient; ++i) {
      auto const begin = draw.below(static_cast<std::uint64_t>(text.numel() - passage));
      drawn.push_back(text.narrow(0, static_cast<std::int64_t>(begin), passage + 1));
    }
    return with_next(torch::stack(drawn));
  }

  void train(auto&& visit) const {
    for (auto const& text : train_) visit(whole(text), 1.0 / static_cast<double>(nodes()));
  }
  void test(auto&& visit) const {
    for (auto const& text : test_) visit(whole(text));
  }

 private:
  static auto with_next(torch::Tensor const& passages) -> problem::torch_batch {
    return {passages.narrow(1, 0, passage), passages.narrow(1, 1, passage)};
  }
  static auto whole(torch::Tensor const& text) -> problem::torch_batch {
    return with_next(text.unfold(0, passage + 1, passage));
  }

  std::vector<torch::Tensor> train_, test_;
};

auto reading() {
  auto const texts = licences{{"GPL-3", "Apache-2.0", "MPL-2.0", "GFDL-1.3"}};
  torch::manual_seed(1);  // all processes begin with the same model
  return problem::from_torch<float>(
      texts.nodes(), [] { return std::make_shared<transformer>(); }, &cross_entropy, texts);
}

int main(int argc, char** argv) {
  return rubato::examples::train(argc, argv, {.nodes = 4, .step = 0.01, .untrained = 4.5, .loss = 2.7, .right = 0.2},
                                 &reading);
}
