// SPDX-License-Identifier: MIT
// What is minimised, and how its data lie over the nodes: all of rubato/problem/.
#pragma once

#include <rubato/problem/clipped.hpp>
#include <rubato/problem/concepts.hpp>
#include <rubato/problem/dataset.hpp>
#include <rubato/problem/deep_perceptron.hpp>
#include <rubato/problem/function.hpp>
#include <rubato/problem/logistic_regression.hpp>
#include <rubato/problem/multilayer_perceptron.hpp>
#include <rubato/problem/policy_evaluation.hpp>
#include <rubato/problem/quadratic.hpp>
#include <rubato/problem/separable.hpp>
#include <rubato/problem/softmax_regression.hpp>
#include <rubato/problem/split.hpp>
