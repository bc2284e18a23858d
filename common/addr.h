/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses: IPv4, IPv6 and UNIX; parsed from configuration, printed as nginx prints them. */
#ifndef COMMON_ADDR_H
#define COMMON_ADDR_H

#include "common/compiler.h"
#include "common/slice.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Plain data: may stand in the image. `len` is what connect and bind want. */
struct addr {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } u;
    uint32_t len; /* bytes of the used member; 0: no address */
};

enum { ADDR_TEXT_MAX = 128 }; /* enough for any addr_print with its NUL */

/*
 * Parse "10.0.0.1:80", "[::1]:80", "unix:/path" (at most 107 bytes). With `default_port` > 0 the
 * port may be left out; "*:80" and "80" mean the IPv6 wildcard that also takes IPv4 when `wildcard`
 * is true. Numbers only: no name is resolved here.
 * Returns 0, or -EINVAL with *why set to a fixed text.
 */
int addr_parse(struct addr *addr, struct slice text, uint16_t default_port, bool wildcard,
               const char **why) MUST_CHECK;

/* "192.0.2.1:80", "[2001:db8::1]:80" (RFC 5952), "unix:/path" or "unix:"; returns the length. */
size_t addr_print(const struct addr *addr, char out[ADDR_TEXT_MAX]);

/*
 * The address without port, IPv6 without brackets: nginx's $remote_addr. An IPv4-mapped IPv6
 * address is printed as IPv4, so that a client has one name on every listener. "unix:" for UNIX.
 */
size_t addr_print_host(const struct addr *addr, char out[ADDR_TEXT_MAX]);

/* nginx's $binary_remote_addr: 4 or 16 raw bytes (IPv4-mapped: 4), 0 bytes for UNIX. */
size_t addr_binary(const struct addr *addr, uint8_t out[16]);

/* Port in host order; 0 for UNIX. */
uint16_t addr_port(const struct addr *addr);

bool addr_eq(const struct addr *a, const struct addr *b);

/* Turn an IPv4-mapped IPv6 address into the IPv4 address that it means; others stay. */
void addr_unmap(struct addr *addr);

#endif
