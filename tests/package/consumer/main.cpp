// SPDX-License-Identifier: MIT
// The shortest outside program: both umbrella headers, installed or from the source tree.
#include <cstdio>

#include <rubato/backend/eigen.hpp>
#include <rubato/rubato.hpp>

int main() {
  std::printf("rubato %d.%d.%d with Eigen %d.%d\n", RUBATO_VERSION_MAJOR, RUBATO_VERSION_MINOR, RUBATO_VERSION_PATCH,
              EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION);
}
