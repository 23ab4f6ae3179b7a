/* The pass over what was fetched of one partition: usual actions become emails, in their order.
 *
 * Python has the same structures, in streams/native/library.py. All numbers have 64 bits, so that there are no gaps
 * between them on any machine. */
#ifndef CS_EMAIL_PASS_H
#define CS_EMAIL_PASS_H

#include "action.h"
#include "record_batch.h"
#include "status_index.h"

/* A piece of a letter: bytes that are always the same, or what differs from action to action. */
enum { CS_LITERAL, CS_EMAIL_ID, CS_ACTION_ID, CS_ORG_ID, CS_MOMENT, CS_ORIGINAL };

typedef struct {
    int64_t kind;
    const uint8_t *at; /* of a literal */
    int64_t length;
} cs_piece;

/* How one letter's record is written: its value, and its headers as they go into a batch. */
typedef struct {
    const cs_piece *value;
    int64_t value_pieces;
    const cs_piece *headers;
    int64_t header_pieces;
    int64_t header_count;
} cs_letter;

/* Decides of an action whose status the index does not have: returns the number of its letter, or 0: not usual. */
typedef int64_t (*cs_decide)(const uint8_t *key, int64_t key_length, int64_t org_id, int64_t now_ms);

/* What does not change from one pass over a partition to the next. */
typedef struct {
    const cs_letter *letters; /* numbered from 1; the first two: of somebody not subscribed, and of a subscriber */
    int64_t letter_count;
    const uint8_t *id_prefix; /* what is hashed before the decimal offset */
    int64_t id_prefix_length;
    const uint8_t *confirm_stage;
    int64_t confirm_stage_length;
    const uint8_t *repeat_stage; /* records at this stage are not usual; may be empty */
    int64_t repeat_stage_length;
    cs_index *index;
    cs_decide decide;
} cs_partition;

/* How many emails an organisation got of one letter. */
typedef struct {
    int64_t letter; /* its number; 0: the slot is empty */
    int64_t org_id, emails;
} cs_tally;

/* How many emails in a row answer actions of one timestamp. */
typedef struct {
    int64_t timestamp, emails;
} cs_span;

/* A transaction that was aborted, as the broker lists it. */
typedef struct {
    int64_t producer_id, first_offset;
    int64_t ended; /* whether the pass has met its end */
} cs_aborted;

typedef struct {
    /* Given. */
    const cs_partition *partition;
    const uint8_t *secret; /* of the index, CS_SECRET_BYTES */
    const uint8_t *fetched;
    int64_t fetched_length;
    cs_aborted *aborted; /* sorted by producer, then by offset */
    int64_t aborted_count;
    const uint8_t *moment; /* of the decision, as text */
    int64_t moment_length;
    int64_t now_ms;       /* the same as a number, for what expires */
    int64_t timestamp_ms; /* of the emails' records */
    cs_batch *batch;
    cs_tally *tallies;
    int64_t tally_slots; /* a power of two */
    cs_span *spans;
    int64_t span_slots;
    int64_t most_emails; /* in `batch` */
    /* Where the pass is. Python sets next_offset, and `records` of a batch that it has inflated. */
    int64_t at;          /* of the batch in `fetched` */
    int64_t next_offset; /* records below it are passed over */
    int64_t following;   /* the offset behind the last batch in `fetched` that was read */
    int64_t within;      /* whether a batch has begun: its header is read, and its records are sound */
    const uint8_t *records;
    int64_t records_length, record_at, records_left;
    cs_header header;
    /* What became of the records. */
    int64_t tallies_used, spans_used;
    int64_t other_stage, no_consent, tombstones;
    /* The record that is not usual, and why; its views lie in `records`. */
    int64_t why;
    cs_record unusual;
} cs_pass;

/* What a fetch has, as its batches' headers say. */
typedef struct {
    int64_t next_offset; /* behind its last whole batch */
    int64_t count;       /* records for readers, at most: aborted ones are among them */
    int64_t timestamp;   /* the earliest of its batches' first ones; -1 without records */
    int64_t compressed;  /* batches that have to be inflated */
} cs_survey;

/* Why a pass stopped. */
enum {
    CS_END,         /* nothing more was fetched */
    CS_STOP_RECORD, /* a record is not usual: `unusual`. The pass goes on behind it */
    CS_COMPRESSED,  /* a batch has to be inflated: it begins at `at` */
    CS_STOP_BATCH,  /* a batch at `at` is not usual, and the pass does not go on behind it */
    CS_NO_ROOM,     /* the batch, tallies or spans are full, or the emails enough: take them, and go on */
};

/* Why a record is not usual. */
enum { CS_WHY_VALUE = 1, CS_WHY_STATUS, CS_WHY_TRACE, CS_WHY_SIZE };

#endif
