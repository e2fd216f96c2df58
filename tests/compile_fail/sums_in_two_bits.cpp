// SPDX-License-Identifier: MIT
// In 2 bits a sum is off by several times what it moves, which grows from node to node.
// illegal: 2
// legal:   4
// error:   sums are sent in 4, 8 or 16 bits
#include <rubato/codec/adaptive_bits.hpp>

template struct rubato::codec::adaptive_bits<SUBJECT>;
