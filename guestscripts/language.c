/* SPDX-License-Identifier: Apache-2.0 */
#include "language.h"

#include <string.h>

const struct gs_language *gs_language_find(const char *guest)
{
    if (strcmp(guest, gs_shell.guest) == 0)
        return &gs_shell;
    if (strcmp(guest, gs_powershell.guest) == 0)
        return &gs_powershell;
    return NULL;
}

void gs_scan_push(struct gs_scan *scan, char kind)
{
    if (scan->depth == GS_SCAN_DEPTH_MAX) {
        scan->too_deep = true;
        return;
    }
    scan->stack[scan->depth].kind = kind;
    scan->stack[scan->depth].line = scan->line - 1;
    scan->depth++;
}

void gs_scan_pop(struct gs_scan *scan)
{
    if (scan->depth > 0)
        scan->depth--;
}

char gs_scan_top(const struct gs_scan *scan)
{
    return scan->depth > 0 ? scan->stack[scan->depth - 1].kind : '\0';
}

void gs_scan_line(struct gs_scan *scan, bool code)
{
    scan->code[scan->line++] = code;
}

size_t gs_scan_end(const struct gs_scan *scan, size_t *line)
{
    if (scan->depth == 0 && !scan->too_deep)
        return scan->line;
    *line = scan->stack[scan->depth > 0 ? scan->depth - 1 : 0].line;
    return 0;
}
