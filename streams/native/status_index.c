/* A cache of the table of statuses: what it says is true, and what it does not say is asked elsewhere.
 *
 * A key is known by 81 bits or more of its SipHash-2-4-128, whose secret nobody outside this process has: a sender
 * cannot make two keys that are taken for one. Each partition has a secret of its own. To forget a partition is to
 * forget its secret: nothing that was put with it is found again, and what it filled is free for others.
 *
 * The addresses for all entries are taken once; the system gives memory to those that were written. They are
 * divided among segments. A segment is a hash table with linear probing. It begins small and grows into its own
 * addresses, so one small part moves at a time. A segment is locked while it is used: for some nanoseconds, and
 * while it grows for as long as its entries take to move (128 KiB in an index of 64 MiB: some 100 microseconds).
 */
#define _DEFAULT_SOURCE /* madvise */
#include "status_index.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SEGMENTS = 512, FEWEST_SLOTS = 8 };

/* Of a segment's slots so many are used before it grows, and when it cannot grow any more. Some always stay empty:
 * an empty slot is where the search for a key ends. */
static inline uint32_t most_used(uint32_t slots, uint32_t most_slots) {
    return slots < most_slots ? slots / 4 * 3 : slots - slots / 8;
}

/* Of `rest`: 10 bits of the secret's label, 17 of the fingerprint, 36 of seconds since the epoch, one: subscribed. No
 * seconds: empty. */
#define SECONDS_BITS 36
#define LABEL_BITS 10
#define NO_END ((UINT64_C(1) << SECONDS_BITS) - 1)
#define FINGERPRINT_BITS (~UINT64_C(0) << (SECONDS_BITS + 1))

typedef struct {
    uint64_t fingerprint;
    uint64_t rest;
} slot;

typedef struct {
    slot *slots;
    uint32_t count, used;
    unsigned swept; /* the value of `released` when entries of forgotten secrets were removed last */
    atomic_flag lock;
} segment;

/* What is known of all secrets of one label. */
typedef struct {
    atomic_uint in_use; /* how many secrets */
    atomic_ullong given_up;
} label;

struct cs_index {
    slot *slots;
    slot *moving; /* the entries of a segment that grows */
    uint32_t segment_count, segment_slots;
    atomic_uint released; /* how often a secret was forgotten */
    atomic_flag moving_lock;
    label labels[1 << LABEL_BITS];
    segment segments[SEGMENTS];
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

/* Leaves these addresses without memory until they are written, page by page. */
static void keep_pages_small(slot *slots, size_t bytes) {
#ifdef MADV_NOHUGEPAGE
    const uintptr_t page = 4096;
    uintptr_t begin = ((uintptr_t)slots + page - 1) / page * page, end = ((uintptr_t)slots + bytes) / page * page;
    if (begin < end) madvise((void *)begin, end - begin, MADV_NOHUGEPAGE);
#else
    (void)slots, (void)bytes;
#endif
}

static void lock(atomic_flag *flag) {
    for (int turns = 0; atomic_flag_test_and_set_explicit(flag, memory_order_acquire);)
        if (++turns % 100 == 0) sched_yield();
}

static void unlock(atomic_flag *flag) { atomic_flag_clear_explicit(flag, memory_order_release); }

CS_API void cs_index_free(cs_index *index) {
    if (!index) return;
    free(index->slots);
    free(index->moving);
    free(index);
}

/* Makes an index that takes at most `bytes` of memory for entries; NULL where there is no room for it. */
CS_API cs_index *cs_index_new(uint64_t bytes) {
    uint64_t slots = bytes / sizeof(slot);
    uint64_t segments = slots / 256; /* a page each, so that an index that is nearly empty is small */
    if (segments < 1) segments = 1;
    if (segments > SEGMENTS) segments = SEGMENTS;
    uint64_t each = slots / segments;
    if (each < FEWEST_SLOTS) each = FEWEST_SLOTS;
    if (each > UINT32_MAX / 2) each = UINT32_MAX / 2;
    cs_index *index = calloc(1, sizeof *index);
    if (!index) return NULL;
    index->segment_count = (uint32_t)segments;
    index->segment_slots = (uint32_t)each;
    index->slots = calloc(segments * each, sizeof(slot)); /* large ones come from the system, empty and untouched */
    index->moving = calloc(each, sizeof(slot));
    if (!index->slots || !index->moving) {
        cs_index_free(index);
        return NULL;
    }
    keep_pages_small(index->slots, segments * each * sizeof(slot));
    atomic_flag_clear(&index->moving_lock);
    for (uint64_t i = 0; i < segments; i++) {
        index->segments[i] = (segment){.slots = index->slots + i * each, .count = FEWEST_SLOTS};
        atomic_flag_clear(&index->segments[i].lock);
    }
    return index;
}

static inline uint64_t seconds_of(uint64_t rest) { return rest >> 1 & NO_END; }

static inline unsigned label_of_secret(const uint8_t *secret) {
    return (secret[0] | (unsigned)secret[1] << 8) & ((1 << LABEL_BITS) - 1);
}

static inline label *label_of(cs_index *index, const slot *entry) {
    return index->labels + (entry->rest >> (64 - LABEL_BITS));
}

/* Says that entries will be put with a secret: as long as it is in use they stay if there is room. */
CS_API void cs_index_use(cs_index *index, const uint8_t *secret) {
    atomic_fetch_add(&index->labels[label_of_secret(secret)].in_use, 1);
}

/* Says that nobody will ask with a secret any more. Its entries are given up, each when its room is needed. */
CS_API void cs_index_release(cs_index *index, const uint8_t *secret) {
    label *of = index->labels + label_of_secret(secret);
    atomic_fetch_add(&of->given_up, 1);
    atomic_fetch_sub(&of->in_use, 1);
    atomic_fetch_add(&index->released, 1);
}

uint64_t cs_index_given_up(cs_index *index, const uint8_t secret[CS_SECRET_BYTES]) {
    return atomic_load(&index->labels[label_of_secret(secret)].given_up);
}

/* A key's segment, locked. */
typedef struct {
    segment *of;
    uint64_t fingerprint, rest; /* of its slot: what tells the key from others */
} place;

/* The slot at which the search for an entry begins. The low half of the fingerprint chooses it. */
static inline uint32_t home_of(const segment *of, uint64_t fingerprint) {
    return (uint32_t)((fingerprint & UINT32_MAX) * of->count >> 32);
}

static inline uint32_t behind(const segment *of, uint32_t at) { return at + 1 == of->count ? 0 : at + 1; }

static place locked(cs_index *index, const uint8_t *secret, cs_view key) {
    hash made = siphash(secret, key);
    uint64_t tag = (uint64_t)label_of_secret(secret) << (64 - LABEL_BITS);
    uint64_t rest = made.high << (SECONDS_BITS + 1) & ~UINT64_C(0) >> LABEL_BITS;
    segment *of = index->segments + ((made.high >> 32) * index->segment_count >> 32);
    lock(&of->lock);
    return (place){of, made.low, tag | rest};
}

/* Where a key is, or the empty slot where it would be. */
static uint32_t slot_of(const segment *of, uint64_t fingerprint, uint64_t rest) {
    uint32_t at = home_of(of, fingerprint);
    for (; seconds_of(of->slots[at].rest); at = behind(of, at))
        if (of->slots[at].fingerprint == fingerprint && (of->slots[at].rest & FINGERPRINT_BITS) == rest) break;
    return at;
}

/* Empties a slot. Those behind it move up, so that each is found from its home without a gap. */
static void empty(segment *of, uint32_t gap) {
    for (uint32_t at = behind(of, gap); seconds_of(of->slots[at].rest); at = behind(of, at)) {
        uint32_t home = home_of(of, of->slots[at].fingerprint);
        uint32_t from_home = at >= home ? at - home : at + of->count - home;
        uint32_t from_gap = at >= gap ? at - gap : at + of->count - gap;
        if (from_home < from_gap) continue;
        of->slots[gap] = of->slots[at];
        gap = at;
    }
    of->slots[gap] = (slot){0, 0};
    of->used--;
}

/* Lays out a segment anew with so many slots, without the entries of secrets that nobody uses. */
static void lay_out(cs_index *index, segment *of, uint32_t count) {
    lock(&index->moving_lock);
    uint32_t kept = 0;
    for (uint32_t at = 0; at < of->count; at++)
        if (seconds_of(of->slots[at].rest) && atomic_load(&label_of(index, of->slots + at)->in_use))
            index->moving[kept++] = of->slots[at];
    memset(of->slots, 0, of->count * sizeof(slot));
    of->count = count;
    of->used = kept;
    for (uint32_t i = 0; i < kept; i++) {
        const slot *each = index->moving + i;
        of->slots[slot_of(of, each->fingerprint, each->rest & FINGERPRINT_BITS)] = *each;
    }
    unlock(&index->moving_lock);
}

/* Makes room for one more entry: removes what nobody can find, else grows, else gives up an entry. */
static void make_room(cs_index *index, place *found) {
    segment *of = found->of;
    uint32_t most = index->segment_slots;
    unsigned released = atomic_load(&index->released);
    if (of->used < most_used(of->count, most)) return;
    if (of->swept != released) {
        of->swept = released;
        lay_out(index, of, of->count);
        if (of->used < most_used(of->count, most)) return;
    }
    if (of->count < most) {
        uint64_t larger = of->count + of->count / 4;
        lay_out(index, of, larger < most ? (uint32_t)larger : most);
        return;
    }
    uint32_t at = home_of(of, found->fingerprint);
    while (!seconds_of(of->slots[at].rest)) at = behind(of, at);
    atomic_fetch_add(&label_of(index, of->slots + at)->given_up, 1);
    empty(of, at);
}

/* Notes a status, in the place of what was known of the key. It expires up to a second too early, never too late. */
static void put(cs_index *index, const uint8_t *secret, cs_view key, int64_t expires_ms, int subscribed) {
    place found = locked(index, secret, key);
    segment *of = found.of;
    uint32_t at = slot_of(of, found.fingerprint, found.rest);
    bool is_known = seconds_of(of->slots[at].rest);
    uint64_t seconds = expires_ms <= 0 ? 0 : (uint64_t)expires_ms / 1000;
    if (expires_ms == CS_NEVER) seconds = NO_END;
    else if (seconds >= NO_END) seconds = NO_END - 1;
    if (!seconds) {
        if (is_known) empty(of, at);
    } else {
        if (!is_known) {
            make_room(index, &found);
            at = slot_of(of, found.fingerprint, found.rest);
            of->used++;
        }
        of->slots[at] = (slot){found.fingerprint, found.rest | seconds << 1 | (subscribed ? 1 : 0)};
    }
    unlock(&of->lock);
}

static void forget(cs_index *index, const uint8_t *secret, cs_view key) {
    place found = locked(index, secret, key);
    uint32_t at = slot_of(found.of, found.fingerprint, found.rest);
    if (seconds_of(found.of->slots[at].rest)) empty(found.of, at);
    unlock(&found.of->lock);
}

/* Several keys at once: their bytes one behind the other, and the length of each. */
typedef struct {
    const uint8_t *bytes;
    const uint32_t *lengths;
    uint64_t count;
} key_list;

static cs_view taken(key_list *keys) {
    cs_view key = {keys->bytes, *keys->lengths++};
    keys->bytes += key.length;
    keys->count--;
    return key;
}

/* Notes statuses. `expires`: milliseconds since the epoch, or CS_NEVER, of each; `subscribed`: 0 or 1 of each. */
CS_API void cs_index_put(
    cs_index *index, const uint8_t *secret, const uint8_t *keys, const uint32_t *lengths, uint64_t count,
    const int64_t *expires, const uint8_t *subscribed
) {
    for (key_list left = {keys, lengths, count}; left.count;)
        put(index, secret, taken(&left), *expires++, *subscribed++);
}

/* Forgets what is known of some keys. */
CS_API void cs_index_forget(
    cs_index *index, const uint8_t *secret, const uint8_t *keys, const uint32_t *lengths, uint64_t count
) {
    for (key_list left = {keys, lengths, count}; left.count;) forget(index, secret, taken(&left));
}

int cs_index_get(cs_index *index, const uint8_t secret[CS_SECRET_BYTES], cs_view key, int64_t now_ms) {
    place found = locked(index, secret, key);
    uint64_t rest = found.of->slots[slot_of(found.of, found.fingerprint, found.rest)].rest;
    unlock(&found.of->lock);
    uint64_t seconds = seconds_of(rest);
    bool holds = seconds == NO_END || (now_ms >= 0 && (uint64_t)now_ms < seconds * 1000);
    return !holds ? CS_MISSING : rest & 1 ? CS_SUBSCRIBED : CS_NOT_SUBSCRIBED;
}

CS_API int cs_index_look_up(
    cs_index *index, const uint8_t *secret, const uint8_t *key, size_t length, int64_t now_ms
) {
    return cs_index_get(index, secret, (cs_view){key, length}, now_ms);
}
