/* Which statuses are known: fingerprints of their keys, in memory that grows up to a bound. */
#ifndef CS_STATUS_INDEX_H
#define CS_STATUS_INDEX_H

#include "bytes.h"

typedef struct cs_index cs_index;

enum { CS_SECRET_BYTES = 16 };

/* Milliseconds since the epoch of a status that does not expire. */
#define CS_NEVER INT64_MAX

enum { CS_MISSING = -1, CS_NOT_SUBSCRIBED = 0, CS_SUBSCRIBED = 1 };

/* What is known of `key` at `now_ms`, among what was put with this secret. Any thread may ask and put. */
int cs_index_get(cs_index *index, const uint8_t secret[CS_SECRET_BYTES], cs_view key, int64_t now_ms);

/* How many entries that were put with this secret, or with others of its label, were given up for want of room. Read
 * it after a miss: if it is what it was before the first entry was put, no entry was given up. */
CS_API uint64_t cs_index_given_up(cs_index *index, const uint8_t secret[CS_SECRET_BYTES]);

#endif
