/* objects.c - what creating and destroying an object means beyond the driver's call, for the handlers generated from
 * api/cuda.lua.
 *
 * Arrays are scrubbed before the program sees them: the driver gives freed memory to the next asker as it was.  Nothing
 * is destroyed under running work of the same session, and no object that another one reads: the context is everyone's,
 * a fault in it ends them all. Ids of nodes go with their graph: the driver's pointers behind them die with it.
 */
#include <stdlib.h>
#include <string.h>
#include "limits.h"
#include "worker_calls.h"

#define SCRUB_BYTES (1u << 20)

/* --- arrays ------------------------------------------------------------------------------------------ */

static size_t element_bytes(const CUDA_ARRAY3D_DESCRIPTOR *a)
{
	switch (a->Format) {
	case CU_AD_FORMAT_UNSIGNED_INT8:
	case CU_AD_FORMAT_SIGNED_INT8: return a->NumChannels;
	case CU_AD_FORMAT_UNSIGNED_INT16:
	case CU_AD_FORMAT_SIGNED_INT16:
	case CU_AD_FORMAT_HALF: return 2 * a->NumChannels;
	case CU_AD_FORMAT_UNSIGNED_INT32:
	case CU_AD_FORMAT_SIGNED_INT32:
	case CU_AD_FORMAT_FLOAT: return 4 * a->NumChannels;
	default: return 0;
	}
}

/* What an array counts for against the session's limit. */
static uint64_t array_bytes(const struct session *s, CUarray real)
{
	CUDA_ARRAY3D_DESCRIPTOR a;

	if (s->d->cuArray3DGetDescriptor_v2(&a, real))
		return 0;
	return (uint64_t)a.Width * (a.Height ? a.Height : 1) * (a.Depth ? a.Depth : 1) * element_bytes(&a);
}

static void forget_bytes(struct session *s, CUarray real)
{
	uint64_t bytes = array_bytes(s, real), had = s->array_bytes;

	s->array_bytes = bytes < had ? had - bytes : 0;
}

/* Zeroes a fresh array by copies from a block of zero rows, on a stream that has no work of the client's: that might
 * never end.  Formats whose size is not known here cannot be scrubbed:
 * not supported. */
CUresult object_array_scrub(struct session *s, ag_id id, CUarray real)
{
	CUDA_ARRAY3D_DESCRIPTOR a;
	CUresult r = s->d->cuArray3DGetDescriptor_v2(&a, real);

	(void)id;
	arrays_sweep(s);
	if (!r && !limit_device(s, array_bytes(s, real)))
		r = CUDA_ERROR_OUT_OF_MEMORY;
	if (!r)
		r = session_loader(s);
	size_t row = r ? 0 : a.Width * element_bytes(&a);
	if (r || !row)
		return r ? r : CUDA_ERROR_NOT_SUPPORTED;
	size_t height = a.Height ? a.Height : 1, depth = a.Depth ? a.Depth : 1;
	size_t rows = row >= SCRUB_BYTES ? 1 : SCRUB_BYTES / row;
	if (rows > height)
		rows = height;
	uint8_t *zero = calloc(rows, row);
	if (!zero)
		return CUDA_ERROR_OUT_OF_MEMORY;
	CUDA_MEMCPY3D c = { .srcMemoryType = CU_MEMORYTYPE_HOST,
		            .srcHost = zero,
		            .srcPitch = row,
		            .srcHeight = rows,
		            .dstMemoryType = CU_MEMORYTYPE_ARRAY,
		            .dstArray = real,
		            .WidthInBytes = row,
		            .Depth = 1 };
	for (c.dstZ = 0; !r && c.dstZ < depth; c.dstZ++) {
		for (c.dstY = 0; !r && c.dstY < height; c.dstY += c.Height) {
			c.Height = height - c.dstY < rows ? height - c.dstY : rows;
			r = s->d->cuMemcpy3DAsync_v2(&c, s->loader);
		}
	}
	CUresult done = s->d->cuStreamSynchronize(s->loader);
	free(zero);
	r = r ? r : done;
	if (!r)
		s->array_bytes += array_bytes(s, real);
	return r;
}

static CUarray array_behind(const CUDA_RESOURCE_DESC *d)
{
	return d->resType == CU_RESOURCE_TYPE_ARRAY ? d->res.array.hArray : NULL;
}

/* Does a live texture or surface object of the session read this array? */
static bool array_used(const struct session *s, CUarray array)
{
	static const enum ag_kind readers[] = { AG_K_TEXTURE, AG_K_SURFACE };

	for (size_t k = 0; k < sizeof readers / sizeof *readers; k++) {
		const struct table *t = &s->table[readers[k]];
		for (uint32_t i = 0; i < t->n; i++) {
			CUDA_RESOURCE_DESC d;
			if (!t->v[i].live)
				continue;
			uint64_t object = (uint64_t)(uintptr_t)t->v[i].real;
			CUresult r = k ? s->d->cuSurfObjectGetResourceDesc(&d, object)
			               : s->d->cuTexObjectGetResourceDesc(&d, object);
			if (r || array_behind(&d) == array)
				return true;
		}
	}
	return false;
}

/* Cut short when the client goes away: no error of the context, which is everyone's. */
static CUresult drained(struct session *s)
{
	return streams_drain(s, UINT32_MAX) ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}

/* Arrays that the program has destroyed go at the next quiet moment (quiet.h), and none while a graph's copies may name
 * them by the driver's handle: one that went would leave them its memory, whosever that is by then. */
#define KEPT_MAX 8 /* with more of them a quiet moment is waited for */

struct kept_array {
	struct kept_array *next;
	CUarray real;
};

void arrays_sweep(struct session *s)
{
	unsigned n = 0;

	for (const struct kept_array *k = s->arrays; k; k = k->next)
		n++;
	if (!n || graph_pins(s))
		return;
	if (n > KEPT_MAX ? quiet_enter(s, false) != CUDA_SUCCESS : !quiet_try(s))
		return;
	while (s->arrays) {
		struct kept_array *k = s->arrays;
		s->arrays = k->next;
		forget_bytes(s, k->real);
		s->d->cuArrayDestroy(k->real);
		free(k);
	}
	quiet_leave(s);
}

static CUresult keep_array(struct session *s, CUarray real)
{
	struct kept_array *k = malloc(sizeof *k);

	if (!k)
		return CUDA_ERROR_OUT_OF_MEMORY;
	*k = (struct kept_array){ s->arrays, real };
	s->arrays = k;
	return (CUresult)AG_LATER;
}

CUresult object_array_unused(struct session *s, CUarray real, struct ag_out *out)
{
	(void)out;
	if (array_used(s, real)) {
		session_log(s, "an array is destroyed before the texture or surface object that reads it: refused");
		return CUDA_ERROR_ARRAY_IS_MAPPED;
	}
	CUresult r = keep_array(s, real);
	arrays_sweep(s);
	return r;
}

CUresult object_texture_gone(struct session *s, CUtexObject real, struct ag_out *out)
{
	CUresult r = drained(s);

	(void)out;
	return r ? r : texture_unname(s, session_find(s, AG_K_TEXTURE, (void *)(uintptr_t)real));
}

CUresult object_surface_gone(struct session *s, CUsurfObject real, struct ag_out *out)
{
	CUresult r = drained(s);

	(void)out;
	return r ? r : surface_unname(s, session_find(s, AG_K_SURFACE, (void *)(uintptr_t)real));
}

/* --- graphs -------------------------------------------------------------------------------------------- */

/* Takes an id out of the table and tells the client; ids beyond the reply's room are only lost to the client's
 * numbering. */
static void forget(struct session *s, enum ag_kind kind, const void *real, struct ag_out *out)
{
	ag_id id = session_find(s, kind, real);

	if (!id)
		return;
	session_drop(s, kind, id);
	if (out->cap - out->len >= sizeof id) {
		memcpy(out->tail + out->len, &id, sizeof id);
		out->len += sizeof id;
	}
}

static CUresult forget_nodes(struct session *s, CUgraph graph, struct ag_out *out, int depth);

static CUresult forget_child(struct session *s, CUgraphNode node, struct ag_out *out, int depth)
{
	CUgraphNodeType type;
	CUgraph child;
	CUresult r = s->d->cuGraphNodeGetType(node, &type);

	if (r || type != CU_GRAPH_NODE_TYPE_GRAPH)
		return r;
	r = s->d->cuGraphChildGraphNodeGetGraph(node, &child);
	if (!r)
		r = forget_nodes(s, child, out, depth + 1);
	if (!r)
		forget(s, AG_K_GRAPH, child, out);
	return r;
}

static CUresult forget_nodes(struct session *s, CUgraph graph, struct ag_out *out, int depth)
{
	size_t n = 0;
	CUresult r = depth > GRAPH_DEPTH ? CUDA_ERROR_NOT_SUPPORTED : s->d->cuGraphGetNodes(graph, NULL, &n);

	if (r || !n)
		return r;
	CUgraphNode *nodes = calloc(n, sizeof *nodes);
	if (!nodes)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = s->d->cuGraphGetNodes(graph, nodes, &n);
	for (size_t i = 0; !r && i < n; i++) {
		r = forget_child(s, nodes[i], out, depth);
		if (!r)
			forget(s, AG_K_GRAPHNODE, nodes[i], out);
	}
	free(nodes);
	return r;
}

/* Neither is of a graph that a capture goes on into: those have no ids (graph_taken). */
CUresult object_graph_forget(struct session *s, CUgraph real, struct ag_out *out)
{
	return forget_nodes(s, real, out, 0);
}

CUresult object_node_forget(struct session *s, CUgraphNode real, struct ag_out *out)
{
	return forget_child(s, real, out, 0);
}
