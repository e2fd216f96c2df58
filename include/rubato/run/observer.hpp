// SPDX-License-Identifier: MIT
// Observers of a run, under any driver: any callable that takes a look, and may ask the run to stop.
#pragma once

#include <concepts>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include <rubato/core/shared_buffer.hpp>
#include <rubato/run/result.hpp>

namespace rubato {

/// One look at a run. It is valid during the call. The models are shared; copies of them may be kept, and keep their
/// memory.
struct look {
  measurement seen;  ///< as it stands in the history
  /// The models of the measured nodes (assembly::measured), in order, without those of members that are not there; a
  /// process sees only its own. They are in the memory of the nodes' backend; shared_buffer::on_host makes them
  /// readable for the host.
  std::span<shared_buffer const> models;
};

enum class verdict : bool { go_on, stop };

/// A callable on a look, which returns nothing or a verdict. A run that is asked to stop ends in order at that look,
/// and says stop_reason::observer; between processes, that is the run of this node alone. What the callable throws ends
/// the run at once and passes through. Copies share the callable; give std::ref(x) to keep it yourself.
/// **Thread safety:** of one run all calls come one after the other: under the simulator and on threads from the thread
/// that started the run, between processes from a thread of their own, so that a long one holds up no message.
class observer {
 public:
  template<class F>
    requires(!std::same_as<std::remove_cvref_t<F>, observer> && std::invocable<std::decay_t<F>&, look const&>)
  observer(F&& f) : self_{std::make_shared<model<std::decay_t<F>>>(std::forward<F>(f))} {
    using answer = std::invoke_result_t<std::decay_t<F>&, look const&>;
    static_assert(std::is_void_v<answer> || std::same_as<answer, verdict>,
                  "an observer returns nothing or a verdict: verdict::go_on or verdict::stop");
  }

  [[nodiscard]] auto operator()(look const& l) const -> verdict { return self_->sees(l); }

 private:
  struct base {
    virtual ~base() = default;
    virtual auto sees(look const&) -> verdict = 0;
  };
  template<class F>
  struct model final : base {
    template<class G>
    explicit model(G&& g) : f(std::forward<G>(g)) {}
    auto sees(look const& l) -> verdict override {
      if constexpr (std::is_void_v<std::invoke_result_t<F&, look const&>>) {
        f(l);
        return verdict::go_on;
      } else {
        return f(l);
      }
    }
    F f;
  };
  std::shared_ptr<base> self_;
};

using observers = std::vector<observer>;

namespace detail {
/// Shows the look to all observers; one verdict::stop is enough.
inline auto shown_to(observers const& all, look const& l) -> verdict {
  auto said = verdict::go_on;
  for (auto const& each : all) {
    if (each(l) == verdict::stop) said = verdict::stop;
  }
  return said;
}
}  // namespace detail

}  // namespace rubato
