// SPDX-License-Identifier: MIT
// Codes do not straddle bytes.
// illegal: 3
// legal:   2
// error:   differences from references are sent in 2, 4, 8 or 16 bits, or whole (0)
#include <rubato/codec/referenced_bits.hpp>

template struct rubato::codec::referenced_bits<SUBJECT>;
