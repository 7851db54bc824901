/* Sends text scripts (TextScript in replies/script.py): a heap of deadlines, the frames, send(2), and a stamp immediately
 * before each send.
 *
 * One thread sends, and never takes the interpreter's lock: while Python reads a burst of requests, the tokens of active
 * streams leave on time. Python hands a stream over (`add`) and gets it back (`take`) when `fileno` is readable: complete, or
 * with the rest that the thread cannot send. That is every special case: a slow reader, a broken connection, a usage whose
 * count is not known yet.
 *
 * A send costs 5 to 10 us, so 256 tokens due at once would be up to 1 to 2 ms late. If the thread is late by more than `LATE`,
 * it wakes a second thread, which also sends until nothing is due, and sleeps otherwise.
 *
 * One mutex guards the heap and every stream. It is never held during a send: a stream being sent is `busy` and off the heap,
 * and `remove` waits for it (briefly, because a send does not block). The memory of a stream is allocated and freed under the
 * interpreter's lock; the threads only read and fill it.
 */
#define _GNU_SOURCE
#include <Python.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SOURCE
#define SOURCE 0LL /* The CRC-32 of this file, if the build passes it. */
#endif
typedef int64_t ns_t;
enum { QUEUED, OVER, GONE, MOST_END = 2, MOST_CHUNKS = 64, FRAMING = 32, HANDS = 2, LATE = 100000 /* ns */ };

typedef struct Stream {
  PyObject_HEAD
  PyObject *owner, *keep;
  struct Stream *next;                     /* in the list of finished streams */
  int fd, state, busy, complete, heap_at;
  ns_t due, gap, *gaps;                    /* gaps: NULL if all equal `gap` */
  Py_ssize_t tokens, sent, chunks, ends, ended, text_bytes;
  const char **texts, *first, *before, *after, *last, *end[MOST_END]; /* texts: between the first and the last */
  Py_ssize_t first_size, first_chunks, before_size, after_size, last_size, last_chunks, end_size[MOST_END];
  ns_t *stamps;
  char *held;       /* buffer for the part of a frame that a connection did not take */
  const char *rest; /* points into `held` or into an end */
  Py_ssize_t rest_size;
} Stream;

typedef struct Sender Sender;

typedef struct { /* A sending thread. */
  Sender *sender;
  pthread_t thread;
  int made;
  pid_t id;
  ns_t at; /* time of its last send */
  int sending;
  unsigned served; /* counts, and may overflow */
  char *frame;
  Py_ssize_t frame_size;
} Hand;

struct Sender {
  PyObject_HEAD
  Hand hands[HANDS];
  pthread_mutex_t lock;
  pthread_cond_t wake, help, idle;
  int open, stop, helping, settling, told, event_fd;
  ns_t shared, armed;
  Stream **heap, *over, *over_last;
  Py_ssize_t size, queued, capacity; /* on the heap; plus those being sent; allocated */
  Py_ssize_t frame_needed;
};

static PyTypeObject *stream_type;

static ns_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The heap. */
static void put(Sender *self, Py_ssize_t i, Stream *s) { self->heap[i] = s, s->heap_at = (int)i; }
static void sift_up(Sender *self, Py_ssize_t i) {
  Stream *s = self->heap[i];
  for (Py_ssize_t up; i > 0 && self->heap[up = (i - 1) / 2]->due > s->due; i = up) put(self, i, self->heap[up]);
  put(self, i, s);
}
static void sift_down(Sender *self, Py_ssize_t i) {
  Stream *s = self->heap[i];
  for (Py_ssize_t child; (child = 2 * i + 1) < self->size; i = child) {
    if (child + 1 < self->size && self->heap[child + 1]->due < self->heap[child]->due) child++;
    if (self->heap[child]->due >= s->due) break;
    put(self, i, self->heap[child]);
  }
  put(self, i, s);
}
static void heap_remove(Sender *self, Stream *s) {
  Py_ssize_t i = s->heap_at;
  Stream *last = self->heap[--self->size];
  s->heap_at = -1;
  if (last == s) return;
  put(self, i, last);
  sift_up(self, i);
  sift_down(self, last->heap_at);
}

/* Push a stream; the heap has room for all of them. */
static void heap_add(Sender *self, Stream *s) {
  put(self, self->size++, s);
  sift_up(self, s->heap_at);
  if (s->due < self->armed) pthread_cond_signal(&self->wake);
}

/* Pass a stream that is off the heap back to Python, through `take`. */
static void hand_back(Sender *self, Stream *s) {
  self->queued--;
  s->state = OVER, s->next = NULL;
  if (self->over) self->over_last->next = s;
  else self->over = s;
  self->over_last = s;
  if (!self->told) {
    uint64_t one = 1;
    self->told = 1;
    while (write(self->event_fd, &one, sizeof one) < 0 && errno == EINTR) {}
  }
}

/* Send some chunks of a stream in one write. False if it was not sent completely. */
static int send_chunks(Hand *hand, Stream *s, const char *bytes, Py_ssize_t size, Py_ssize_t chunks) {
  ns_t at = hand->at = now_ns();
  for (Py_ssize_t i = 0; i < chunks; i++) s->stamps[s->chunks++] = at;
  ssize_t n;
  do n = send(s->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT); while (n < 0 && errno == EINTR);
  if (n == size) return 1;
  if (n < 0) n = 0;
  s->rest_size = size - n;
  s->rest = bytes == hand->frame ? memcpy(s->held, bytes + n, s->rest_size) : bytes + n;
  return 0;
}

/* Write the HTTP chunk of token i, neither the first nor the last, to `to`. Returns its size. */
static Py_ssize_t put_frame(Stream *s, char *to, Py_ssize_t i) {
  static const char DIGITS[] = "0123456789abcdef";
  const char *text = s->texts[i];
  size_t text_size = strlen(text);
  size_t body = s->before_size + text_size + s->after_size - 2;
  char *at = to;
  int shift = 0;
  s->text_bytes += text_size;
  while (body >> shift >> 4) shift += 4;
  for (; shift >= 0; shift -= 4) *at++ = DIGITS[body >> shift & 15];
  *at++ = '\r', *at++ = '\n';
  memcpy(at, s->before, s->before_size), at += s->before_size;
  memcpy(at, text, text_size), at += text_size;
  memcpy(at, s->after, s->after_size), at += s->after_size;
  return at - to;
}

/* Send the due part of a stream, without the mutex. Returns whether it continues. */
static int serve(Hand *hand, Stream *s) {
  Py_ssize_t i = s->sent;
  if (i == s->tokens) { /* The ends come after all due tokens. */
    if (!send_chunks(hand, s, s->end[s->ended], s->end_size[s->ended], 1)) return s->ended++, 0;
    return ++s->ended < s->ends;
  }
  s->sent = i + 1;
  if (i == 0) return send_chunks(hand, s, s->first, s->first_size, s->first_chunks);
  if (i == s->tokens - 1) return send_chunks(hand, s, s->last, s->last_size, s->last_chunks);
  return send_chunks(hand, s, hand->frame, put_frame(s, hand->frame, i), 1);
}

/* Send everything due within `early` ns, and then everything due. */
static void serve_due(Hand *hand, ns_t early) {
  Sender *self = hand->sender;
  ns_t limit = now_ns() + early;
  hand->at = 0;
  while (self->size && !self->stop) {
    Stream *s = self->heap[0];
    if (s->due > limit && s->due > (limit = now_ns())) return;
    heap_remove(self, s);
    if (self->frame_needed > hand->frame_size) {
      char *more = realloc(hand->frame, self->frame_needed);
      if (!more) { hand_back(self, s); continue; }
      hand->frame = more, hand->frame_size = self->frame_needed;
    }
    if (hand->at - s->due > LATE && !self->helping && self->hands[1].made) self->helping = 1, pthread_cond_signal(&self->help);
    s->busy = hand->sending = 1;
    pthread_mutex_unlock(&self->lock);
    int goes_on = serve(hand, s);
    pthread_mutex_lock(&self->lock);
    s->busy = hand->sending = 0, hand->served++;
    if (self->settling) pthread_cond_broadcast(&self->idle);
    s->complete = s->sent == s->tokens && s->ends && s->ended == s->ends && !s->rest_size;
    if (s->state == GONE) pthread_cond_broadcast(&self->idle); /* `remove` waits. */
    else if (s->rest_size) hand_back(self, s);
    else if (s->sent < s->tokens) s->due += s->gaps ? s->gaps[s->sent - 1] : s->gap, heap_add(self, s);
    else if (goes_on && s->ends) {
      ns_t now = now_ns();
      if (now > s->due) s->due = now;
      heap_add(self, s);
    } else hand_back(self, s);
  }
}

static Sender *begin(Hand *hand, const char *name) {
  prctl(PR_SET_TIMERSLACK, 1UL);
  prctl(PR_SET_NAME, name);
  pthread_mutex_lock(&hand->sender->lock);
  hand->id = (pid_t)syscall(SYS_gettid);
  pthread_cond_broadcast(&hand->sender->idle);
  return hand->sender;
}

static void *run(void *given) {
  Sender *self = begin(given, "mock-sender");
  while (!self->stop) {
    if (!self->size) {
      self->armed = INT64_MAX;
      pthread_cond_wait(&self->wake, &self->lock);
      continue;
    }
    ns_t due = self->heap[0]->due;
    if (due > now_ns()) {
      struct timespec t = {due / 1000000000LL, due % 1000000000LL};
      self->armed = due;
      pthread_cond_timedwait(&self->wake, &self->lock, &t);
      continue;
    }
    self->armed = INT64_MIN;
    serve_due(given, self->shared);
  }
  pthread_mutex_unlock(&self->lock);
  return NULL;
}

static void *run_helper(void *given) {
  Sender *self = begin(given, "mock-helper");
  while (!self->stop) {
    if (self->helping) serve_due(given, 0), self->helping = 0;
    else pthread_cond_wait(&self->help, &self->lock);
  }
  pthread_mutex_unlock(&self->lock);
  return NULL;
}

/* Stream */

static void Stream_dealloc(Stream *s) {
  PyTypeObject *type = Py_TYPE((PyObject *)s);
  Py_CLEAR(s->owner);
  Py_CLEAR(s->keep);
  free(s->gaps), free(s->texts), free(s->stamps), free(s->held);
  PyObject_Free(s);
  Py_DECREF(type);
}

static PyObject *Stream_get(Stream *s, void *what) {
  switch ((intptr_t)what) {
    case 0: return PyBytes_FromStringAndSize((char *)s->stamps, s->chunks * (Py_ssize_t)sizeof(ns_t));
    case 1: return PyLong_FromSsize_t(s->sent);
    case 2: return PyLong_FromSsize_t(s->ended);
    case 3: return PyBytes_FromStringAndSize(s->rest ? s->rest : "", s->rest ? s->rest_size : 0);
    case 4: return PyBool_FromLong(s->complete);
    case 5: return PyLong_FromSsize_t(s->text_bytes);
    default: return PyLong_FromLongLong(s->due);
  }
}

static PyGetSetDef Stream_values[] = {
  {"stamps", (getter)Stream_get, NULL, "The stamps of the chunks that were sent: 64 bits each, ns of CLOCK_MONOTONIC.", (void *)0},
  {"tokens", (getter)Stream_get, NULL, "Tokens that were sent.", (void *)1},
  {"ended", (getter)Stream_get, NULL, "Chunks that were sent behind the last token.", (void *)2},
  {"rest", (getter)Stream_get, NULL, "Bytes that the connection did not take.", (void *)3},
  {"complete", (getter)Stream_get, NULL, "Whether everything was sent.", (void *)4},
  {"text_bytes", (getter)Stream_get, NULL, "Bytes of the texts that were sent, but for the first and the last token's.", (void *)5},
  {"due_ns", (getter)Stream_get, NULL, "The deadline of the token that was sent last, or of the first.", (void *)6},
  {NULL},
};
static PyType_Slot Stream_slots[] = {{Py_tp_dealloc, Stream_dealloc}, {Py_tp_getset, Stream_values}, {0, NULL}};
static PyType_Spec Stream_spec = {
  "mockserver.native._sender.Stream", sizeof(Stream), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, Stream_slots};

/* Sender */

static int start(Sender *self, Hand *hand, void *(*what)(void *)) {
  hand->sender = self;
  int failed = pthread_create(&hand->thread, NULL, what, hand);
  if (failed) return failed;
  pthread_mutex_lock(&self->lock);
  while (!hand->id) pthread_cond_wait(&self->idle, &self->lock);
  hand->made = 1;
  pthread_mutex_unlock(&self->lock);
  return 0;
}

static PyObject *Sender_new(PyTypeObject *type, PyObject *args, PyObject *named) {
  long long shared;
  (void)named;
  if (!PyArg_ParseTuple(args, "L", &shared)) return NULL;
  Sender *self = (Sender *)PyType_GenericAlloc(type, 0);
  if (!self) return NULL;
  self->shared = shared, self->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  pthread_mutexattr_t kind;
  pthread_mutexattr_init(&kind);
#ifdef __GLIBC__
  pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ADAPTIVE_NP); /* It is held for less time than going to sleep takes. */
#endif
  pthread_mutex_init(&self->lock, &kind);
  pthread_mutexattr_destroy(&kind);
  pthread_cond_init(&self->idle, NULL);
  pthread_cond_init(&self->help, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&self->wake, &monotonic);
  pthread_condattr_destroy(&monotonic);
  sigset_t all, before; /* Signals belong to Python's threads. */
  sigfillset(&all), pthread_sigmask(SIG_SETMASK, &all, &before);
  self->open = 1;
  int failed = self->event_fd < 0 ? errno : start(self, &self->hands[0], run);
  cpu_set_t processors;
  int many = sched_getaffinity(0, sizeof processors, &processors) || CPU_COUNT(&processors) > 1;
  if (!failed && many) start(self, &self->hands[1], run_helper); /* Without it one thread sends everything. */
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (failed) {
    errno = failed;
    PyErr_SetFromErrno(PyExc_OSError);
    Py_DECREF(self);
    return NULL;
  }
  return (PyObject *)self;
}

static PyObject *Sender_close(Sender *self, PyObject *unused) {
  (void)unused;
  if (!self->open) Py_RETURN_NONE;
  self->open = 0;
  pthread_mutex_lock(&self->lock);
  self->stop = 1;
  pthread_cond_signal(&self->wake), pthread_cond_signal(&self->help);
  pthread_mutex_unlock(&self->lock);
  Py_BEGIN_ALLOW_THREADS
  for (int i = 0; i < HANDS; i++)
    if (self->hands[i].made) pthread_join(self->hands[i].thread, NULL), self->hands[i].made = 0;
  Py_END_ALLOW_THREADS
  while (self->size) {
    Stream *s = self->heap[self->size - 1];
    heap_remove(self, s);
    s->state = GONE;
    Py_CLEAR(s->owner);
    Py_DECREF((PyObject *)s);
  }
  for (Stream *s = self->over, *next; s; s = next) {
    next = s->next, s->state = GONE;
    Py_CLEAR(s->owner);
    Py_DECREF((PyObject *)s);
  }
  self->over = NULL;
  if (self->event_fd >= 0) close(self->event_fd);
  Py_RETURN_NONE;
}

static void Sender_dealloc(Sender *self) {
  PyTypeObject *type = Py_TYPE((PyObject *)self);
  PyObject *closed = Sender_close(self, NULL);
  Py_XDECREF(closed);
  free(self->heap);
  for (int i = 0; i < HANDS; i++) free(self->hands[i].frame);
  pthread_mutex_destroy(&self->lock);
  pthread_cond_destroy(&self->wake), pthread_cond_destroy(&self->help), pthread_cond_destroy(&self->idle);
  PyObject_Free(self);
  Py_DECREF(type);
}

/* Read the gaps: no array if all are the same object, the usual case. */
static int read_gaps(Stream *s, PyObject *gaps) {
  Py_ssize_t n = PyTuple_Size(gaps), i = 1;
  if (n < 0) return 0;
  if (n != s->tokens - 1) { PyErr_SetString(PyExc_ValueError, "there is one gap less than there are tokens"); return 0; }
  if (n == 0) return 1;
  PyObject *first = PyTuple_GetItem(gaps, 0);
  if ((s->gap = PyLong_AsLongLong(first)) == -1 && PyErr_Occurred()) return 0;
  while (i < n && PyTuple_GetItem(gaps, i) == first) i++;
  if (i == n) return 1;
  if (!(s->gaps = malloc(n * sizeof *s->gaps))) { PyErr_NoMemory(); return 0; }
  for (i = 0; i < n; i++)
    if ((s->gaps[i] = PyLong_AsLongLong(PyTuple_GetItem(gaps, i))) == -1 && PyErr_Occurred()) return 0;
  return 1;
}

/* Read the middle texts: `known` has the JSON of each piece. The first and the last are bytes already. */
static int read_texts(Stream *s, PyObject *pieces, PyObject *known, Py_ssize_t *longest) {
  if (!(s->texts = malloc((s->tokens ? s->tokens : 1) * sizeof *s->texts))) { PyErr_NoMemory(); return 0; }
  for (Py_ssize_t i = 1; i < s->tokens - 1; i++) {
    PyObject *piece = PyList_GetItem(pieces, i), *text = piece ? PyDict_GetItemWithError(known, piece) : NULL;
    char *bytes;
    Py_ssize_t size;
    if (!text) { if (piece && !PyErr_Occurred()) PyErr_SetObject(PyExc_KeyError, piece); return 0; }
    if (PyBytes_AsStringAndSize(text, &bytes, &size) < 0) return 0;
    if (size > *longest) *longest = size;
    s->texts[i] = bytes; /* JSON has no zero byte, and `bytes` end with one. */
  }
  return 1;
}

static int read_ends(Stream *s, PyObject *ends) {
  Py_ssize_t n = PyTuple_Size(ends);
  if (n < 0) return 0;
  if (n > MOST_END) { PyErr_SetString(PyExc_ValueError, "too many ends"); return 0; }
  for (Py_ssize_t i = 0; i < n; i++)
    if (PyBytes_AsStringAndSize(PyTuple_GetItem(ends, i), (char **)&s->end[i], &s->end_size[i]) < 0) return 0;
  s->ends = n;
  return 1;
}

static PyObject *Sender_add(Sender *self, PyObject *args) {
  PyObject *owner, *gaps, *first, *last, *ends, *before, *after, *pieces, *known;
  int fd;
  long long due;
  Py_ssize_t first_chunks, last_chunks;
  if (!PyArg_ParseTuple(args, "OiLO!SnSnO!SSO!O!", &owner, &fd, &due, &PyTuple_Type, &gaps, &first, &first_chunks, &last,
                        &last_chunks, &PyTuple_Type, &ends, &before, &after, &PyList_Type, &pieces, &PyDict_Type, &known))
    return NULL;
  if (!self->open) { PyErr_SetString(PyExc_RuntimeError, "it is closed"); return NULL; }
  Stream *s = (Stream *)PyType_GenericAlloc(stream_type, 0);
  if (!s) return NULL;
  Py_ssize_t longest = 0, most = 0;
  s->fd = fd, s->due = due, s->tokens = PyList_Size(pieces), s->heap_at = -1;
  Py_INCREF(owner);
  s->owner = owner;
  s->first_chunks = first_chunks, s->last_chunks = last_chunks;
  s->keep = PyTuple_Pack(7, first, last, ends, before, after, known, pieces);
  if (!s->keep || s->tokens < 1) goto failed;
  if (first_chunks < 1 || last_chunks < 1 || first_chunks > MOST_CHUNKS || last_chunks > MOST_CHUNKS) {
    PyErr_SetString(PyExc_ValueError, "too few or too many chunks in one write");
    goto failed;
  }
  if (PyBytes_AsStringAndSize(first, (char **)&s->first, &s->first_size) < 0) goto failed;
  if (PyBytes_AsStringAndSize(before, (char **)&s->before, &s->before_size) < 0) goto failed;
  if (PyBytes_AsStringAndSize(after, (char **)&s->after, &s->after_size) < 0) goto failed;
  if (PyBytes_AsStringAndSize(last, (char **)&s->last, &s->last_size) < 0) goto failed;
  if (!read_gaps(s, gaps) || !read_texts(s, pieces, known, &longest) || !read_ends(s, ends)) goto failed;
  s->stamps = malloc((s->tokens + first_chunks + last_chunks + MOST_END) * sizeof *s->stamps);
  most = longest + s->before_size + s->after_size + FRAMING;
  if (!s->stamps || !(s->held = malloc(most))) { PyErr_NoMemory(); goto failed; }
  pthread_mutex_lock(&self->lock);
  if (self->queued == self->capacity) {
    Py_ssize_t capacity = self->capacity * 2 + 64;
    Stream **more = realloc(self->heap, capacity * sizeof *more);
    if (!more) { pthread_mutex_unlock(&self->lock); PyErr_NoMemory(); goto failed; }
    self->heap = more, self->capacity = capacity;
  }
  if (most > self->frame_needed) self->frame_needed = most;
  Py_INCREF((PyObject *)s); /* The threads' reference. */
  self->queued++;
  heap_add(self, s);
  pthread_mutex_unlock(&self->lock);
  return (PyObject *)s;
failed:
  if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "there are no tokens");
  Py_DECREF((PyObject *)s);
  return NULL;
}

static PyObject *Sender_end(Sender *self, PyObject *args) {
  Stream *s;
  PyObject *ends;
  if (!PyArg_ParseTuple(args, "O!O!", stream_type, &s, &PyTuple_Type, &ends)) return NULL;
  PyObject *keep = PyTuple_Pack(2, s->keep, ends);
  if (!keep) return NULL;
  int failed = 0, taken = 0;
  pthread_mutex_lock(&self->lock);
  /* Without ends the thread keeps a stream until its last token is sent, and checks for them once, under the mutex. */
  if (s->state == QUEUED && !s->ends) {
    failed = !read_ends(s, ends), taken = 1;
    PyObject *old = s->keep;
    s->keep = keep, keep = old;
  }
  pthread_mutex_unlock(&self->lock);
  Py_DECREF(keep);
  if (failed) return NULL;
  return PyBool_FromLong(taken);
}

static PyObject *Sender_take(Sender *self, PyObject *unused) {
  (void)unused;
  uint64_t times;
  PyObject *owners = PyList_New(0);
  if (!owners) return NULL;
  pthread_mutex_lock(&self->lock);
  if (self->told) self->told = 0, (void)!read(self->event_fd, &times, sizeof times);
  Stream *s = self->over, *next;
  self->over = NULL;
  for (Stream *one = s; one; one = one->next) one->state = GONE;
  pthread_mutex_unlock(&self->lock);
  for (; s; s = next) {
    next = s->next;
    if (PyList_Append(owners, s->owner) < 0) PyErr_Clear();
    Py_CLEAR(s->owner); /* Owner and stream hold each other. */
    Py_DECREF((PyObject *)s);
  }
  return owners;
}

/* A client may have the last byte of a stream before the thread is back from `send`. When it releases the mutex again, the
 * stream has been handed back. */
static PyObject *Sender_settle(Sender *self, PyObject *unused) {
  (void)unused;
  pthread_mutex_lock(&self->lock);
  self->settling = 1;
  for (int i = 0; i < HANDS; i++)
    for (unsigned served = self->hands[i].served; self->hands[i].sending && self->hands[i].served == served;)
      pthread_cond_wait(&self->idle, &self->lock);
  self->settling = 0;
  pthread_mutex_unlock(&self->lock);
  Py_RETURN_NONE;
}

static PyObject *Sender_remove(Sender *self, PyObject *given) {
  if (!PyObject_TypeCheck(given, stream_type)) { PyErr_SetString(PyExc_TypeError, "it is no stream"); return NULL; }
  Stream *s = (Stream *)given;
  pthread_mutex_lock(&self->lock);
  int mine = s->state != GONE;
  if (s->state == QUEUED) {
    if (s->heap_at >= 0) heap_remove(self, s);
    self->queued--;
    s->state = GONE;
    while (s->busy) pthread_cond_wait(&self->idle, &self->lock);
  } else if (s->state == OVER) {
    Stream **at = &self->over, *before = NULL;
    while (*at != s) before = *at, at = &(*at)->next;
    *at = s->next;
    if (self->over_last == s) self->over_last = before;
    s->state = GONE;
  }
  pthread_mutex_unlock(&self->lock);
  if (mine) {
    Py_CLEAR(s->owner);
    Py_DECREF((PyObject *)s);
  }
  Py_RETURN_NONE;
}

static PyObject *Sender_fileno(Sender *self, PyObject *unused) { return (void)unused, PyLong_FromLong(self->event_fd); }

static PyObject *Sender_threads(Sender *self, PyObject *unused) {
  (void)unused;
  PyObject *threads = PyList_New(0);
  for (int i = 0; threads && i < HANDS; i++) {
    clockid_t clock;
    struct timespec t = {0, 0};
    if (!self->hands[i].made) continue;
    if (!pthread_getcpuclockid(self->hands[i].thread, &clock)) clock_gettime(clock, &t);
    PyObject *one = Py_BuildValue("(lL)", (long)self->hands[i].id, t.tv_sec * 1000000000LL + t.tv_nsec);
    if (!one || PyList_Append(threads, one) < 0) Py_CLEAR(threads);
    Py_XDECREF(one);
  }
  return threads;
}

static PyMethodDef Sender_methods[] = {
  {"add", (PyCFunction)Sender_add, METH_VARARGS,
   "add(owner, fd, due_ns, gaps_ns, first, first_chunks, last, last_chunks, ends, before, after, pieces, known) -> Stream."},
  {"end", (PyCFunction)Sender_end, METH_VARARGS, "end(stream, ends) -> bool. What to send behind its last token, if it is not too late."},
  {"take", (PyCFunction)Sender_take, METH_NOARGS, "take() -> list of the owners of streams that are over."},
  {"settle", (PyCFunction)Sender_settle, METH_NOARGS, "settle(). `take` then gives every stream whose last byte was sent before."},
  {"remove", (PyCFunction)Sender_remove, METH_O, "remove(stream). It sends nothing more once this returns."},
  {"fileno", (PyCFunction)Sender_fileno, METH_NOARGS, "A descriptor that is readable while `take` has something to give."},
  {"threads", (PyCFunction)Sender_threads, METH_NOARGS, "threads() -> [(number in the kernel, CPU time in ns)]."},
  {"close", (PyCFunction)Sender_close, METH_NOARGS, "End the threads. Streams are dropped."},
  {NULL},
};
static PyType_Slot Sender_slots[] = {{Py_tp_new, Sender_new}, {Py_tp_dealloc, Sender_dealloc}, {Py_tp_methods, Sender_methods},
                                     {0, NULL}};
static PyType_Spec Sender_spec = {"mockserver.native._sender.Sender", sizeof(Sender), 0, Py_TPFLAGS_DEFAULT, Sender_slots};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_sender", "Sends streams on a thread of its own.", -1};

PyMODINIT_FUNC PyInit__sender(void) {
  PyObject *made = PyModule_Create(&module), *type = made ? PyType_FromSpec(&Stream_spec) : NULL;
  if (!type) return NULL;
  stream_type = (PyTypeObject *)type;
  PyObject *sender = PyType_FromSpec(&Sender_spec);
  if (!sender || PyModule_AddObject(made, "SOURCE", PyLong_FromLongLong(SOURCE)) < 0 ||
      PyModule_AddObjectRef(made, "Sender", sender) < 0 || PyModule_AddObjectRef(made, "Stream", type) < 0) return NULL;
  Py_DECREF(sender);
  return made;
}
