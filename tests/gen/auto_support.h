/* auto_support.h - what the generated tests of auto functions stand on: a session with one live object of each kind, a
 * client without a
 * worker (messages go straight through the permit table), a driver that records.  Included once, by
 * build/gen/tests/auto_test.c. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/client/client.h"
#include "calls.h"

#define WINDOW_BASE    0x200000000000ull
#define WINDOW_END     (WINDOW_BASE + (1ull << 20))
#define SAMPLE_ADDRESS (WINDOW_BASE + 0x1000)
#define SAMPLE(kind)   ((void *)(uintptr_t)sample_id(AG_K_##kind))
#define NEVER(name, params, ...) CUresult name params { __VA_ARGS__; abort(); }
#define HOOK(name, params, ...) CUresult name params { __VA_ARGS__; return CUDA_SUCCESS; }

struct object { bool live; uint32_t gen; void *real; };
struct session { struct object v[AG_K_COUNT][256]; };

static struct session fake;
static struct ag_driver driver;
static int variant, calls, failures;
static bool strict, with_null, failed;
static const char *test_name;
static uint16_t test_op;
static uint32_t test_fixed;
static ag_id freed_id;

/* --- reporting ---------------------------------------------------------------------------------- */

static void expect(bool ok, const char *what)
{
	if (!ok && !failed) {
		printf("not ok auto_%s: %s (variant %d)\n", test_name, what, variant);
		failed = true;
		failures++;
	}
}

static void begin(const char *name, uint16_t op, uint32_t fixed)
{
	test_name = name;
	test_op = op;
	test_fixed = fixed;
	failed = false;
}

static void end(void)
{
	if (!failed)
		printf("ok auto_%s\n", test_name);
}

/* --- the session ---------------------------------------------------------------------------------- */

static ag_id sample_id(enum ag_kind kind)
{
	return AG_ID(kind, 3, 1);
}

static void *real_of(enum ag_kind kind)
{
	return (void *)(uintptr_t)(0x1000 + 16 * kind);
}

static void set_up(void)
{
	memset(&fake, 0, sizeof fake);
	for (int k = 1; k < AG_K_COUNT; k++)
		fake.v[k][1] = (struct object){ true, 3, real_of((enum ag_kind)k) };
	freed_id = 0;
}

static const struct object *object_at(const struct session *s, enum ag_kind kind, ag_id id)
{
	uint32_t i = AG_ID_INDEX(id);
	return AG_ID_KIND(id) == (unsigned)kind && i < 256 ? &s->v[kind][i] : NULL;
}

bool session_has(const struct session *s, enum ag_kind kind, ag_id id)
{
	const struct object *o = object_at(s, kind, id);
	return o && o->live && o->gen == AG_ID_GEN(id);
}

bool session_id_free(const struct session *s, enum ag_kind kind, ag_id id)
{
	const struct object *o = object_at(s, kind, id);
	return o && !o->live && AG_ID_GEN(id) > o->gen;
}

void *session_get(const struct session *s, enum ag_kind kind, ag_id id)
{
	return session_has(s, kind, id) ? object_at(s, kind, id)->real : NULL;
}

CUresult session_put(struct session *s, enum ag_kind kind, ag_id id, void *real)
{
	if (!session_id_free(s, kind, id))
		return CUDA_ERROR_INVALID_HANDLE;
	*(struct object *)object_at(s, kind, id) = (struct object){ true, AG_ID_GEN(id), real };
	return CUDA_SUCCESS;
}

void session_drop(struct session *s, enum ag_kind kind, ag_id id)
{
	if (session_has(s, kind, id))
		((struct object *)object_at(s, kind, id))->live = false;
}

ag_id session_find(const struct session *s, enum ag_kind kind, const void *real)
{
	for (uint32_t i = 0; i < 256; i++)
		if (s->v[kind][i].live && s->v[kind][i].real == real)
			return AG_ID(kind, s->v[kind][i].gen, i);
	return 0;
}

bool session_covers(const struct session *s, uint64_t addr, uint64_t bytes)
{
	(void)s;
	return addr >= WINDOW_BASE && addr <= WINDOW_END && bytes <= WINDOW_END - addr;
}

bool session_covers_host(const struct session *s, uint64_t addr, uint64_t bytes)
{
	return session_covers(s, addr, bytes);
}

bool session_stream_ok(const struct session *s, ag_id stream)
{
	return !stream || session_has(s, AG_K_STREAM, stream);
}

CUstream session_stream(struct session *s, ag_id stream)
{
	(void)s, (void)stream;
	return (CUstream)0x77;
}

const struct ag_driver *session_driver(const struct session *s)
{
	(void)s;
	return &driver;
}

HOOK(graph_room, (struct session *s, uint64_t units), (void)s, (void)units)
HOOK(graph_room_copy, (struct session *s, ag_id graph), (void)s, (void)graph)
HOOK(graph_room_child, (struct session *s, ag_id graph, uint64_t edges), (void)s, (void)graph, (void)edges)
HOOK(graph_room_exec, (struct session *s, ag_id graph), (void)s, (void)graph)

/* --- the client ------------------------------------------------------------------------------------ */

static uint8_t *begun, *sent;            /* the message being built, a copy of the last one sent */
static uint32_t begun_bytes, sent_bytes;
static uint32_t next_index;

CUresult agc_current(void) { return CUDA_SUCCESS; }
void agc_graph_shares(ag_id owner, ag_id from) { (void)owner, (void)from; }
void agc_graph_gone(ag_id owner) { (void)owner; }
CUresult agc_error(void) { return CUDA_ERROR_NOT_INITIALIZED; }
void agc_log(const char *fmt, ...) { (void)fmt; }
void agc_id_free(ag_id id) { freed_id = id; }

bool agc_stream(CUstream s, ag_id *wire)
{
	*wire = (ag_id)(uintptr_t)s;
	return true;
}

ag_id agc_id_new(enum ag_kind kind, void *state)
{
	(void)state;
	next_index = (next_index + 1) % 200;
	return AG_ID(kind, 9, 10 + next_index);
}

/* Exactly the bytes asked for, so that the sanitizer sees an encoder that writes more. */
void *agc_begin(uint16_t op, uint32_t fixed, uint32_t tail)
{
	begun_bytes = fixed + ((tail + 7) & ~7u);
	begun = malloc(begun_bytes);
	memset(begun, 0xee, begun_bytes);
	*(struct ag_head *)begun = (struct ag_head){ begun_bytes, op, AG_NO_SLOT, 0, tail };
	return begun;
}

static CUresult act(const uint8_t *msg, uint32_t fixed, uint32_t tail, void *rep, struct ag_out *out)
{
	const struct permit *p = &permit_table[((const struct ag_head *)msg)->op];
	CUresult r = p->check(&fake, msg, msg + fixed, tail);
	return r ? r : p->invoke(&fake, msg, msg + fixed, tail, rep, out);
}

static CUresult send_begun(void *msg, void *rep, struct ag_out *out)
{
	free(sent);
	sent = begun;
	sent_bytes = begun_bytes;
	begun = NULL;
	expect(msg == sent, "another message was sent than begun");
	expect(((struct ag_head *)sent)->op == test_op, "the message has another operation");
	return act(sent, test_fixed, sent_bytes - test_fixed, rep, out);
}

CUresult agc_post(void *msg)
{
	expect(!permit_table[test_op].call, "a call was posted");
	return send_begun(msg, NULL, NULL);
}

CUresult agc_call(void *msg, void *rep, uint32_t rep_bytes, void *tail, uint32_t *tail_bytes)
{
	static _Alignas(16) uint8_t answer[AG_REPLY_BYTES];
	struct ag_out out = { answer + permit_table[test_op].rep, AG_REPLY_BYTES - permit_table[test_op].rep, 0 };
	expect(permit_table[test_op].call && permit_table[test_op].rep == rep_bytes, "the reply has another size");
	CUresult r = send_begun(msg, answer, &out);
	if (!r && rep_bytes)
		memcpy(rep, answer, rep_bytes);
	if (!r && tail_bytes) {
		expect(out.len <= *tail_bytes, "the reply is too long");
		memcpy(tail, out.tail, out.len);
		*tail_bytes = out.len;
	}
	return r;
}

/* --- judging changed messages ---------------------------------------------------------------------- */

static uint8_t *changed;

static void *copy_of_sent(void)
{
	free(changed);
	changed = malloc(sent_bytes);
	memcpy(changed, sent, sent_bytes);
	return changed;
}

static void judge(CUresult want, const char *what)
{
	CUresult r = permit_table[test_op].check(&fake, changed, changed + test_fixed, sent_bytes - test_fixed);
	if (r != want && !failed)
		printf("# got %d, not %d\n", (int)r, (int)want);
	expect(r == want, what);
}

/* Every shorter tail, and a longer one, is malformed. */
static void truncated(void)
{
	set_up();
	uint32_t tail = sent_bytes - test_fixed;
	for (uint32_t n = 0; n <= tail + 8; n++) {
		if (n == tail)
			continue;
		uint8_t *exact = malloc(test_fixed + n);
		memset(exact, 0, test_fixed + n);
		memcpy(exact, sent, test_fixed + (n < tail ? n : tail));
		CUresult r = permit_table[test_op].check(&fake, exact, exact + test_fixed, n);
		expect(r == (CUresult)AG_MALFORMED, n < tail ? "a truncated message passes"
			: "a message with a longer tail passes");
		free(exact);
	}
}

/* Whatever a client sends: a verdict, and what passes can be acted on.  The sanitizers watch. */
static void corrupted(void)
{
	static _Alignas(16) uint8_t answer[AG_REPLY_BYTES];
	uint64_t seed = 88172645463325252ull + test_op;
	for (int round = 0; round < 2000; round++) {
		set_up();
		copy_of_sent();
		for (int flips = 1 + round % 4; flips > 0; flips--) {
			seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
			if (sent_bytes > sizeof(struct ag_head))
				changed[sizeof(struct ag_head) + seed % (sent_bytes - sizeof(struct ag_head))] ^=
					(uint8_t)(seed >> 40);
		}
		struct ag_out out = { answer + 4096, AG_REPLY_BYTES - 4096, 0 };
		act(changed, test_fixed, sent_bytes - test_fixed, answer, &out);
	}
}

static CUresult fake_device(CUdevice *dev)
{
	*dev = 5;
	return CUDA_SUCCESS;
}

static CUresult fake_context(CUcontext *ctx)
{
	*ctx = (CUcontext)0xc0;
	return CUDA_SUCCESS;
}

static void start(void)
{
	driver = ag_driver_none;
	driver.cuCtxGetDevice = fake_device;
	driver.cuCtxGetCurrent = fake_context;
}
