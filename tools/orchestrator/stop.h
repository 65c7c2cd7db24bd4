/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: the process kills itself (SIGKILL) where the environment says, so
 * that every edge can be met on purpose. Two ways to name an edge:
 *
 *     DS_STOP_AFTER_RECORD=N    the journal has taken its Nth record
 *     DS_STOP_BEFORE_RECORD=N   it is about to
 *     DS_STOP_AT=STEP:POINT     one of stage.h's steps is at one of its points:
 *                               begun     journalled, has not acted
 *                               acted     has acted, which is not journalled
 *                               done      which is
 *                               reverted  has been undone, not journalled
 *                               undone    which is
 */
#ifndef ORCH_STOP_H
#define ORCH_STOP_H

void stop_at_record(const char *when, unsigned count);
void stop_at_step(const char *step, const char *point);

#endif
