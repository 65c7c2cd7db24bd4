/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A clock that only waiting moves, in place of the system's (the linker puts it
 * there) for the thread that plays an input: nobody waits in real time. A
 * fuzzer has threads of its own, whose clock stays the system's.
 */
#ifndef PLAY_CLOCK_H
#define PLAY_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/** From now on; what is slept counts `pace` times. */
void play_clock_begin(unsigned pace);
void play_clock_end(void);
bool play_clock_runs(void);
void play_clock_add_ms(int64_t duration_ms);

#endif
