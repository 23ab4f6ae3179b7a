/* CRC-32C by the processor's own instruction where it has one, else by tables (slicing by eight).
 *
 * The instruction takes three cycles but can begin in each one. So three streams of LANE bytes are computed at
 * once, and joined: a checksum is moved over zero bytes by tables (Mark Adler's method).
 */
#include "crc32c.h"

#if defined(__x86_64__)
#include <cpuid.h>
#define BY_INSTRUCTION 1
static inline uint32_t step_8(uint32_t crc, uint64_t bytes) {
    uint64_t wide = crc;
    __asm__("crc32q %1, %0" : "+r"(wide) : "rm"(bytes));
    return (uint32_t)wide;
}
static inline uint32_t step_1(uint32_t crc, uint8_t byte) {
    __asm__("crc32b %1, %0" : "+r"(crc) : "qm"(byte));
    return crc;
}
static bool has_instruction(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSE4_2);
}
#elif defined(__aarch64__) && (defined(__linux__) || defined(__APPLE__))
#define BY_INSTRUCTION 1
static inline uint32_t step_8(uint32_t crc, uint64_t bytes) {
    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(bytes));
    return crc;
}
static inline uint32_t step_1(uint32_t crc, uint8_t byte) {
    __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"((uint32_t)byte));
    return crc;
}
#if defined(__linux__)
#include <sys/auxv.h>
static bool has_instruction(void) { return getauxval(AT_HWCAP) & 1u << 7; } /* HWCAP_CRC32 */
#else
static bool has_instruction(void) { return true; } /* each of Apple's has it */
#endif
#endif

static uint32_t table[8][256];

static uint32_t by_tables(uint32_t crc, const uint8_t *at, size_t length) {
    for (; length >= 8; at += 8, length -= 8) {
        uint32_t low = crc ^ (at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);
        crc = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^ table[4][low >> 24] ^
              table[3][at[4]] ^ table[2][at[5]] ^ table[1][at[6]] ^ table[0][at[7]];
    }
    for (; length; length--) crc = table[0][(crc ^ *at++) & 0xff] ^ crc >> 8;
    return crc;
}

#ifdef BY_INSTRUCTION
enum { LANE = 1360 }; /* bytes; 3 x 1,360 is a little less than the smallest page */
static uint32_t over_one_lane[4][256], over_two_lanes[4][256];
static bool by_hardware;

static inline uint64_t eight(const uint8_t *at) {
    uint64_t bytes;
    memcpy(&bytes, at, 8);
    return bytes;
}

static inline uint32_t moved(uint32_t by[4][256], uint32_t crc) {
    return by[0][crc & 0xff] ^ by[1][crc >> 8 & 0xff] ^ by[2][crc >> 16 & 0xff] ^ by[3][crc >> 24];
}

static uint32_t by_the_instruction(uint32_t crc, const uint8_t *at, size_t length) {
    for (; length >= 3 * LANE; at += 3 * LANE, length -= 3 * LANE) {
        uint32_t second = 0, third = 0;
        for (size_t i = 0; i < LANE; i += 8) {
            crc = step_8(crc, eight(at + i));
            second = step_8(second, eight(at + LANE + i));
            third = step_8(third, eight(at + 2 * LANE + i));
        }
        crc = moved(over_two_lanes, crc) ^ moved(over_one_lane, second) ^ third;
    }
    for (; length >= 8; at += 8, length -= 8) crc = step_8(crc, eight(at));
    for (; length; length--) crc = step_1(crc, *at++);
    return crc;
}

static void prepare_move(uint32_t by[4][256], size_t zeros) {
    static const uint8_t zero[LANE];
    for (unsigned byte = 0; byte < 4; byte++)
        for (uint32_t value = 0; value < 256; value++) {
            uint32_t crc = value << 8 * byte;
            for (size_t done = 0; done < zeros; done += LANE) crc = by_tables(crc, zero, LANE);
            by[byte][value] = crc;
        }
}
#endif

__attribute__((constructor)) static void prepare(void) {
    for (uint32_t value = 0; value < 256; value++) {
        uint32_t crc = value;
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? 0x82f63b78u ^ crc >> 1 : crc >> 1;
        table[0][value] = crc;
    }
    for (unsigned further = 1; further < 8; further++)
        for (uint32_t value = 0; value < 256; value++) {
            uint32_t crc = table[further - 1][value];
            table[further][value] = table[0][crc & 0xff] ^ crc >> 8;
        }
#ifdef BY_INSTRUCTION
    prepare_move(over_one_lane, LANE);
    prepare_move(over_two_lanes, 2 * LANE);
    by_hardware = has_instruction();
#endif
}

CS_API uint32_t cs_crc32c_by_tables(const uint8_t *at, size_t length) { return ~by_tables(~0u, at, length); }

CS_API int cs_crc32c_by_hardware(void) {
#ifdef BY_INSTRUCTION
    return by_hardware;
#else
    return 0;
#endif
}

CS_API uint32_t cs_crc32c(const uint8_t *at, size_t length) {
#ifdef BY_INSTRUCTION
    if (by_hardware) return ~by_the_instruction(~0u, at, length);
#endif
    return cs_crc32c_by_tables(at, length);
}
