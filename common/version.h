/* SPDX-License-Identifier: Apache-2.0 */
/* Which build this is. */
#ifndef COMMON_VERSION_H
#define COMMON_VERSION_H

/* What `git describe` said when it was built, or the release it was taken from. */
const char *version_string(void);

#endif
