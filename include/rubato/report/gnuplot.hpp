// SPDX-License-Identifier: MIT
// Plots by the program gnuplot. Without it nothing is drawn, and nothing fails.
#pragma once

#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

#include <rubato/report/heat_map.hpp>
#include <rubato/report/plot_script.hpp>
#include <rubato/run/atomic_file.hpp>
#include <rubato/run/result.hpp>

namespace rubato::report {

enum class plot_status : std::uint8_t {
  drawn,
  nothing_to_draw,  ///< no run has a finite loss
  gnuplot_missing,
  gnuplot_failed,
};

/// Whether there is a picture now; if not, the reason, as one sentence without a full stop.
struct plot_outcome {
  plot_status status = plot_status::drawn;
  std::string sentence;
};

namespace detail {

struct command_result {
  int status = -1;  ///< as a shell gives it; 127: there is no such program
  std::string output;
};

/// One word of a shell command, whatever it holds.
inline auto shell_word(std::string_view text) -> std::string {
  auto word = std::string{"'"};
  for (auto const letter : text) word += letter == '\'' ? std::string{"'\\''"} : std::string{letter};
  return word + '\'';
}

/// Runs a shell command and reads its standard output. The input is a file and not a pipe, because a program that is
/// missing or ends early would kill this process by SIGPIPE.
inline auto run_command(std::string const& command) -> command_result {
  auto result = command_result{};
  auto* const pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return result;
  auto buffer = std::array<char, 16384>{};
  while (auto const count = std::fread(buffer.data(), 1, buffer.size(), pipe))
    result.output.append(buffer.data(), count);
  auto const status = ::pclose(pipe);
  if (status != -1 && WIFEXITED(status)) result.status = WEXITSTATUS(status);
  return result;
}

inline auto text_of_file(std::filesystem::path const& path) -> std::string {
  auto file = std::ifstream{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, std::istreambuf_iterator<char>{}};
}

/// The first line that is not empty, without gnuplot's echo of the place of the error.
inline auto first_words(std::string_view text) -> std::string {
  while (!text.empty()) {
    auto const line = text.substr(0, text.find('\n'));
    if (line.find_first_not_of(" \t^") != std::string_view::npos) return std::string{line};
    text.remove_prefix((std::min)(line.size() + 1, text.size()));
  }
  return "it gave no reason";
}

inline auto xml_text(std::string_view text) -> std::string {
  auto escaped = std::string{};
  for (auto const letter : text) {
    if (letter == '&') escaped += "&amp;";
    else if (letter == '<') escaped += "&lt;";
    else if (letter == '>') escaped += "&gt;";
    else escaped += letter;
  }
  return escaped;
}

/// Replaces the text between two marks, if they are there.
inline void replace_between(std::string& text, std::string_view from, std::string_view to, std::string const& by) {
  auto const begin = text.find(from);
  if (begin == std::string::npos) return;
  auto const end = text.find(to, begin + from.size());
  if (end != std::string::npos) text.replace(begin + from.size(), end - begin - from.size(), by);
}

/// gnuplot titles every picture "Gnuplot" and adds its own version, which should not depend on the machine.
inline void name_picture(std::string& svg, std::string const& title) {
  replace_between(svg, "<title>", "</title>", xml_text(title));
  replace_between(svg, "<desc>", "</desc>", "drawn by rubato with gnuplot");
}

/// Writes to `path` what gnuplot, by this name, draws of a script. An existing file stays unless the picture could be
/// drawn. Throws run_error when `path` cannot be written.
inline auto drawn_by(std::string const& program, std::filesystem::path const& path, std::string const& text,
                     std::string const& title) -> plot_outcome {
  auto script = atomic_file{path.string() + ".script"};  // neither file is ever committed
  auto const messages = atomic_file{path.string() + ".messages"};
  script.write(text);
  script.flush();
  auto drawn = run_command(shell_word(program) + ' ' + shell_word(script.partial_path().string()) + " 2>" +
                           shell_word(messages.partial_path().string()));
  if (drawn.status == 127) return {plot_status::gnuplot_missing, "the program '" + program + "' was not found"};
  if (drawn.status != 0 || drawn.output.find("</svg>") == std::string::npos) {
    auto const words = first_words(text_of_file(messages.partial_path()));
    return {plot_status::gnuplot_failed, '\'' + program + "' could not draw the plot: " + words};
  }
  name_picture(drawn.output, title);
  write_file(path, drawn.output);
  return {plot_status::drawn, {}};
}

}  // namespace detail

/// Writes the picture of plot_script() to `path`. An existing file stays unless the picture could be drawn. Throws
/// run_error when `path` cannot be written.
[[nodiscard]] inline auto write_plot(std::filesystem::path const& path, std::span<run_result const> results,
                                     plot_options const& options = {}) -> plot_outcome {
  auto const script = plot_script(results, options);
  if (script.empty()) return {plot_status::nothing_to_draw, "there is no finite loss to draw"};
  return detail::drawn_by(options.program, path, script, options.title);
}

/// The same for heat_map_script(). Throws config_error where that does.
[[nodiscard]] inline auto write_heat_map(std::filesystem::path const& path, heat_map const& map,
                                         std::string const& program = "gnuplot") -> plot_outcome {
  return detail::drawn_by(program, path, heat_map_script(map), map.title);
}

}  // namespace rubato::report
