/* SPDX-License-Identifier: Apache-2.0 */
/* Images of programs whose rows are shorter or longer than ours. */
#ifndef SHM_IMAGE_FIT_H
#define SHM_IMAGE_FIT_H

#include "shm/image.h"

/* Bytes of a row of this kind, as we know it. */
uint16_t image_fit_row_size(enum image_kind kind);

/* Has every array of a checked header rows of our size? */
bool image_fit_is_ours(const struct image_header *header);

/*
 * Map a private copy of an image of our version with rows of our sizes: what theirs do not have is
 * zero, what ours do not have is left out. `header` begins `size` readable bytes; nothing in it is
 * believed. Any process. On 0 the caller owns the mapping, which still has to pass image_check.
 * Returns 0, -EBADMSG or -errno.
 */
int image_fit(const struct image_header *header, uint64_t size, struct image_header **out,
              uint64_t *out_size) MUST_CHECK;

#endif
