/* memory.c - grants, copies and fills.  Every address a client names is proved to lie in its window before the driver
 * sees it; sizes are added and multiplied with overflow checks.  Host memory here is the window's: registered, at the
 * same address for the GPU. */
#include <string.h>
#include <sys/socket.h>
#include "msg.h"
#include "limits.h"
#include "worker_calls.h"

/* --- grants ------------------------------------------------------------------------------------- */

static bool drain(void *arg, unsigned ms) { return streams_drain(arg, ms); }

static void account(struct session *s)
{
	struct window_stats st = window_stats(s->win);

	s->device_bytes = st.device_bytes;
	s->host_bytes = st.host_bytes;
}

/* The new chunk's descriptor travels before the reply. The client reads its socket when it asked for host memory; one
 * that does not loses its session. */
static bool send_host_fd(struct session *s, uint64_t addr, uint64_t bytes, int fd)
{
	struct ag_hostfd body = { { addr, bytes } };
	struct iovec iov = { &body, sizeof body };
	union {
		struct cmsghdr h;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr mh = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.room
	};

	memset(&control, 0, sizeof control);
	struct cmsghdr *c = CMSG_FIRSTHDR(&mh);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	return sendmsg(s->sock, &mh, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof body;
}

CUresult check_grant(const struct session *s, const struct msg_grant *m, const void *tail, uint32_t ntail)
{
	(void)s, (void)tail, (void)ntail;
	if (m->host > 1)
		return AG_MALFORMED;
	return m->bytes ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult invoke_grant(struct session *s, const struct msg_grant *m, const void *tail, uint32_t ntail,
                      struct rep_grant *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)out;
	int fd = -1;

	if (!limit_grant(s, m->bytes, m->host)) {
		session_log(s, "its limit of memory is reached");
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	CUresult r = window_grant(s->win, m->bytes, m->host, drain, s, &rep->addr, &rep->bytes, &fd);

	account(s);
	if (!r && m->host)
		s->host_chunks++;
	else if (!r && !limit_device(s, 0)) { /* rounded up to more: nothing has seen it yet */
		r = window_giveback(s->win, rep->addr, rep->bytes, NULL, NULL);
		account(s);
		return r ? r : CUDA_ERROR_OUT_OF_MEMORY;
	}
	if (!r && m->host && !send_host_fd(s, rep->addr, rep->bytes, fd)) {
		session_log(s, "cannot pass host memory over the socket");
		s->hangup = 1;
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	return r;
}

CUresult check_giveback(const struct session *s, const struct msg_giveback *m, const void *tail, uint32_t ntail)
{
	(void)tail, (void)ntail;
	return session_covers(s, m->addr, m->bytes) && m->bytes ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult invoke_giveback(struct session *s, const struct msg_giveback *m, const void *tail, uint32_t ntail, void *rep,
                         struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	CUresult r = window_giveback(s->win, m->addr, m->bytes, drain, s);

	account(s);
	return r;
}

CUresult check_meminfo(const struct session *s, const struct msg_meminfo *m, const void *tail, uint32_t ntail)
{
	(void)s, (void)m, (void)tail, (void)ntail;
	return CUDA_SUCCESS;
}

CUresult invoke_meminfo(struct session *s, const struct msg_meminfo *m, const void *tail, uint32_t ntail,
                        struct rep_meminfo *rep, struct ag_out *out)
{
	(void)m, (void)tail, (void)ntail, (void)out;
	size_t avail = 0, total = 0;
	CUresult r = s->d->cuMemGetInfo_v2(&avail, &total);

	rep->free = avail;
	rep->total = total;
	limit_meminfo(s, &rep->free, &rep->total);
	return r;
}

/* --- linear copies and fills ----------------------------------------------------------------------- */

CUresult check_copy(const struct session *s, const struct msg_copy *m, const void *tail, uint32_t ntail)
{
	(void)tail, (void)ntail;
	if (!session_stream_ok(s, m->stream))
		return CUDA_ERROR_INVALID_HANDLE;
	if (!session_covers(s, m->dst, m->bytes) || !session_covers(s, m->src, m->bytes))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

CUresult invoke_copy(struct session *s, const struct msg_copy *m, const void *tail, uint32_t ntail, void *rep,
                     struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	struct stream *st = stream_find(s, m->stream);
	CUresult r = stream_order(s, st);

	if (r || !m->bytes)
		return r;
	return s->d->cuMemcpyAsync(m->dst, m->src, m->bytes, st->real);
}

CUresult check_set(const struct session *s, const struct msg_set *m, const void *tail, uint32_t ntail)
{
	uint64_t row, rest, all;

	(void)tail, (void)ntail;
	if (!session_stream_ok(s, m->stream))
		return CUDA_ERROR_INVALID_HANDLE;
	if ((m->elem != 1 && m->elem != 2 && m->elem != 4) || m->dst % m->elem)
		return CUDA_ERROR_INVALID_VALUE;
	if (!m->width || !m->height)
		return CUDA_SUCCESS;
	if (__builtin_mul_overflow(m->width, m->elem, &row) || __builtin_mul_overflow(m->pitch, m->height - 1, &rest) ||
	    __builtin_add_overflow(row, rest, &all))
		return CUDA_ERROR_INVALID_VALUE;
	if (m->height > 1 && (m->pitch < row || m->pitch % m->elem))
		return CUDA_ERROR_INVALID_VALUE;
	return session_covers(s, m->dst, all) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult invoke_set(struct session *s, const struct msg_set *m, const void *tail, uint32_t ntail, void *rep,
                    struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	const struct ag_driver *d = s->d;
	struct stream *st = stream_find(s, m->stream);
	CUresult r = stream_order(s, st);

	if (r || !m->width || !m->height)
		return r;
	if (m->height == 1) {
		switch (m->elem) {
		case 1: return d->cuMemsetD8Async(m->dst, (unsigned char)m->value, m->width, st->real);
		case 2: return d->cuMemsetD16Async(m->dst, (unsigned short)m->value, m->width, st->real);
		default: return d->cuMemsetD32Async(m->dst, m->value, m->width, st->real);
		}
	}
	switch (m->elem) {
	case 1: return d->cuMemsetD2D8Async(m->dst, m->pitch, (unsigned char)m->value, m->width, m->height, st->real);
	case 2: return d->cuMemsetD2D16Async(m->dst, m->pitch, (unsigned short)m->value, m->width, m->height, st->real);
	default: return d->cuMemsetD2D32Async(m->dst, m->pitch, m->value, m->width, m->height, st->real);
	}
}

/* --- 3-D copies ---------------------------------------------------------------------------------------- */

/* One side of a copy. */
struct side {
	uint64_t at, x, y, z, lod, pitch, height;
	bool array;
};

static struct side side_of(const struct msg_copy3d *m, bool dst)
{
	if (dst)
		return (struct side){ m->dst,     m->dst_x,     m->dst_y,      m->dst_z,
			              m->dst_lod, m->dst_pitch, m->dst_height, m->dst_is_array };
	return (struct side){ m->src,     m->src_x,     m->src_y,      m->src_z,
		              m->src_lod, m->src_pitch, m->src_height, m->src_is_array };
}

/* First and one-past-last byte of the box, as offsets from `at`. false: they do not fit 64 bits. */
static bool box(const struct side *e, const struct msg_copy3d *m, uint64_t *first, uint64_t *end)
{
	uint64_t rows, slice, z, y, last_row, last_z;

	if (__builtin_mul_overflow(e->pitch, e->height, &slice) || __builtin_mul_overflow(slice, e->z, &z) ||
	    __builtin_mul_overflow(e->pitch, e->y, &y) || __builtin_add_overflow(z, y, &rows) ||
	    __builtin_add_overflow(rows, e->x, first))
		return false;
	if (__builtin_mul_overflow(e->pitch, m->height - 1, &last_row) ||
	    __builtin_mul_overflow(slice, m->depth - 1, &last_z) || __builtin_add_overflow(*first, last_row, end) ||
	    __builtin_add_overflow(*end, last_z, end) || __builtin_add_overflow(*end, m->width, end))
		return false;
	return true;
}

static CUresult check_side(const struct session *s, const struct msg_copy3d *m, bool dst)
{
	struct side e = side_of(m, dst);
	uint64_t first, end, at;

	if (e.lod)
		return CUDA_ERROR_INVALID_VALUE;
	if (e.array) /* the driver knows an array's size and checks the box against it */
		return session_has(s, AG_K_ARRAY, e.at) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
	bool rows = m->height > 1 || m->depth > 1 || e.y || e.z;
	if (rows && (e.pitch < e.x || e.pitch - e.x < m->width))
		return CUDA_ERROR_INVALID_VALUE;
	if ((m->depth > 1 || e.z) && (e.height < e.y || e.height - e.y < m->height))
		return CUDA_ERROR_INVALID_VALUE;
	if (!box(&e, m, &first, &end) || __builtin_add_overflow(e.at, first, &at))
		return CUDA_ERROR_INVALID_VALUE;
	return session_covers(s, at, end - first) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult check_copy3d(const struct session *s, const struct msg_copy3d *m, const void *tail, uint32_t ntail)
{
	(void)tail, (void)ntail;
	if (m->dst_is_array > 1 || m->src_is_array > 1)
		return AG_MALFORMED;
	if (!session_stream_ok(s, m->stream))
		return CUDA_ERROR_INVALID_HANDLE;
	if (!m->width || !m->height || !m->depth)
		return CUDA_SUCCESS;
	CUresult r = check_side(s, m, true);
	return r ? r : check_side(s, m, false);
}

CUresult invoke_copy3d(struct session *s, const struct msg_copy3d *m, const void *tail, uint32_t ntail, void *rep,
                       struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	struct stream *st = stream_find(s, m->stream);
	CUresult r = stream_order(s, st);
	CUDA_MEMCPY3D c;

	if (r || !m->width || !m->height || !m->depth)
		return r;
	memset(&c, 0, sizeof c);
	c.srcXInBytes = m->src_x;
	c.srcY = m->src_y;
	c.srcZ = m->src_z;
	c.srcMemoryType = m->src_is_array ? CU_MEMORYTYPE_ARRAY : CU_MEMORYTYPE_UNIFIED;
	if (m->src_is_array)
		c.srcArray = session_get(s, AG_K_ARRAY, m->src);
	else
		c.srcDevice = m->src;
	c.srcPitch = m->src_pitch;
	c.srcHeight = m->src_height;
	c.dstXInBytes = m->dst_x;
	c.dstY = m->dst_y;
	c.dstZ = m->dst_z;
	c.dstMemoryType = m->dst_is_array ? CU_MEMORYTYPE_ARRAY : CU_MEMORYTYPE_UNIFIED;
	if (m->dst_is_array)
		c.dstArray = session_get(s, AG_K_ARRAY, m->dst);
	else
		c.dstDevice = m->dst;
	c.dstPitch = m->dst_pitch;
	c.dstHeight = m->dst_height;
	c.WidthInBytes = m->width;
	c.Height = m->height;
	c.Depth = m->depth;
	return s->d->cuMemcpy3DAsync_v2(&c, st->real);
}
