/* soft_copy.c - the copy and fill engine: every copy is a box of rows and planes between two sides.
 *
 * What a side names is checked twice: at the call, where a bad range is CUDA_ERROR_INVALID_VALUE as the driver answers,
 * and when the copy runs, where memory that has gone meanwhile is CUDA_ERROR_ILLEGAL_ADDRESS of the context.
 * While it runs, both sides are pinned against unmapping. */
#include <sys/mman.h>
#include "soft_internal.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

enum {
	LIGHT_BYTES = 64 << 10,   /* up to here a copy runs at once on the calling thread when its stream is idle */
	AHEAD_BYTES = 256 << 10,  /* from here rows have their pages made present in one call before they are touched */
	CLEAR_PAGES_MIN = 1 << 20,
};

struct copy_op {
	struct soft_op op;
	struct soft_side dst, src;
	uint64_t width, height, depth;
	uint8_t staged[];            /* pageable source of an asynchronous copy, taken at the call */
};

/* Bytes from a side's first to its last byte; false when that does not fit in an address space. */
static bool side_extent(const struct soft_side *s, uint64_t width, uint64_t height, uint64_t depth, uint64_t *len)
{
	uint64_t rows, planes, sum;
	return !__builtin_mul_overflow(s->pitch, height - 1, &rows) &&
	       !__builtin_mul_overflow(s->slice, depth - 1, &planes) && !__builtin_add_overflow(rows, planes, &sum) &&
	       !__builtin_add_overflow(sum, width, len) && *len <= UINT64_MAX - s->addr;
}

CUresult soft_side_linear(uint64_t addr, uint64_t len, bool write, bool must_device, struct soft_side *out)
{
	*out = (struct soft_side){ .addr = addr, .pitch = len, .slice = len, .device = true };
	if (soft_range_at(addr))
		return soft_range_ok(addr, len, write) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
	if (must_device || !addr || len > UINT64_MAX - addr || soft_span_at(addr))
		return CUDA_ERROR_INVALID_VALUE;
	out->device = false;
	return CUDA_SUCCESS;
}

/* One call instead of a fault per page; where the system knows no such call, the faults do it. */
static void present(uint64_t addr, uint64_t len, bool write)
{
	uint64_t page = soft_host_page(), first = addr & ~(page - 1);
	if (len >= AHEAD_BYTES)
		madvise((void *)first, (addr + len + page - 1 - first) & ~(page - 1),
			write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
}

static void move_row(uint64_t dst, uint64_t src, uint64_t n)
{
	present(src, n, false);
	present(dst, n, true);
	memmove((void *)dst, (const void *)src, n);
}

static void move(const struct copy_op *c)
{
	uint64_t row = c->width, height = c->height, depth = c->depth;
	/* Rows that follow each other on both sides are one long row, planes likewise. */
	if (height > 1 && c->dst.pitch == row && c->src.pitch == row) {
		row *= height;
		height = 1;
	}
	if (height == 1 && depth > 1 && c->dst.slice == row && c->src.slice == row) {
		row *= depth;
		depth = 1;
	}
	for (uint64_t z = 0; z < depth; z++)
		for (uint64_t y = 0; y < height; y++)
			move_row(c->dst.addr + z * c->dst.slice + y * c->dst.pitch,
				c->src.addr + z * c->src.slice + y * c->src.pitch, row);
}

static CUresult run_copy(struct soft_op *op, struct soft_stream *s)
{
	(void)s;
	struct copy_op *c = (struct copy_op *)op;
	const struct soft_side *sides[] = { &c->dst, &c->src };
	struct soft_pin pin[2];
	uint64_t len[2];
	bool ok = true;
	soft_lock();
	for (int i = 0; i < 2; i++)
		ok = ok && side_extent(sides[i], c->width, c->height, c->depth, &len[i]) &&
			(!sides[i]->device || soft_range_ok(sides[i]->addr, len[i], i == 0));
	for (int i = 0; i < 2 && ok; i++)
		soft_pin(&pin[i], sides[i]->addr, len[i]);
	soft_unlock();
	if (!ok)
		return CUDA_ERROR_ILLEGAL_ADDRESS;
	move(c);
	soft_lock();
	soft_unpin(&pin[0]);
	soft_unpin(&pin[1]);
	soft_progress();
	soft_unlock();
	return CUDA_SUCCESS;
}

static void release_copy(struct soft_op *op)
{
	struct copy_op *c = (struct copy_op *)op;
	if (c->dst.array)
		soft_unref(&c->dst.array->obj);
	if (c->src.array)
		soft_unref(&c->src.array->obj);
}

/* Checks both sides over the whole box; refers to the arrays. */
static CUresult new_copy(struct soft_side dst, struct soft_side src, uint64_t width, uint64_t height, uint64_t depth,
	uint64_t stage, struct copy_op **out)
{
	uint64_t dst_len, src_len;
	if (!side_extent(&dst, width, height, depth, &dst_len) || !side_extent(&src, width, height, depth, &src_len))
		return CUDA_ERROR_INVALID_VALUE;
	if ((dst.device && !soft_range_ok(dst.addr, dst_len, true)) ||
	    (src.device && !soft_range_ok(src.addr, src_len, false)))
		return CUDA_ERROR_INVALID_VALUE;
	struct copy_op *c = soft_op_new(sizeof *c + stage, run_copy, release_copy);
	if (!c)
		return CUDA_ERROR_OUT_OF_MEMORY;
	c->dst = dst;
	c->src = src;
	c->width = width;
	c->height = height;
	c->depth = depth;
	if (dst.array)
		soft_ref(&dst.array->obj);
	if (src.array)
		soft_ref(&src.array->obj);
	c->op.light = width * height * depth <= LIGHT_BYTES;
	*out = c;
	return CUDA_SUCCESS;
}

CUresult soft_copy_op(struct soft_side dst, struct soft_side src, uint64_t width, uint64_t height, uint64_t depth,
	struct soft_op **out)
{
	struct copy_op *c;
	CUresult r = new_copy(dst, src, width, height, depth, 0, &c);
	if (!r)
		*out = &c->op;
	return r;
}

static void describe_side(const struct soft_side *s, CUmemorytype *type, const void **host, CUdeviceptr *device,
	CUarray *array, size_t *pitch)
{
	*type = s->array ? CU_MEMORYTYPE_ARRAY : s->device ? CU_MEMORYTYPE_UNIFIED : CU_MEMORYTYPE_HOST;
	*array = (CUarray)s->array;
	*host = !s->array && !s->device ? (const void *)s->addr : NULL;
	*device = !s->array && s->device ? s->addr : 0;
	*pitch = s->array ? 0 : s->pitch;
}

void soft_copy_describe(const struct soft_op *op, CUDA_MEMCPY3D *p)
{
	const struct copy_op *c = (const struct copy_op *)op;
	const void *host;
	*p = (CUDA_MEMCPY3D){ .WidthInBytes = c->width, .Height = c->height, .Depth = c->depth };
	describe_side(&c->dst, &p->dstMemoryType, &host, &p->dstDevice, &p->dstArray, &p->dstPitch);
	p->dstHost = (void *)(uintptr_t)host;
	p->dstHeight = c->dst.pitch ? c->dst.slice / c->dst.pitch : 0;
	describe_side(&c->src, &p->srcMemoryType, &p->srcHost, &p->srcDevice, &p->srcArray, &p->srcPitch);
	p->srcHeight = c->src.pitch ? c->src.slice / c->src.pitch : 0;
}

/* Host memory in the sense of the synchronisation rules. */
static bool on_host(const struct soft_side *s)
{
	struct soft_range *r = s->device ? soft_range_at(s->addr) : NULL;
	return !r || soft_is_host(r->type) || r->type == SOFT_R_MANAGED;
}

static bool wants_sync(const struct soft_side *s)
{
	struct soft_range *r = s->device ? soft_range_at(s->addr) : NULL;
	return r && r->sync_memops;
}

CUresult soft_copy(struct soft_stream *s, struct soft_side dst, struct soft_side src, uint64_t width, uint64_t height,
	uint64_t depth, bool async)
{
	if (!width || !height || !depth)
		return CUDA_SUCCESS;
	CUresult r = async ? CUDA_SUCCESS : soft_capture_forbid(s->ctx, s);
	if (r)
		return r;
	bool capturing = soft_capturing(s);
	/* A pageable source may be reused once the call returns: small ones are taken along, larger ones waited for. */
	bool stage =
		async && !capturing && !src.device && dst.device && height == 1 && depth == 1 && width <= LIGHT_BYTES;
	struct copy_op *c;
	r = new_copy(dst, src, width, height, depth, stage ? width : 0, &c);
	if (r)
		return r;
	if (capturing)
		return soft_capture_op(s, &c->op, CU_GRAPH_NODE_TYPE_MEMCPY);
	if (stage) {
		memcpy(c->staged, (const void *)src.addr, width);
		c->src.addr = (uint64_t)(uintptr_t)c->staged;
	}
	bool wait = async ? !dst.device || (!src.device && !stage) : on_host(&dst) || on_host(&src);
	if (wait || wants_sync(&dst) || wants_sync(&src))
		return soft_submit_wait(s, &c->op);
	return soft_submit(s, &c->op);
}

/* --- boxes as the API describes them --- */

struct half {
	CUmemorytype type;
	const void *host;
	CUdeviceptr device;
	CUarray array;
	uint64_t pitch, height, x, y, z;
	bool lod;
};

static CUresult array_side(const struct half *h, uint64_t width, uint64_t height, uint64_t depth, struct soft_side *out)
{
	struct soft_array *a = soft_obj_find(SOFT_ARRAY, h->array);
	if (!a)
		return CUDA_ERROR_INVALID_HANDLE;
	uint64_t rows = a->desc.Height ? a->desc.Height : 1, planes = a->planes,
		 row = (uint64_t)a->desc.Width * a->elem;
	if (h->x % a->elem || width % a->elem || h->x > row || width > row - h->x || h->y > rows ||
	    height > rows - h->y || h->z > planes || depth > planes - h->z)
		return CUDA_ERROR_INVALID_VALUE;
	*out = (struct soft_side){ .pitch = a->pitch, .slice = a->slice, .device = true, .array = a,
		.addr = a->mem->e.base + h->z * a->slice + h->y * a->pitch + h->x };
	return CUDA_SUCCESS;
}

static CUresult half_side(const struct half *h, uint64_t width, uint64_t height, uint64_t depth, bool write,
	struct soft_side *out)
{
	if (h->lod)
		return CUDA_ERROR_INVALID_VALUE;
	if (h->type == CU_MEMORYTYPE_ARRAY)
		return array_side(h, width, height, depth, out);
	if (h->type < CU_MEMORYTYPE_HOST || h->type > CU_MEMORYTYPE_UNIFIED)
		return CUDA_ERROR_INVALID_VALUE;
	bool host = h->type == CU_MEMORYTYPE_HOST;
	uint64_t base = host ? (uint64_t)(uintptr_t)h->host : h->device;
	uint64_t line, skip_y, skip_z, slice, addr;
	if (__builtin_add_overflow(h->x, width, &line))
		return CUDA_ERROR_INVALID_VALUE;
	uint64_t pitch = h->pitch ? h->pitch : line;
	uint64_t lines = h->height ? h->height : h->y + height;
	if (pitch < line || (depth > 1 && lines < height) || __builtin_mul_overflow(pitch, lines, &slice) ||
			__builtin_mul_overflow(pitch, h->y, &skip_y) || __builtin_mul_overflow(slice, h->z, &skip_z) ||
			__builtin_add_overflow(base, h->x, &addr) || __builtin_add_overflow(addr, skip_y, &addr) ||
			__builtin_add_overflow(addr, skip_z, &addr))
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = soft_side_linear(addr, width, write, h->type == CU_MEMORYTYPE_DEVICE, out);
	out->pitch = pitch;
	out->slice = slice;
	return r;
}

CUresult soft_copy_3d(const CUDA_MEMCPY3D *p, struct soft_side *dst, struct soft_side *src)
{
	struct half d = { p->dstMemoryType, p->dstHost, p->dstDevice, p->dstArray, p->dstPitch, p->dstHeight,
		p->dstXInBytes, p->dstY, p->dstZ, p->dstLOD != 0 };
	struct half s = { p->srcMemoryType, p->srcHost, p->srcDevice, p->srcArray, p->srcPitch, p->srcHeight,
		p->srcXInBytes, p->srcY, p->srcZ, p->srcLOD != 0 };
	CUresult r = half_side(&d, p->WidthInBytes, p->Height, p->Depth, true, dst);
	return r ? r : half_side(&s, p->WidthInBytes, p->Height, p->Depth, false, src);
}

/* --- fills --- */

struct fill_op {
	struct soft_op op;
	uint64_t dst, pitch, width, height; /* width in elements */
	uint32_t value;
	unsigned elem;
};

/* Large clears give the pages back instead of writing them: device memory is a memory file, whose holes read as zeros.
 * How many bytes from row on are zero afterwards. */
static uint64_t clear_pages(uint8_t *row, uint64_t bytes)
{
	uint64_t page = soft_host_page();
	if (bytes < CLEAR_PAGES_MIN || (uintptr_t)row % page)
		return 0;
	uint64_t whole = bytes / page * page;
	return madvise(row, whole, MADV_REMOVE) ? 0 : whole;
}

static void fill_row(uint8_t *row, const struct fill_op *f)
{
	uint64_t bytes = f->width * f->elem;
	uint32_t v = f->value;
	bool uniform = f->elem == 1 || (f->elem == 2 && (v & 0xff) == (v >> 8 & 0xff)) ||
		(f->elem == 4 && v == (v & 0xff) * 0x01010101u);
	if (uniform) {
		uint64_t done = v ? 0 : clear_pages(row, bytes);
		present((uint64_t)(uintptr_t)row + done, bytes - done, true);
		memset(row + done, (int)(v & 0xff), bytes - done);
		return;
	}
	uint64_t done = f->elem;
	present((uint64_t)(uintptr_t)row, bytes, true);
	memcpy(row, &v, f->elem);
	for (; done < bytes && done < 4096; done *= 2)
		memcpy(row + done, row, done < bytes - done ? done : bytes - done);
	for (; done < bytes; done += 4096)
		memcpy(row + done, row, bytes - done < 4096 ? bytes - done : 4096);
}

static CUresult run_fill(struct soft_op *op, struct soft_stream *s)
{
	(void)s;
	struct fill_op *f = (struct fill_op *)op;
	struct soft_pin pin;
	uint64_t len = (f->height - 1) * f->pitch + f->width * f->elem;
	soft_lock();
	bool ok = soft_range_ok(f->dst, len, true);
	if (ok)
		soft_pin(&pin, f->dst, len);
	soft_unlock();
	if (!ok)
		return CUDA_ERROR_ILLEGAL_ADDRESS;
	for (uint64_t y = 0; y < f->height; y++)
		fill_row((uint8_t *)(f->dst + y * f->pitch), f);
	soft_lock();
	soft_unpin(&pin);
	soft_progress();
	soft_unlock();
	return CUDA_SUCCESS;
}

CUresult soft_memset_op(uint64_t dst, uint64_t pitch, unsigned elem, uint32_t value, uint64_t width, uint64_t height,
	struct soft_op **out)
{
	uint64_t row, rows, len;
	if (__builtin_mul_overflow(width, (uint64_t)elem, &row) || dst % elem ||
	    (height > 1 && (pitch < row || pitch % elem)))
		return CUDA_ERROR_INVALID_VALUE;
	if (__builtin_mul_overflow(height - 1, pitch, &rows) || __builtin_add_overflow(rows, row, &len) ||
			!soft_range_ok(dst, len, true))
		return CUDA_ERROR_INVALID_VALUE;
	struct fill_op *f = soft_op_new(sizeof *f, run_fill, NULL);
	if (!f)
		return CUDA_ERROR_OUT_OF_MEMORY;
	f->dst = dst;
	f->pitch = pitch;
	f->width = width;
	f->height = height;
	f->value = value;
	f->elem = elem;
	f->op.light = row * height <= LIGHT_BYTES;
	*out = &f->op;
	return CUDA_SUCCESS;
}

void soft_memset_describe(const struct soft_op *op, CUDA_MEMSET_NODE_PARAMS *p)
{
	const struct fill_op *f = (const struct fill_op *)op;
	*p = (CUDA_MEMSET_NODE_PARAMS){ .dst = f->dst, .pitch = f->pitch, .value = f->value, .elementSize = f->elem,
		.width = f->width, .height = f->height };
}
