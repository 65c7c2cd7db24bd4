/* SPDX-License-Identifier: Apache-2.0 */
/* Prints the machine's steps, one per line, in their order: what has to be
 * killed. Run by killed.sh. */
#include "stage.h"

#include <stdio.h>

int main(void)
{
    for (size_t i = 0; step_at(i) != NULL; i++)
        printf("%s\n", step_at(i)->name);
    return 0;
}
