/* The usual action: strict JSON whose deciding fields are plain. */
#ifndef CS_ACTION_H
#define CS_ACTION_H

#include "bytes.h"

typedef enum {
    CS_UNUSUAL,       /* Python has to look at it */
    CS_ASKS,          /* it asks for a confirmation, and all that decides is there */
    CS_OTHER_STAGE,   /* it asks for none, for its stage */
    CS_NO_CONSENT,    /* it asks for none, as its privacy.withConsent is false */
} cs_kind;

/* At which stages an action asks for a confirmation: at the first, and at the second (may be empty) perhaps. */
typedef struct {
    cs_view confirm, repeat;
} cs_stages;

/* What decides, as it stands in the action; set for CS_ASKS. */
typedef struct {
    cs_view action_id, org_id; /* decimal digits, perhaps behind a minus sign */
    cs_view contact_ref;       /* text without escapes, not blank */
} cs_action;

bool cs_is_utf8(cs_view bytes);

cs_kind cs_read_action(cs_view value, const cs_stages *stages, cs_action *action);

#endif
