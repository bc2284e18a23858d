/* SPDX-License-Identifier: Apache-2.0 */
#include "common/prefix_tree.h"

#include <arpa/inet.h>
#include <errno.h>

enum { IPV4_AT = 96, TEXT_MAX = INET6_ADDRSTRLEN };

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

/* ---- text ---- */

static int parse_length(struct slice text, uint32_t max, uint32_t *len)
{
    uint32_t value = 0;
    if (text.n == 0 || text.n > 3 || (text.n > 1 && text.p[0] == '0'))
        return -EINVAL;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return -EINVAL;
        value = value * 10 + (uint32_t)(text.p[i] - '0');
    }
    *len = value;
    return value <= max ? 0 : -EINVAL;
}

static uint32_t bit_at(const uint8_t bytes[16], uint32_t i)
{
    return (uint32_t)bytes[i / 8] >> (7 - i % 8) & 1u;
}

int prefix_parse(struct prefix *prefix, struct slice text, const char **why)
{
    char address[TEXT_MAX];
    const char *slash = text.n > 0 ? memchr(text.p, '/', text.n) : NULL;
    size_t n = slash ? (size_t)(slash - text.p) : text.n;
    *why = "not an IP address or prefix, such as 192.0.2.0/24 or 2001:db8::/32";
    if (n == 0 || n >= sizeof address)
        return -EINVAL;
    memcpy(address, text.p, n);
    address[n] = '\0';
    bool ipv4 = inet_pton(AF_INET, address, prefix->bytes + sizeof mapped) == 1;
    if (ipv4)
        memcpy(prefix->bytes, mapped, sizeof mapped);
    else if (inet_pton(AF_INET6, address, prefix->bytes) != 1)
        return -EINVAL;
    uint32_t max = ipv4 ? PREFIX_BITS - IPV4_AT : PREFIX_BITS, len = max;
    if (slash && parse_length((struct slice){slash + 1, text.n - n - 1}, max, &len) < 0) {
        *why = "the length behind '/' is 0 to 32 bits for IPv4, 0 to 128 for IPv6";
        return -EINVAL;
    }
    prefix->len = (uint8_t)(ipv4 ? len + IPV4_AT : len);
    for (uint32_t i = prefix->len; i < PREFIX_BITS; i++) {
        if (bit_at(prefix->bytes, i)) {
            *why = "has bits set behind its length: it is not clear which network is meant";
            return -EINVAL;
        }
    }
    return 0;
}

/* ---- the tree ---- */

int prefix_compare(const void *a, const void *b)
{
    const struct prefix *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, sizeof x->bytes);
    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

/* Bits that both begin with, at most `max`. */
static uint32_t common_bits(const uint8_t a[16], const uint8_t b[16], uint32_t max)
{
    uint32_t bits = 0;
    while (bits < max && a[bits / 8] == b[bits / 8])
        bits += 8;
    while (bits < max && bit_at(a, bits) == bit_at(b, bits))
        bits++;
    return bits < max ? bits : max;
}

struct builder {
    struct prefix_node *nodes;
    uint32_t used;
};

/* A run of sorted prefixes: what all begin with is the node, the next bit cuts the rest in two. */
static uint32_t build(struct builder *b, const struct prefix *from, const struct prefix *end)
{
    uint32_t index = b->used++;
    struct prefix_node *node = &b->nodes[index];
    const struct prefix *last = end - 1;
    uint32_t max = from->len < last->len ? from->len : last->len;
    uint32_t len = common_bits(from->bytes, last->bytes, max);
    *node = (struct prefix_node){.len = (uint8_t)len};
    for (uint32_t i = 0; i < len; i++)
        node->bytes[i / 8] |= (uint8_t)(from->bytes[i / 8] & 0x80 >> i % 8);
    if (from->len == len)
        node->value = from++->value;
    const struct prefix *middle = from;
    while (middle < end && bit_at(middle->bytes, len) == 0)
        middle++;
    /* At most 128 levels deep: every level is a bit longer. */
    if (middle > from)
        node->child[0] = build(b, from, middle);
    if (end > middle)
        node->child[1] = build(b, middle, end);
    return index;
}

uint32_t prefix_tree_build(const struct prefix *sorted, uint32_t count, struct prefix_node *nodes)
{
    struct builder b = {nodes, 0};
    if (count > 0)
        build(&b, sorted, sorted + count);
    return b.used;
}

bool prefix_tree_ok(const struct prefix_node *nodes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (nodes[i].len > PREFIX_BITS)
            return false;
        for (uint32_t side = 0; side < 2; side++) {
            uint32_t child = nodes[i].child[side];
            if (child != 0 && (child <= i || child >= count || nodes[child].len <= nodes[i].len))
                return false;
        }
    }
    return true;
}

/* The address as 16 bytes. Returns false for anything but IPv4 and IPv6. */
static bool to_bytes(const struct addr *address, uint8_t out[16])
{
    size_t n = addr_binary(address, out);
    if (n == 4) {
        memcpy(out + sizeof mapped, out, 4);
        memcpy(out, mapped, sizeof mapped);
    }
    return n > 0;
}

uint8_t prefix_tree_find(const struct prefix_node *nodes, uint32_t count,
                         const struct addr *address)
{
    uint8_t bytes[16];
    uint8_t value = 0;
    if (count == 0 || !to_bytes(address, bytes))
        return 0;
    for (const struct prefix_node *node = nodes;;) {
        if (common_bits(node->bytes, bytes, node->len) < node->len)
            return value;
        if (node->value != 0)
            value = node->value;
        uint32_t child = node->len < PREFIX_BITS ? node->child[bit_at(bytes, node->len)] : 0;
        if (child == 0)
            return value;
        node = nodes + child;
    }
}
