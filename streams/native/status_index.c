/* A cache of the table of statuses: what it says is true, and what it does not say is asked elsewhere.
 *
 * A key is known by 105 bits of its SipHash-2-4-128, whose secret nobody outside this process has: a sender cannot
 * make two keys that are taken for one. Each partition has a secret of its own. To forget a partition is to
 * forget its secret: nothing that was put with it is found again, and other entries take its place in time.
 *
 * Memory is taken once. An entry may lie in one of the WAYS slots of one bucket; if all are in use, one is given
 * up. A bucket is locked while it is looked at, for some nanoseconds.
 */
#include "status_index.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { WAYS = 8, LOCKS = 64 };

/* Of `rest`: 23 bits of the fingerprint, 40 bits of seconds since the epoch, one bit: subscribed. No seconds: empty. */
#define SECONDS_BITS 40
#define NO_END ((UINT64_C(1) << SECONDS_BITS) - 1)
#define FINGERPRINT_BITS (~UINT64_C(0) << (SECONDS_BITS + 1))

typedef struct {
    uint64_t fingerprint;
    uint64_t rest;
} slot;

struct cs_index {
    slot *slots;
    uint64_t buckets;
    atomic_uint next_given_up;
    atomic_flag locks[LOCKS];
};

/* ---- SipHash-2-4 with 128 bits ------------------------------------------------------------------------ */

typedef struct {
    uint64_t low, high;
} hash;

static inline uint64_t rotated(uint64_t word, int bits) { return word << bits | word >> (64 - bits); }

static inline uint64_t little_endian(const uint8_t *at, size_t length) {
    uint64_t number = 0;
    for (size_t i = 0; i < length; i++) number |= (uint64_t)at[i] << 8 * i;
    return number;
}

static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1], v[1] = rotated(v[1], 13) ^ v[0], v[0] = rotated(v[0], 32);
    v[2] += v[3], v[3] = rotated(v[3], 16) ^ v[2];
    v[0] += v[3], v[3] = rotated(v[3], 21) ^ v[0];
    v[2] += v[1], v[1] = rotated(v[1], 17) ^ v[2], v[2] = rotated(v[2], 32);
}

static inline void take_word(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    sip_round(v), sip_round(v);
    v[0] ^= word;
}

static hash siphash(const uint8_t secret[CS_SECRET_BYTES], cs_view bytes) {
    uint64_t first = little_endian(secret, 8), second = little_endian(secret + 8, 8);
    uint64_t v[4] = {first ^ 0x736f6d6570736575u, second ^ 0x646f72616e646f6du ^ 0xee, first ^ 0x6c7967656e657261u,
                     second ^ 0x7465646279746573u};
    const uint8_t *at = bytes.at;
    size_t left = bytes.length;
    for (; left >= 8; at += 8, left -= 8) take_word(v, little_endian(at, 8));
    take_word(v, little_endian(at, left) | (uint64_t)bytes.length << 56);
    v[2] ^= 0xee;
    for (int i = 0; i < 4; i++) sip_round(v);
    hash made = {v[0] ^ v[1] ^ v[2] ^ v[3], 0};
    v[1] ^= 0xdd;
    for (int i = 0; i < 4; i++) sip_round(v);
    made.high = v[0] ^ v[1] ^ v[2] ^ v[3];
    return made;
}

CS_API void cs_siphash128(const uint8_t *secret, const uint8_t *at, size_t length, uint64_t *made) {
    hash of = siphash(secret, (cs_view){at, length});
    made[0] = of.low, made[1] = of.high;
}

/* ---- the index ---------------------------------------------------------------------------------------- */

/* Makes an index that takes at most `bytes` of memory; NULL where there is no room for it. */
CS_API cs_index *cs_index_new(uint64_t bytes) {
    uint64_t buckets = bytes / (WAYS * sizeof(slot));
    if (buckets < 1) buckets = 1;
    if (buckets > UINT32_MAX) buckets = UINT32_MAX;
    cs_index *index = calloc(1, sizeof *index);
    if (!index) return NULL;
    index->buckets = buckets;
    index->slots = calloc(buckets, WAYS * sizeof(slot)); /* the system gives each page when it is first used */
    if (!index->slots) {
        free(index);
        return NULL;
    }
    for (int i = 0; i < LOCKS; i++) atomic_flag_clear(&index->locks[i]);
    return index;
}

CS_API void cs_index_free(cs_index *index) {
    if (!index) return;
    free(index->slots);
    free(index);
}

/* A key's bucket, locked. */
typedef struct {
    slot *slots;
    atomic_flag *lock;
    uint64_t fingerprint, rest; /* of its slot: what tells the key from others */
} place;

static place locked(cs_index *index, const uint8_t *secret, cs_view key) {
    hash of = siphash(secret, key);
    uint64_t bucket = (of.high >> 32) * index->buckets >> 32;
    place found = {index->slots + bucket * WAYS, &index->locks[bucket % LOCKS], of.low, of.high << (SECONDS_BITS + 1)};
    for (int turns = 0; atomic_flag_test_and_set_explicit(found.lock, memory_order_acquire);)
        if (++turns % 100 == 0) sched_yield();
    return found;
}

static inline void unlock(place *found) { atomic_flag_clear_explicit(found->lock, memory_order_release); }

static inline uint64_t seconds_of(uint64_t rest) { return rest >> 1 & NO_END; }

static slot *slot_of(const place *found) {
    for (int way = 0; way < WAYS; way++) {
        slot *each = found->slots + way;
        if (each->fingerprint == found->fingerprint && (each->rest & FINGERPRINT_BITS) == found->rest &&
            seconds_of(each->rest))
            return each;
    }
    return NULL;
}

/* A slot for a new entry: an empty one, else any. */
static slot *slot_to_fill(cs_index *index, const place *found) {
    for (int way = 0; way < WAYS; way++)
        if (!seconds_of(found->slots[way].rest)) return found->slots + way;
    return found->slots + atomic_fetch_add_explicit(&index->next_given_up, 1, memory_order_relaxed) % WAYS;
}

/* Notes a status, in the place of what was known of the key. It expires up to a second too early, never too late. */
CS_API void cs_index_put(
    cs_index *index, const uint8_t *secret, const uint8_t *key, size_t length, int64_t expires_ms, int subscribed
) {
    place found = locked(index, secret, (cs_view){key, length});
    slot *to = slot_of(&found);
    uint64_t seconds = expires_ms <= 0 ? 0 : (uint64_t)expires_ms / 1000;
    if (expires_ms == CS_NEVER) seconds = NO_END;
    else if (seconds >= NO_END) seconds = NO_END - 1;
    if (!to && seconds) to = slot_to_fill(index, &found);
    if (to) *to = (slot){found.fingerprint, found.rest | seconds << 1 | (subscribed ? 1 : 0)};
    unlock(&found);
}

/* Forgets what is known of a key. */
CS_API void cs_index_forget(cs_index *index, const uint8_t *secret, const uint8_t *key, size_t length) {
    place found = locked(index, secret, (cs_view){key, length});
    slot *known = slot_of(&found);
    if (known) *known = (slot){0, 0};
    unlock(&found);
}

int cs_index_get(cs_index *index, const uint8_t secret[CS_SECRET_BYTES], cs_view key, int64_t now_ms) {
    place found = locked(index, secret, key);
    const slot *known = slot_of(&found);
    uint64_t rest = known ? known->rest : 0;
    unlock(&found);
    uint64_t seconds = seconds_of(rest);
    bool holds = seconds == NO_END || (now_ms >= 0 && (uint64_t)now_ms < seconds * 1000);
    return !holds ? CS_MISSING : rest & 1 ? CS_SUBSCRIBED : CS_NOT_SUBSCRIBED;
}

CS_API int cs_index_look_up(
    cs_index *index, const uint8_t *secret, const uint8_t *key, size_t length, int64_t now_ms
) {
    return cs_index_get(index, secret, (cs_view){key, length}, now_ms);
}
