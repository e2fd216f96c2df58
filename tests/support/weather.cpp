// SPDX-License-Identifier: MIT
// Bad links on one machine: starts a command for each node in a network namespace of its own, and carries the IP frames
// between them over TUN devices with delay, jitter, loss, duplication, a rate and a
// partition. Needs no netem in the kernel.
//   weather --nodes 8 --delay 200 --loss 0.1 --life 90 --out DIR -- peer --id @ --peers 10.7.0.1:7250,10.7.0.2:7250 ...
// In the command @ is the node's number; node i has the address 10.7.0.(i+1). DIR/node-i holds what it said, and its
// last line is "status S". Exit status: 0 every command ended well, 1 one did not, 2 bad options, 77 namespaces or TUN
// devices are not to be had here. Nothing outlives it, and it ends after --life seconds at the latest.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <queue>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

using watch = std::chrono::steady_clock;
constexpr auto not_here = 77;

struct options {
  std::size_t nodes = 0;
  double delay = 0;  // ms, one way
  double jitter = 0;  // ms, added: uniform in 0 .. jitter, for each frame by itself, so that frames overtake
  double loss = 0;  // probability, as is duplicate
  double duplicate = 0;
  double rate = 0;  // bit/s of each node's way out and of its way in; 0: unlimited
  double queue = 65536;  // bytes that may wait for either
  double mtu = 1500;  // bytes of a frame at most: with 9000 a core carries several times the bytes
  double cut = 0;  // s after the start: the first half of the nodes and the second hear nothing of each other
  double heal = 0;  // s: until then
  std::uint64_t seed = 1;
  double life_s = 120;
  std::string out = ".";
  std::vector<std::string> command;
};

[[noreturn]] void refuse(std::string const& why) { throw std::invalid_argument{why}; }

auto number(std::string const& name, char const* text) -> double {
  char* end = nullptr;
  auto const v = text == nullptr ? -1 : std::strtod(text, &end);
  if (text == nullptr || end == text || *end != '\0' || !(v >= 0)) refuse(name + " needs a number of 0 or more");
  return v;
}

auto read_line(int argc, char** argv) -> options {
  options o;
  auto i = 1;
  for (; i < argc && std::strcmp(argv[i], "--") != 0; i += 2) {
    auto const name = std::string{argv[i]};
    auto const* const text = i + 1 < argc ? argv[i + 1] : nullptr;
    if (name == "--out") o.out = text == nullptr ? "." : text;
    else if (name == "--nodes") o.nodes = static_cast<std::size_t>(number(name, text));
    else if (name == "--seed") o.seed = static_cast<std::uint64_t>(number(name, text));
    else if (name == "--delay") o.delay = number(name, text);
    else if (name == "--jitter") o.jitter = number(name, text);
    else if (name == "--loss") o.loss = number(name, text);
    else if (name == "--duplicate") o.duplicate = number(name, text);
    else if (name == "--rate") o.rate = number(name, text);
    else if (name == "--queue") o.queue = number(name, text);
    else if (name == "--mtu") o.mtu = number(name, text);
    else if (name == "--cut") o.cut = number(name, text);
    else if (name == "--heal") o.heal = number(name, text);
    else if (name == "--life") o.life_s = number(name, text);
    else refuse("there is no option " + name);
  }
  o.command.assign(argv + std::min(i + 1, argc), argv + argc);
  if (o.nodes < 1 || o.nodes > 200) refuse("--nodes must be 1 to 200");
  if (o.command.empty()) refuse("a command is missing: give it after --");
  if (o.mtu < 576 || o.mtu > 65535) refuse("--mtu must be 576 to 65535");
  if (o.loss > 1 || o.duplicate > 1) refuse("a probability is at most 1");
  return o;
}

// --- a node's side -------------------------------------------------------------------------------------------------

void want(bool holds, char const* what) {
  if (!holds) throw std::runtime_error{std::string{what} + ": " + std::strerror(errno)};
}

void set_up(int control, char const* name, std::string const& address, double mtu) {
  ifreq r{};
  std::strncpy(r.ifr_name, name, IFNAMSIZ - 1);
  r.ifr_mtu = static_cast<int>(mtu);
  want(ioctl(control, SIOCSIFMTU, &r) == 0, "a largest frame cannot be set");
  if (!address.empty()) {
    auto* const a = reinterpret_cast<sockaddr_in*>(&r.ifr_addr);
    a->sin_family = AF_INET;
    inet_pton(AF_INET, address.c_str(), &a->sin_addr);
    want(ioctl(control, SIOCSIFADDR, &r) == 0, "an address cannot be given");
    inet_pton(AF_INET, "255.255.255.0", &a->sin_addr);
    want(ioctl(control, SIOCSIFNETMASK, &r) == 0, "a mask cannot be given");
  }
  want(ioctl(control, SIOCGIFFLAGS, &r) == 0, "a device cannot be looked at");
  r.ifr_flags = static_cast<short>(r.ifr_flags | IFF_UP | IFF_RUNNING);
  want(ioctl(control, SIOCSIFFLAGS, &r) == 0, "a device cannot be brought up");
}

/// A namespace with one device, whose other end is what this returns.
auto own_network(std::size_t i, double mtu) -> int {
  want(unshare(CLONE_NEWNET) == 0, "no network namespace");
  auto const tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  want(tun >= 0, "/dev/net/tun");
  ifreq r{};
  std::strncpy(r.ifr_name, "weather", IFNAMSIZ - 1);
  r.ifr_flags = IFF_TUN | IFF_NO_PI;
  want(ioctl(tun, TUNSETIFF, &r) == 0, "no TUN device");
  auto const control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  want(control >= 0, "no socket");
  set_up(control, "lo", {}, 65535);
  set_up(control, "weather", "10.7.0." + std::to_string(i + 1), mtu);
  close(control);
  return tun;
}

union rights {
  cmsghdr head;
  std::array<char, CMSG_SPACE(sizeof(int))> bytes;
};

/// Gives a descriptor away; -1: there is none.
void give(int to, int descriptor) {
  auto word = descriptor < 0 ? 'n' : 'y';
  iovec io{&word, 1};
  rights r{};
  msghdr m{};
  m.msg_iov = &io;
  m.msg_iovlen = 1;
  if (descriptor >= 0) {
    m.msg_control = r.bytes.data();
    m.msg_controllen = r.bytes.size();
    auto* const c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &descriptor, sizeof(int));
  }
  static_cast<void>(sendmsg(to, &m, 0));
}
auto taken(int from) -> int {
  auto word = 'n';
  iovec io{&word, 1};
  rights r{};
  msghdr m{};
  m.msg_iov = &io;
  m.msg_iovlen = 1;
  m.msg_control = r.bytes.data();
  m.msg_controllen = r.bytes.size();
  if (recvmsg(from, &m, MSG_CMSG_CLOEXEC) != 1 || word != 'y' || CMSG_FIRSTHDR(&m) == nullptr) return -1;
  auto descriptor = -1;
  std::memcpy(&descriptor, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
  return descriptor;
}

auto output_of(options const& o, std::size_t i) -> std::string { return o.out + "/node-" + std::to_string(i); }

/// Never returns: becomes the command, once all devices are there.
[[noreturn]] void be_node(options const& o, std::size_t i, int parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    give(parent, own_network(i, o.mtu));
  } catch (std::exception const& e) {
    if (i == 0) std::fprintf(stderr, "weather: %s\n", e.what());
    give(parent, -1);
    _exit(not_here);
  }
  auto go = '\0';
  if (read(parent, &go, 1) != 1) _exit(1);
  auto const file = open(output_of(o, i).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file < 0) _exit(1);
  dup2(file, STDOUT_FILENO);
  dup2(file, STDERR_FILENO);
  auto words = o.command;
  for (auto& w : words) {
    for (auto at = w.find('@'); at != std::string::npos; at = w.find('@', at + 1)) w.replace(at, 1, std::to_string(i));
  }
  std::vector<char*> arguments;
  for (auto& w : words) arguments.push_back(w.data());
  arguments.push_back(nullptr);
  execvp(arguments[0], arguments.data());
  std::perror(arguments[0]);
  _exit(127);
}

// --- the air between them ------------------------------------------------------------------------------------------

struct node {
  pid_t process = -1;
  int tun = -1;
  int line = -1;
  std::optional<int> status;
  watch::time_point out_free{};  // when its way out has carried all that waits
  watch::time_point in_free{};
};

struct frame {
  watch::time_point due{};
  std::uint64_t number = 0;
  std::size_t to = 0;
  std::vector<char> bytes;
  friend auto operator<(frame const& a, frame const& b) -> bool {  // the queue's top is the largest
    return a.due != b.due ? a.due > b.due : a.number > b.number;
  }
};

class air {
 public:
  air(options const& o, std::vector<node>& nodes) : o_{&o}, nodes_{&nodes}, draw_{o.seed} {}

  /// Takes all frames that node i has sent.
  void take(std::size_t i) {
    std::array<char, 65536> bytes;
    auto& n = (*nodes_)[i];
    for (auto k = 0; k < 256; ++k) {
      auto const size = read(n.tun, bytes.data(), bytes.size());
      if (size < 20) return;
      // IPv4: the destination stands in bytes 16 to 19. Whatever else a kernel says (IPv6 to all) goes nowhere.
      if ((static_cast<unsigned char>(bytes[0]) >> 4) != 4) continue;
      auto const to = static_cast<std::size_t>(static_cast<unsigned char>(bytes[19])) - 1;
      if (to < nodes_->size() && to != i) send(i, to, {bytes.data(), bytes.data() + size});
    }
  }
  /// Hands out what is due; when the next is.
  auto hand_out() -> std::optional<watch::time_point> {
    while (!flying_.empty() && flying_.top().due <= watch::now()) {
      auto const& f = flying_.top();
      // A device that is full loses it, as a card does.
      static_cast<void>(!write((*nodes_)[f.to].tun, f.bytes.data(), f.bytes.size()));
      flying_.pop();
    }
    return flying_.empty() ? std::nullopt : std::optional{flying_.top().due};
  }
  void report() const {
    std::printf("weather: %llu frames, %llu lost, %llu doubled, %llu found a queue full, %llu cut off\n", counts_[0],
                counts_[1], counts_[2], counts_[3], counts_[4]);
  }

 private:
  static auto span(double seconds) -> watch::duration {
    return std::chrono::duration_cast<watch::duration>(std::chrono::duration<double>{seconds});
  }
  [[nodiscard]] auto chance(double p) -> bool { return p > 0 && uniform_(draw_) < p; }

  /// When the last byte has passed a way of that rate, or nothing where too much waits for it.
  auto pass(watch::time_point& free, watch::time_point at, std::size_t bytes) const
      -> std::optional<watch::time_point> {
    if (o_->rate <= 0) return at;
    auto const begin = std::max(at, free);
    if (std::chrono::duration<double>(begin - at).count() * o_->rate / 8 > o_->queue) return std::nullopt;
    return free = begin + span(static_cast<double>(bytes) * 8 / o_->rate);
  }

  void send(std::size_t from, std::size_t to, std::vector<char> bytes) {
    ++counts_[0];
    auto const now = watch::now();
    auto const passed = std::chrono::duration<double>(now - begin_).count();
    auto const half = nodes_->size() / 2;
    if (passed >= o_->cut && passed < o_->heal && (from < half) != (to < half)) {
      ++counts_[4];
      return;
    }
    auto const left = pass((*nodes_)[from].out_free, now, bytes.size());
    if (!left) {
      ++counts_[3];
      return;
    }
    if (chance(o_->loss)) {
      ++counts_[1];
      return;
    }
    if (chance(o_->duplicate)) {
      ++counts_[2];
      fly(to, *left, bytes);
    }
    fly(to, *left, std::move(bytes));
  }
  void fly(std::size_t to, watch::time_point left, std::vector<char> bytes) {
    auto const there = left + span((o_->delay + (o_->jitter > 0 ? o_->jitter * uniform_(draw_) : 0)) / 1000);
    auto const due = pass((*nodes_)[to].in_free, there, bytes.size());
    if (due) flying_.push({*due, number_++, to, std::move(bytes)});
    else ++counts_[3];
  }

  options const* o_;
  std::vector<node>* nodes_;
  std::mt19937_64 draw_;
  std::uniform_real_distribution<double> uniform_{0, 1};
  watch::time_point begin_ = watch::now();
  std::priority_queue<frame> flying_;
  std::uint64_t number_ = 0;
  std::array<unsigned long long, 5> counts_{};
};

void end_all(std::vector<node>& nodes) {
  for (auto& n : nodes) {
    if (n.process > 0 && !n.status) kill(n.process, SIGKILL);
  }
  for (auto& n : nodes) {
    auto status = 0;
    if (n.process > 0 && !n.status && waitpid(n.process, &status, 0) == n.process) n.status = 128 + SIGKILL;
  }
}

auto start_all(options const& o) -> std::vector<node> {
  std::vector<node> nodes(o.nodes);
  for (std::size_t i = 0; i < o.nodes; ++i) {
    auto ends = std::array<int, 2>{};
    want(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0, "no pair of sockets");
    auto const child = fork();
    want(child >= 0, "no process");
    if (child == 0) be_node(o, i, ends[1]);
    close(ends[1]);
    nodes[i].process = child;
    nodes[i].line = ends[0];
    nodes[i].tun = taken(ends[0]);
    if (nodes[i].tun < 0) {
      end_all(nodes);
      std::fprintf(stderr, "weather: network namespaces with TUN devices are not to be had here\n");
      std::exit(not_here);
    }
  }
  return nodes;
}

/// Notes which commands have ended; whether all have.
auto note_ends(std::vector<node>& nodes) -> bool {
  auto all = true;
  for (auto& n : nodes) {
    auto status = 0;
    if (!n.status && waitpid(n.process, &status, WNOHANG) == n.process) {
      n.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    all = all && n.status.has_value();
  }
  return all;
}

void carry(options const& o, std::vector<node>& nodes) {
  std::vector<pollfd> waiting;
  for (auto const& n : nodes) waiting.push_back({n.tun, POLLIN, 0});
  for (auto& n : nodes) static_cast<void>(!write(n.line, "g", 1));
  air between{o, nodes};
  auto const latest =
      watch::now() + std::chrono::duration_cast<watch::duration>(std::chrono::duration<double>{o.life_s});
  while (!note_ends(nodes) && watch::now() < latest) {
    auto const next = between.hand_out();
    auto const most = watch::duration{std::chrono::milliseconds{20}};
    auto const pause = next ? std::clamp(*next - watch::now(), watch::duration{}, most) : most;
    auto const whole = std::chrono::duration_cast<std::chrono::nanoseconds>(pause).count();
    timespec const t{static_cast<time_t>(whole / 1'000'000'000), static_cast<long>(whole % 1'000'000'000)};
    if (ppoll(waiting.data(), waiting.size(), &t, nullptr) <= 0) continue;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      if ((waiting[i].revents & POLLIN) != 0) between.take(i);
    }
  }
  between.report();
}

auto run(options const& o) -> int {
  auto nodes = start_all(o);
  carry(o, nodes);
  end_all(nodes);
  auto failed = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (auto* const file = std::fopen(output_of(o, i).c_str(), "a"); file != nullptr) {
      std::fprintf(file, "status %d\n", nodes[i].status.value_or(-1));
      std::fclose(file);
    }
    failed += nodes[i].status != 0 ? 1 : 0;
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace

auto main(int argc, char** argv) -> int {
  try {
    return run(read_line(argc, argv));
  } catch (std::invalid_argument const& e) {
    std::fprintf(stderr, "weather: %s\n", e.what());
    return 2;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "weather: %s\n", e.what());
    return 1;
  }
}
