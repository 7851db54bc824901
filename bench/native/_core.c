/* The wire transport's receiver: a thread that waits for sockets, reads them and stores the data with its stamp, without
 * holding the interpreter's lock. Also the functions that cut this data into events, for replies in the usual form.
 *
 * Python does everything else: it connects, sends, parses heads and anything unusual, and ends requests.
 * bench/transport/polled_connection.py is the same reader in Python, and gives the reasons for its rules. This file follows it
 * rule by rule (`arrived`, `read_chunkwise`, `chunked_head`, `may_end`), and the tests cover both. It has one more rule, which
 * is too slow for Python: a reader in a hurry checks whether more than one chunk is waiting (`several_wait`).
 *
 * Ownership. A connection has two halves. The thread writes `incoming` and Python takes it, both under the connection's lock,
 * which is held for one read or one exchange of pointers. `pending` belongs to Python alone. A connection lives as long as the
 * thread may be using it: `forget` removes it from the epoll set, and the thread releases it after the batch of events that
 * may still contain it.
 */
#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SOURCE
#define SOURCE 0LL /* The CRC-32 of this file, if the build passes it. */
#endif
#define NS_PER_S 1000000000LL
#define POLL_MAX 512
#define BUFFER_SIZE 65536
#define UNHURRIED_NS 250000
#define FEW 2
#define WAKE_NS 500000 /* from a packet that wakes the thread on a sleeping processor to the return of epoll_wait: 0.1 to 0.22 ms measured */
#define GLANCE 8
#define LONGEST_HEAD 4096
#define PUT_BY 64
#define NAP_NS 100000
#define LONGEST_NAP_NS 400000
#define WORTH 8 /* connections ready after a nap: with fewer, the next nap is longer */
#define RARE 16 /* if more than one in this many reads asks for short naps, naps become short again */
#define BUSY_WAKES 4
#define TURNS 16 /* reads of one connection before the others get their turn */
#define STALE_NS 1000000 /* from the stamp of a packet to its read: longer than normal delivery takes */
#define OUT_OF_ORDER 224 /* offsetof(struct tcp_info, tcpi_rcv_ooopack), linux/tcp.h; some systems' headers lack the field */
#define WATCHED (EPOLLIN | EPOLLRDHUP | EPOLLET)
#define MOST_BYTES (4 * 1024 * 1024) /* of one connection waiting for Python; beyond it the socket is paused */
#define MOST_OF_ALL (256 * 1024 * 1024) /* of all connections together, plus one read of each */
#define MUCH (64 * 1024)             /* bytes of one connection at which Python is asked to catch up */
#define MUCH_OF_ALL (64 * 1024 * 1024) /* bytes of all together at which PUT_BY reads of one are enough to ask */

/* Requests to Python about a connection. */
enum { PARSE = 1, CATCH_UP = 2 };

typedef struct {
    uint32_t size;
    bool kernel; /* `stamp_ns` is the kernel's, on CLOCK_REALTIME; otherwise ours, on CLOCK_MONOTONIC */
    int64_t stamp_ns;
    int64_t bound_ns; /* the last poll that did not report the socket; 0: no bound */
} read_t;

typedef struct {
    char *data;
    size_t size, room;
    read_t *reads;
    size_t count, reads_room;
} reads_t;

typedef struct connection {
    pthread_mutex_t lock;
    atomic_int users;
    int fd;
    uint64_t name;
    bool patient, watched, dead, lazy, more, paused, ended;
    bool empty; /* the last read returned no data */
    int error;
    int asked; /* requests to Python that it has not taken up yet */
    uint64_t reads; /* of the current response */
    size_t last;    /* bytes of the last read */
    size_t put_by;  /* reads since Python last collected them */
    uint32_t out_of_order; /* packets received out of order, when last checked */
    reads_t incoming;
    struct connection *next; /* in the list `left` of the receiver */
} connection;

typedef struct { /* A reader's buffers. Too large for a thread's stack. */
    char buffer[BUFFER_SIZE];
    char glance[BUFFER_SIZE];
} room_t;

typedef struct {
    int epoll, stop, told;
    pthread_t thread;
    bool running;
    atomic_bool stopping;
    atomic_long thread_id; /* for sched_setscheduler(2); 0: not started yet */
    pthread_mutex_t lock; /* of the fields below */
    uint64_t *asked;      /* connections that need attention, and the request: name << 2 | what */
    size_t count, room;
    connection *left; /* no longer watched: the thread releases them between two batches */
    atomic_size_t bytes;  /* waiting for Python, of all connections */
    size_t most_bytes;    /* limit of `bytes`: beyond it sockets are paused */
    room_t *rooms;        /* one for the thread, one for Python */
    atomic_int for_short; /* reads of this turn that ask for short naps */
    _Atomic int64_t last_poll_ns; /* the last poll with a complete report came after this */
} receiver;

static int64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * NS_PER_S + at.tv_nsec;
}

/* Waiting reads. */

static bool reads_add(reads_t *reads, const char *data, size_t size, int64_t stamp_ns, bool kernel, int64_t bound_ns) {
    if (reads->size + size > reads->room) {
        size_t room = reads->room ? reads->room : 4096;
        while (room < reads->size + size) room *= 2;
        char *grown = realloc(reads->data, room);
        if (!grown) return false;
        reads->data = grown;
        reads->room = room;
    }
    if (reads->count == reads->reads_room) {
        size_t room = reads->reads_room ? 2 * reads->reads_room : 16;
        read_t *grown = realloc(reads->reads, room * sizeof *grown);
        if (!grown) return false;
        reads->reads = grown;
        reads->reads_room = room;
    }
    memcpy(reads->data + reads->size, data, size);
    reads->size += size;
    reads->reads[reads->count++] =
        (read_t){.size = (uint32_t)size, .kernel = kernel, .stamp_ns = stamp_ns, .bound_ns = bound_ns};
    return true;
}

/* Store a read. With the connection's lock held. */
static bool keep(receiver *r, connection *c, const char *data, size_t size, int64_t stamp_ns, bool kernel, int64_t bound_ns) {
    if (!reads_add(&c->incoming, data, size, stamp_ns, kernel, bound_ns)) return false;
    atomic_fetch_add(&r->bytes, size);
    c->reads++;
    c->put_by++;
    c->last = size;
    return true;
}

/* Whether so much is waiting that Python should catch up when it has time. */
static bool much_waits(receiver *r, connection *c) {
    return c->incoming.size >= MUCH || (c->put_by >= PUT_BY && atomic_load(&r->bytes) >= MUCH_OF_ALL);
}

static void reads_free(reads_t *reads) {
    free(reads->data);
    free(reads->reads);
    *reads = (reads_t){0};
}

/* Lifetime of a connection. */

static void let_go(connection *c) {
    if (atomic_fetch_sub(&c->users, 1) == 1) {
        reads_free(&c->incoming);
        pthread_mutex_destroy(&c->lock);
        free(c);
    }
}

/* With the connection's lock held. */
static void ask(receiver *r, connection *c, int what) {
    if (c->asked & what) return;
    c->asked |= what;
    pthread_mutex_lock(&r->lock);
    if (r->count == r->room) {
        size_t room = r->room ? 2 * r->room : 256;
        uint64_t *grown = realloc(r->asked, room * sizeof *grown);
        if (!grown) { /* Asked again at the next read, or by the sweep. */
            c->asked &= ~what;
            pthread_mutex_unlock(&r->lock);
            return;
        }
        r->asked = grown;
        r->room = room;
    }
    bool first = r->count == 0;
    r->asked[r->count++] = c->name << 2 | (uint64_t)what;
    pthread_mutex_unlock(&r->lock);
    if (first) {
        uint64_t one = 1;
        ssize_t written = write(r->told, &one, sizeof one);
        (void)written; /* It can only fail if the event is already set. */
    }
}

static void stop_watching(receiver *r, connection *c) {
    if (c->watched) {
        c->watched = false;
        epoll_ctl(r->epoll, EPOLL_CTL_DEL, c->fd, NULL);
    }
}

static void over(receiver *r, connection *c, int error) {
    if (error) c->error = error;
    else c->ended = true;
    stop_watching(r, c);
    ask(r, c, PARSE);
}

/* Reading. */

typedef union {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(struct timespec))];
} control_t;

/* Whether bytes with this stamp had to wait for an earlier packet that the network lost or delayed. The kernel keeps the stamp
 * of their arrival, which may be a round trip before any program can read them. Only between machines. */
static bool waited_in_order(connection *c, int64_t stamp_ns) {
    struct timespec at;
    if (c->patient || clock_gettime(CLOCK_REALTIME, &at) != 0) return false;
    if (at.tv_sec * NS_PER_S + at.tv_nsec - stamp_ns < STALE_NS) return false;
    char info[256];
    uint32_t count;
    socklen_t size = sizeof info;
    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, info, &size) != 0 || size < OUT_OF_ORDER + sizeof count) return false;
    memcpy(&count, info + OUT_OF_ORDER, sizeof count);
    bool grown = count != c->out_of_order;
    c->out_of_order = count;
    return grown;
}

/* Like recvmsg. Uses the kernel's stamp if there is one and it tells when the bytes became readable. */
static ssize_t receive(connection *c, char *buffer, size_t size, int64_t *stamp_ns, bool *kernel) {
    control_t control;
    struct iovec part = {.iov_base = buffer, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(c->fd, &message, MSG_DONTWAIT);
    if (got <= 0) return got;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *kernel = header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_TIMESTAMPNS;
    if (*kernel) {
        struct timespec at;
        memcpy(&at, CMSG_DATA(header), sizeof at);
        *stamp_ns = at.tv_sec * NS_PER_S + at.tv_nsec;
        *kernel = !waited_in_order(c, *stamp_ns);
    }
    if (!*kernel) *stamp_ns = now_ns(); /* Before any other work. */
    return got;
}

/* The length of the head at the start of these bytes, if it is complete and announces a chunked body; otherwise 0. */
static size_t chunked_head(const char *data, size_t size) {
    static const char words[] = "\r\ntransfer-encoding: chunked\r\n"; /* a whole line: other header names may end with these words */
    const char *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end || end == data) return 0;
    size_t length = (size_t)(end - data), many = sizeof words - 1;
    for (size_t at = 0; at + many <= length + 2; at++)
        if (data[at] == '\r' && strncasecmp(data + at, words, many) == 0) return length + 4;
    return 0;
}

static bool may_end(const char *data, size_t size) {
    return size < 5 || memcmp(data + size - 4, "\r\n\r\n", 4) == 0;
}

/* Parse the size line of a chunk at the start of these bytes. Returns the line's length; 0 if incomplete or not a size line. */
static size_t size_line(const char *data, size_t size, uint64_t *chunk, bool *extended) {
    uint64_t value = 0;
    size_t at = 0;
    for (; at < size && at < 16; at++) {
        char c = data[at];
        int digit = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
        if (digit < 0) break;
        value = value << 4 | (uint64_t)digit;
    }
    if (at == 0 || at == 16 || at == size) return 0;
    *chunk = value;
    *extended = data[at] == ';';
    const char *line = *extended ? memmem(data + at, size - at, "\r\n", 2) : data + at;
    if (!line || line + 2 > data + size || line[0] != '\r' || line[1] != '\n') return 0;
    return (size_t)(line - data) + 2;
}

/* How many bytes of a chunk follow these, its first few; BUFFER_SIZE if they do not look like the start of a chunk. */
static size_t left_of_chunk(const char *glance, size_t size) {
    uint64_t chunk;
    bool extended;
    size_t line = size_line(glance, size, &chunk, &extended);
    if (!line || chunk > BUFFER_SIZE) return BUFFER_SIZE;
    size_t whole = line + (size_t)chunk + 2;
    size_t left = whole > size ? whole - size : 0;
    return left < BUFFER_SIZE ? left : BUFFER_SIZE;
}

/* Read `head` bytes first, then each chunk with its own read. Also asks Python to parse or catch up, if needed. */
static void read_chunkwise(receiver *r, connection *c, room_t *room, size_t head, int64_t poll_ns) {
    char *buffer = room->buffer, *glance = room->glance;
    int64_t bound_ns = c->more ? 0 : poll_ns;
    size_t left = head, in_piece = 0;
    int64_t piece_ns = 0;
    bool piece_kernel = false, ending = false, any = false;
    c->more = true;
    int failed = 0;
    bool ended = false;
    for (int calls = 0; calls < PUT_BY; calls++) {
        int64_t stamp_ns;
        bool kernel;
        size_t wanted = left ? left : GLANCE;
        if (in_piece + wanted > (size_t)BUFFER_SIZE) break;
        ssize_t got = receive(c, glance, wanted < BUFFER_SIZE ? wanted : BUFFER_SIZE, &stamp_ns, &kernel);
        if (got < 0) {
            c->empty = true;
            c->more = false;
            if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) failed = errno;
            break;
        }
        if (got == 0) {
            c->more = false;
            ended = true;
            break;
        }
        size_t rest = left;
        left = rest ? 0 : left_of_chunk(glance, (size_t)got);
        bool same = any && (rest || (stamp_ns == piece_ns && kernel == piece_kernel)) && in_piece;
        if (!same && in_piece) {
            /* The previous piece is complete. */
            ending |= may_end(buffer, in_piece);
            if (!keep(r, c, buffer, in_piece, piece_ns, piece_kernel, bound_ns)) {
                failed = ENOMEM;
                break;
            }
            in_piece = 0;
        }
        memcpy(buffer + in_piece, glance, (size_t)got);
        in_piece += (size_t)got;
        piece_ns = stamp_ns;
        piece_kernel = kernel;
        any = true;
    }
    if (in_piece) {
        ending |= may_end(buffer, in_piece);
        if (!keep(r, c, buffer, in_piece, piece_ns, piece_kernel, bound_ns)) failed = ENOMEM;
    }
    if (failed || ended) over(r, c, failed);
    else if (any && ending) ask(r, c, PARSE);
    else if (much_waits(r, c)) ask(r, c, CATCH_UP);
}

/* Pause the socket if Python does not keep up with it: the server must not be able to fill the memory. A paused connection has
 * data for Python, and `collect` resumes it. */
static void bound_memory(receiver *r, connection *c) {
    bool much = c->incoming.size > MOST_BYTES || (c->incoming.size && atomic_load(&r->bytes) > r->most_bytes);
    if (much && !c->paused && c->watched) {
        struct epoll_event event = {.events = 0, .data.ptr = c};
        c->paused = epoll_ctl(r->epoll, EPOLL_CTL_MOD, c->fd, &event) == 0;
        ask(r, c, PARSE);
    }
}

/* Whether this many bytes are probably more than one chunk, judged by the size of the last read. */
static bool are_several(connection *c, size_t bytes) { return c->lazy && bytes > c->last + c->last / 4; }

/* Whether more than one chunk is waiting. They arrived while the thread was busy or napping: the last token, usage and [DONE],
 * for example. A single read would give all of them the last one's stamp; one read for each keeps the stamps that the kernel
 * has not merged. */
static bool several_wait(connection *c) {
    int waiting;
    return ioctl(c->fd, FIONREAD, &waiting) == 0 && waiting > 0 && are_several(c, (size_t)waiting);
}

/* With the connection's lock held. */
static void arrived(receiver *r, connection *c, room_t *room, int64_t poll_ns, bool unhurried) {
    if (c->dead || !c->watched) return;
    char *buffer = room->buffer;
    if (c->patient && unhurried) {
        size_t head = 0;
        if (!c->lazy && !c->reads) {
            ssize_t waiting = recv(c->fd, buffer, LONGEST_HEAD, MSG_PEEK | MSG_DONTWAIT);
            head = waiting > 0 ? chunked_head(buffer, (size_t)waiting) : 0;
        }
        if (c->lazy || head) {
            c->lazy = true;
            read_chunkwise(r, c, room, head, poll_ns);
            bound_memory(r, c);
            return;
        }
    } else if (c->patient && c->lazy && !c->more && several_wait(c)) {
        atomic_fetch_add(&r->for_short, 1);
        read_chunkwise(r, c, room, 0, poll_ns);
        bound_memory(r, c);
        return;
    }
    int64_t stamp_ns;
    bool kernel;
    ssize_t got = receive(c, buffer, BUFFER_SIZE, &stamp_ns, &kernel);
    if (got < 0) {
        c->empty = true;
        c->more = false;
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) over(r, c, errno);
        return;
    }
    if (got == 0) {
        over(r, c, 0);
        return;
    }
    size_t size = (size_t)got;
    /* Between two machines, chunks that arrive during one nap cannot be told apart afterwards. */
    if (!c->patient || are_several(c, size)) atomic_fetch_add(&r->for_short, 1);
    /* Data left behind by a full buffer was there before this poll: it has no lower bound. */
    if (!keep(r, c, buffer, size, stamp_ns, kernel, c->more ? 0 : poll_ns)) {
        over(r, c, ENOMEM);
        return;
    }
    c->more = size == BUFFER_SIZE;
    if (!c->lazy && c->reads == 1) c->lazy = chunked_head(buffer, size) > 0;
    if (!c->lazy || may_end(buffer, size)) ask(r, c, PARSE);
    else if (much_waits(r, c)) ask(r, c, CATCH_UP);
    bound_memory(r, c);
}

/* Edge-triggered: a socket is reported when data arrives, and not again for data left unread, so everything must be read. A
 * read shorter than its buffer has taken everything except the end of the connection. With the connection's lock held. */
static void drain(receiver *r, connection *c, room_t *room, int64_t poll_ns, bool unhurried, bool hung_up) {
    for (int turn = 0; c->watched && !c->dead && !c->paused; turn++) {
        if (turn == TURNS) { /* The others' turn: the rest is reported again. */
            struct epoll_event event = {.events = WATCHED, .data.ptr = c};
            epoll_ctl(r->epoll, EPOLL_CTL_MOD, c->fd, &event);
            return;
        }
        c->empty = false;
        arrived(r, c, room, poll_ns, unhurried && turn == 0);
        if (c->empty || !(c->more || hung_up)) return;
    }
}

/* How long the calling thread has waited for a processor in total (proc(5), schedstat); -1 if the system does not report it. */
static int64_t kept_waiting_ns(int schedstat) {
    char text[96];
    ssize_t size = schedstat < 0 ? -1 : pread(schedstat, text, sizeof text - 1, 0);
    if (size <= 0) return -1;
    text[size] = 0;
    char *after;
    if (strtoll(text, &after, 10) <= 0) return -1; /* A kernel without this accounting reports 0 for everything. */
    return strtoll(after, NULL, 10);
}

static void *receive_all(void *given) {
    receiver *r = given;
    prctl(PR_SET_NAME, "receiver"); /* bench/process/child_process.py knows it by this name. */
    atomic_store(&r->thread_id, syscall(SYS_gettid));
    struct epoll_event events[POLL_MAX];
    int quick_wakes = 0;
    int64_t nap_ns = NAP_NS;
    int schedstat = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    int64_t kept_ns = kept_waiting_ns(schedstat);
    prctl(PR_SET_TIMERSLACK, 1UL); /* So that naps end on time. */
    while (!atomic_load(&r->stopping)) {
        bool busy = quick_wakes >= BUSY_WAKES;
        if (busy) {
            /* Data arrives all the time: a wake-up for each costs more than the read, and the kernel stamps it anyway. */
            struct timespec nap = {.tv_nsec = nap_ns};
            nanosleep(&nap, NULL);
        }
        int64_t polled_ns = now_ns(), looked_ns = polled_ns, bound_ns = atomic_load(&r->last_poll_ns);
        int count = epoll_wait(r->epoll, events, POLL_MAX, busy ? -1 : 0);
        if (!busy && count == 0) {
            /* Nothing was ready, so all data came later than this poll. It also came no earlier than the wake-up of this
             * thread, which was at most as long ago as the thread has waited for a processor since. That includes waits from
             * before the poll, and WAKE_NS covers the way from the kernel to here. */
            count = epoll_wait(r->epoll, events, POLL_MAX, -1);
            int64_t back_ns = now_ns(), before_ns = kept_ns;
            kept_ns = kept_waiting_ns(schedstat);
            if (before_ns >= 0 && kept_ns >= before_ns && back_ns - (kept_ns - before_ns) - WAKE_NS > looked_ns)
                looked_ns = back_ns - (kept_ns - before_ns) - WAKE_NS;
            bound_ns = looked_ns; /* Data that was not reported came later still. */
        }
        if (count < 0) {
            if (errno == EINTR) continue;
            break;
        }
        int64_t waited_ns = now_ns() - polled_ns;
        quick_wakes = waited_ns < NAP_NS ? quick_wakes + 1 : 0;
        /* If many are ready after a pause, the thread was not idle but kept from running, and has to catch up. */
        bool unhurried = count <= FEW && waited_ns > UNHURRIED_NS;
        for (int i = 0; i < count; i++) {
            connection *c = events[i].data.ptr;
            if (!c) continue; /* Woken to stop, or to release connections. */
            pthread_mutex_lock(&c->lock);
            bool hung_up = events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
            drain(r, c, &r->rooms[0], bound_ns, unhurried, hung_up);
            pthread_mutex_unlock(&c->lock);
        }
        /* A nap pays off if several connections are ready at its end. If chunks come so close together that several wait on
         * one connection, naps are short. */
        if (!quick_wakes || atomic_exchange(&r->for_short, 0) * RARE > count) nap_ns = NAP_NS;
        else if (busy && count < WORTH && nap_ns < LONGEST_NAP_NS) nap_ns *= 2;
        else if (busy && count > 2 * WORTH && nap_ns > NAP_NS) nap_ns /= 2;
        /* A full report may have omitted ready sockets: it gives no bound. */
        if (count < POLL_MAX) atomic_store(&r->last_poll_ns, looked_ns);
        pthread_mutex_lock(&r->lock);
        connection *left = r->left;
        r->left = NULL;
        pthread_mutex_unlock(&r->lock);
        while (left) {
            connection *next = left->next;
            let_go(left);
            left = next;
        }
    }
    if (schedstat >= 0) close(schedstat);
    return NULL;
}

/* Framing of a chunked body: only as much as is needed to know where each chunk begins. */

typedef enum { AT_CHUNK, IN_SIZE, IN_DATA, AFTER_DATA, BEYOND } framing;

typedef struct {
    PyObject_HEAD
    connection *c;
    receiver *r;      /* borrowed: `owner` keeps it alive */
    PyObject *owner;
    reads_t pending;
    size_t at_read, at_byte; /* how far `pending` has been handed out */
    int64_t before_ns, bound_ns;
    bool mixed, begun_read; /* `begun_read`: the first part of the current read was handed out */
    framing framing;
    uint64_t left;
    char line[20];
    int line_size;
} StreamObject;

typedef struct {
    PyObject_HEAD
    receiver *r;
} ReceiverObject;

static void frame(StreamObject *s, const char *data, size_t size) {
    for (size_t at = 0; at < size;) {
        switch (s->framing) {
        case AT_CHUNK:
            s->line_size = 0;
            s->framing = IN_SIZE;
            break;
        case IN_SIZE: {
            char c = data[at++];
            if (s->line_size == (int)sizeof s->line) {
                s->framing = BEYOND; /* An extension, or not a chunk: leave the rest to httptools. */
                break;
            }
            s->line[s->line_size++] = c;
            if (c == '\n') {
                bool extended;
                if (!size_line(s->line, (size_t)s->line_size, &s->left, &extended) || extended || !s->left) s->framing = BEYOND;
                else s->framing = IN_DATA;
            }
            break;
        }
        case IN_DATA: {
            uint64_t here = s->left < size - at ? s->left : size - at;
            at += (size_t)here;
            s->left -= here;
            if (!s->left) {
                s->framing = AFTER_DATA;
                s->left = 2;
            }
            break;
        }
        case AFTER_DATA:
            if (data[at++] != (s->left == 2 ? '\r' : '\n')) s->framing = BEYOND;
            else if (!--s->left) s->framing = AT_CHUNK;
            break;
        case BEYOND:
            return;
        }
    }
}

/* Stamp the current read, once: on CLOCK_MONOTONIC, no earlier than the previous read, with its lower bound. */
static void stamp_read(StreamObject *s, int64_t offset_ns) {
    if (s->begun_read) return;
    s->begun_read = true;
    read_t *read = &s->pending.reads[s->at_read];
    if (read->kernel) {
        int64_t latest_ns = now_ns();
        read->stamp_ns -= offset_ns;
        if (read->stamp_ns > latest_ns) { /* The system's clock was set after `offset_ns` was measured. */
            read->stamp_ns = latest_ns;
            read->kernel = false;
        }
    }
    if (!read->kernel) s->mixed = true;
    /* The kernel merges waiting data and keeps the latest stamp: the previous read may have had the stamp of these bytes. */
    if (read->stamp_ns < s->before_ns) read->stamp_ns = s->before_ns;
    /* That poll did not report the bytes: they came after it, and after those of the previous read. */
    if (read->bound_ns < s->before_ns) read->bound_ns = s->before_ns;
    if (read->bound_ns > read->stamp_ns) read->bound_ns = read->stamp_ns;
    s->before_ns = read->stamp_ns;
}

static void read_done(StreamObject *s) {
    s->at_byte += s->pending.reads[s->at_read].size;
    s->at_read++;
    s->begun_read = false;
    if (s->at_read == s->pending.count) {
        s->pending.size = s->pending.count = 0;
        s->at_read = s->at_byte = 0;
    }
}

/* Move `incoming` to `pending`. */
static bool collect(StreamObject *s) {
    connection *c = s->c;
    bool well = true;
    pthread_mutex_lock(&c->lock);
    c->asked &= ~CATCH_UP;
    c->put_by = 0;
    atomic_fetch_sub(&s->r->bytes, c->incoming.size);
    if (s->pending.count == 0) {
        reads_t empty = s->pending;
        s->pending = c->incoming;
        empty.size = empty.count = 0;
        c->incoming = empty;
        /* Do not keep a large buffer. */
        if (c->incoming.room > 4 * BUFFER_SIZE) reads_free(&c->incoming);
    } else {
        size_t from = 0;
        for (size_t i = 0; i < c->incoming.count && well; i++) {
            read_t *read = &c->incoming.reads[i];
            well = reads_add(
                &s->pending, c->incoming.data + from, read->size, read->stamp_ns, read->kernel, read->bound_ns);
            from += read->size;
        }
        c->incoming.size = c->incoming.count = 0;
    }
    if (c->paused && c->watched) {
        struct epoll_event event = {.events = WATCHED, .data.ptr = c};
        c->paused = epoll_ctl(s->r->epoll, EPOLL_CTL_MOD, c->fd, &event) != 0;
        c->more = true; /* The data may have been waiting since before any poll. */
    }
    pthread_mutex_unlock(&c->lock);
    if (!well) PyErr_NoMemory();
    return well;
}

/* Stream: Python's view of a connection. */

static PyObject *stream_begin(PyObject *self, PyObject *unused) {
    (void)unused;
    StreamObject *s = (StreamObject *)self;
    connection *c = s->c;
    pthread_mutex_lock(&c->lock);
    c->reads = 0;
    c->lazy = false;
    pthread_mutex_unlock(&c->lock);
    s->mixed = false;
    s->before_ns = 0;
    s->framing = AT_CHUNK;
    Py_RETURN_NONE;
}

/* Clears the request before Python parses, so that later data makes a new request and is not missed: the connection may end
 * while Python parses the data before its end. */
static PyObject *stream_heed(PyObject *self, PyObject *unused) {
    (void)unused;
    connection *c = ((StreamObject *)self)->c;
    pthread_mutex_lock(&c->lock);
    c->asked &= ~PARSE;
    bool ended = c->ended;
    int error = c->error;
    pthread_mutex_unlock(&c->lock);
    return Py_BuildValue("(Ni)", PyBool_FromLong(ended), error);
}

static PyObject *stream_read(PyObject *self, PyObject *unused) {
    (void)unused;
    StreamObject *s = (StreamObject *)self;
    pthread_mutex_lock(&s->c->lock);
    drain(s->r, s->c, &s->r->rooms[1], atomic_load(&s->r->last_poll_ns), false, false);
    pthread_mutex_unlock(&s->c->lock);
    Py_RETURN_NONE;
}

static PyObject *stream_sent(PyObject *self, PyObject *at) {
    ((StreamObject *)self)->before_ns = PyLong_AsLongLong(at);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

static PyObject *stream_set_lazy(PyObject *self, PyObject *lazy) {
    StreamObject *s = (StreamObject *)self;
    int value = PyObject_IsTrue(lazy);
    if (value < 0) return NULL;
    pthread_mutex_lock(&s->c->lock);
    s->c->lazy = value;
    pthread_mutex_unlock(&s->c->lock);
    Py_RETURN_NONE;
}

static PyObject *stream_collect(PyObject *self, PyObject *unused) {
    (void)unused;
    StreamObject *s = (StreamObject *)self;
    if (!collect(s)) return NULL;
    return PyBool_FromLong(s->pending.count > 0);
}

/* take(offset_ns, head) -> (data, stamp_ns, bound_ns) | None */
static PyObject *stream_take(PyObject *self, PyObject *args) {
    StreamObject *s = (StreamObject *)self;
    long long offset_ns;
    int head;
    if (!PyArg_ParseTuple(args, "Lp:take", &offset_ns, &head)) return NULL;
    if (!s->pending.count) Py_RETURN_NONE;
    stamp_read(s, offset_ns);
    read_t *read = &s->pending.reads[s->at_read];
    const char *data = s->pending.data + s->at_byte;
    size_t size = read->size, length = head ? chunked_head(data, size) : 0;
    int64_t stamp_ns = read->stamp_ns, bound_ns = read->bound_ns;
    if (length && length < size) {
        /* The rest of the read, after the head, is handed out next. */
        PyObject *found = Py_BuildValue("(y#LL)", data, (Py_ssize_t)length, (long long)stamp_ns, (long long)bound_ns);
        s->at_byte += length;
        read->size -= (uint32_t)length;
        return found;
    }
    PyObject *found = Py_BuildValue("(y#LL)", data, (Py_ssize_t)size, (long long)stamp_ns, (long long)bound_ns);
    if (!found) return NULL;
    if (!head) frame(s, data, size);
    else if (!length) s->framing = BEYOND; /* A head in several reads, or a body that is not chunked. */
    read_done(s);
    return found;
}

/* The number of events in these bytes if all are complete and plain ("data: ", a non-empty line, an empty line); otherwise 0. */
static size_t plain_events(const char *data, size_t size) {
    size_t count = 0;
    if (memchr(data, '\r', size)) return 0;
    while (size) {
        if (size < 9 || memcmp(data, "data: ", 6) != 0) return 0;
        const char *end = memchr(data + 6, '\n', size - 6);
        if (!end || end == data + 6 || end + 2 > data + size || end[1] != '\n') return 0;
        count++;
        size -= (size_t)(end + 2 - data);
        data = end + 2;
    }
    return count;
}

/* events(offset_ns, last_ns) -> (events, stamps, bounds, size, stamp of the last read) | None
 *
 * The events of the next reads, for as long as each read consists of complete chunks and each chunk of complete plain events.
 * `last_ns`: the stamp of the previous event, or -1. `bounds`: (number, bound) of each event that shares its stamp with the
 * next; number -1 is the previous event. `size`: bytes of the body. */
static PyObject *stream_events(PyObject *self, PyObject *args) {
    StreamObject *s = (StreamObject *)self;
    long long offset_ns, last_ns;
    if (!PyArg_ParseTuple(args, "LL:events", &offset_ns, &last_ns)) return NULL;
    if (!s->pending.count || s->framing != AT_CHUNK) Py_RETURN_NONE;
    PyObject *events = PyList_New(0), *stamps = PyList_New(0), *bounds = PyList_New(0);
    if (!events || !stamps || !bounds) goto failed;
    unsigned long long body = 0;
    Py_ssize_t number = 0;
    bool any = false;
    while (s->pending.count) {
        read_t *read = &s->pending.reads[s->at_read];
        const char *data = s->pending.data + s->at_byte, *end = data + read->size;
        /* First check that the whole read is plain. */
        size_t many = 0;
        for (const char *at = data; at < end;) {
            uint64_t chunk;
            bool extended;
            size_t line = size_line(at, (size_t)(end - at), &chunk, &extended), found;
            if (!line || extended || !chunk || chunk > (uint64_t)(end - at) || line + chunk + 2 > (uint64_t)(end - at) ||
                memcmp(at + line + chunk, "\r\n", 2) != 0 || !(found = plain_events(at + line, (size_t)chunk))) {
                many = 0;
                break;
            }
            many += found;
            at += line + chunk + 2;
        }
        if (!many) break;
        stamp_read(s, offset_ns);
        PyObject *stamp = PyLong_FromLongLong(read->stamp_ns);
        if (!stamp) goto failed;
        for (const char *at = data; at < end;) {
            uint64_t chunk;
            bool extended;
            at += size_line(at, (size_t)(end - at), &chunk, &extended);
            body += chunk;
            for (const char *stop = at + chunk; at < stop;) {
                const char *line = memchr(at + 6, '\n', (size_t)(stop - at - 6));
                PyObject *event = PyBytes_FromStringAndSize(at + 6, line - at - 6);
                int bad = !event || PyList_Append(events, event) < 0 || PyList_Append(stamps, stamp) < 0;
                Py_XDECREF(event);
                if (!bad && last_ns == read->stamp_ns) {
                    /* One stamp for several events: exact for the last, an upper bound for the others. */
                    PyObject *bound = Py_BuildValue("(nL)", number - 1, (long long)read->bound_ns);
                    bad = !bound || PyList_Append(bounds, bound) < 0;
                    Py_XDECREF(bound);
                }
                if (bad) {
                    Py_DECREF(stamp);
                    goto failed;
                }
                last_ns = read->stamp_ns;
                number++;
                at = line + 2;
            }
            at += 2;
        }
        Py_DECREF(stamp);
        any = true;
        read_done(s);
    }
    if (!any) {
        Py_DECREF(events);
        Py_DECREF(stamps);
        Py_DECREF(bounds);
        Py_RETURN_NONE;
    }
    return Py_BuildValue("(NNNKL)", events, stamps, bounds, body, (long long)s->before_ns);
failed:
    Py_XDECREF(events);
    Py_XDECREF(stamps);
    Py_XDECREF(bounds);
    return NULL;
}

static PyObject *stream_forget(PyObject *self, PyObject *unused) {
    (void)unused;
    StreamObject *s = (StreamObject *)self;
    connection *c = s->c;
    pthread_mutex_lock(&c->lock);
    bool first = !c->dead;
    c->dead = true;
    stop_watching(s->r, c);
    atomic_fetch_sub(&s->r->bytes, c->incoming.size);
    reads_free(&c->incoming);
    pthread_mutex_unlock(&c->lock);
    if (first) {
        pthread_mutex_lock(&s->r->lock);
        c->next = s->r->left;
        s->r->left = c;
        pthread_mutex_unlock(&s->r->lock);
    }
    reads_free(&s->pending);
    s->at_read = s->at_byte = 0;
    Py_RETURN_NONE;
}

#define LOCKED(name, type, expression, make)                          \
    static PyObject *name(PyObject *self, void *unused) {             \
        (void)unused;                                                 \
        connection *c = ((StreamObject *)self)->c;                    \
        pthread_mutex_lock(&c->lock);                                 \
        type value = expression;                                      \
        pthread_mutex_unlock(&c->lock);                               \
        return make(value);                                           \
    }
LOCKED(stream_reads, unsigned long long, c->reads, PyLong_FromUnsignedLongLong)
LOCKED(stream_ended, long, c->ended, PyBool_FromLong)
LOCKED(stream_error, long, c->error, PyLong_FromLong)
LOCKED(stream_put_by, unsigned long long, c->put_by, PyLong_FromUnsignedLongLong)
LOCKED(stream_waiting, long, c->incoming.count > 0, PyBool_FromLong)

static PyObject *stream_mixed(PyObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(((StreamObject *)self)->mixed);
}

static PyObject *stream_holds(PyObject *self, void *unused) {
    (void)unused;
    return PyBool_FromLong(((StreamObject *)self)->pending.count > 0);
}

static void stream_dealloc(PyObject *self) {
    StreamObject *s = (StreamObject *)self;
    PyTypeObject *type = Py_TYPE(self);
    if (s->c) {
        PyObject *none = stream_forget(self, NULL);
        Py_XDECREF(none);
        let_go(s->c);
    }
    Py_XDECREF(s->owner);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef stream_methods[] = {
    {"begin", stream_begin, METH_NOARGS, "A request is sent next: what comes from now on is its response."},
    {"heed", stream_heed, METH_NOARGS,
     "heed() -> (ended, error): take up what was asked for; what comes later is asked for again."},
    {"read", stream_read, METH_NOARGS, "Read what has arrived, now."},
    {"sent", stream_sent, METH_O, "It was sent at this instant, in ns: nothing of the response is earlier."},
    {"set_lazy", stream_set_lazy, METH_O, "Whether only the end of the body needs to be looked for."},
    {"collect", stream_collect, METH_NOARGS, "Take over what has come. Whether anything waits to be taken."},
    {"take", stream_take, METH_VARARGS,
     "take(offset_ns, head) -> (data, stamp_ns, bound_ns) | None: the next read, or, where `head`, the head in it."},
    {"events", stream_events, METH_VARARGS,
     "events(offset_ns, last_ns) -> (events, stamps, bounds, bytes, last_read_ns) | None: the plain events of the next reads."},
    {"forget", stream_forget, METH_NOARGS, "Read no more: the socket is about to be closed. Safe to call again."},
    {NULL, NULL, 0, NULL}};

static PyGetSetDef stream_getset[] = {
    {"reads", stream_reads, NULL, "Reads of the response at hand.", NULL},
    {"ended", stream_ended, NULL, "Whether the server has closed its side.", NULL},
    {"error", stream_error, NULL, "errno of what broke the connection; 0: nothing did.", NULL},
    {"waiting", stream_waiting, NULL, "Whether something has come that was not collected.", NULL},
    {"put_by", stream_put_by, NULL, "Reads that were not collected.", NULL},
    {"holds", stream_holds, NULL, "Whether something was collected and not taken.", NULL},
    {"mixed", stream_mixed, NULL, "Whether a read had no kernel stamp.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyType_Slot stream_slots[] = {
    {Py_tp_dealloc, stream_dealloc}, {Py_tp_methods, stream_methods}, {Py_tp_getset, stream_getset}, {0, NULL}};
static PyType_Spec stream_spec = {
    .name = "bench.native._core.Stream",
    .basicsize = sizeof(StreamObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = stream_slots};
static PyTypeObject *stream_type;

/* Receiver: the thread. */

static PyObject *receiver_new(PyTypeObject *type, PyObject *args, PyObject *named) {
    (void)named;
    unsigned long long most_bytes = MOST_OF_ALL;
    if (!PyArg_ParseTuple(args, "|K:Receiver", &most_bytes)) return NULL;
    allocfunc make = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    ReceiverObject *self = (ReceiverObject *)make(type, 0);
    if (!self) return NULL;
    receiver *r = calloc(1, sizeof *r);
    if (!r || !(r->rooms = malloc(2 * sizeof *r->rooms))) {
        free(r);
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    self->r = r;
    r->most_bytes = (size_t)most_bytes;
    r->epoll = r->stop = r->told = -1;
    pthread_mutex_init(&r->lock, NULL);
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    r->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->told = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (r->epoll < 0 || r->stop < 0 || r->told < 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->stop, &event) != 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(self);
        return NULL;
    }
    /* Python handles signals: this thread blocks all of them. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&r->thread, NULL, receive_all, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        errno = failed;
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(self);
        return NULL;
    }
    r->running = true;
    while (!atomic_load(&r->thread_id)) sched_yield();
    return (PyObject *)self;
}

static PyObject *receiver_thread_id(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromLong(atomic_load(&((ReceiverObject *)self)->r->thread_id));
}

static PyObject *receiver_cpu_ns(PyObject *self, PyObject *unused) {
    (void)unused;
    receiver *r = ((ReceiverObject *)self)->r;
    clockid_t clock;
    struct timespec used = {0};
    if (r->running && pthread_getcpuclockid(r->thread, &clock) == 0) clock_gettime(clock, &used);
    return PyLong_FromLongLong(used.tv_sec * NS_PER_S + used.tv_nsec);
}

static PyGetSetDef receiver_getset[] = {
    {"thread_id", receiver_thread_id, NULL, "Of the thread, as sched_setscheduler(2) takes it.", NULL},
    {NULL, NULL, NULL, NULL, NULL}};

static PyObject *receiver_close(PyObject *self, PyObject *unused) {
    (void)unused;
    receiver *r = ((ReceiverObject *)self)->r;
    if (r->running) {
        uint64_t one = 1;
        atomic_store(&r->stopping, true);
        ssize_t written = write(r->stop, &one, sizeof one);
        (void)written;
        Py_BEGIN_ALLOW_THREADS
        pthread_join(r->thread, NULL);
        Py_END_ALLOW_THREADS
        r->running = false;
        while (r->left) {
            connection *next = r->left->next;
            let_go(r->left);
            r->left = next;
        }
    }
    Py_RETURN_NONE;
}

static void receiver_dealloc(PyObject *self) {
    receiver *r = ((ReceiverObject *)self)->r;
    PyTypeObject *type = Py_TYPE(self);
    if (r) {
        PyObject *none = receiver_close(self, NULL);
        Py_XDECREF(none);
        while (r->left) {
            connection *next = r->left->next;
            let_go(r->left);
            r->left = next;
        }
        if (r->epoll >= 0) close(r->epoll);
        if (r->stop >= 0) close(r->stop);
        if (r->told >= 0) close(r->told);
        pthread_mutex_destroy(&r->lock);
        free(r->asked);
        free(r->rooms);
        free(r);
    }
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyObject *receiver_fileno(PyObject *self, PyObject *unused) {
    (void)unused;
    return PyLong_FromLong(((ReceiverObject *)self)->r->told);
}

/* watch(fd, name, patient) -> Stream */
static PyObject *receiver_watch(PyObject *self, PyObject *args) {
    receiver *r = ((ReceiverObject *)self)->r;
    int fd, patient;
    unsigned long long name;
    if (!PyArg_ParseTuple(args, "iKp:watch", &fd, &name, &patient)) return NULL;
    connection *c = calloc(1, sizeof *c);
    if (!c) return PyErr_NoMemory();
    pthread_mutex_init(&c->lock, NULL);
    atomic_init(&c->users, 2); /* Python and the epoll set. */
    c->fd = fd;
    c->name = name;
    c->patient = patient;
    c->watched = true;
    allocfunc make = (allocfunc)PyType_GetSlot(stream_type, Py_tp_alloc);
    StreamObject *s = (StreamObject *)make(stream_type, 0);
    if (!s) {
        free(c);
        return NULL;
    }
    struct epoll_event event = {.events = WATCHED, .data.ptr = c};
    if (epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        pthread_mutex_destroy(&c->lock);
        free(c);
        Py_DECREF(s);
        return NULL;
    }
    s->c = c;
    s->r = r;
    s->owner = self;
    Py_INCREF(self);
    return (PyObject *)s;
}

/* asked() -> [name << 2 | what, ...] */
static PyObject *receiver_asked(PyObject *self, PyObject *unused) {
    (void)unused;
    receiver *r = ((ReceiverObject *)self)->r;
    uint64_t told;
    ssize_t got = read(r->told, &told, sizeof told);
    (void)got;
    pthread_mutex_lock(&r->lock);
    uint64_t *asked = r->asked;
    size_t count = r->count;
    r->asked = NULL;
    r->count = r->room = 0;
    pthread_mutex_unlock(&r->lock);
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        PyObject *one = PyLong_FromUnsignedLongLong(asked[i]);
        if (!one || PyList_SetItem(list, (Py_ssize_t)i, one) < 0) {
            Py_DECREF(list);
            list = NULL;
        }
    }
    free(asked);
    return list;
}

static PyMethodDef receiver_methods[] = {
    {"watch", receiver_watch, METH_VARARGS, "watch(fd, name, patient) -> Stream: read this socket from now on."},
    {"asked", receiver_asked, METH_NOARGS, "asked() -> [name << 2 | what]: which connections want attention since the last call."},
    {"fileno", receiver_fileno, METH_NOARGS, "Readable when a connection wants attention."},
    {"cpu_ns", receiver_cpu_ns, METH_NOARGS, "The CPU time that the thread has used, in ns."},
    {"close", receiver_close, METH_NOARGS, "End the thread."},
    {NULL, NULL, 0, NULL}};

static PyType_Slot receiver_slots[] = {
    {Py_tp_new, receiver_new}, {Py_tp_dealloc, receiver_dealloc}, {Py_tp_methods, receiver_methods},
    {Py_tp_getset, receiver_getset}, {0, NULL}};
static PyType_Spec receiver_spec = {
    .name = "bench.native._core.Receiver",
    .basicsize = sizeof(ReceiverObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = receiver_slots};

/* texts(events, before, after) -> [bytes]: see ContentTemplate.texts. */
static PyObject *texts(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *events;
    const char *before, *after;
    Py_ssize_t head, tail;
    if (!PyArg_ParseTuple(args, "O!y#y#:texts", &PyList_Type, &events, &before, &head, &after, &tail)) return NULL;
    PyObject *found = PyList_New(0);
    if (!found) return NULL;
    Py_ssize_t count = PyList_Size(events);
    for (Py_ssize_t i = 0; i < count; i++) {
        char *data;
        Py_ssize_t size;
        if (PyBytes_AsStringAndSize(PyList_GetItem(events, i), &data, &size) < 0) goto failed;
        Py_ssize_t length = size - head - tail;
        if (length <= 0 || memcmp(data, before, (size_t)head) != 0 || memcmp(data + size - tail, after, (size_t)tail) != 0) break;
        const unsigned char *text = (const unsigned char *)data + head;
        bool safe = true;
        for (Py_ssize_t k = 0; k < length && safe; k++)
            safe = text[k] >= 0x20 && text[k] < 0x7f && text[k] != '"' && text[k] != '\\';
        if (!safe) break;
        PyObject *piece = PyBytes_FromStringAndSize((const char *)text, length);
        int bad = !piece || PyList_Append(found, piece) < 0;
        Py_XDECREF(piece);
        if (bad) goto failed;
    }
    return found;
failed:
    Py_DECREF(found);
    return NULL;
}

static PyMethodDef functions[] = {
    {"texts", texts, METH_VARARGS, "texts(events, before, after) -> [bytes]: what stands between the two in each event."},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef module_def = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "_core", .m_doc = "The compiled core of the wire transport.", .m_size = -1,
    .m_methods = functions};

PyMODINIT_FUNC PyInit__core(void) {
    PyObject *module = PyModule_Create(&module_def);
    if (!module) return NULL;
    stream_type = (PyTypeObject *)PyType_FromSpec(&stream_spec);
    PyObject *type = PyType_FromSpec(&receiver_spec);
    if (!stream_type || !type || PyModule_AddObject(module, "SOURCE", PyLong_FromLongLong(SOURCE)) < 0 ||
        PyModule_AddObject(module, "Receiver", type) < 0 ||
        PyModule_AddIntConstant(module, "PARSE", PARSE) < 0 || PyModule_AddIntConstant(module, "CATCH_UP", CATCH_UP) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    Py_INCREF((PyObject *)stream_type);
    if (PyModule_AddObject(module, "Stream", (PyObject *)stream_type) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
