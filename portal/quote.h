/* SPDX-License-Identifier: Apache-2.0
 *
 * One word for a shell, so that whatever it holds stays one word and nothing in it acts. */
#pragma once

#include "base/error.h"
#include "base/text.h"

/* Adds the word, quoted unless it is plain. False, with nothing added and the reason in err: it has what can't be pasted
 * safely (control characters, bytes that are no UTF-8), or what the shell does not hand over unchanged. The reason
 * does not repeat the word. */

/* bash, zsh, dash and every other POSIX shell. */
MUST_CHECK bool quote_sh(struct text *out, const char *word, struct error *err);
/* PowerShell, from Windows PowerShell 5.1 on. That one hands a program's arguments over without escaping double
 * quotes, so words with them are refused. */
MUST_CHECK bool quote_powershell(struct text *out, const char *word, struct error *err);
