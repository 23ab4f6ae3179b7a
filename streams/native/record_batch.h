/* Record batches of Kafka's format 2: reading the frames of fetched ones, and filling one with emails. */
#ifndef CS_RECORD_BATCH_H
#define CS_RECORD_BATCH_H

#include "bytes.h"

enum { CS_HEADER_BYTES = 61 };

/* ---- reading ------------------------------------------------------------------------------------------ */

/* What the header of a batch says. */
typedef struct {
    int64_t bytes; /* of the whole batch */
    int64_t base_offset, last_delta, producer_id, count;
    int64_t first_timestamp, append_timestamp; /* ms; the latter -1 where records have their own */
    unsigned attributes;
} cs_header;

enum { CS_CODEC = 0x07, CS_APPEND_TIME = 0x08, CS_TRANSACTIONAL = 0x10, CS_CONTROL = 0x20 };

typedef enum { CS_WHOLE, CS_CUT_OFF, CS_NOT_READABLE } cs_sight;

/* Reads the header of the batch that begins here, and checks its checksum. */
cs_sight cs_read_header(cs_view rest, cs_header *header);

/* A record; each view lies in the batch. */
typedef struct {
    int64_t offset, timestamp;
    cs_view key, value, headers; /* a key or value that is null has no place */
    int64_t header_count;
} cs_record;

/* A header of a record; a value that is null has no place. */
typedef struct {
    cs_view name, value, whole;
} cs_record_header;

/* Reads the record at `at`, and returns the place behind it; NULL where its frame is not as it should be. */
const uint8_t *cs_read_record(const uint8_t *at, const uint8_t *end, const cs_header *header, cs_record *record);

const uint8_t *cs_read_record_header(const uint8_t *at, const uint8_t *end, cs_record_header *found);

/* Whether all records of a batch can be read, in the order of their offsets, and nothing is left over. */
bool cs_records_are_sound(cs_view records, const cs_header *header);

typedef enum { CS_NO_MARKER, CS_ABORT_MARKER, CS_OTHER_MARKER } cs_marker;

/* What the one record of a control batch says of its transaction. */
cs_marker cs_read_marker(cs_view records, const cs_header *header);

/* ---- writing ------------------------------------------------------------------------------------------ */

/* A batch that is being filled. Python has the same fields, in streams/native/library.py. */
typedef struct {
    uint8_t *bytes;
    int64_t room; /* bytes that there is memory for */
    int64_t used; /* bytes, with the room for the header */
    int64_t count;
    int64_t first_timestamp, max_timestamp; /* ms */
} cs_batch;

/* Begins the next record of a batch, and returns where its key goes; NULL where the whole of it has no room.
 *
 * `rest` is the size of all that follows the key's bytes. Whoever gets a place writes exactly that much, and
 * then calls cs_record_written with the place behind it. */
uint8_t *cs_begin_record(cs_batch *batch, int64_t timestamp, int64_t key_length, int64_t rest);

void cs_record_written(cs_batch *batch, int64_t timestamp, const uint8_t *end);

#endif
