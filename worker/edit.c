/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/edit.h"

#include "worker/request.h"
#include "worker/template.h"

#include <errno.h>

enum { PATH_MAX_BYTES = 8192 };

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool edit_alike(struct slice name, struct slice wanted)
{
    if (name.n != wanted.n)
        return false;
    for (size_t i = 0; i < name.n; i++) {
        struct slice a = {name.p + i, 1}, b = {wanted.p + i, 1};
        if (!slice_ieq(a, b) && (is_alnum(*a.p) || is_alnum(*b.p)))
            return false;
    }
    return true;
}

bool edit_drops(const struct request *r, struct image_array edits, struct slice name)
{
    for (uint32_t i = 0; i < edits.count; i++) {
        const struct image_edit *edit = image_edit(r->image, edits, i);
        if (edit->kind != EDIT_ADD && edit_alike(name, image_slice(r->image, edit->name)))
            return true;
    }
    return false;
}

static int put_value(const struct request *r, struct image_array parts, struct buf *out)
{
    struct template_vars vars;
    request_vars(r, &vars);
    char *value = out->data + out->end;
    int n = template_eval(r->image, parts, &vars, value, out->size - out->end);
    for (int i = 0; i < n; i++) {
        unsigned char c = (unsigned char)value[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            value[i] = '?';
    }
    out->end += n > 0 ? (uint32_t)n : 0;
    return n;
}

static int put_field(const struct request *r, const struct image_edit *edit, struct buf *out)
{
    uint32_t before = out->end;
    int rc = buf_append(out, image_slice(r->image, edit->name));
    if (rc == 0)
        rc = buf_append(out, SLICE(": "));
    if (rc == 0)
        rc = put_value(r, edit->value, out);
    if (rc == 0)
        out->end = before; /* nothing to say */
    return rc > 0 ? buf_append(out, SLICE("\r\n")) : rc;
}

int edit_put_fields(const struct request *r, struct image_array edits, struct buf *out)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < edits.count; i++) {
        const struct image_edit *edit = image_edit(r->image, edits, i);
        if (edit->kind != EDIT_REMOVE)
            rc = put_field(r, edit, out);
    }
    return rc;
}

/* What may stand in a path as it is (RFC 3986 3.3). */
static bool is_pchar(char c)
{
    return is_alnum(c) || (c != '\0' && strchr("/-._~!$&'()*+,;=:@", c));
}

/* What may stand in a URI, '%' included: the template's author has written it, or a client. */
static bool is_uri_char(char c)
{
    return is_pchar(c) || (c != '\0' && strchr("?#[]%", c));
}

static int put_encoded(struct buf *out, struct slice text, bool (*is_plain)(char))
{
    static const char digits[] = "0123456789ABCDEF";
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        const char coded[3] = {'%', digits[c >> 4], digits[c & 15]};
        rc = is_plain(text.p[i]) ? buf_append(out, (struct slice){text.p + i, 1})
                                 : buf_append(out, (struct slice){coded, 3});
    }
    return rc;
}

static int eval(const struct request *r, struct image_array parts, char out[PATH_MAX_BYTES])
{
    struct template_vars vars;
    request_vars(r, &vars);
    return template_eval(r->image, parts, &vars, out, PATH_MAX_BYTES);
}

int edit_put_path(const struct request *r, struct buf *out)
{
    char path[PATH_MAX_BYTES];
    int n = eval(r, r->route->rewrite, path);
    int rc = n < 0 ? n : 0;
    if (rc == 0 && (n == 0 || path[0] != '/'))
        rc = buf_append(out, SLICE("/"));
    return rc < 0 ? rc : put_encoded(out, (struct slice){path, (size_t)n}, is_pchar);
}

int edit_put_location(const struct request *r, struct buf *out)
{
    char uri[PATH_MAX_BYTES];
    int n = eval(r, r->route->location, uri);
    return n < 0 ? n : put_encoded(out, (struct slice){uri, (size_t)n}, is_uri_char);
}
