/* SHA-1, of which a UUIDv5 is made. Nothing here is secret. */
#ifndef CS_SHA1_H
#define CS_SHA1_H

#include "bytes.h"

/* Bytes that can be hashed at once, at most. */
enum { CS_SHA1_MOST = 503 };

/* Writes the 20 bytes of the hash of at most CS_SHA1_MOST bytes. */
void cs_sha1(cs_view bytes, uint8_t hash[20]);

#endif
