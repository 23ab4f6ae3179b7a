/* Walks over fetched record batches, and writes the emails of the usual actions. */
#include "email_pass.h"

#include "sha1.h"

enum { UUID_TEXT = 36, MOST_KEY = 512, MOST_TRACES = 2 };

/* ---- one email ---------------------------------------------------------------------------------------- */

/* An email's id as text: a UUIDv5 (RFC 9562, 5.5) of where its action lies. */
static void write_id(const cs_partition *partition, int64_t offset, uint8_t text[UUID_TEXT]) {
    static const char hex[] = "0123456789abcdef";
    uint8_t name[CS_SHA1_MOST], digits[20], hash[20];
    size_t length = (size_t)partition->id_prefix_length, count = 0;
    cs_put(name, (cs_view){partition->id_prefix, length});
    do digits[count++] = (uint8_t)('0' + offset % 10); while (offset /= 10);
    while (count) name[length++] = digits[--count];
    cs_sha1((cs_view){name, length}, hash);
    hash[6] = (hash[6] & 0x0f) | 0x50; /* version 5 */
    hash[8] = (hash[8] & 0x3f) | 0x80; /* the RFC's variant */
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *text++ = '-';
        *text++ = (uint8_t)hex[hash[i] >> 4];
        *text++ = (uint8_t)hex[hash[i] & 15];
    }
}

static cs_view resolved(const cs_piece *piece, const cs_view by_kind[]) {
    return piece->kind == CS_LITERAL ? (cs_view){piece->at, (size_t)piece->length} : by_kind[piece->kind];
}

static size_t size_of(const cs_piece *pieces, int64_t count, const cs_view by_kind[]) {
    size_t size = 0;
    for (int64_t i = 0; i < count; i++) size += resolved(pieces + i, by_kind).length;
    return size;
}

static uint8_t *write_pieces(uint8_t *to, const cs_piece *pieces, int64_t count, const cs_view by_kind[]) {
    for (int64_t i = 0; i < count; i++) to = cs_put(to, resolved(pieces + i, by_kind));
    return to;
}

/* Writes the email of a record into the batch; false where it has no room. */
static bool write_email(
    const cs_pass *pass, const cs_letter *letter, const cs_record *record, const cs_action *action, cs_view key,
    const cs_view traces[], int64_t trace_count
) {
    uint8_t id[UUID_TEXT];
    const cs_view by_kind[] = {
        [CS_EMAIL_ID] = {id, UUID_TEXT},
        [CS_ACTION_ID] = action->action_id,
        [CS_ORG_ID] = action->org_id,
        [CS_MOMENT] = {pass->moment, (size_t)pass->moment_length},
        [CS_ORIGINAL] = record->value,
    };
    int64_t value = (int64_t)size_of(letter->value, letter->value_pieces, by_kind);
    int64_t headers = (int64_t)size_of(letter->headers, letter->header_pieces, by_kind);
    for (int64_t i = 0; i < trace_count; i++) headers += (int64_t)traces[i].length;
    int64_t header_count = letter->header_count + trace_count;
    int64_t rest =
        (int64_t)cs_varint_size(value) + value + (int64_t)cs_varint_size(header_count) + headers;
    uint8_t *to = cs_begin_record(pass->batch, pass->timestamp_ms, (int64_t)key.length, rest);
    if (!to) return false;
    write_id(pass->partition, record->offset, id);
    to = cs_put(to, key);
    to = cs_put_varint(to, value);
    to = write_pieces(to, letter->value, letter->value_pieces, by_kind);
    to = cs_put_varint(to, header_count);
    to = write_pieces(to, letter->headers, letter->header_pieces, by_kind);
    for (int64_t i = 0; i < trace_count; i++) to = cs_put(to, traces[i]);
    cs_record_written(pass->batch, pass->timestamp_ms, to);
    return true;
}

/* ---- one record --------------------------------------------------------------------------------------- */

static bool is_trace(cs_view name) {
    return cs_same(name, (cs_view){(const uint8_t *)"traceparent", 11}) ||
           cs_same(name, (cs_view){(const uint8_t *)"tracestate", 10});
}

/* Finds the headers that an email takes over; false where they are not as usual. */
static bool find_traces(const cs_record *record, cs_view traces[MOST_TRACES], int64_t *count) {
    cs_view first = {NULL, 0};
    const uint8_t *at = record->headers.at, *end = at + record->headers.length;
    *count = 0;
    for (int64_t i = 0; i < record->header_count; i++) {
        cs_record_header each;
        at = cs_read_record_header(at, end, &each);
        if (!at) return false;
        if (!is_trace(each.name)) continue;
        if (!each.value.at || !cs_is_utf8(each.value) || *count == MOST_TRACES || cs_same(each.name, first))
            return false;
        first = each.name;
        traces[(*count)++] = each.whole;
    }
    return true;
}

static int64_t number_of(cs_view digits) { /* at most 18 of them */
    bool negative = *digits.at == '-';
    int64_t number = 0;
    for (size_t i = negative; i < digits.length; i++) number = 10 * number + (digits.at[i] - '0');
    return negative ? -number : number;
}

/* The tally of a letter and an organisation; NULL where the table is as full as it may be. */
static cs_tally *tally_of(cs_pass *pass, int64_t letter, int64_t org_id) {
    uint64_t mixed = ((uint64_t)org_id * 4 + (uint64_t)letter) * UINT64_C(0x9e3779b97f4a7c15);
    for (uint64_t at = mixed >> 32;; at++) {
        cs_tally *each = pass->tallies + (at & ((uint64_t)pass->tally_slots - 1));
        if (each->letter == letter && each->org_id == org_id) return each;
        if (each->letter) continue;
        if (2 * pass->tallies_used >= pass->tally_slots) return NULL;
        pass->tallies_used++;
        *each = (cs_tally){letter, org_id, 0};
        return each;
    }
}

/* The span of a timestamp: the last one, or a new one; NULL where there is no room for it. */
static cs_span *span_of(cs_pass *pass, int64_t timestamp) {
    if (pass->spans_used && pass->spans[pass->spans_used - 1].timestamp == timestamp)
        return pass->spans + pass->spans_used - 1;
    if (pass->spans_used == pass->span_slots) return NULL;
    pass->spans[pass->spans_used] = (cs_span){timestamp, 0};
    return pass->spans + pass->spans_used++;
}

/* Frees what was taken for an email that is not written, so that such emails alone never fill the tables. */
static void give_back(cs_pass *pass, cs_tally *tally, const cs_span *span) {
    if (!span->emails) pass->spans_used--;
    if (tally->emails) return;
    *tally = (cs_tally){0, 0, 0}; /* the newest one: no other was put behind it */
    pass->tallies_used--;
}

enum { TAKEN = -1 }; /* beside the reasons to stop */

static int stop_at(cs_pass *pass, const cs_record *record, int why) {
    pass->why = why;
    pass->unusual = *record;
    return CS_STOP_RECORD;
}

static int take_action(cs_pass *pass, const cs_record *record, const cs_action *action) {
    const cs_partition *partition = pass->partition;
    uint8_t key[MOST_KEY];
    size_t length = action->org_id.length + 1 + action->contact_ref.length;
    if (length > MOST_KEY) return stop_at(pass, record, CS_WHY_SIZE);
    uint8_t *to = cs_put(key, action->org_id);
    *to++ = ':';
    cs_put(to, action->contact_ref);
    int64_t org_id = number_of(action->org_id);
    int status = cs_index_get(partition->index, pass->secret, (cs_view){key, length}, pass->now_ms);
    int64_t letter =
        status == CS_MISSING ? partition->decide(key, (int64_t)length, org_id, pass->now_ms) : status + 1;
    if (letter < 1 || letter > partition->letter_count) return stop_at(pass, record, CS_WHY_STATUS);
    cs_view traces[MOST_TRACES];
    int64_t trace_count;
    if (!find_traces(record, traces, &trace_count)) return stop_at(pass, record, CS_WHY_TRACE);
    if (pass->batch->count >= pass->most_emails) return CS_NO_ROOM;
    cs_tally *tally = tally_of(pass, letter, org_id);
    cs_span *span = tally ? span_of(pass, record->timestamp) : NULL;
    if (!span) return CS_NO_ROOM;
    if (!write_email(pass, partition->letters + letter - 1, record, action, (cs_view){key, length}, traces, trace_count)) {
        give_back(pass, tally, span);
        return pass->batch->count ? CS_NO_ROOM : stop_at(pass, record, CS_WHY_SIZE);
    }
    tally->emails++;
    span->emails++;
    return TAKEN;
}

static int take_record(cs_pass *pass, const cs_record *record) {
    const cs_partition *partition = pass->partition;
    const cs_stages stages = {
        {partition->confirm_stage, (size_t)partition->confirm_stage_length},
        {partition->repeat_stage, (size_t)partition->repeat_stage_length},
    };
    if (!record->value.at) {
        pass->tombstones++;
        return TAKEN;
    }
    cs_action action;
    switch (cs_read_action(record->value, &stages, &action)) {
    case CS_ASKS: return take_action(pass, record, &action);
    case CS_OTHER_STAGE: pass->other_stage++; return TAKEN;
    case CS_NO_CONSENT: pass->no_consent++; return TAKEN;
    default: return stop_at(pass, record, CS_WHY_VALUE);
    }
}

/* ---- one batch ------------------------------------------------------------------------------------------- */

/* The last aborted transaction of a batch's producer that begins at the batch or before it, among those sorted. */
static int64_t last_begun(const cs_pass *pass) {
    const cs_header *header = &pass->header;
    int64_t from = 0, to = pass->aborted_count;
    while (from < to) {
        int64_t middle = from + (to - from) / 2;
        const cs_aborted *each = pass->aborted + middle;
        bool is_before = each->producer_id != header->producer_id ? each->producer_id < header->producer_id
                                                                  : each->first_offset <= header->base_offset;
        if (is_before) from = middle + 1;
        else to = middle;
    }
    return from - 1;
}

/* Whether the records of a batch belong to an aborted transaction. `marker`: the batch ends one. */
static bool is_aborted(cs_pass *pass, bool marker) {
    const cs_header *header = &pass->header;
    bool aborted = false;
    /* A marker ends all of the producer that have begun: those before one that has ended have ended, too. */
    for (int64_t i = last_begun(pass); i >= 0; i--) {
        cs_aborted *each = pass->aborted + i;
        if (each->producer_id != header->producer_id || each->ended) break;
        aborted = true;
        if (!marker) break;
        each->ended = 1;
    }
    return aborted && header->attributes & CS_TRANSACTIONAL;
}

static void end_batch(cs_pass *pass) {
    pass->following = pass->header.base_offset + pass->header.last_delta + 1;
    if (pass->next_offset < pass->following) pass->next_offset = pass->following;
    pass->at += pass->header.bytes;
    pass->within = 0;
}

/* Begins the batch at `at`; `passed_over`: nothing in it is for us, and it has ended. */
static int begin_batch(cs_pass *pass, bool *passed_over) {
    *passed_over = false;
    if (!pass->records) {
        cs_view rest = {pass->fetched + pass->at, (size_t)(pass->fetched_length - pass->at)};
        switch (cs_read_header(rest, &pass->header)) {
        case CS_WHOLE: break;
        /* A broker sends the first batch whole: one that seems cut off has a damaged length. */
        case CS_CUT_OFF: return pass->at == 0 && rest.length ? CS_STOP_BATCH : CS_END;
        default: return CS_STOP_BATCH;
        }
        /* The checksum does not cover the offset: one that goes back is damaged, or the one before it is. */
        if (pass->header.base_offset < pass->following) return CS_STOP_BATCH;
        cs_view records = {rest.at + CS_HEADER_BYTES, (size_t)pass->header.bytes - CS_HEADER_BYTES};
        bool control = pass->header.attributes & CS_CONTROL, compressed = pass->header.attributes & CS_CODEC;
        cs_marker marker = control && !compressed ? cs_read_marker(records, &pass->header) : CS_NO_MARKER;
        if (control && marker == CS_NO_MARKER) return CS_STOP_BATCH;
        if (is_aborted(pass, marker == CS_ABORT_MARKER) || control) {
            end_batch(pass);
            *passed_over = true;
            return TAKEN;
        }
        if (compressed) return CS_COMPRESSED;
        pass->records = records.at;
        pass->records_length = (int64_t)records.length;
    }
    cs_view records = {pass->records, (size_t)pass->records_length};
    if (!cs_records_are_sound(records, &pass->header)) return CS_STOP_BATCH;
    pass->record_at = 0;
    pass->records_left = pass->header.count;
    pass->within = 1;
    return TAKEN;
}

/* Goes on from where the pass is, and returns why it stopped. */
CS_API int cs_run(cs_pass *pass) {
    for (;;) {
        if (!pass->within) {
            bool passed_over;
            int stopped = begin_batch(pass, &passed_over);
            if (stopped != TAKEN) return stopped;
            if (passed_over) continue;
        }
        while (pass->records_left) {
            const uint8_t *end = pass->records + pass->records_length;
            cs_record record;
            const uint8_t *behind = cs_read_record(pass->records + pass->record_at, end, &pass->header, &record);
            if (!behind) return CS_STOP_BATCH; /* cannot be: they were sound */
            int stopped = TAKEN;
            if (record.offset >= pass->next_offset) {
                stopped = take_record(pass, &record);
                if (stopped == CS_NO_ROOM) return stopped;
                pass->next_offset = record.offset + 1;
            }
            pass->record_at = behind - pass->records;
            pass->records_left--;
            if (stopped != TAKEN) return stopped;
        }
        pass->records = NULL;
        end_batch(pass);
    }
}

/* Looks at the headers of what was fetched from `next_offset` on: 1 if all whole batches of it are sound. */
CS_API int cs_look(const uint8_t *fetched, int64_t length, int64_t next_offset, cs_survey *found) {
    int64_t at = 0, following = 0;
    *found = (cs_survey){next_offset, 0, -1, 0};
    for (;;) {
        cs_header header;
        switch (cs_read_header((cs_view){fetched + at, (size_t)(length - at)}, &header)) {
        case CS_WHOLE: break;
        case CS_CUT_OFF: return at > 0;
        default: return 0;
        }
        if (header.base_offset < following) return 0;
        following = header.base_offset + header.last_delta + 1;
        at += header.bytes;
        if (following <= next_offset) continue;
        found->next_offset = following;
        if (header.attributes & CS_CONTROL) continue;
        found->count += header.count;
        found->compressed += (header.attributes & CS_CODEC) != 0;
        int64_t first = header.append_timestamp >= 0 ? header.append_timestamp : header.first_timestamp;
        if (header.count && (found->timestamp < 0 || first < found->timestamp)) found->timestamp = first;
    }
}

/* Tells how large the structures are that Python has, too, in the order of streams/native/library.py. */
CS_API void cs_layout(uint64_t *sizes) {
    const size_t all[] = {
        sizeof(cs_view), sizeof(cs_header), sizeof(cs_record), sizeof(cs_batch), sizeof(cs_piece), sizeof(cs_letter),
        sizeof(cs_partition), sizeof(cs_tally), sizeof(cs_span), sizeof(cs_aborted), sizeof(cs_pass),
        sizeof(cs_survey),
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) sizes[i] = all[i];
}
