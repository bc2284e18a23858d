/* SPDX-License-Identifier: Apache-2.0 */
/*
 * echo-backend: a small HTTP/1.1 and WebSocket server that says who it is and sends back what it
 * gets. The demo's backends, and those of scenarios and benchmarks. See usage() and README.md.
 */
#include "test/tools/echo_conn.h"
#include "test/tools/echo_stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    EVENTS_MAX = 512,
    ACCEPTS_MAX = 128, /* connections taken before those we have get their turn */
    SMALL_SEGMENT = 1448,
};

struct options {
    char host[128];
    char port[108]; /* or the path of a UNIX socket */
    const char *name;
    int buffer; /* bytes; 0: the kernel's */
    bool quiet;
};

static int usage(FILE *to)
{
    fprintf(
        to,
        "usage: echo-backend [-l ADDRESS:PORT] [-n NAME] [-b BYTES] [-q]\n"
        "  -l  listen here (127.0.0.1:9001; port 0 takes a free one, the output names it;\n"
        "      unix:PATH)\n"
        "  -n  name to answer with (echo); letters, digits, '.', '_', '-'\n"
        "  -b  small socket buffers and segments: a peer feels soon that we do not read\n"
        "  -q  no line per request\n"
        "\n"
        "  /                    a page that holds a WebSocket and shows who serves it\n"
        "  /whoami              the name\n"
        "  /headers             the request head as it came\n"
        "  /echo                the request body\n"
        "  /bytes?n=N           N bytes with Content-Length; byte i is i %% %d\n"
        "  /chunked?n=N         the same in chunks\n"
        "  /status?code=N       an answer with that status (1xx but 101: and then 200)\n"
        "  /slow?ms=N           the name after N milliseconds\n"
        "  WebSocket, any path  echo, after {\"backend\":\"NAME\"} on /ws; ?subprotocol=1 takes\n"
        "                       the first subprotocol offered\n"
        "  /push?n=N&bytes=B    WebSocket: first sends N binary messages of B bytes\n",
        ECHO_PERIOD);
    return to == stdout ? 0 : 2;
}

/* "127.0.0.1:9001", "[::1]:9001", "localhost:0". Returns false if it is none of these. */
static bool parse_address(const char *text, struct options *options)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || strlen(colon + 1) >= sizeof(options->port))
        return false;
    size_t n = (size_t)(colon - text);
    if (text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    if (n == 0 || n >= sizeof(options->host))
        return false;
    memcpy(options->host, text, n);
    options->host[n] = '\0';
    strcpy(options->port, colon + 1);
    return true;
}

static bool good_name(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n > 0 && n < 100 && name[n] == '\0';
}

/* What accepted connections inherit. Segments, because the kernel buffers some 40 of any size. */
static void shrink_buffers(int fd, int bytes)
{
    int segment = SMALL_SEGMENT;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof(segment));
}

static int listen_at_path(const char *path)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || chmod(path, 0777) != 0 ||
        listen(fd, 4096) != 0) {
        fprintf(stderr, "echo-backend: %s: %s\n", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    printf("listening unix:%s\n", path);
    fflush(stdout);
    return fd;
}

/* Open the listener and say where. Returns the socket, or -1 with the reason printed. */
static int listen_at(const struct options *options)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *info = NULL;
    int on = 1;
    if (strcmp(options->host, "unix") == 0)
        return listen_at_path(options->port);
    int error = getaddrinfo(options->host, options->port, &hints, &info);
    if (error != 0) {
        fprintf(stderr, "echo-backend: %s:%s: %s\n", options->host, options->port,
                gai_strerror(error));
        return -1;
    }
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && options->buffer > 0)
        shrink_buffers(fd, options->buffer);
    struct sockaddr_storage bound;
    socklen_t bound_len = sizeof(bound);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, 16384) != 0 ||
        getsockname(fd, (struct sockaddr *)&bound, &bound_len) != 0) {
        fprintf(stderr, "echo-backend: %s:%s: %s\n", options->host, options->port, strerror(errno));
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    freeaddrinfo(info);
    if (fd < 0)
        return -1;
    char host[INET6_ADDRSTRLEN], port[8];
    if (getnameinfo((struct sockaddr *)&bound, bound_len, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        printf(strchr(host, ':') ? "listening [%s]:%s\n" : "listening %s:%s\n", host, port);
    fflush(stdout);
    return fd;
}

/* As many descriptors as we may have. */
static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* TERM and INT as a descriptor: they end the loop at a point where nothing is half done. */
static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
}

static void accept_some(struct echo_server *server)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            int error = echo_conn_open(server, fd);
            if (error != 0)
                fprintf(stderr, "echo-backend: connection dropped: %s\n", strerror(-error));
            continue;
        }
        if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
            return;
        /* Out of descriptors or memory: do not spin on a listener that stays readable. */
        fprintf(stderr, "echo-backend: accept: %s\n", strerror(errno));
        server->accept_paused = true;
        epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, server->listen_fd, NULL);
        return;
    }
}

/* Until a signal ends it. Returns 0, or -errno. */
static int serve(struct echo_server *server)
{
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int wait_ms = echo_conn_run_timers(server);
        int n = epoll_wait(server->epoll_fd, events, EVENTS_MAX, wait_ms);
        if (n < 0 && errno != EINTR)
            return -errno;
        for (int i = 0; i < n; i++) {
            void *what = events[i].data.ptr;
            if (what == NULL)
                return 0;
            if (what == &server->listen_fd)
                accept_some(server);
            else
                echo_conn_turn(server, what, events[i].events);
        }
    }
}

/* Watch the listener and the signals; the latter has a NULL pointer. */
static int watch(struct echo_server *server, int signal_fd)
{
    struct epoll_event at_listener = {.events = EPOLLIN, .data.ptr = &server->listen_fd};
    struct epoll_event at_signal = {.events = EPOLLIN, .data.ptr = NULL};

    server->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll_fd < 0 || signal_fd < 0 ||
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, server->listen_fd, &at_listener) != 0 ||
        epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, signal_fd, &at_signal) != 0)
        return -errno;
    return 0;
}

static int run(const struct options *options)
{
    struct echo_server *server = calloc(1, sizeof(*server));
    if (!server)
        return 1;
    server->name = options->name;
    server->quiet = options->quiet;
    echo_stream_init(server);
    raise_limit();
    int signal_fd = open_signals();
    server->listen_fd = listen_at(options);
    if (server->listen_fd < 0) {
        free(server);
        return 1;
    }
    int error = watch(server, signal_fd);
    if (error == 0)
        error = serve(server);
    if (error != 0)
        fprintf(stderr, "echo-backend: %s\n", strerror(-error));
    echo_conn_close_all(server);
    free(server);
    return error != 0;
}

int main(int argc, char **argv)
{
    struct options options = {.host = "127.0.0.1", .port = "9001", .name = "echo"};
    int c;

    while ((c = getopt(argc, argv, "l:n:b:qh")) != -1) {
        if (c == 'n' && good_name(optarg))
            options.name = optarg;
        else if (c == 'b' && atoi(optarg) > 0)
            options.buffer = atoi(optarg);
        else if (c == 'q')
            options.quiet = true;
        else if (c == 'h')
            return usage(stdout);
        else if (c != 'l' || !parse_address(optarg, &options))
            return usage(stderr);
    }
    if (optind != argc)
        return usage(stderr);
    return run(&options);
}
