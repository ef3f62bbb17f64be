/* SPDX-License-Identifier: Apache-2.0
 *
 * See terminal.h. */
#include "terminal.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

void terminal_say(const char *format, ...)
{
    char line[4096]; /* one write, so that the lines of twenty kubectls do not mix */
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    fprintf(stderr, "postern login: %s\n", line);
}

char *terminal_clean(char *text)
{
    for (char *c = text; *c != '\0'; c++)
        if (*c < ' ' || *c > '~')
            *c = '?';
    return text;
}

void pause_ms(int64_t ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&left,
                    NULL); /* nobody handles signals here: one that arrives ends the process */
}
