/* CRC-32C (Castagnoli), the checksum of record batches. */
#ifndef CS_CRC32C_H
#define CS_CRC32C_H

#include "bytes.h"

uint32_t cs_crc32c(const uint8_t *at, size_t length);

#endif
