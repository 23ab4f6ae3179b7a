/* Reads the usual action.
 *
 * What is usual is narrower than what streams/messages/decode.py accepts: RFC 8259 to the letter, valid UTF-8, each
 * deciding key once, without escapes, with a value of the right type. For everything else the answer is
 * CS_UNUSUAL, and Python decides. What is accepted here has to come to the same there.
 */
#include "action.h"

/* Objects and arrays within each other, and characters of a number; both far below Python's limits. */
enum { DEEPEST = 64, LONGEST_NUMBER = 1000 };
/* Digits of a whole number that decides: it fits into 64 bits. */
enum { MOST_DIGITS = 18 };

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define EIGHT_AT_ONCE 1
#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))
static inline uint64_t eight(const uint8_t *at) {
    uint64_t bytes;
    memcpy(&bytes, at, 8);
    return bytes;
}
/* The high bit of each byte that is zero. Only the lowest one that is set is certain. */
static inline uint64_t zeros(uint64_t bytes) { return (bytes - EACH(1)) & ~bytes & EACH(0x80); }
/* The same for bytes below 0x20. */
static inline uint64_t controls(uint64_t bytes) { return (bytes - EACH(0x20)) & ~bytes & EACH(0x80); }
#endif

bool cs_is_utf8(cs_view bytes) {
    const uint8_t *at = bytes.at, *end = at + bytes.length;
    while (at < end) {
#ifdef EIGHT_AT_ONCE
        while (cs_left(at, end) >= 8 && !(eight(at) & EACH(0x80))) at += 8;
        if (at == end) break;
#endif
        uint8_t first = *at;
        if (first < 0x80) {
            at++;
            continue;
        }
        if (first < 0xc2 || first > 0xf4) return false;
        size_t more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        if (cs_left(at, end) <= more) return false;
        uint8_t second = at[1];
        uint8_t least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        uint8_t most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        if (second < least || second > most) return false;
        for (size_t i = 2; i <= more; i++)
            if ((at[i] & 0xc0) != 0x80) return false;
        at += more + 1;
    }
    return true;
}

/* ---- JSON: each function returns the place behind what it read, or NULL ------------------------------------ */

static inline const uint8_t *skip_blank(const uint8_t *at, const uint8_t *end) {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) at++;
    return at;
}

static inline bool is_digit(const uint8_t *at, const uint8_t *end) { return at < end && *at >= '0' && *at <= '9'; }

static const uint8_t *skip_digits(const uint8_t *at, const uint8_t *end) {
    if (!is_digit(at, end)) return NULL;
    while (is_digit(at, end)) at++;
    return at;
}

static const uint8_t *skip_escape(const uint8_t *at, const uint8_t *end) { /* behind the backslash */
    if (at >= end) return NULL;
    switch (*at) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
        return at + 1;
    case 'u':
        if (cs_left(at, end) < 5) return NULL;
        for (int i = 1; i <= 4; i++) {
            uint8_t low = at[i] | 0x20;
            if (!((at[i] >= '0' && at[i] <= '9') || (low >= 'a' && low <= 'f'))) return NULL;
        }
        if ((at[1] | 0x20) == 'd' && at[2] >= '8') return NULL; /* a surrogate: paired or not, Python looks */
        return at + 5;
    default:
        return NULL;
    }
}

static const uint8_t *skip_string(const uint8_t *at, const uint8_t *end, bool *escaped) { /* behind its first quote */
    for (;;) {
#ifdef EIGHT_AT_ONCE
        uint64_t found = 0;
        while (cs_left(at, end) >= 8) {
            uint64_t bytes = eight(at);
            found = zeros(bytes ^ EACH('"')) | zeros(bytes ^ EACH('\\')) | controls(bytes);
            if (found) break;
            at += 8;
        }
        if (found) at += __builtin_ctzll(found) / 8;
        else
#endif
        while (at < end && *at != '"' && *at != '\\' && *at >= 0x20) at++;
        if (at >= end) return NULL;
        if (*at == '"') return at + 1;
        if (*at != '\\') return NULL;
        *escaped = true;
        at = skip_escape(at + 1, end);
        if (!at) return NULL;
    }
}

static const uint8_t *skip_number(const uint8_t *at, const uint8_t *end) {
    const uint8_t *from = at;
    if (at < end && *at == '-') at++;
    if (at < end && *at == '0') at++;
    else if (!(at = skip_digits(at, end))) return NULL;
    if (at < end && *at == '.' && !(at = skip_digits(at + 1, end))) return NULL;
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        if (!(at = skip_digits(at, end))) return NULL;
    }
    return at - from > LONGEST_NUMBER ? NULL : at;
}

static const uint8_t *skip_word(const uint8_t *at, const uint8_t *end, const char *word, size_t length) {
    return cs_left(at, end) >= length && memcmp(at, word, length) == 0 ? at + length : NULL;
}

/* A name and the colon behind it, up to its value. */
static const uint8_t *skip_name(const uint8_t *at, const uint8_t *end, cs_view *name, bool *escaped) {
    if (at >= end || *at != '"') return NULL;
    name->at = at + 1;
    at = skip_string(at + 1, end, escaped);
    if (!at) return NULL;
    name->length = (size_t)(at - 1 - name->at);
    at = skip_blank(at, end);
    return at < end && *at == ':' ? skip_blank(at + 1, end) : NULL;
}

static const uint8_t *skip_value(const uint8_t *at, const uint8_t *end) {
    uint8_t closes[DEEPEST]; /* what ends each object and array that has begun */
    size_t depth = 0;
    cs_view name;
    bool escaped;
    for (;;) { /* a value begins here */
        if (at >= end) return NULL;
        switch (*at) {
        case '{': case '[': {
            if (depth == DEEPEST) return NULL;
            uint8_t closing = *at == '{' ? '}' : ']';
            at = skip_blank(at + 1, end);
            if (at >= end) return NULL;
            if (*at == closing) {
                at++;
                break;
            }
            closes[depth++] = closing;
            if (closing == '}' && !(at = skip_name(at, end, &name, &escaped))) return NULL;
            continue;
        }
        case '"': at = skip_string(at + 1, end, &escaped); break;
        case 't': at = skip_word(at, end, "true", 4); break;
        case 'f': at = skip_word(at, end, "false", 5); break;
        case 'n': at = skip_word(at, end, "null", 4); break;
        default: at = skip_number(at, end);
        }
        if (!at) return NULL;
        for (;;) { /* a value has ended here */
            if (depth == 0) return at;
            at = skip_blank(at, end);
            if (at >= end) return NULL;
            if (*at == ',') break;
            if (*at != closes[depth - 1]) return NULL;
            at++, depth--;
        }
        at = skip_blank(at + 1, end);
        if (closes[depth - 1] == '}' && !(at = skip_name(at, end, &name, &escaped))) return NULL;
    }
}

/* ---- the fields that decide -------------------------------------------------------------------------------- */

/* A field that decides: its name, and its value as it stands there; without a length if it is not there. */
typedef struct {
    cs_view name, value;
} field;

#define NAMED(text) {{(const uint8_t *)text, sizeof text - 1}, {NULL, 0}}

/* Reads an object, and finds the values of `fields` in it. NULL also where one is there twice, or where any name
 * of the object has an escape: it might be one of them. */
static const uint8_t *read_object(const uint8_t *at, const uint8_t *end, field *fields, size_t count) {
    if (at >= end || *at != '{') return NULL;
    at = skip_blank(at + 1, end);
    if (at < end && *at == '}') return at + 1;
    for (;;) {
        cs_view name;
        bool escaped = false;
        at = skip_name(at, end, &name, &escaped);
        if (!at || escaped) return NULL;
        const uint8_t *value = at;
        at = skip_value(at, end);
        if (!at) return NULL;
        for (size_t i = 0; i < count; i++)
            if (cs_same(name, fields[i].name)) {
                if (fields[i].value.length) return NULL;
                fields[i].value = (cs_view){value, (size_t)(at - value)};
                break;
            }
        at = skip_blank(at, end);
        if (at >= end) return NULL;
        if (*at == '}') return at + 1;
        if (*at != ',') return NULL;
        at = skip_blank(at + 1, end);
    }
}

static bool is_missing(cs_view value) {
    return value.length == 0 || cs_same(value, (cs_view){(const uint8_t *)"null", 4});
}

/* A text without escapes that is not blank for sure: it begins with a printable character of ASCII. */
static bool read_text(cs_view value, cs_view *text) {
    if (value.length < 3 || *value.at != '"' || value.at[1] <= ' ' || value.at[1] > '~') return false;
    *text = (cs_view){value.at + 1, value.length - 2};
    return memchr(text->at, '\\', text->length) == NULL;
}

/* The same, or nothing: no such field, null or "". */
static bool read_text_or_nothing(cs_view value, cs_view *text) {
    *text = (cs_view){NULL, 0};
    return is_missing(value) || cs_same(value, (cs_view){(const uint8_t *)"\"\"", 2}) || read_text(value, text);
}

/* A whole number that is written as Python writes it. */
static bool read_whole_number(cs_view value, cs_view *number) {
    const uint8_t *at = value.at, *end = at + value.length;
    if (value.length == 0) return false;
    if (*at == '-') at++;
    size_t digits = cs_left(at, end);
    if (digits < 1 || digits > MOST_DIGITS || (*at == '0' && value.length > 1)) return false;
    *number = value;
    return skip_digits(at, end) == end;
}

cs_kind cs_read_action(cs_view value, const cs_stages *stages, cs_action *action) {
    enum { STAGE, ACTION_ID, ORG_ID, CONTACT, PRIVACY, FIELDS };
    enum { CONTACT_REF, REF, EMAIL, CONTACT_FIELDS };
    field fields[FIELDS] = {NAMED("stage"), NAMED("actionId"), NAMED("orgId"), NAMED("contact"), NAMED("privacy")};
    field of_contact[CONTACT_FIELDS] = {NAMED("contactRef"), NAMED("ref"), NAMED("email")};
    field consent = NAMED("withConsent");
    if (value.length == 0 || !cs_is_utf8(value)) return CS_UNUSUAL;
    const uint8_t *end = value.at + value.length;
    const uint8_t *at = read_object(skip_blank(value.at, end), end, fields, FIELDS);
    if (!at || skip_blank(at, end) != end) return CS_UNUSUAL;

    cs_view stage;
    if (!read_text(fields[STAGE].value, &stage)) return CS_UNUSUAL;
    if (!cs_same(stage, stages->confirm)) return cs_same(stage, stages->repeat) ? CS_UNUSUAL : CS_OTHER_STAGE;

    cs_view privacy = fields[PRIVACY].value;
    if (!is_missing(privacy)) {
        if (!read_object(privacy.at, privacy.at + privacy.length, &consent, 1)) return CS_UNUSUAL;
        if (cs_same(consent.value, (cs_view){(const uint8_t *)"false", 5})) return CS_NO_CONSENT;
    }
    cs_view contact = fields[CONTACT].value, older, email;
    if (!read_whole_number(fields[ACTION_ID].value, &action->action_id) ||
        !read_whole_number(fields[ORG_ID].value, &action->org_id) || contact.length == 0 ||
        !read_object(contact.at, contact.at + contact.length, of_contact, CONTACT_FIELDS) ||
        !read_text_or_nothing(of_contact[CONTACT_REF].value, &action->contact_ref) ||
        !read_text_or_nothing(of_contact[REF].value, &older) || !read_text(of_contact[EMAIL].value, &email))
        return CS_UNUSUAL;
    if (action->contact_ref.length == 0) action->contact_ref = older;
    return action->contact_ref.length ? CS_ASKS : CS_UNUSUAL;
}
