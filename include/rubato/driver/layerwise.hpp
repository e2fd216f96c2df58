// SPDX-License-Identifier: MIT
// Layer-wise asynchronous SGD in one process: threads share one model, and layers move one by one while passes are
// under way. Source: decoupled backpropagation, arXiv 2410.05985, whose abstracts give the idea; the definition is
// ours.
//   (LW.F) a_l = f_l(a_(l-1); W_l)                 forward threads: with the newest W_l when they come to layer l
//   (LW.B) g_l, D_(l-1) = back_l(D_l; W_l)         backward threads, from the last layer: with the newest W_l, which
//                                                  may have moved since the pass forward, before their own update
//   (LW.S) W_l <- W_l - gamma g_l                  at once, before layer l - 1
// Each layer is a block of its own, and each of its versions a published vector that is never written again, so a pass
// reads no layer half updated, and no value is accessed by two threads unordered. Updates of one layer wait for each
// other; layers, and readers, do not.
// Without backward threads each forward thread passes back itself; with layer_moves::after_the_pass all its layers are
// updated after its whole gradient: that is Hogwild of whole layers, and with one thread SGD.
// limit: one forward thread, one backward thread and no stored passes are SGD bit for bit.
//                                                                                     tests/threads/layerwise.cpp
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <rubato/backend/concepts.hpp>
#include <rubato/core/errors.hpp>
#include <rubato/core/host_device.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/shared_buffer.hpp>
#include <rubato/core/text.hpp>
#include <rubato/problem/concepts.hpp>
#include <rubato/run/stop_token.hpp>

namespace rubato {

enum class layer_moves : std::uint8_t { at_once, after_the_pass };

struct layerwise_options {
  double step = 0.1;
  std::uint64_t seed = 0;
  std::size_t forward_threads = 1;
  std::size_t backward_threads = 1;  ///< 0: each forward thread passes back itself
  /// Passes that may wait for a backward thread; with 0 a forward thread begins its next pass when its last has been
  /// passed back.
  std::size_t stored = 1;
  layer_moves moves = layer_moves::at_once;  ///< after_the_pass: only without backward threads
  std::uint64_t updates = 1000;  ///< the run ends after so many passes back
  std::chrono::nanoseconds time = (std::chrono::nanoseconds::max)();  ///< or after this
  stop_token stop{};
};

struct layerwise_result {
  std::vector<shared_buffer> layers{};  ///< the newest version of each
  std::vector<std::uint64_t> versions{};  ///< how often each was updated
  std::uint64_t updates = 0;  ///< passes back, each of which moved every layer once
  double seconds = 0;
  double moved_mean = 0;  ///< versions by which a layer had moved between a pass forward and its pass back
  std::uint64_t moved_max = 0;
};

/// The layers of one model that threads share, each a published vector with a version.
/// **Thread safety:** all of it; each thread has a backend handle of its own.
template<class T>
class published_layers {
 public:
  struct version {
    shared_buffer values{};
    std::uint64_t number = 0;
  };

  template<class P, class Backend>
  published_layers(P const& p, Backend& b, std::span<T const> x) {
    for (std::size_t l = 0; l < p.layers(); ++l) {
      auto const r = p.of_layer(l);
      auto fresh = b.template allocate<T>(r.end - r.begin);
      std::copy_n(x.data() + r.begin, fresh.size(), fresh.data());
      slots_.push_back(std::make_unique<slot>());
      slots_.back()->newest.values = std::move(fresh).publish();
    }
  }

  [[nodiscard]] auto count() const -> std::size_t { return slots_.size(); }
  [[nodiscard]] auto read(std::size_t l) const -> version {
    auto const lock = std::scoped_lock{slots_[l]->reading};
    return slots_[l]->newest;
  }
  /// (LW.S): reads the newest version and g, writes the next. Throws run_error if a value is not finite.
  template<class Backend>
  void update(Backend& b, std::size_t l, T gamma, std::span<T const> g) {
    auto& s = *slots_[l];
    auto const turn = std::scoped_lock{s.writing};
    auto const now = read(l);
    auto fresh = b.template allocate<T>(g.size());
    if (b.sweep({0, g.size()}, moved{now.values.template view<T>().data(), g.data(), fresh.data(), gamma}) != 0)
      throw run_error{"layer " + std::to_string(l) + " came to a value that is not finite: a smaller step may help"};
    auto next = version{std::move(fresh).publish(), now.number + 1};
    auto const lock = std::scoped_lock{s.reading};
    std::swap(s.newest, next);
  }

 private:
  struct slot {
    std::mutex writing;  // taken before `reading`
    mutable std::mutex reading;
    version newest{};
  };
  struct moved {
    T const* x;
    T const* g;
    T* y;
    T gamma;
    template<class Lanes>
    RUBATO_HOST_DEVICE void operator()(Lanes& at) const {
      auto const next = at.load(x) - gamma * at.load(g);
      at.expect_finite(next);
      at.store(y, next);
    }
    [[nodiscard]] auto bytes_per_value() const -> std::size_t { return 3 * sizeof(T); }
  };

  std::vector<std::unique_ptr<slot>> slots_;
};

/// A pass forward with the versions that it met.
template<class Pass>
struct forward_pass {
  Pass pass;
  std::vector<std::uint64_t> versions{};
};

/// (LW.F) through all layers.
template<class P, class Backend>
auto pass_forward(P const& p, Backend& b, published_layers<typename Backend::scalar> const& model, sample_key key) {
  forward_pass<decltype(p.begin_pass(b, key))> f{p.begin_pass(b, key)};
  for (std::size_t l = 0; l < model.count(); ++l) {
    auto const now = model.read(l);
    p.forward(b, l, now.values.template view<typename Backend::scalar>(), f.pass);
    f.versions.push_back(now.number);
  }
  if (!std::isfinite(f.pass.loss)) throw run_error{"the loss of a batch is not finite: a smaller step may help"};
  return f;
}

/// (LW.B) and (LW.S) through all layers from the last; calls moved(versions by which each had moved).
template<class P, class Backend, class Pass, class Moved>
void pass_back(P const& p, Backend& b, published_layers<typename Backend::scalar>& model, forward_pass<Pass>& f,
               typename Backend::scalar gamma, layer_moves moves, Moved&& moved) {
  using T = typename Backend::scalar;
  std::vector<writable_buffer<T>> slopes(model.count());
  for (auto l = model.count(); l-- > 0;) {
    auto const now = model.read(l);
    slopes[l] = b.template allocate<T>(now.values.size());
    p.backward(b, l, now.values.template view<T>(), f.pass, slopes[l].view());
    moved(now.number - f.versions[l]);
    if (moves == layer_moves::at_once) {
      model.update(b, l, gamma, std::as_const(slopes[l]).view());
      slopes[l] = {};
    }
  }
  if (moves == layer_moves::at_once) return;
  for (auto l = model.count(); l-- > 0;) model.update(b, l, gamma, std::as_const(slopes[l]).view());
}

namespace detail {

/// What the threads of one run share.
template<class P, class Backend>
class layerwise_run {
 public:
  using T = typename Backend::scalar;
  using clock = std::chrono::steady_clock;

  layerwise_run(P const& p, Backend const& b, std::span<T const> x, layerwise_options const& o)
      : p_{p}, b_{b}, o_{o}, model_{p, b_, x} {}

  auto run() -> layerwise_result {
    auto const from = clock::now();
    std::vector<std::thread> threads;
    auto const start = [&](std::size_t count, auto work) {
      for (std::size_t k = 0; k < count && !ended(); ++k) threads.emplace_back([this, work] { guarded(work); });
    };
    try {
      start(o_.forward_threads, &layerwise_run::go_forward);
      start(o_.backward_threads, &layerwise_run::go_back);
      watch(from);
    } catch (...) {
      fail(std::current_exception());
    }
    for (auto& t : threads) t.join();
    if (failure_) std::rethrow_exception(failure_);
    layerwise_result r{.updates = done_, .seconds = to_seconds(clock::now() - from), .moved_max = moved_max_};
    for (std::size_t l = 0; l < model_.count(); ++l) {
      auto newest = model_.read(l);
      r.layers.push_back(std::move(newest.values));
      r.versions.push_back(newest.number);
    }
    auto const passed = static_cast<double>(done_) * static_cast<double>(model_.count());
    r.moved_mean = done_ == 0 ? 0 : static_cast<double>(moved_sum_) / passed;
    return r;
  }

 private:
  using pass_type = decltype(std::declval<P const&>().begin_pass(std::declval<Backend&>(), sample_key{}));
  struct item {
    forward_pass<pass_type> forward;
    std::uint64_t draw = 0;
  };

  [[nodiscard]] auto ended() const -> bool {
    auto const lock = std::scoped_lock{mutex_};
    return over_;
  }
  void end() {
    {
      auto const lock = std::scoped_lock{mutex_};
      over_ = true;
    }
    changed_.notify_all();
  }
  void fail(std::exception_ptr e) {
    {
      auto const lock = std::scoped_lock{mutex_};
      if (!failure_) failure_ = std::move(e);
    }
    end();
  }
  void guarded(void (layerwise_run::*work)(Backend&)) {
    try {
      auto b = b_;
      (this->*work)(b);
    } catch (...) {
      fail(std::current_exception());
    }
  }
  /// Until the end, by time, work or request. A stop_token may be one without callbacks (run/stop_token.hpp), so it is
  /// looked at every 20 ms.
  void watch(clock::time_point from) {
    auto lock = std::unique_lock{mutex_};
    while (!over_) {
      auto const left = o_.time - (clock::now() - from);
      if (o_.stop.stop_requested() || left <= left.zero()) over_ = true;
      else changed_.wait_for(lock, (std::min)(left, std::chrono::nanoseconds{std::chrono::milliseconds{20}}));
    }
    changed_.notify_all();
  }
  /// The next draw, unless all have been given.
  auto next_draw() -> std::optional<std::uint64_t> {
    auto const lock = std::scoped_lock{mutex_};
    if (over_ || given_ == o_.updates) return std::nullopt;
    return ++given_;
  }

  void go_forward(Backend& b) {
    while (auto const draw = next_draw()) {
      auto f = item{pass_forward(p_, b, model_, {o_.seed, node_id{0}, *draw}), *draw};
      if (o_.backward_threads == 0) finish(b, f);
      else if (!hand_over(std::move(f))) return;
    }
  }
  auto hand_over(item f) -> bool {
    auto const mine = f.draw;
    auto lock = std::unique_lock{mutex_};
    changed_.wait(lock, [&] { return over_ || waiting_.size() < (std::max)(o_.stored, std::size_t{1}); });
    if (over_) return false;
    waiting_.push_back(std::move(f));
    unfinished_.push_back(mine);
    changed_.notify_all();
    auto const finished = [&] { return std::find(unfinished_.begin(), unfinished_.end(), mine) == unfinished_.end(); };
    if (o_.stored == 0) changed_.wait(lock, [&] { return over_ || finished(); });
    return !over_;
  }
  void go_back(Backend& b) {
    for (;;) {
      auto lock = std::unique_lock{mutex_};
      changed_.wait(lock, [&] { return over_ || !waiting_.empty(); });
      if (over_) return;
      auto f = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      changed_.notify_all();
      finish(b, f);
    }
  }
  void finish(Backend& b, item& f) {
    std::uint64_t sum = 0, most = 0;
    pass_back(p_, b, model_, f.forward, static_cast<T>(o_.step), o_.moves, [&](std::uint64_t moved) {
      sum += moved;
      most = (std::max)(most, moved);
    });
    {
      auto const lock = std::scoped_lock{mutex_};
      moved_sum_ += sum;
      moved_max_ = (std::max)(moved_max_, most);
      std::erase(unfinished_, f.draw);
      over_ = ++done_ == o_.updates || over_;
    }
    changed_.notify_all();
  }

  P const& p_;
  Backend b_;
  layerwise_options const& o_;
  published_layers<T> model_;
  mutable std::mutex mutex_;  // of all below
  std::condition_variable changed_;
  std::deque<item> waiting_;
  std::vector<std::uint64_t> unfinished_;  // draws that were handed over and not passed back
  std::uint64_t given_ = 0, done_ = 0, moved_sum_ = 0, moved_max_ = 0;
  bool over_ = false;
  std::exception_ptr failure_;
};

inline void check_layerwise(layerwise_options const& o) {
  if (!(o.step > 0) || !std::isfinite(o.step))
    throw config_error{"the step must be a finite number above 0, not " + shortest(o.step)};
  if (o.forward_threads == 0) throw config_error{"layer-wise updates need at least one forward thread, not 0"};
  if (o.backward_threads > 0 && o.moves == layer_moves::after_the_pass)
    throw config_error{"with backward threads layers move at once: give no backward threads, or layer_moves::at_once"};
  if (o.forward_threads > 1024 || o.backward_threads > 1024)
    throw config_error{"layer-wise updates take at most 1024 threads of a kind"};
  if (o.updates == 0) throw config_error{"a run makes at least one update, not 0"};
}

}  // namespace detail

/// Trains a problem that is given in layers from `first` on (its own initial(), if it has one, is what callers give),
/// draws of node 0. All threads are joined at the end. Throws config_error before the first thread starts, and what a
/// pass threw, or run_error if a loss or a value is not finite.
/// `first` has p.dimension() values. Requires a backend whose vectors the host can read. Copies `b` for each thread.
template<class P, class Backend>
  requires problem::layered_oracle<P, Backend>
auto train_layerwise(P const& p, Backend const& b, std::span<typename Backend::scalar const> first,
                     layerwise_options const& o) -> layerwise_result {
  static_assert(!backend::has_host_twin<Backend>, "train_layerwise takes a backend whose vectors the host can read");
  detail::check_layerwise(o);
  if (first.size() != p.dimension())
    throw config_error{"the first model has " + std::to_string(first.size()) + " values, and the problem " +
                       std::to_string(p.dimension())};
  return detail::layerwise_run<P, Backend>{p, b, first, o}.run();
}

}  // namespace rubato
