/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time from left to right, as SVG: for one migration a row per step, for
 * several a row per migration with its steps behind each other.
 *
 *     backup / clone-backup     |##|
 *     migrate / shift-disks        |######|
 *                               0 s    1 s    2 s
 *
 * Colours are classes of the page's style, one per stage; what they say is
 * said in words as well.
 */
#include "report_form.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LABEL_WIDTH 250
#define BAR_WIDTH 700
#define ROW_HEIGHT 22
#define TICK_COUNT_MAX 8
#define LEAST_WIDTH 1.5

struct scale {
    double begun, seconds;
};

static double place(const struct scale *scale, double time)
{
    double at = (time - scale->begun) / scale->seconds;

    return LABEL_WIDTH + BAR_WIDTH * fmin(fmax(at, 0), 1);
}

/* From the first beginning to the last end of anything. */
static struct scale scale_of(const json_t *migrations)
{
    struct scale scale = { 0 };
    double last = 0;
    json_t *migration, *step;
    size_t i, j;

    json_array_foreach(migrations, i, migration)
    {
        double begun = report_number(migration, "begun");

        if (i == 0 || begun < scale.begun)
            scale.begun = begun;
        last = fmax(last, report_number(migration, "ended"));
        json_array_foreach(json_object_get(migration, "steps"), j, step)
        {
            last = fmax(last, report_number(step, "begun"));
            last = fmax(last, report_number(step, "ended"));
        }
    }
    scale.seconds = fmax(last - scale.begun, 0.001);
    return scale;
}

/* 1, 2 or 5 times a power of ten. */
static double tick_seconds(double seconds)
{
    double tick = pow(10, floor(log10(seconds / TICK_COUNT_MAX)));
    static const double factors[] = { 1, 2, 5, 10 };

    for (size_t i = 0; i < ARRAY_COUNT(factors); i++)
        if (seconds / (tick * factors[i]) <= TICK_COUNT_MAX)
            return tick * factors[i];
    return tick * 10;
}

static void put_ticks(const struct scale *scale, size_t rows, FILE *out)
{
    double tick = tick_seconds(scale->seconds);
    unsigned count = (unsigned)(scale->seconds / tick);

    for (unsigned i = 0; i <= count; i++) {
        double x = place(scale, scale->begun + tick * i);

        fprintf(out,
                "<line class=\"tick\" x1=\"%.1f\" y1=\"0\" x2=\"%.1f\" "
                "y2=\"%zu\"/><text class=\"axis\" x=\"%.1f\" y=\"%zu\">%g "
                "s</text>\n",
                x, x, rows * ROW_HEIGHT + 4, x, rows * ROW_HEIGHT + 18,
                tick * i);
    }
}

static void put_label(const char *first, const char *second, size_t row,
                      FILE *out)
{
    autofree char *one = report_escape(first), *other = report_escape(second);

    fprintf(out, "<text class=\"label\" x=\"0\" y=\"%zu\">%s%s%s</text>\n",
            row * ROW_HEIGHT + 15, one, second[0] != '\0' ? " / " : "", other);
}

/* What has not ended reaches to the end of the picture. */
static void put_bar(const struct scale *scale, const json_t *step, size_t row,
                    FILE *out)
{
    double ended = report_number(step, "ended");
    bool done = strcmp(report_word(step, "state"), "done") == 0;
    double from = place(scale, report_number(step, "begun"));
    double to = place(scale, ended > 0 ? ended : scale->begun + scale->seconds);
    autofree char *stage = report_escape(report_word(step, "stage"));
    autofree char *name = report_escape(report_word(step, "name"));
    autofree char *state = report_escape(report_word(step, "state"));
    autofree char *took = report_duration(report_number(step, "seconds"));

    fprintf(out,
            "<rect class=\"bar %s %s\" x=\"%.1f\" y=\"%zu\" width=\"%.1f\" "
            "height=\"%d\"><title>%s / %s: %s%s%s</title></rect>\n",
            stage, state, from, row * ROW_HEIGHT + 3,
            fmax(to - from, LEAST_WIDTH), ROW_HEIGHT - 6, stage, name, state,
            done ? ", " : "", done ? took : "");
}

static size_t put_rows(const struct scale *scale, const json_t *migrations,
                       FILE *out)
{
    bool several = json_array_size(migrations) > 1;
    json_t *migration, *step;
    size_t row = 0, i, j;

    json_array_foreach(migrations, i, migration)
    {
        if (several)
            put_label(report_word(migration, "vm"),
                      report_word(migration, "state"), row, out);
        json_array_foreach(json_object_get(migration, "steps"), j, step)
        {
            if (!several)
                put_label(report_word(step, "stage"), report_word(step, "name"),
                          row, out);
            put_bar(scale, step, row, out);
            row += !several;
        }
        row += several;
    }
    return row;
}

static size_t count_rows(const json_t *migrations)
{
    size_t count = json_array_size(migrations);

    return count > 1 ? count
                     : json_array_size(json_object_get(
                           json_array_get(migrations, 0), "steps"));
}

void report_timeline(const json_t *migrations, FILE *out)
{
    struct scale scale = scale_of(migrations);
    size_t rows = count_rows(migrations);

    if (rows == 0)
        return;
    fprintf(out,
            "<svg class=\"timeline\" role=\"img\" aria-label=\"Timeline\" "
            "viewBox=\"0 0 %d %zu\">\n",
            LABEL_WIDTH + BAR_WIDTH + 40, rows * ROW_HEIGHT + 24);
    put_ticks(&scale, rows, out);
    put_rows(&scale, migrations, out);
    fputs("</svg>\n", out);
}
