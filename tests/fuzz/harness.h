/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DS_TESTS_FUZZ_HARNESS_H
#define DS_TESTS_FUZZ_HARNESS_H

#include "fuzz_case.h"

/**
 * Take an input through all that reads: open, facts, snapshots, regions, the
 * map, some of its bytes, check, a plan to one of several targets and its
 * operations. Aborts when an answer breaks its contract. How far it came:
 * 0 refused at open, 1 somewhere in the map, 2 the map was walked, 3 planned.
 * `format` may be a mode as well: modes.h.
 */
int fuzz_one(const char *format, const uint8_t *input, size_t length_bytes);

#endif
