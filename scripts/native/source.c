/* A token source with exact, known times: the truth that the measuring engine is checked against.
 *
 *   source --port P --ttft-us T --itl-us G [--ledger FILE]
 *
 * An HTTP/1.1 server on 127.0.0.1 with one thread and one epoll loop. Each POST is answered with a stream of server-sent
 * events in the OpenAI chat shape: the role and token 1 at T after the arrival of the request, every further token G after
 * the previous one, at absolute deadlines; then usage and [DONE]. The number of tokens is the body's "max_tokens". Every
 * chunk is one write, stamped immediately before it (CLOCK_MONOTONIC). The arrival is the kernel's
 * receive stamp of the request. GET /v1/models lists one model.
 *
 * On SIGTERM it writes the ledger, one JSON object per request, with the fields of the mock server's ledger.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

typedef int64_t ns_t;
enum { REQUEST_MAX = 1 << 20, EVENTS = 512 };

typedef struct {
  char id[96];
  ns_t received, end;
  int tokens, chunks, usage;
  long bytes_in, bytes_out;
  ns_t *write_ns;
} Served;

typedef struct {
  int fd, used, capacity, next; /* next: token to send, from 0; -1 while no request is served */
  char *buffer;
  ns_t due;
  Served *served;
  int heap_at;
} Connection;

static ns_t ttft_ns = 50000000, itl_ns = 20000000, real_minus_mono;
static const char *ledger_path;
static Served **all;
static long served_count, served_capacity;
static Connection **heap;
static int heap_size, heap_capacity, timer_fd;
static volatile sig_atomic_t ended;

static ns_t clock_ns(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}
static ns_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

/* The offset between the two clocks, from the tightest of many brackets. */
static void measure_offset(void) {
  ns_t best = INT64_MAX;
  for (int i = 0; i < 2000; i++) {
    ns_t before = now_ns(), real = clock_ns(CLOCK_REALTIME), after = now_ns();
    if (after - before < best) best = after - before, real_minus_mono = real - (before + after) / 2;
  }
}

static void put(int i, Connection *c) { heap[i] = c, c->heap_at = i; }
static void sift_up(int i) {
  Connection *c = heap[i];
  for (int up; i > 0 && heap[up = (i - 1) / 2]->due > c->due; i = up) put(i, heap[up]);
  put(i, c);
}
static void sift_down(int i) {
  Connection *c = heap[i];
  for (int down; (down = 2 * i + 1) < heap_size; i = down) {
    if (down + 1 < heap_size && heap[down + 1]->due < heap[down]->due) down++;
    if (heap[down]->due >= c->due) break;
    put(i, heap[down]);
  }
  put(i, c);
}
static void heap_push(Connection *c) {
  if (heap_size == heap_capacity) heap = realloc(heap, sizeof *heap * (heap_capacity = heap_capacity * 2 + 64));
  put(heap_size++, c);
  sift_up(heap_size - 1);
}
static void heap_remove(Connection *c) {
  if (c->heap_at < 0) return;
  int i = c->heap_at;
  Connection *last = heap[--heap_size];
  c->heap_at = -1;
  if (last == c) return;
  put(i, last);
  sift_up(i);
  sift_down(last->heap_at);
}

static void send_all(Connection *c, const char *bytes, int size) {
  for (int sent = 0; sent < size;) {
    ssize_t n = send(c->fd, bytes + sent, size - sent, MSG_NOSIGNAL);
    if (n > 0) sent += n;
    else if (n < 0 && errno != EAGAIN && errno != EINTR) return;
  }
}

static void send_chunk(Connection *c, const char *event, int size, int head) {
  static const char HEAD[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n";
  char frame[1024];
  int n = sprintf(frame, "%s%x\r\n%.*s\r\n", head ? HEAD : "", size, size, event);
  c->served->write_ns[c->served->chunks++] = now_ns();
  c->served->bytes_out += size;
  send_all(c, frame, n);
}

#define SHAPE "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"source\",\"choices\":"
static void send_token(Connection *c) {
  static const char ROLE[] = SHAPE "[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
  static const char TOKEN[] = SHAPE "[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n";
  static const char LAST[] = SHAPE "[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":\"length\"}]}\n\n";
  Served *s = c->served;
  if (c->next == 0) send_chunk(c, ROLE, sizeof ROLE - 1, 1);
  c->next++;
  if (c->next < s->tokens) {
    send_chunk(c, TOKEN, sizeof TOKEN - 1, 0);
    c->due += itl_ns;
    sift_down(c->heap_at);
    return;
  }
  heap_remove(c);
  send_chunk(c, LAST, sizeof LAST - 1, 0);
  if (s->usage) {
    char usage[256];
    int n = sprintf(usage, SHAPE "[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":%d,\"total_tokens\":%d}}\n\n", s->tokens, s->tokens + 1);
    send_chunk(c, usage, n, 0);
  }
  send_chunk(c, "data: [DONE]\n\n", 14, 0);
  send_all(c, "0\r\n\r\n", 5);
  s->end = now_ns();
  c->next = -1;
}

static void answer_models(Connection *c) {
  static const char BODY[] = "{\"object\":\"list\",\"data\":[{\"id\":\"source\",\"object\":\"model\"}]}";
  char reply[256];
  send_all(c, reply, sprintf(reply, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s", sizeof BODY - 1, BODY));
}

static char *header(char *head, const char *name) {
  char *found = strcasestr(head, name);
  return found ? found + strlen(name) : NULL;
}

/* Serve the request in the buffer if it is complete. Returns the number of bytes consumed. */
static int take_request(Connection *c, ns_t received) {
  char *end = memmem(c->buffer, c->used, "\r\n\r\n", 4);
  if (!end) return 0;
  int head = end + 4 - c->buffer;
  char saved = c->buffer[head - 1];
  c->buffer[head - 1] = 0;
  char *length = header(c->buffer, "content-length:"), *id = header(c->buffer, "x-request-id:");
  int size = length ? atoi(length) : 0, get = !strncmp(c->buffer, "GET ", 4);
  Served *s = calloc(1, sizeof *s);
  if (id) sscanf(id, " %95[^\r\n]", s->id);
  c->buffer[head - 1] = saved;
  if (c->used < head + size) return free(s), 0;
  if (get) return free(s), answer_models(c), head + size;
  char *asked = memmem(c->buffer + head, size, "\"max_tokens\":", 13);
  s->tokens = asked ? atoi(asked + 13) : 128;
  if (s->tokens < 1) s->tokens = 1;
  s->usage = memmem(c->buffer + head, size, "\"include_usage\":true", 20) != NULL;
  s->received = received;
  s->bytes_in = size;
  s->write_ns = malloc(sizeof(ns_t) * (s->tokens + 3));
  if (served_count == served_capacity) all = realloc(all, sizeof *all * (served_capacity = served_capacity * 2 + 1024));
  all[served_count++] = s;
  c->served = s, c->next = 0, c->due = received + ttft_ns;
  heap_push(c);
  return head + size;
}

static void close_connection(Connection *c) {
  heap_remove(c);
  close(c->fd);
  free(c->buffer);
  free(c);
}

static void on_readable(Connection *c) {
  if (c->used == c->capacity) {
    if (c->capacity >= REQUEST_MAX) { close_connection(c); return; }
    c->buffer = realloc(c->buffer, (c->capacity = c->capacity * 2 + 16384) + 1);
  }
  char control[128];
  struct iovec iov = {c->buffer + c->used, c->capacity - c->used};
  struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  ssize_t n = recvmsg(c->fd, &m, 0);
  ns_t received = now_ns();
  if (n <= 0) { if (n == 0 || (errno != EAGAIN && errno != EINTR)) close_connection(c); return; }
  for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
    if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SO_TIMESTAMPNS) {
      struct timespec t;
      memcpy(&t, CMSG_DATA(h), sizeof t);
      received = t.tv_sec * 1000000000LL + t.tv_nsec - real_minus_mono;
    }
  c->used += n;
  c->buffer[c->used] = 0;
  for (int taken; c->next < 0 && c->used && (taken = take_request(c, received)); c->used -= taken)
    memmove(c->buffer, c->buffer + taken, c->used - taken + 1);
}

static void write_ledger(void) {
  FILE *f = ledger_path ? fopen(ledger_path, "w") : NULL;
  if (!f) return;
  for (long i = 0; i < served_count; i++) {
    Served *s = all[i];
    char *dash = strrchr(s->id, '-');
    int whole = s->end != 0;
    fprintf(f, "{\"id\":\"%s\",\"index\":%d,\"attempt\":1,\"received_ns\":%ld,\"handled_ns\":%ld,\"planned\":{\"ttft_ns\":%ld,\"gaps_ns\":[", s->id,
            dash ? atoi(dash + 1) : -1, s->received, s->received, ttft_ns);
    for (int k = 1; k < s->tokens; k++) fprintf(f, "%s%ld", k > 1 ? "," : "", itl_ns);
    fprintf(f, "],\"output_tokens\":%d,\"fault\":null},\"write_ns\":[", s->tokens);
    for (int k = 0; k < s->chunks; k++) fprintf(f, "%s%ld", k ? "," : "", s->write_ns[k]);
    fprintf(f, "],\"chunk_tokens\":[");
    for (int k = 0; k < s->chunks; k++) fprintf(f, "%s%d", k ? "," : "", k >= 1 && k <= s->tokens);
    fprintf(f, "],\"chunk_kind\":\"");
    for (int k = 0; k < s->chunks; k++) fputc(k == 0 ? 'r' : k <= s->tokens ? 'c' : s->usage && k == s->tokens + 1 ? 'u' : 'o', f);
    fprintf(f, "\",\"blocked\":[],\"end_ns\":%ld,\"input_tokens\":1,\"status\":200,\"fault\":null,\"bytes_in\":%ld,\"bytes_out\":%ld,\"engine\":{\"whole\":%d}}\n",
            s->end, s->bytes_in, s->bytes_out, whole);
  }
  fclose(f);
}

static void on_signal(int number) { (void)number, ended = 1; }

int main(int argc, char **argv) {
  int port = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!strcmp(argv[i], "--port")) port = atoi(argv[i + 1]);
    else if (!strcmp(argv[i], "--ttft-us")) ttft_ns = atoll(argv[i + 1]) * 1000;
    else if (!strcmp(argv[i], "--itl-us")) itl_ns = atoll(argv[i + 1]) * 1000;
    else if (!strcmp(argv[i], "--ledger")) ledger_path = argv[i + 1];
    else return fprintf(stderr, "source: %s is not a flag\n", argv[i]), 2;
  }
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files), files.rlim_cur = files.rlim_max, setrlimit(RLIMIT_NOFILE, &files);
  struct sigaction act = {.sa_handler = on_signal};
  sigaction(SIGTERM, &act, NULL), sigaction(SIGINT, &act, NULL);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(listener, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&at, size) || listen(listener, 16384)) return perror("source"), 1;
  getsockname(listener, (struct sockaddr *)&at, &size);
  measure_offset();
  timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  int poll = epoll_create1(0);
  epoll_ctl(poll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.ptr = NULL});
  epoll_ctl(poll, EPOLL_CTL_ADD, timer_fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &timer_fd});
  printf("source ready at http://127.0.0.1:%d\n", ntohs(at.sin_port)), fflush(stdout);
  struct epoll_event events[EVENTS];
  while (!ended) {
    if (heap_size) {
      struct itimerspec when = {.it_value = {heap[0]->due / 1000000000LL, heap[0]->due % 1000000000LL}};
      timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    }
    int n = epoll_wait(poll, events, EVENTS, -1);
    for (int i = 0; i < n; i++) {
      if (events[i].data.ptr == &timer_fd) { uint64_t times; if (read(timer_fd, &times, 8) < 0) continue; }
      else if (events[i].data.ptr) on_readable(events[i].data.ptr);
      else
        for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
          Connection *c = calloc(1, sizeof *c);
          c->fd = fd, c->next = -1, c->heap_at = -1;
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
          setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
          epoll_ctl(poll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
        }
    }
    /* At most one batch between two polls: a late source still reads its requests. */
    for (int k = 0; k < 4096 && heap_size && heap[0]->due <= now_ns(); k++) send_token(heap[0]);
  }
  write_ledger();
  return 0;
}
