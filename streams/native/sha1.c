/* SHA-1 (RFC 3174) of short texts. */
#include "sha1.h"

static inline uint32_t rotated(uint32_t word, int bits) { return word << bits | word >> (32 - bits); }

static void take_block(uint32_t state[5], const uint8_t *block) {
    uint32_t w[80];
    for (int i = 0; i < 16; i++) w[i] = cs_u32(block + 4 * i);
    for (int i = 16; i < 80; i++) w[i] = rotated(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
#define STEPS(from, to, mixed, constant)                                                                          \
    for (int i = from; i < to; i++) {                                                                             \
        uint32_t next = rotated(a, 5) + (mixed) + e + constant + w[i];                                            \
        e = d, d = c, c = rotated(b, 30), b = a, a = next;                                                        \
    }
    STEPS(0, 20, d ^ (b & (c ^ d)), 0x5a827999u)
    STEPS(20, 40, b ^ c ^ d, 0x6ed9eba1u)
    STEPS(40, 60, (b & c) | (d & (b | c)), 0x8f1bbcdcu)
    STEPS(60, 80, b ^ c ^ d, 0xca62c1d6u)
#undef STEPS
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

void cs_sha1(cs_view bytes, uint8_t hash[20]) {
    uint32_t state[5] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u, 0xc3d2e1f0u};
    uint8_t padded[CS_SHA1_MOST + 9] = {0};
    size_t length = bytes.length < CS_SHA1_MOST ? bytes.length : CS_SHA1_MOST;
    size_t blocks = (length + 9 + 63) / 64;
    cs_put(padded, (cs_view){bytes.at, length});
    padded[length] = 0x80;
    cs_put_u64(padded + 64 * blocks - 8, 8 * (uint64_t)length);
    for (size_t i = 0; i < blocks; i++) take_block(state, padded + 64 * i);
    for (int i = 0; i < 5; i++) cs_put_u32(hash + 4 * i, state[i]);
}
