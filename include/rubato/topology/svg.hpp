// SPDX-License-Identifier: MIT
// Pictures of graphs as SVG, which any browser shows. Deterministic: equal graphs give equal text.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rubato/core/errors.hpp>
#include <rubato/core/ids.hpp>
#include <rubato/core/text.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/pair.hpp>
#include <rubato/topology/places.hpp>

namespace rubato::topology {

struct svg_options {
  std::string title{};                  ///< in large letters; empty: the graph's name
  std::vector<std::string> captions{};  ///< lines below the title
  std::optional<node_id> root{};        ///< has a ring
  std::vector<edge> strong{};           ///< edges that stand out before pale others, such as those of a tree
  double width = 640;                   ///< in pixels
};

/// Edges that go one way have an arrow, opposite ones share a line. An edge that would run through a node is bent.
/// Nodes have their numbers as long as these can be read. *requires* a place for each node. O(edges nodes).
[[nodiscard]] auto to_svg(digraph const& graph, std::vector<point> const& places, svg_options const& options = {})
    -> std::string;

#if RUBATO_BODIES
namespace detail {

RUBATO_INLINE auto xml_text(std::string_view text) -> std::string {
  auto safe = std::string{};
  for (auto const letter : escaped(text)) {
    if (letter == '&') safe += "&amp;";
    else if (letter == '<') safe += "&lt;";
    else if (letter == '>') safe += "&gt;";
    else if (letter == '"') safe += "&quot;";
    else safe += letter;
  }
  return safe;
}

/// To a tenth of a pixel.
RUBATO_INLINE auto pixels(double x) -> std::string {
  auto const rounded = std::round(x * 10) / 10;
  return with_digits(rounded == 0 ? 0.0 : rounded, 7);
}

RUBATO_INLINE auto distance(point a, point b) -> double { return std::hypot(a.x - b.x, a.y - b.y); }

/// Draws one graph.
class svg_picture {
 public:
  svg_picture(digraph const& graph, std::vector<point> const& places, svg_options const& options)
      : graph_{graph}, options_{options}, at_{places} {
    fit();
  }

  auto text() const -> std::string {
    auto const title = options_.title.empty() ? graph_.name() : options_.title;
    auto const size = pixels(options_.width) + ' ' + pixels(height_);
    auto svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + size + "\" width=\"" +
               pixels(options_.width) + "\" height=\"" + pixels(height_) +
               "\" font-family=\"DejaVu Sans, Verdana, sans-serif\" role=\"img\">\n<title>" + xml_text(title) +
               "</title>\n<defs>" + marker("a", colour_) + marker("s", strong_colour_) + marker("p", pale_) +
               "</defs>\n" + "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n" +
               line_of_text(30, 18, "#202020", "bold", title);
    for (auto k = std::size_t{0}; k < options_.captions.size(); ++k)
      svg += line_of_text(52 + 19 * static_cast<double>(k), 13, "#505050", "normal", options_.captions[k]);
    return svg + edges() + nodes() + "</svg>\n";
  }

 private:
  static constexpr auto margin_ = 34.0;
  static constexpr auto colour_ = "#7a8794", strong_colour_ = "#0072b2", root_colour_ = "#d55e00", pale_ = "#d3d8dd";

  /// Scales places to pixels below the text, and finds how large nodes may be. Bent edges need room around.
  void fit() {
    auto const given = at_;
    scale_to_fit(0);
    auto const all = graph_.edges();
    auto const is_bent = [&](edge e) { return bend(to_index(e.from), to_index(e.to)).has_value(); };
    if (!std::any_of(all.begin(), all.end(), is_bent)) return;
    auto const room = 0.5 * apart_;
    at_ = given;
    scale_to_fit(room);
  }

  void scale_to_fit(double room) {
    auto low = at_[0], high = at_[0];
    for (auto const p : at_) {
      low = {(std::min)(low.x, p.x), (std::min)(low.y, p.y)};
      high = {(std::max)(high.x, p.x), (std::max)(high.y, p.y)};
    }
    auto const text = 46 + 19 * static_cast<double>(options_.captions.size()) + room;
    auto const inside = options_.width - 2 * (margin_ + room);
    auto const wide = (std::max)(high.x - low.x, 1e-9), tall = (std::max)(high.y - low.y, 1e-9);
    // A unit is at most 110 pixels, so that a few nodes do not stand far apart.
    auto const unit = unit_of(low, high);
    auto const scale = (std::min)({inside / wide, inside / tall, 110 / unit});
    height_ = text + tall * scale + 2 * margin_ + room;
    for (auto& p : at_)
      p = {(p.x - low.x - wide / 2) * scale + options_.width / 2, (p.y - low.y) * scale + text + margin_};
    apart_ = unit * scale;
    radius_ = (std::max)(2.0, (std::min)(17.0, 0.3 * apart_));
    middle_ = {options_.width / 2, text + margin_ + tall * scale / 2};
  }

  /// The lower quartile of distances to the nearest node, or that of a lattice where there are too many nodes to ask.
  auto unit_of(point low, point high) const -> double {
    auto const diagonal = (std::max)(distance(low, high), 1e-9);
    if (at_.size() > 2000) return diagonal / std::sqrt(static_cast<double>(at_.size()));
    auto nearest = std::vector<double>(at_.size(), diagonal);
    for (auto i = std::size_t{0}; i < at_.size(); ++i)
      for (auto j = std::size_t{0}; j < at_.size(); ++j)
        if (i != j) nearest[i] = (std::min)(nearest[i], (std::max)(distance(at_[i], at_[j]), 1e-9));
    std::sort(nearest.begin(), nearest.end());
    return nearest[nearest.size() / 4];
  }

  static auto marker(char const* id, char const* colour) -> std::string {
    return "<marker id=\"" + std::string{id} +
           "\" viewBox=\"0 0 10 8\" refX=\"9\" refY=\"4\" markerWidth=\"9\" markerHeight=\"7\" "
           "markerUnits=\"userSpaceOnUse\" orient=\"auto-start-reverse\"><path d=\"M0 0L10 4L0 8L2 4z\" fill=\"" +
           colour + "\"/></marker>";
  }

  auto line_of_text(double y, int size, char const* colour, char const* weight, std::string const& text) const
      -> std::string {
    return "<text x=\"" + pixels(options_.width / 2) + "\" y=\"" + pixels(y) + "\" font-size=\"" +
           std::to_string(size) + "\" font-weight=\"" + weight + "\" fill=\"" + colour + "\" text-anchor=\"middle\">" +
           xml_text(text) + "</text>\n";
  }

  auto is_strong(edge e) const -> bool {
    return std::find(options_.strong.begin(), options_.strong.end(), e) != options_.strong.end();
  }

  /// Pale edges first, so that strong ones lie above them.
  auto edges() const -> std::string {
    auto all = std::array<std::string, 2>{};
    for (auto const e : graph_.edges()) {
      auto const back = edge{e.to, e.from};
      auto const paired = graph_.has_edge(back.from, back.to);
      auto const strong = is_strong(e);
      if (paired && is_strong(back) != strong ? !strong : paired && e.to < e.from) continue;
      // An undirected graph needs no arrows, but its tree has a direction.
      auto const one_way = !paired || (strong && !is_strong(back));
      auto const both_ways = paired && !one_way && !graph_.is_undirected();
      all[strong ? 1 : 0] += drawn(e, strong, one_way || both_ways, both_ways);
    }
    return "<g fill=\"none\">\n" + all[0] + all[1] + "</g>\n";
  }

  auto drawn(edge e, bool strong, bool arrow, bool both_ways) const -> std::string {
    auto const a = at_[to_index(e.from)], b = at_[to_index(e.to)];
    auto const bent = bend(to_index(e.from), to_index(e.to));
    auto const towards_a = bent.value_or(b), towards_b = bent.value_or(a);
    auto const begin = from_rim(a, towards_a, both_ways), end = from_rim(b, towards_b, arrow);
    auto path = "M" + pixels(begin.x) + ' ' + pixels(begin.y);
    if (bent) path += "Q" + pixels(bent->x) + ' ' + pixels(bent->y) + ' ';
    else path += "L";
    auto const dim = !options_.strong.empty() && !strong;
    auto const name = std::string{strong ? "s" : dim ? "p" : "a"};
    auto line = "<path d=\"" + path + pixels(end.x) + ' ' + pixels(end.y) + "\" stroke=\"" +
                (strong ? strong_colour_
                 : dim  ? pale_
                        : colour_) +
                "\" stroke-width=\"" +
                (strong                      ? "2.4"
                 : graph_.edge_count() > 400 ? "0.8"
                                             : "1.4") +
                '"';
    if (arrow) line += " marker-end=\"url(#" + name + ")\"";
    if (both_ways) line += " marker-start=\"url(#" + name + ")\"";
    return line + "/>\n";
  }

  /// The point of a node's rim in the direction of another point; an arrow keeps a little distance.
  auto from_rim(point node, point other, bool arrow) const -> point {
    auto const away = (std::max)(distance(node, other), 1e-9);
    auto const part = (std::min)(0.45, (radius_ + (arrow ? 2.5 : 0.0)) / away);
    return {node.x + (other.x - node.x) * part, node.y + (other.y - node.y) * part};
  }

  /// The control point of a bent edge, if a straight one would run through a node.
  auto bend(std::size_t from, std::size_t to) const -> std::optional<point> {
    auto const a = at_[from], b = at_[to];
    auto const length = (std::max)(distance(a, b), 1e-9);
    auto hit = false;
    for (auto k = std::size_t{0}; k < at_.size() && at_.size() <= 500 && !hit; ++k) {
      if (k == from || k == to) continue;
      auto const along = ((at_[k].x - a.x) * (b.x - a.x) + (at_[k].y - a.y) * (b.y - a.y)) / length;
      auto const beside = std::abs((at_[k].x - a.x) * (b.y - a.y) - (at_[k].y - a.y) * (b.x - a.x)) / length;
      hit = along > 0 && along < length && beside < 0.8 * radius_;
    }
    if (!hit) return std::nullopt;
    // Away from the middle of the picture; at most as far as the next row.
    auto const middle = point{(a.x + b.x) / 2, (a.y + b.y) / 2};
    auto const aside = (std::min)(0.3 * length, 0.95 * apart_);
    auto const across = point{-(b.y - a.y) / length * aside, (b.x - a.x) / length * aside};
    auto const one = point{middle.x + across.x, middle.y + across.y},
               other = point{middle.x - across.x, middle.y - across.y};
    return distance(one, middle_) + 1e-6 > distance(other, middle_) ? one : other;
  }

  auto nodes() const -> std::string {
    auto svg = std::string{"<g text-anchor=\"middle\" fill=\"white\">\n"};
    auto const letters = std::to_string(at_.size() - 1).size();
    auto const size = (std::min)(13.0, radius_ * (letters > 2 ? 0.8 : 1.05));
    for (auto i = std::size_t{0}; i < at_.size(); ++i) {
      auto const centre = "cx=\"" + pixels(at_[i].x) + "\" cy=\"" + pixels(at_[i].y) + "\" r=\"";
      auto const is_root = options_.root == to_node(i);
      auto const fill = std::string{is_root ? root_colour_ : "#34495e"};
      svg += "<circle " + centre + pixels(radius_) + "\" fill=\"" + fill + "\"/>";
      if (is_root)
        svg += "<circle " + centre + pixels(radius_ + 3.5) + "\" fill=\"none\" stroke=\"" + fill +
               "\" stroke-width=\"1.6\"/>";
      if (radius_ >= 6.5)
        svg += "<text x=\"" + pixels(at_[i].x) + "\" y=\"" + pixels(at_[i].y + 0.36 * size) + "\" font-size=\"" +
               pixels(size) + "\">" + std::to_string(i) + "</text>";
      svg += '\n';
    }
    return svg + "</g>\n";
  }

  digraph const& graph_;
  svg_options const& options_;
  std::vector<point> at_;
  double height_ = 0;
  double apart_ = 0;
  double radius_ = 0;
  point middle_;
};

}  // namespace detail

RUBATO_INLINE auto to_svg(digraph const& graph, std::vector<point> const& places, svg_options const& options)
    -> std::string {
  RUBATO_EXPECTS(places.size() == graph.nodes(), "to_svg() needs a place for each node");
  return detail::svg_picture{graph, places, options}.text();
}
#endif  // RUBATO_BODIES

}  // namespace rubato::topology
