/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE 1

#include "master/notify.h"

#include "common/clock.h"
#include "common/compiler.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* "/path" or "@abstract". Returns the address's length, 0 if there is nobody to tell. */
static socklen_t find_manager(struct sockaddr_un *address)
{
    const char *path = getenv("NOTIFY_SOCKET");
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof address->sun_path)
        return 0;
    memcpy(address->sun_path, path, strlen(path));
    if (path[0] == '@')
        address->sun_path[0] = '\0';
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
}

static void send_state(const char *fmt, ...) PRINTF_LIKE(1, 2);
static void send_state(const char *fmt, ...)
{
    struct sockaddr_un address;
    socklen_t length = find_manager(&address);
    if (length == 0)
        return;
    char text[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || n <= 0 || (size_t)n >= sizeof text) {
        if (fd >= 0)
            close(fd);
        return;
    }
    (void)sendto(fd, text, (size_t)n, MSG_NOSIGNAL, (const struct sockaddr *)&address, length);
    close(fd);
}

void notify_ready(uint32_t workers, uint32_t generation)
{
    send_state("READY=1\nMAINPID=%d\nSTATUS=%u workers, configuration generation %u\n",
               (int)getpid(), workers, generation);
}

void notify_reloading(void)
{
    send_state("RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=Reading the configuration\n",
               (unsigned long long)(clock_mono_ns() / 1000));
}

void notify_stopping(void)
{
    send_state("STOPPING=1\nSTATUS=Stopping\n");
}
