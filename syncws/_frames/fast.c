/* The accelerator: the usual case of a message, from the socket to the handler and back, in C.
 *
 * The usual case is a final, unfragmented, uncompressed data frame that is all there. Everything else is left to Python:
 * a function that meets it returns None, or the bytes as they came, and has changed nothing. So no rule of the protocol
 * is decided here, no error of a peer is made here, and each function has a twin in Python that does the same:
 *
 *     here                          its twin
 *     mask, unmask, mask_into       masking.mask, unmask, mask_into
 *     encode                        frame.encode
 *     only                          PureProtocol.only
 *     decode                        the usual case of PureProtocol.next_event
 *     receive                       Transport.receive, then only
 *     send                          frame.encode, then Transport.send as far as its first call of the system
 *
 * The twins are the specification. tests/frames/test_fast.py drives both with the same bytes. accelerator.py decides
 * which of the two is used; where a function is missing here (sockets on Windows), the twin is.
 *
 * Threads: the functions keep nothing between two calls, so any number of threads may be inside at the same time, with
 * the GIL and without. What they read is immutable (bytes), except the buffer of mask_into, which is the caller's alone.
 * The GIL is given away around a call of the system, and around the masking of a large payload; nowhere else.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <string.h>

#ifndef _WIN32
#define HAS_SOCKETS
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>
#endif

/* RFC 6455 section 5.2, as frame.py has it. */
enum { MASKED = 0x80, WHOLE_TEXT = 0x81, WHOLE_BINARY = 0x82, MAX_HEADER = 14 };

/* As in frame.py: from this size on a payload is worth a second buffer rather than a copy. */
enum { LARGE = 1 << 14 };

/* What a small read or frame takes of the stack. It is as little as Intake asks for first and a header: an idle
 * connection blocks here, with no other memory than this, and a stack never gives a page back. */
enum { SMALL = 512 };

/* From this size on the GIL is given away while a payload is masked, which takes some 20 microseconds then: to take it
 * back costs up to ten, if others wait for it. */
enum { WORTH_THE_GIL = 1 << 18 };

typedef unsigned char byte;

/* Of one module. Set once, when it is imported. */
typedef struct {
    PyObject *text, *binary;  /* syncws.errors.TEXT, BINARY */
    PyObject *urandom;        /* os.urandom */
    PyObject *nothing;        /* b"" */
} State;

static State *state_of(PyObject *module) { return (State *)PyModule_GetState(module); }

/* A new reference. Py_RETURN_NONE makes none with the headers of 3.12 and 3.13, where None is immortal: what they build
 * runs on 3.11 too, and would take None away from under it. */
static PyObject *none(void) { return Py_NewRef(Py_None); }

/* --- Arguments */

static int check_count(const char *name, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most)
{
    if (count >= least && count <= most)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s takes %zd to %zd arguments, not %zd", name, least, most, count);
    return -1;
}

/* The read limit; the largest there is for None, and for a number that no length reaches. -1 after an error. */
static Py_ssize_t limit_of(PyObject *object)
{
    int overflow;
    long long limit;
    if (object == Py_None)
        return PY_SSIZE_T_MAX;
    limit = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (limit == -1 && PyErr_Occurred())
        return -1;
    if (overflow > 0 || limit > PY_SSIZE_T_MAX)
        return PY_SSIZE_T_MAX;
    return overflow < 0 || limit < 0 ? 0 : (Py_ssize_t)limit;
}

/* A contiguous buffer of bytes; -1 after an error, and nothing is to be released then. */
static int buffer_of(PyObject *object, Py_buffer *view, int flags) { return PyObject_GetBuffer(object, view, flags); }

/* The four bytes of a mask's key, turned so that they begin at that byte of a payload; -1 after an error. */
static int key_of(PyObject *object, PyObject *offset, byte *key)
{
    char *given;
    Py_ssize_t size, turned = 0;
    if (PyBytes_AsStringAndSize(object, &given, &size) < 0)
        return -1;
    if (size != 4) {
        PyErr_SetString(PyExc_ValueError, "a key has four bytes");
        return -1;
    }
    if (offset != NULL && (turned = PyLong_AsSsize_t(offset)) == -1 && PyErr_Occurred())
        return -1;
    for (int i = 0; i < 4; i++)
        key[i] = (byte)given[(size_t)(turned + i) & 3];
    return 0;
}

/* start and end of a part of something of that size; -1 after an error. */
static int part_of(PyObject *first, PyObject *last, Py_ssize_t size, Py_ssize_t *start, Py_ssize_t *end)
{
    *start = PyLong_AsSsize_t(first);
    if (*start == -1 && PyErr_Occurred())
        return -1;
    *end = PyLong_AsSsize_t(last);
    if (*end == -1 && PyErr_Occurred())
        return -1;
    if (*start < 0 || *end < *start || *end > size) {
        PyErr_SetString(PyExc_ValueError, "start and end are no part of it");
        return -1;
    }
    return 0;
}

/* --- Masking (RFC 6455 section 5.3) */

/* XOR with the key, from one place to another, or in place: by words of eight bytes, which may stand at any address
 * (memcpy makes one instruction of each). Both halves of the word are the key, so the order of bytes does not matter. */
static void apply_mask(byte *to, const byte *from, Py_ssize_t size, const byte *key)
{
    byte twice[8] = {key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]};
    uint64_t mask, words[4];
    Py_ssize_t i = 0;
    memcpy(&mask, twice, 8);
    for (; size - i >= 32; i += 32) {
        memcpy(words, from + i, 32);
        words[0] ^= mask;
        words[1] ^= mask;
        words[2] ^= mask;
        words[3] ^= mask;
        memcpy(to + i, words, 32);
    }
    for (; size - i >= 8; i += 8) {
        memcpy(words, from + i, 8);
        words[0] ^= mask;
        memcpy(to + i, words, 8);
    }
    for (; i < size; i++)
        to[i] = from[i] ^ key[i & 3];
}

/* The same, for whoever holds the GIL; nobody else may change either place meanwhile. */
static void mask_bytes(byte *to, const byte *from, Py_ssize_t size, const byte *key)
{
    if (size < WORTH_THE_GIL) {
        apply_mask(to, from, size, key);
        return;
    }
    Py_BEGIN_ALLOW_THREADS
    apply_mask(to, from, size, key);
    Py_END_ALLOW_THREADS
}

/* New bytes of that size, which are still to be written; where they are is put into *place. */
static PyObject *new_bytes(Py_ssize_t size, byte **place)
{
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, size);
    if (bytes != NULL)
        *place = (byte *)PyBytes_AsString(bytes);
    return bytes;
}

static PyObject *masked_copy(const byte *from, Py_ssize_t size, const byte *key)
{
    byte *place;
    PyObject *copy = new_bytes(size, &place);
    if (copy != NULL)
        mask_bytes(place, from, size, key);
    return copy;
}

/* The twin has an argument more, by name: whether numpy is worth its import. Here it says nothing. */
static PyObject *fast_mask(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names)
{
    byte key[4];
    Py_buffer view;
    PyObject *masked;
    if (check_count("mask", count, 2, 3) < 0 || key_of(args[1], count > 2 ? args[2] : NULL, key) < 0)
        return NULL;
    if (buffer_of(args[0], &view, PyBUF_SIMPLE) < 0)
        return NULL;
    masked = masked_copy(view.buf, view.len, key);
    PyBuffer_Release(&view);
    return masked;
}

static PyObject *fast_unmask(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    char *frame;
    Py_ssize_t size, start, end;
    if (check_count("unmask", count, 3, 3) < 0 || PyBytes_AsStringAndSize(args[0], &frame, &size) < 0)
        return NULL;
    if (part_of(args[1], args[2], size, &start, &end) < 0)
        return NULL;
    if (start < 4) {
        PyErr_SetString(PyExc_ValueError, "there is no key before start");
        return NULL;
    }
    return masked_copy((byte *)frame + start, end - start, (byte *)frame + start - 4);
}

static PyObject *fast_mask_into(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    byte key[4];
    Py_buffer view;
    Py_ssize_t start, end;
    if (check_count("mask_into", count, 4, 5) < 0 || key_of(args[3], count > 4 ? args[4] : NULL, key) < 0)
        return NULL;
    if (buffer_of(args[0], &view, PyBUF_WRITABLE) < 0)
        return NULL;
    if (part_of(args[1], args[2], view.len, &start, &end) < 0) {
        PyBuffer_Release(&view);
        return NULL;
    }
    mask_bytes((byte *)view.buf + start, (byte *)view.buf + start, end - start, key);
    PyBuffer_Release(&view);
    return none();
}

/* --- Frames out */

/* Write a header, without a key; returns its size. */
static Py_ssize_t write_header(byte *to, byte first, Py_ssize_t length, int client)
{
    byte second = client ? MASKED : 0;
    int bytes = length < 126 ? 0 : length < 1 << 16 ? 2 : 8;
    to[0] = first;
    to[1] = (byte)(second | (bytes == 0 ? length : bytes == 2 ? 126 : 127));
    for (int i = 0; i < bytes; i++)
        to[2 + i] = (byte)((uint64_t)length >> 8 * (bytes - 1 - i));
    return 2 + bytes;
}

/* A key from the system's random source, fresh for each frame (RFC 6455 section 5.3); -1 after an error. It is asked
 * each time, as the twin does: keys that are kept would have to be thrown away in the child of a fork. */
static int fresh_key(State *state, byte *key)
{
    char *random;
    Py_ssize_t size;
    PyObject *bytes = PyObject_CallFunction(state->urandom, "i", 4);
    if (bytes == NULL)
        return -1;
    if (PyBytes_AsStringAndSize(bytes, &random, &size) < 0 || size != 4) {
        Py_DECREF(bytes);
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "os.urandom gave no four bytes");
        return -1;
    }
    memcpy(key, random, 4);
    Py_DECREF(bytes);
    return 0;
}

/* What encode and send are given: first byte, payload, client. -1 after an error. */
static int frame_of(PyObject *const *args, byte *first, char **payload, Py_ssize_t *length, int *client)
{
    long number = PyLong_AsLong(args[0]);
    if (number == -1 && PyErr_Occurred())
        return -1;
    if (number < 0 || number > 0xFF) {
        PyErr_SetString(PyExc_ValueError, "first is no byte");
        return -1;
    }
    *first = (byte)number;
    *client = PyObject_IsTrue(args[2]);
    return *client < 0 ? -1 : PyBytes_AsStringAndSize(args[1], payload, length);
}

static PyObject *fast_encode(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    byte first, header[MAX_HEADER], *place;
    char *payload;
    Py_ssize_t length, size;
    int client;
    PyObject *head, *body, *both;
    if (check_count("encode", count, 3, 3) < 0 || frame_of(args, &first, &payload, &length, &client) < 0)
        return NULL;
    size = write_header(header, first, length, client);
    if (client) {
        if (fresh_key(state, header + size) < 0)
            return NULL;
        size += 4;
    }
    if (length < LARGE) {
        if ((head = new_bytes(size + length, &place)) == NULL)
            return NULL;
        memcpy(place, header, size);
        if (client)
            apply_mask(place + size, (byte *)payload, length, header + size - 4);
        else
            memcpy(place + size, payload, length);
        body = Py_NewRef(state->nothing);
    } else {
        if ((head = PyBytes_FromStringAndSize((char *)header, size)) == NULL)
            return NULL;
        body = client ? masked_copy((byte *)payload, length, header + size - 4) : Py_NewRef(args[1]);
    }
    both = body == NULL ? NULL : PyTuple_Pack(2, head, body);
    Py_DECREF(head);
    Py_XDECREF(body);
    return both;
}

/* --- Frames in */

typedef struct {
    Py_ssize_t body, end; /* where its payload is */
    int text;
    const byte *key;      /* NULL for a frame of a server */
} Frame;

/* Whether the bytes begin with a message in one frame that is all there, is not compressed, breaks no rule that its
 * header shows, and keeps to the limit. The lines are those of PureProtocol.next_event. */
static int is_whole(const byte *data, Py_ssize_t arrived, int mask_bit, Py_ssize_t limit, Frame *frame)
{
    uint64_t length;
    Py_ssize_t body = mask_bit ? 6 : 2;
    if (arrived < body || (data[0] != WHOLE_TEXT && data[0] != WHOLE_BINARY) || (data[1] & MASKED) != mask_bit)
        return 0;
    length = data[1] & 0x7F;
    if (length > 125) {
        int size = length == 126 ? 2 : 8;
        body += size;
        if (arrived < body)
            return 0;
        length = 0;
        for (int i = 0; i < size; i++)
            length = length << 8 | data[2 + i];
        if (length < (size == 2 ? 126 : 1 << 16)) /* is_minimal; what has the sign bit is longer than what came */
            return 0;
    }
    if (length > (uint64_t)(arrived - body) || length > (uint64_t)limit)
        return 0;
    frame->body = body;
    frame->end = body + (Py_ssize_t)length;
    frame->text = data[0] == WHOLE_TEXT;
    frame->key = mask_bit ? data + body - 4 : NULL;
    return 1;
}

/* The event (TEXT, str) or (BINARY, bytes) of a payload that is unmasked. Py_None for text that is not UTF-8. */
static PyObject *event_of(State *state, const byte *payload, Py_ssize_t length, int text)
{
    PyObject *event, *data;
    if (!text) {
        data = PyBytes_FromStringAndSize((const char *)payload, length);
    } else {
        data = PyUnicode_DecodeUTF8((const char *)payload, length, NULL);
        if (data == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
            PyErr_Clear();
            return none();
        }
    }
    if (data == NULL)
        return NULL;
    event = PyTuple_Pack(2, text ? state->text : state->binary, data);
    Py_DECREF(data);
    return event;
}

/* As event_of, of a frame in bytes that must not change; with raw, text comes as bytes, once it was found to be UTF-8. */
static PyObject *event_in(State *state, const byte *data, const Frame *frame, int raw)
{
    const byte *payload = data + frame->body;
    byte small[SMALL];
    Py_ssize_t length = frame->end - frame->body;
    PyObject *copy = NULL, *event;
    if (frame->key == NULL && !raw)
        return event_of(state, payload, length, frame->text);
    if (frame->text && !raw && length <= SMALL) {
        apply_mask(small, payload, length, frame->key);
        return event_of(state, small, length, 1);
    }
    copy = frame->key == NULL ? PyBytes_FromStringAndSize((const char *)payload, length)
                              : masked_copy(payload, length, frame->key);
    if (copy == NULL)
        return NULL;
    if (!frame->text) {
        event = PyTuple_Pack(2, state->binary, copy);
    } else {
        event = event_of(state, (byte *)PyBytes_AsString(copy), length, 1);
        if (event != NULL && event != Py_None && raw) {
            Py_DECREF(event);
            event = PyTuple_Pack(2, state->text, copy);
        }
    }
    Py_DECREF(copy);
    return event;
}

static PyObject *fast_only(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    char *data;
    Py_ssize_t arrived, limit;
    long mask_bit;
    Frame frame;
    if (check_count("only", count, 3, 3) < 0 || PyBytes_AsStringAndSize(args[0], &data, &arrived) < 0)
        return NULL;
    if (((mask_bit = PyLong_AsLong(args[1])) == -1 && PyErr_Occurred()) || (limit = limit_of(args[2])) < 0)
        return NULL;
    if (!is_whole((byte *)data, arrived, mask_bit == MASKED ? MASKED : 0, limit, &frame) || frame.end != arrived ||
        frame.end - frame.body >= 1 << 16)
        return none();
    return event_in(state_of(module), (byte *)data, &frame, 0);
}

static PyObject *fast_decode(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    char *data;
    Py_ssize_t arrived, start, limit;
    long mask_bit;
    int raw;
    Frame frame;
    PyObject *event, *end, *both;
    if (check_count("decode", count, 5, 5) < 0 || PyBytes_AsStringAndSize(args[0], &data, &arrived) < 0)
        return NULL;
    if (((start = PyLong_AsSsize_t(args[1])) == -1 && PyErr_Occurred()) ||
        ((mask_bit = PyLong_AsLong(args[2])) == -1 && PyErr_Occurred()) || (limit = limit_of(args[3])) < 0 ||
        (raw = PyObject_IsTrue(args[4])) < 0)
        return NULL;
    if (start < 0 || start > arrived ||
        !is_whole((byte *)data + start, arrived - start, mask_bit == MASKED ? MASKED : 0, limit, &frame))
        return none();
    event = event_in(state_of(module), (byte *)data + start, &frame, raw);
    if (event == NULL || event == Py_None)
        return event;
    end = PyLong_FromSsize_t(start + frame.end);
    both = end == NULL ? NULL : PyTuple_Pack(2, event, end);
    Py_DECREF(event);
    Py_XDECREF(end);
    return both;
}

#ifdef HAS_SOCKETS

/* --- The socket */

/* Mark the exception that is set, as interrupts.spare does: it came before anything was received. */
static void spare_exception(void)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (error != NULL && PyObject_SetAttrString(error, "_syncws_spared", Py_True) < 0)
        PyErr_Clear();
    PyErr_Restore(type, error, traceback);
}

/* recv, until there is an answer: the number of bytes; -1 where nothing came in time; -2 after an error. A signal whose
 * handler returns makes the wait start again, as Python's own sockets do it. */
static Py_ssize_t receive_bytes(int fd, byte *to, size_t size)
{
    Py_ssize_t came;
    for (;;) {
        int error;
        Py_BEGIN_ALLOW_THREADS
        came = recv(fd, to, size, 0);
        error = errno;
        Py_END_ALLOW_THREADS
        if (came >= 0)
            return came;
        if (error == EAGAIN || error == EWOULDBLOCK)
            return -1;
        if (error != EINTR) {
            errno = error;
            PyErr_SetFromErrno(PyExc_OSError);
            return -2;
        }
        if (PyErr_CheckSignals() < 0) {
            spare_exception();
            return -2;
        }
    }
}

/* The event of what came, if that is one frame, whole and nothing else; else Py_None. It is unmasked in place, and
 * masked again where it is no text after all. */
static PyObject *event_from(State *state, byte *data, Py_ssize_t came, int mask_bit, Py_ssize_t limit)
{
    Frame frame;
    PyObject *event;
    if (!is_whole(data, came, mask_bit, limit, &frame) || frame.end != came)
        return none();
    if (frame.key != NULL)
        mask_bytes(data + frame.body, data + frame.body, came - frame.body, frame.key);
    event = event_of(state, data + frame.body, came - frame.body, frame.text);
    if (event == Py_None && frame.key != NULL)
        mask_bytes(data + frame.body, data + frame.body, came - frame.body, frame.key);
    return event;
}

/* receive(fd, size, mask_bit, limit): an event; or the bytes that came; None where nothing came in time.
 *
 * A read that is full gives its bytes in any case: the caller counts such reads. */
static PyObject *fast_receive(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    byte small[SMALL], *data = small;
    Py_ssize_t size, limit, came;
    int fd;
    long mask_bit;
    PyObject *large = NULL, *event = NULL;
    if (check_count("receive", count, 4, 4) < 0)
        return NULL;
    if (((fd = (int)PyLong_AsLong(args[0])) == -1 && PyErr_Occurred()) ||
        ((size = PyLong_AsSsize_t(args[1])) == -1 && PyErr_Occurred()) ||
        ((mask_bit = PyLong_AsLong(args[2])) == -1 && PyErr_Occurred()) || (limit = limit_of(args[3])) < 0)
        return NULL;
    if (size < 0) {
        PyErr_SetString(PyExc_ValueError, "size is negative");
        return NULL;
    }
    if (size > SMALL && (large = new_bytes(size, &data)) == NULL)
        return NULL;
    came = receive_bytes(fd, data, (size_t)size);
    if (came == -1)
        event = Py_NewRef(Py_None);
    else if (came >= 0 && came < size)
        event = event_from(state_of(module), data, came, mask_bit == MASKED ? MASKED : 0, limit);
    if (came >= 0 && (came == size || event == Py_None)) {
        Py_XDECREF(event);
        event = large != NULL && came == size ? Py_NewRef(large) : PyBytes_FromStringAndSize((char *)data, came);
    }
    Py_XDECREF(large);
    return event;
}

/* send or sendmsg, until there is an answer: the number of bytes that the kernel took, 0 where it has no room; -1 after
 * an error. */
static Py_ssize_t send_bytes(int fd, int flags, struct iovec *parts, int count)
{
    struct msghdr message = {0};
    Py_ssize_t taken;
    message.msg_iov = parts;
    message.msg_iovlen = count;
    for (;;) {
        int error;
        Py_BEGIN_ALLOW_THREADS
        taken = count == 1 ? send(fd, parts[0].iov_base, parts[0].iov_len, flags) : sendmsg(fd, &message, flags);
        error = errno;
        Py_END_ALLOW_THREADS
        if (taken >= 0)
            return taken;
        if (error == EAGAIN || error == EWOULDBLOCK)
            return 0;
        if (error != EINTR) {
            errno = error;
            PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        if (PyErr_CheckSignals() < 0)
            return -1;
    }
}

/* send(fd, flags, first, payload, client): how many bytes the frame has, once the kernel has taken all of them; else
 * (how many it took, head, body), where head and body are those that encode would have given. */
static PyObject *fast_send(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = state_of(module);
    byte first, small[SMALL], *place;
    char *payload;
    Py_ssize_t length, size, taken;
    int fd, client, parts = 1;
    long flags;
    struct iovec frame[2];
    PyObject *head = NULL, *answer = NULL;
    if (check_count("send", count, 5, 5) < 0 || frame_of(args + 2, &first, &payload, &length, &client) < 0)
        return NULL;
    if (((fd = (int)PyLong_AsLong(args[0])) == -1 && PyErr_Occurred()) ||
        ((flags = PyLong_AsLong(args[1])) == -1 && PyErr_Occurred()))
        return NULL;
    size = write_header(small, first, length, client);
    frame[0].iov_base = small;
    if (client) {
        if (fresh_key(state, small + size) < 0)
            return NULL;
        size += 4;
        if (size + length > SMALL) {
            if ((head = new_bytes(size + length, &place)) == NULL)
                return NULL;
            memcpy(place, small, size);
            frame[0].iov_base = place;
        }
        mask_bytes((byte *)frame[0].iov_base + size, (byte *)payload, length, small + size - 4);
        size += length;
    } else if (size + length <= SMALL) {
        memcpy(small + size, payload, length);
        size += length;
    } else {
        frame[1].iov_base = payload;
        frame[1].iov_len = length;
        parts = 2;
    }
    frame[0].iov_len = size;
    taken = send_bytes(fd, (int)flags, frame, parts);
    if (taken >= 0) {
        Py_ssize_t total = size + (parts == 2 ? length : 0);
        if (taken == total) {
            answer = PyLong_FromSsize_t(total);
        } else {
            if (head == NULL)
                head = PyBytes_FromStringAndSize(frame[0].iov_base, size);
            answer = Py_BuildValue("nOO", taken, head, parts == 2 ? args[3] : state->nothing);
        }
    }
    Py_XDECREF(head);
    return answer;
}

#endif /* HAS_SOCKETS */

/* --- The module */

#define METHOD(name, doc) {#name, (PyCFunction)(void (*)(void))fast_##name, METH_FASTCALL, doc}
#define METHOD_WITH_NAMES(name, doc) {#name, (PyCFunction)(void (*)(void))fast_##name, METH_FASTCALL | METH_KEYWORDS, doc}

static PyMethodDef methods[] = {
    METHOD_WITH_NAMES(mask, "As masking.mask."),
    METHOD(unmask, "As masking.unmask."),
    METHOD(mask_into, "As masking.mask_into."),
    METHOD(encode, "As frame.encode."),
    METHOD(only, "As PureProtocol.only, with mask bit and limit as arguments."),
    METHOD(decode, "(event, where the next frame begins) of a message that begins at start; None: PureProtocol knows."),
#ifdef HAS_SOCKETS
    METHOD(receive, "Receive once: an event, or the bytes that came; None where nothing came in time."),
    METHOD(send, "Encode a frame and send it once: its size, or (bytes taken, head, body) where not all has left."),
#endif
    {NULL, NULL, 0, NULL},
};

/* Put module.name into *place. */
static int import_name(PyObject **place, const char *module, const char *name)
{
    PyObject *imported = PyImport_ImportModule(module);
    if (imported == NULL)
        return -1;
    *place = PyObject_GetAttrString(imported, name);
    Py_DECREF(imported);
    return *place == NULL ? -1 : 0;
}

static int set_up(PyObject *module)
{
    State *state = state_of(module);
    if (import_name(&state->text, "syncws.errors", "TEXT") < 0 ||
        import_name(&state->binary, "syncws.errors", "BINARY") < 0 || import_name(&state->urandom, "os", "urandom") < 0)
        return -1;
    state->nothing = PyBytes_FromStringAndSize(NULL, 0);
    return state->nothing == NULL ? -1 : 0;
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = state_of(module);
    if (state == NULL)
        return 0;
    Py_VISIT(state->text);
    Py_VISIT(state->binary);
    Py_VISIT(state->urandom);
    return 0;
}

static int clear(PyObject *module)
{
    State *state = state_of(module);
    if (state == NULL)
        return 0;
    Py_CLEAR(state->text);
    Py_CLEAR(state->binary);
    Py_CLEAR(state->urandom);
    Py_CLEAR(state->nothing);
    return 0;
}

static void release(void *module) { clear((PyObject *)module); }

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)set_up},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_fast", "The accelerator: see fast.c.", sizeof(State), methods, slots, traverse, clear, release,
};

PyMODINIT_FUNC PyInit__fast(void) { return PyModuleDef_Init(&definition); }
