// SPDX-License-Identifier: MIT
// Graphs and pairs of graphs: all of rubato/topology/. What touches the file system is edge_list.hpp.
#pragma once

#include <rubato/topology/builders.hpp>
#include <rubato/topology/digraph.hpp>
#include <rubato/topology/dot.hpp>
#include <rubato/topology/lattices.hpp>
#include <rubato/topology/members.hpp>
#include <rubato/topology/pair.hpp>
#include <rubato/topology/places.hpp>
#include <rubato/topology/random_graphs.hpp>
#include <rubato/topology/random_regular.hpp>
#include <rubato/topology/reachability.hpp>
#include <rubato/topology/svg.hpp>
#include <rubato/topology/trees.hpp>
