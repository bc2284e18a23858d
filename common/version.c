/* SPDX-License-Identifier: Apache-2.0 */
#include "common/version.h"

/* The Makefile defines HOLDFAST_VERSION, for this file only, so that a commit rebuilds just this. */
const char *version_string(void)
{
    return HOLDFAST_VERSION;
}
