/* Views of bytes, numbers as Kafka's record batches (format 2) have them, and copying with bounds. */
#ifndef CS_BYTES_H
#define CS_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What Python calls. Everything else stays inside the library. */
#define CS_API __attribute__((visibility("default")))

/* Bytes that somebody else owns. */
typedef struct {
    const uint8_t *at;
    size_t length;
} cs_view;

static inline size_t cs_left(const uint8_t *at, const uint8_t *end) { return (size_t)(end - at); }

static inline bool cs_same(cs_view one, cs_view other) {
    return one.length == other.length && (one.length == 0 || memcmp(one.at, other.at, one.length) == 0);
}

/* ---- big-endian numbers ---------------------------------------------------------------------------- */

static inline uint32_t cs_u32(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | (uint32_t)at[3];
}

static inline int32_t cs_i32(const uint8_t *at) { return (int32_t)cs_u32(at); }

static inline int64_t cs_i64(const uint8_t *at) { return (int64_t)((uint64_t)cs_u32(at) << 32 | cs_u32(at + 4)); }

static inline void cs_put_u32(uint8_t *to, uint32_t number) {
    to[0] = (uint8_t)(number >> 24);
    to[1] = (uint8_t)(number >> 16);
    to[2] = (uint8_t)(number >> 8);
    to[3] = (uint8_t)number;
}

static inline void cs_put_u64(uint8_t *to, uint64_t number) {
    cs_put_u32(to, (uint32_t)(number >> 32));
    cs_put_u32(to + 4, (uint32_t)number);
}

/* ---- varints: zigzag, seven bits a byte -------------------------------------------------------------- */

/* Reads one; NULL where the bytes end, or where it is longer than it needs to be. */
static inline const uint8_t *cs_varint(const uint8_t *at, const uint8_t *end, int64_t *number) {
    uint64_t bits = 0;
    for (unsigned shift = 0; shift < 64 && at < end; shift += 7) {
        uint8_t byte = *at++;
        if (shift == 63 && byte > 1) return NULL; /* more than 64 bits */
        bits |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            if (byte == 0 && shift > 0) return NULL;
            *number = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
            return at;
        }
    }
    return NULL;
}

static inline uint64_t cs_zigzag(int64_t number) {
    return (uint64_t)number << 1 ^ (number < 0 ? UINT64_MAX : 0);
}

static inline size_t cs_varint_size(int64_t number) {
    size_t size = 1;
    for (uint64_t bits = cs_zigzag(number); bits > 0x7f; bits >>= 7) size++;
    return size;
}

/* ---- writing: the caller has made sure that there is room ----------------------------------------------- */

static inline uint8_t *cs_put_varint(uint8_t *to, int64_t number) {
    uint64_t bits = cs_zigzag(number);
    for (; bits > 0x7f; bits >>= 7) *to++ = (uint8_t)(bits | 0x80);
    *to++ = (uint8_t)bits;
    return to;
}

static inline uint8_t *cs_put(uint8_t *to, cs_view bytes) {
    if (bytes.length) memcpy(to, bytes.at, bytes.length);
    return to + bytes.length;
}

#endif
