/* Reads and writes record batches of format 2. What is read came from the wire: no length is trusted. */
#include "record_batch.h"

#include "crc32c.h"

/* Where the header's fields are. */
enum {
    LENGTH_AT = 8, LEADER_EPOCH_AT = 12, FORMAT_AT = 16, CRC_AT = 17, ATTRIBUTES_AT = 21, LAST_DELTA_AT = 23,
    FIRST_TIMESTAMP_AT = 27, MAX_TIMESTAMP_AT = 35, PRODUCER_ID_AT = 43, PRODUCER_EPOCH_AT = 51, SEQUENCE_AT = 53,
    COUNT_AT = 57,
};
enum { BEHIND_LENGTH = 12, FORMAT = 2 };
enum { KNOWN_ATTRIBUTES = CS_CODEC | CS_APPEND_TIME | CS_TRANSACTIONAL | CS_CONTROL };

cs_sight cs_read_header(cs_view rest, cs_header *header) {
    if (rest.length < CS_HEADER_BYTES) return CS_CUT_OFF;
    const uint8_t *at = rest.at;
    header->bytes = (int64_t)cs_i32(at + LENGTH_AT) + BEHIND_LENGTH;
    if (header->bytes < CS_HEADER_BYTES) return CS_NOT_READABLE;
    if ((uint64_t)header->bytes > rest.length) return CS_CUT_OFF;
    if (at[FORMAT_AT] != FORMAT) return CS_NOT_READABLE;
    if (cs_crc32c(at + ATTRIBUTES_AT, (size_t)header->bytes - ATTRIBUTES_AT) != cs_u32(at + CRC_AT))
        return CS_NOT_READABLE;
    header->base_offset = cs_i64(at);
    header->attributes = (unsigned)at[ATTRIBUTES_AT] << 8 | at[ATTRIBUTES_AT + 1];
    header->last_delta = cs_i32(at + LAST_DELTA_AT);
    header->first_timestamp = cs_i64(at + FIRST_TIMESTAMP_AT);
    header->append_timestamp = header->attributes & CS_APPEND_TIME ? cs_i64(at + MAX_TIMESTAMP_AT) : -1;
    header->producer_id = cs_i64(at + PRODUCER_ID_AT);
    header->count = cs_i32(at + COUNT_AT);
    bool sound = header->base_offset >= 0 && header->last_delta >= 0 && header->count >= 0 &&
                 header->base_offset <= INT64_MAX - header->last_delta - 1 &&
                 !(header->attributes & ~(unsigned)KNOWN_ATTRIBUTES) &&
                 (!(header->attributes & CS_APPEND_TIME) || header->append_timestamp >= 0);
    return sound ? CS_WHOLE : CS_NOT_READABLE;
}

/* Reads bytes behind their length; a length of -1 is null. */
static const uint8_t *read_bytes(const uint8_t *at, const uint8_t *end, cs_view *bytes) {
    int64_t length;
    *bytes = (cs_view){NULL, 0};
    at = cs_varint(at, end, &length);
    if (!at || length < -1) return NULL;
    if (length == -1) return at;
    if ((uint64_t)length > cs_left(at, end)) return NULL;
    *bytes = (cs_view){at, (size_t)length};
    return at + length;
}

const uint8_t *cs_read_record_header(const uint8_t *at, const uint8_t *end, cs_record_header *found) {
    found->whole.at = at;
    at = read_bytes(at, end, &found->name);
    if (!at || !found->name.at) return NULL;
    at = read_bytes(at, end, &found->value);
    if (at) found->whole.length = (size_t)(at - found->whole.at);
    return at;
}

const uint8_t *cs_read_record(const uint8_t *at, const uint8_t *end, const cs_header *header, cs_record *record) {
    int64_t length, timestamp_delta, offset_delta;
    at = cs_varint(at, end, &length);
    if (!at || length < 1 || (uint64_t)length > cs_left(at, end)) return NULL;
    end = at + length;
    if (*at++ != 0) return NULL; /* attributes: none are known */
    at = cs_varint(at, end, &timestamp_delta);
    if (!at) return NULL;
    at = cs_varint(at, end, &offset_delta);
    if (!at || offset_delta < 0 || offset_delta > header->last_delta) return NULL;
    record->offset = header->base_offset + offset_delta;
    if (header->append_timestamp >= 0) record->timestamp = header->append_timestamp;
    else if (__builtin_add_overflow(header->first_timestamp, timestamp_delta, &record->timestamp)) return NULL;
    at = read_bytes(at, end, &record->key);
    if (!at) return NULL;
    at = read_bytes(at, end, &record->value);
    if (!at) return NULL;
    at = cs_varint(at, end, &record->header_count);
    if (!at || record->header_count < 0) return NULL;
    record->headers = (cs_view){at, cs_left(at, end)};
    return end;
}

bool cs_records_are_sound(cs_view records, const cs_header *header) {
    const uint8_t *at = records.at, *end = at + records.length;
    int64_t before = header->base_offset - 1;
    for (int64_t i = 0; i < header->count; i++) {
        cs_record record;
        cs_record_header each;
        at = cs_read_record(at, end, header, &record);
        if (!at || record.offset <= before) return false;
        before = record.offset;
        const uint8_t *of = record.headers.at, *behind = of + record.headers.length;
        for (int64_t j = 0; j < record.header_count; j++) /* each takes two bytes at least, so this ends */
            if (!(of = cs_read_record_header(of, behind, &each))) return false;
        if (of != behind) return false;
    }
    return at == end;
}

cs_marker cs_read_marker(cs_view records, const cs_header *header) {
    cs_record record;
    if (header->count != 1 || !cs_records_are_sound(records, header) ||
        !cs_read_record(records.at, records.at + records.length, header, &record) || record.key.length < 4)
        return CS_NO_MARKER;
    /* Version 0, and type 0, which is abort; 16 bits each. */
    return cs_u32(record.key.at) == 0 ? CS_ABORT_MARKER : CS_OTHER_MARKER;
}

/* ---- writing ------------------------------------------------------------------------------------------ */

uint8_t *cs_begin_record(cs_batch *batch, int64_t timestamp, int64_t key_length, int64_t rest) {
    if (batch->count == INT32_MAX) return NULL;
    if (batch->count == 0) batch->used = CS_HEADER_BYTES, batch->first_timestamp = timestamp;
    int64_t delta = timestamp - batch->first_timestamp;
    int64_t length = 1 + (int64_t)cs_varint_size(delta) + (int64_t)cs_varint_size(batch->count) +
                     (int64_t)cs_varint_size(key_length) + (key_length > 0 ? key_length : 0) + rest;
    if ((int64_t)cs_varint_size(length) + length > batch->room - batch->used) return NULL;
    uint8_t *to = cs_put_varint(batch->bytes + batch->used, length);
    *to++ = 0; /* attributes */
    to = cs_put_varint(to, delta);
    to = cs_put_varint(to, batch->count);
    return cs_put_varint(to, key_length);
}

void cs_record_written(cs_batch *batch, int64_t timestamp, const uint8_t *end) {
    if (batch->count == 0 || timestamp > batch->max_timestamp) batch->max_timestamp = timestamp;
    batch->used = end - batch->bytes;
    batch->count++;
}

/* Appends a record whose value, count of headers and headers stand in `tail` as they go into the batch.
 *
 * Returns 0 where it has no room. A key without a place is null. */
CS_API int cs_append(
    cs_batch *batch, int64_t timestamp, const uint8_t *key, int64_t key_length, const uint8_t *tail, int64_t tail_length
) {
    if (tail_length < 0 || tail_length > batch->room || key_length > batch->room) return 0;
    uint8_t *to = cs_begin_record(batch, timestamp, key ? key_length : -1, tail_length);
    if (!to) return 0;
    if (key) to = cs_put(to, (cs_view){key, (size_t)key_length});
    cs_record_written(batch, timestamp, cs_put(to, (cs_view){tail, (size_t)tail_length}));
    return 1;
}

/* Writes the header of a batch of a transaction, for this producer, with its checksum. */
CS_API void cs_seal(const cs_batch *batch, int64_t producer_id, int64_t producer_epoch, int64_t sequence) {
    uint8_t *to = batch->bytes;
    memset(to, 0, CS_HEADER_BYTES);
    cs_put_u32(to + LENGTH_AT, (uint32_t)(batch->used - BEHIND_LENGTH));
    cs_put_u32(to + LEADER_EPOCH_AT, UINT32_MAX); /* not known */
    to[FORMAT_AT] = FORMAT;
    to[ATTRIBUTES_AT + 1] = CS_TRANSACTIONAL;
    cs_put_u32(to + LAST_DELTA_AT, (uint32_t)(batch->count - 1));
    cs_put_u64(to + FIRST_TIMESTAMP_AT, (uint64_t)batch->first_timestamp);
    cs_put_u64(to + MAX_TIMESTAMP_AT, (uint64_t)batch->max_timestamp);
    cs_put_u64(to + PRODUCER_ID_AT, (uint64_t)producer_id);
    to[PRODUCER_EPOCH_AT] = (uint8_t)((uint64_t)producer_epoch >> 8);
    to[PRODUCER_EPOCH_AT + 1] = (uint8_t)producer_epoch;
    cs_put_u32(to + SEQUENCE_AT, (uint32_t)sequence);
    cs_put_u32(to + COUNT_AT, (uint32_t)batch->count);
    cs_put_u32(to + CRC_AT, cs_crc32c(to + ATTRIBUTES_AT, (size_t)(batch->used - ATTRIBUTES_AT)));
}
