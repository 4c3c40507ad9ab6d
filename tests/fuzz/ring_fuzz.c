/* ring_fuzz.c - hostile rings over the whole of the worker's service, on the recording driver.
 *
 * Rings are filled with messages that are nearly right: operations and sizes of the permit table, ids and addresses
 * that are often good, then bits flipped.  Whatever comes, the driver must never see an address outside the session's
 * window or a parameter block of another size than the kernel's, and nothing may be left behind; ASan and UBSan watch
 * the rest.  Deterministic: `ring_fuzz SEED SECONDS` takes others. The canary build (FUZZ_CANARY) lets one address
 * check in 64 pass; it must die, or the fuzzer does not bite. */
#include <stdlib.h>
#include <time.h>
#include "tests/worker/fake.h"
#include "tests/test.h"
#include "worker/module.h"

static uint64_t state = 88172645463325252ull;

static uint32_t rnd(uint32_t n)
{
	return (uint32_t)(test_random(&state) >> 33) % n;
}

static void broken(const char *what)
{
	fprintf(stderr, "ring_fuzz: %s\n", what);
	abort();
}

/* --- the driver looks --------------------------------------------------------------------------------- */

static struct session *s;

static void inside(uint64_t addr, uint64_t bytes)
{
	const struct window *w = s->win;
	uint64_t base = window_base(w);

	if (addr < base || bytes > window_extent(w) || addr - base > window_extent(w) - bytes)
		broken("the driver was given an address outside the window");
}

static CUresult see_copy(CUdeviceptr d, CUdeviceptr q, size_t n, CUstream st)
{
	(void)st;
	inside(d, n);
	inside(q, n);
	return CUDA_SUCCESS;
}

static CUresult see_set(CUdeviceptr d, unsigned char v, size_t n, CUstream st)
{
	(void)v, (void)st;
	inside(d, n);
	return CUDA_SUCCESS;
}

static CUresult see_set2d(CUdeviceptr d, size_t pitch, unsigned v, size_t w, size_t h, CUstream st)
{
	(void)v, (void)st;
	inside(d, (h - 1) * pitch + w * 4);
	return CUDA_SUCCESS;
}

static void see_side(CUmemorytype type, CUdeviceptr p, size_t pitch, size_t height, size_t x, size_t y, size_t z,
                     const CUDA_MEMCPY3D *c)
{
	if (type != CU_MEMORYTYPE_ARRAY)
		inside(p + (z * height + y) * pitch + x,
		       ((c->Depth - 1) * height + c->Height - 1) * pitch + c->WidthInBytes);
}

static CUresult see_copy3d(const CUDA_MEMCPY3D *c, CUstream st)
{
	(void)st;
	see_side(c->srcMemoryType, c->srcDevice, c->srcPitch, c->srcHeight, c->srcXInBytes, c->srcY, c->srcZ, c);
	see_side(c->dstMemoryType, c->dstDevice, c->dstPitch, c->dstHeight, c->dstXInBytes, c->dstY, c->dstZ, c);
	return CUDA_SUCCESS;
}

static CUresult see_write(CUstream st, CUdeviceptr p, cuuint64_t v, unsigned f)
{
	(void)st, (void)v, (void)f;
	inside(p, 8);
	return CUDA_SUCCESS;
}

static CUresult see_launch(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                           unsigned shared, CUstream st, void **params, void **extra)
{
	(void)gx, (void)gy, (void)gz, (void)bx, (void)by, (void)bz, (void)st, (void)params;
	size_t want = (uintptr_t)f == 1 ? 12 : 16;
	if (extra[0] != CU_LAUNCH_PARAM_BUFFER_POINTER || *(size_t *)extra[3] != want)
		broken("a kernel was given a parameter block of another size");
	if ((uintptr_t)f == 2 && (shared < 32 || shared % 16))
		broken("a kernel was launched with less shared memory than its guard relies on");
	return CUDA_SUCCESS;
}

static CUresult see_launch_ex(const CUlaunchConfig *c, CUfunction f, void **params, void **extra)
{
	return see_launch(f, 1, 1, 1, 1, 1, 1, c->sharedMemBytes, c->hStream, params, extra);
}

static CUresult load(CUmodule *m, const void *image)
{
	(void)image;
	*m = (CUmodule)1;
	return CUDA_SUCCESS;
}

static CUresult unload(CUmodule m)
{
	(void)m;
	return CUDA_SUCCESS;
}
static CUresult function(CUfunction *f, CUmodule m, const char *name)
{
	(void)m;
	*f = (CUfunction)(uintptr_t)(name[1] - '0' + 1);
	return CUDA_SUCCESS;
}

static CUresult global(CUdeviceptr *p, size_t *n, CUmodule m, const char *name)
{
	(void)m, (void)name;
	*p = window_base(s->win) + 4096; /* somewhere that see_copy lets pass */
	*n = 128;
	return CUDA_SUCCESS;
}

static CUresult attribute(int *v, CUfunction_attribute a, CUfunction f)
{
	(void)a, (void)f;
	*v = 1;
	return CUDA_SUCCESS;
}
static CUresult set_attribute(CUfunction f, CUfunction_attribute a, int v)
{
	(void)f, (void)a, (void)v;
	return CUDA_SUCCESS;
}

static void look(struct ag_driver *d)
{
	d->cuMemcpyAsync = see_copy;
	d->cuMemsetD8Async = see_set;
	d->cuMemsetD2D32Async = see_set2d;
	d->cuMemcpy3DAsync_v2 = see_copy3d;
	d->cuStreamWriteValue64_v2 = see_write;
	d->cuLaunchKernel = see_launch;
	d->cuLaunchKernelEx = see_launch_ex;
	d->cuModuleLoadData = load;
	d->cuModuleUnload = unload;
	d->cuModuleGetFunction = function;
	d->cuModuleGetGlobal_v2 = global;
	d->cuFuncGetAttribute = attribute;
	d->cuFuncSetAttribute = set_attribute;
}

/* One module for whoever asks: a plain kernel, and one with a hidden parameter and shared memory. */
struct prepared *__wrap_prepared_get(struct session *s, const struct guard_input *in, uint32_t n, bool wide,
                                     char why[512]);
void __wrap_prepared_put(struct prepared *p);
struct prepared *__wrap_prepared_get(struct session *s, const struct guard_input *in, uint32_t n, bool wide,
                                     char why[512])
{
	static const uint32_t off[] = { 0, 8 }, size[] = { 8, 4 };
	static struct guard_kernel kernels[] = {
		{ .name = "plain",
		  .index = 0,
		  .nparams = 2,
		  .param_bytes = 12,
		  .param_offset = off,
		  .param_size = size },
		{ .name = "grid",
		  .index = 1,
		  .nparams = 1,
		  .param_bytes = 5,
		  .param_offset = off,
		  .param_size = size,
		  .hidden_coop = true },
	};
	static struct verify_kernel facts[] = {
		{ .index = 0, .param_bytes = 12 },
		{ .index = 1, .param_bytes = 16, .hidden_coop = true, .uses_dyn_shared = true, .min_dyn_shared = 32 }
	};
	static uint8_t image[64];
	static struct guard_symbol symbols[] = { { "v", 0, 64, false, false } };
	static struct prepared p = { .result = { .kernels = kernels,
		                                 .nkernels = 2,
		                                 .symbols = symbols,
		                                 .nsymbols = 1,
		                                 .data = image,
		                                 .data_init = 64,
		                                 .data_bytes = 256,
		                                 .cimage = image,
		                                 .const_bytes = 64 },
		                     .verdict = { .ok = true, .nkernels = 2, .kernels = facts, .const_bytes = 64 } };
	uint32_t sum = 0;

	(void)s, (void)wide;
	for (uint32_t i = 0; i < n; i++) /* the text must be readable from end to end */
		for (size_t j = 0; j < in[i].len; j++)
			sum += (uint8_t)in[i].text[j];
	strcpy(why, "refused");
	return sum % 5 == 1 ? NULL : &p;
}

void __wrap_prepared_put(struct prepared *p) { (void)p; }

#ifdef FUZZ_CANARY
bool __real_session_covers(const struct session *q, uint64_t addr, uint64_t bytes);
bool __wrap_session_covers(const struct session *q, uint64_t addr, uint64_t bytes);
bool __wrap_session_covers(const struct session *q, uint64_t addr, uint64_t bytes)
{
	return __real_session_covers(q, addr, bytes) || rnd(64) == 0;
}
#endif

/* --- messages ------------------------------------------------------------------------------------------- */

static uint64_t number(void)
{
	static const uint64_t edges[] = { 0,          1,          8,          255,        4096,       1 << 20,
		                          0xffffffff, 1ull << 32, 1ull << 40, 1ull << 63, UINT64_MAX, UINT64_MAX - 7 };
	uint64_t host = fake_word(s, 0), size = window_stats(s->win).host_bytes;

	switch (rnd(24)) {
	case 0: return edges[rnd(sizeof edges / sizeof *edges)];
	case 1: return host + size - rnd(64);
	case 2: return window_base(s->win) + ((uint64_t)rnd(1u << 30) << rnd(12));
	case 3: return AG_ID(1 + rnd(AG_K_COUNT - 1), 1 + rnd(3), rnd(4));
	case 4: return AG_ID(AG_K_STREAM, 1 + rnd(2), rnd(4));
	case 5: return AG_ID(AG_K_MODULE, 1 + rnd(2), rnd(2));
	case 6: return AG_ID(AG_K_EVENT, 1 + rnd(2), rnd(4));
	case 7: return rnd(1000);
	default: return host + (uint64_t)rnd((uint32_t)size / 2) / 256 * 256;
	}
}

/* Ids as a client would choose them, most of the time: the next generation of an index for a creation, a live one else.
 */
static uint32_t generation[AG_K_COUNT][4];

static uint64_t some_id(enum ag_kind kind, bool fresh)
{
	uint32_t i = rnd(4);

	return AG_ID(kind, fresh ? ++generation[kind][i] : generation[kind][i] - (rnd(30) == 0), i);
}

static void good_fields(uint16_t op, const struct permit *p, uint8_t *at)
{
	uint64_t *first = (uint64_t *)(at + 16);

	if (p && p->stream_off >= 0) {
		uint64_t id = rnd(3) ? some_id(AG_K_STREAM, false) : 0;
		memcpy(at + p->stream_off, &id, 8);
	}
	switch (op) {
	case AG_OP_stream_create: *first = some_id(AG_K_STREAM, true); break;
	case AG_OP_event_create: *first = some_id(AG_K_EVENT, true); break;
	case AG_OP_module_prepare: *first = some_id(AG_K_MODULE, true); break;
	case AG_OP_stream_destroy: *first = some_id(AG_K_STREAM, false); break;
	case AG_OP_event_destroy:
	case AG_OP_event_record: *first = some_id(AG_K_EVENT, false); break;
	case AG_OP_stream_wait: first[1] = some_id(AG_K_EVENT, false); break;
	case AG_OP_module_load:
	case AG_OP_module_unload:
	case AG_OP_const_copy:
	case AG_OP_func_attr_set:
	case AG_OP_occupancy: *first = some_id(AG_K_MODULE, false); break;
	case AG_OP_launch:
		*first = some_id(AG_K_MODULE, false);
		((struct msg_launch *)at)->kernel = rnd(3);
		((struct msg_launch *)at)->flags = rnd(2);
		break;
	case AG_OP_hostfunc:
		((struct msg_hostfunc *)at)->word = fake_word(s, rnd(100)),
		                      ((struct msg_hostfunc *)at)->ticket = 1 + rnd(20);
		break;
	case AG_OP_hostfunc_done: *first = 1 + rnd(20); break;
	case AG_OP_signal: *first = fake_word(s, rnd(100)); break;
	default: break;
	}
	if (op == AG_OP_event_record)
		((struct msg_event_record *)at)->word = rnd(2) ? fake_word(s, rnd(100)) : 0;
	if (op == AG_OP_copy3d) {
		struct msg_copy3d *m = (struct msg_copy3d *)at;
		uint64_t *small[] = { &m->dst_x, &m->dst_y, &m->dst_z,  &m->src_x, &m->src_y,
			              &m->src_z, &m->width, &m->height, &m->depth };
		m->dst_is_array = rnd(20) == 0;
		m->src_is_array = rnd(20) == 0;
		for (size_t i = 0; i < sizeof small / sizeof *small; i++)
			*small[i] = rnd(4) ? rnd(40) : *small[i];
		m->dst_lod = m->src_lod = 0;
		m->dst_pitch = rnd(4) ? rnd(8000) : m->dst_pitch;
		m->src_pitch = rnd(4) ? rnd(8000) : m->src_pitch;
		m->dst_height = rnd(4) ? rnd(200) : m->dst_height;
		m->src_height = rnd(4) ? rnd(200) : m->src_height;
	}
	if (op == AG_OP_grant) {
		((struct msg_grant *)at)->bytes %= rnd(20) ? 4u << 20 : 1u << 30;
		((struct msg_grant *)at)->host = 0;
	}
}

static uint32_t put(uint8_t *at, uint32_t room)
{
	static const uint16_t favourites[] = { AG_OP_copy,       AG_OP_copy3d,         AG_OP_set,
		                               AG_OP_launch,     AG_OP_module_prepare, AG_OP_module_load,
		                               AG_OP_signal,     AG_OP_stream_create,  AG_OP_event_record,
		                               AG_OP_hostfunc,   AG_OP_hostfunc_done,  AG_OP_stream_wait,
		                               AG_OP_const_copy, AG_OP_grant };
	uint16_t op =
	        rnd(30) ? favourites[rnd(sizeof favourites / sizeof *favourites)] : (uint16_t)rnd(permit_count + 1);
	const struct permit *p = op < permit_count ? permit_table + op : NULL;
	uint32_t fixed = p && p->fixed ? p->fixed : 16, tail = p && p->has_tail ? rnd(40) : 0;
	uint32_t bytes = (fixed + tail + 7) & ~7u;

	if (op == AG_OP_launch)
		tail = rnd(4) ? (rnd(2) ? 12 : 5) : tail, bytes = (fixed + tail + 7) & ~7u;
	if (bytes > room)
		return 0;
	for (uint32_t i = 16; i + 8 <= bytes; i += 8) {
		uint64_t v = number();
		memcpy(at + i, &v, 8);
	}
	for (uint32_t i = 16; i + 4 <= bytes; i += 4) /* small fields: flags, counts */
		if (rnd(4) == 0)
			memset(at + i, 0, 4);
	if (rnd(50))
		good_fields(op, p, at);
	if (op == AG_OP_module_prepare && rnd(8)) { /* one that fits */
		struct msg_module_prepare *m = (struct msg_module_prepare *)at;
		uint64_t len = rnd(300);
		m->text = fake_word(s, 0);
		m->bytes = 8 + len;
		m->pieces = 1;
		m->out = fake_word(s, 4096);
		m->out_bytes = 4096;
		memcpy((void *)m->text, &len, 8);
	}
	struct ag_head h = { bytes, op, AG_NO_SLOT, rnd(100), tail };
	if (p && p->call)
		h.slot = (uint16_t)rnd(AG_SLOTS);
	memcpy(at, &h, sizeof h);
	if (rnd(400) == 0)
		at[rnd(bytes)] ^= (uint8_t)(1 << rnd(8));
	return bytes;
}

static void fill_ring(void)
{
	uint8_t *ring = (uint8_t *)s->ring.base;
	uint32_t n = 0, count = 1 + rnd(40);

	/* Each ring starts at its beginning; what the pages hold from before stays. */
	s->ring.tail = 0;
	for (uint32_t i = 0; i < count && n < 65536; i++)
		n += put(ring + n, 65536 - n);
	s->shm->head = rnd(500) ? n : n + rnd(100);
}

/* The canary ends as soon as its bug is found. */
#ifdef FUZZ_CANARY
#define SECONDS 30
#else
#define SECONDS 3
#endif

int main(int argc, char **argv)
{
	uint64_t rings = 0, messages = 0, ended = 0;
	double seconds = argc > 2 ? atof(argv[2]) : SECONDS; /* of processor time: a busy machine tests as much */
	struct timespec a, b;
	const char *why;

	if (argc > 1)
		state ^= strtoull(argv[1], NULL, 0) * 0x9e3779b97f4a7c15ull;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	do {
		s = fake_session(rnd(3));
		look(&the_worker.driver);
		memset(generation, 0, sizeof generation);
		bool alive = true;
		for (int r = 0; r < 200 && alive; r++, rings++) {
			enum ring_result got;
			fill_ring();
			/* Seldom: a grant waits for busy streams. */
			fake_busy = rnd(64) ? 0 : rnd(1u << 30) & ~1u;
			s->hangup = fake_busy != 0; /* nothing waits for streams that stay busy */
			while (alive && (got = ring_next(&s->ring, &why)) == RING_MESSAGE) {
				alive = serve_message(s, s->ring.msg);
				messages++;
			}
			alive = alive && got != RING_BAD;
			fake_log[0] = 0;
		}
		ended += !alive;
		the_worker.dead = 0;
		fake_end(s);
		if (fake_streams || fake_events)
			broken("streams or events are left behind");
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	} while ((b.tv_sec - a.tv_sec) + (b.tv_nsec - a.tv_nsec) * 1e-9 < seconds);
	fprintf(stderr, "ring_fuzz: %llu rings, %llu messages, %llu sessions ended\n", (unsigned long long)rings,
	        (unsigned long long)messages, (unsigned long long)ended);
	fake_case("ring_fuzz.run", messages > 1000 && ended > 10 ? NULL : "too few messages");
	return fake_bad;
}
