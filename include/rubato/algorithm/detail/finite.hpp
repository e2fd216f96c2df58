// SPDX-License-Identifier: MIT
// Finds the cause after a sweep raised not_finite, in passes of its own that run only then.
#pragma once

#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <rubato/core/outbox.hpp>
#include <rubato/core/packet.hpp>
#include <rubato/core/shared_buffer.hpp>

namespace rubato::detail {

/// The index of the first value that is NaN or infinite; the size if all are finite.
template<class Values>
[[nodiscard]] auto first_not_finite(Values const& values) -> std::size_t {
  std::size_t at = 0;
  while (at < values.size() && std::isfinite(values[at])) ++at;
  return at;
}
/// The same for a body of models or gradients, wherever its memory is; codes and integers are always finite.
[[nodiscard]] inline auto first_not_finite(shared_buffer const& body) -> std::size_t {
  auto const here = body.on_host();
  if (here.kind() == element::f32) return first_not_finite(here.view<float>());
  if (here.kind() == element::f64) return first_not_finite(here.view<double>());
  return here.size();
}

/// Suspects, in the order in which they were named: the first that contains a value that is not finite is the cause. If
/// all inputs were finite, the model itself has overflowed.
class blame {
 public:
  explicit blame(node_id self) : self_{self} {}

  /// The gradient that this node computed.
  auto gradient(shared_buffer const& g) -> blame& {
    accuse("the gradient that node " + std::to_string(to_index(self_)) + " computed", first_not_finite(g), g.size());
    return *this;
  }
  /// Data from another node: a body, or values decoded from one.
  template<class Values>
  auto message(node_id from, channel_id channel, Values const& values) -> blame& {
    accuse("a " + std::string{to_text(channel)} + " that node " + std::to_string(to_index(from)) + " sent to node " +
               std::to_string(to_index(self_)),
           first_not_finite(values), values.size());
    return *this;
  }
  [[nodiscard]] auto sentence() const -> fault {
    if (!named_.empty()) return {named_};
    return {"the run diverges: the model of node " + std::to_string(to_index(self_)) +
            " is not finite any more; use a smaller step"};
  }

 private:
  static auto to_text(channel_id channel) -> char const* {
    switch (channel) {
      case channel_id::gradient:
        return "gradient";
      case channel_id::chunk:
        return "part of a sum";
      case channel_id::tracker:
        return "running sum";
      default:
        return "model";
    }
  }
  void accuse(std::string const& what, std::size_t at, std::size_t size) {
    if (!named_.empty() || at == size) return;
    named_ = what + " is not finite at value " + std::to_string(at) +
             "; if it grew before, the run diverges, and a smaller step helps";
  }
  node_id self_;
  std::string named_;
};

/// For a worker, which makes no pass over what it receives and computes: checks both if the loss of its gradient is not
/// known, as is the case at a model that is not finite.
[[nodiscard]] inline auto spoilt_gradient(node_id self, node_id server, shared_buffer const& model, gradient const& g)
    -> std::optional<fault> {
  if (std::isfinite(g.loss)) return {};
  if (first_not_finite(model) < model.size()) return blame{self}.message(server, channel_id::model, model).sentence();
  if (first_not_finite(g.value) < g.value.size()) return blame{self}.gradient(g.value).sentence();
  return {};
}

}  // namespace rubato::detail
