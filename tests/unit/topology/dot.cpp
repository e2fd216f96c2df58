// SPDX-License-Identifier: MIT
#include <rubato/topology/dot.hpp>

#include <rubato/topology/builders.hpp>

#include "support/catch.hpp"

namespace {
using namespace rubato;
using namespace rubato::topology;

TEST_CASE("an undirected graph is drawn with one line a pair") {
  CHECK(to_dot(line(3)) == "graph \"line(3)\" {\n  0;\n  1;\n  2;\n  0 -- 1;\n  1 -- 2;\n}\n");
}

TEST_CASE("a directed graph is drawn with arrows") {
  auto const graph = from_edges(2, {{node_id{1}, node_id{0}}}, "a \"b\" \\");
  CHECK(to_dot(graph) == "digraph \"a \\\"b\\\" \\\\\" {\n  0;\n  1;\n  1 -> 0;\n}\n");
}

TEST_CASE("a pair is drawn with its root, pull edges solid and push edges dashed") {
  CHECK(to_dot(topology::pair{line(2)}) ==
        "digraph \"spanning trees of line(2), root 0\" {\n  0;\n  1;\n  0 [peripheries=2];\n"
        "  0 -> 1 [style=solid];\n  1 -> 0 [style=dashed];\n}\n");
}

}  // namespace
