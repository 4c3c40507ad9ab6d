/* module.c - a session's modules: text in, guarded module loaded, variables written.
 *
 * The text is copied once out of the client's memory, then guarded (prepared.c).  Each session loads its own instance,
 * because the descriptor (struct guard_desc in ag_desc) belongs to one client and one module.  The narrow variant comes
 * first; once the window has outgrown 4 GiB the wide one is made at the next launch, with the constant bank's contents
 * carried over. A module unloaded while its kernels may run, or while held-back messages may name it, goes later
 * (modules_sweep).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "api/base/modinfo.h"
#include "limits.h"
#include "module.h"
#include "worker_calls.h"

struct module *module_find(const struct session *s, ag_id id)
{
	const struct entry *e = table_find(&s->table[AG_K_MODULE], AG_K_MODULE, id);

	if (e)
		return e->obj;
	for (struct module *m = s->st.flushing ? s->st.modules : NULL; m; m = m->next)
		if (m->id == id && m->zombie)
			return m;
	return NULL;
}

const struct prepared *module_prepared(const struct module *m) { return m->v[0].p ? m->v[0].p : m->v[1].p; }

/* What the driver holds of it stays when there is no quiet moment any more; nothing refers to it. */
static void variant_free(struct session *s, struct variant *v)
{
	if (v->mod && quiet_enter(s, true) == CUDA_SUCCESS) {
		if (v->own_bank && v->bank)
			s->d->cuMemFree_v2(v->bank);
		s->d->cuModuleUnload(v->mod);
		quiet_leave(s);
	}
	free(v->fn);
	free(v->no_room);
	prepared_put(v->p);
	memset(v, 0, sizeof *v);
}

static void module_free(struct session *s, struct module *m)
{
	for (struct module **p = &s->st.modules; *p; p = &(*p)->next) {
		if (*p == m) {
			*p = m->next;
			break;
		}
	}
	variant_free(s, &m->v[0]);
	variant_free(s, &m->v[1]);
	while (m->attrs) {
		struct func_attr *a = m->attrs;
		m->attrs = a->next;
		free(a);
	}
	s->module_bytes -= m->bytes;
	s->nmodules--;
	free(m->text);
	free(m->in);
	free(m);
}

void modules_free(struct session *s)
{
	while (s->st.modules)
		module_free(s, s->st.modules);
	if (s->loader)
		s->d->cuStreamDestroy_v2(s->loader);
	s->loader = NULL;
}

void modules_sweep(struct session *s)
{
	bool any = false;

	for (struct module *m = s->st.modules; m; m = m->next)
		any |= m->zombie;
	if (!any || s->st.held || graph_pins(s) || !streams_drain(s, 0))
		return;
	for (struct module *m = s->st.modules, *next; m; m = next) {
		next = m->next;
		if (m->zombie)
			module_free(s, m);
	}
}

bool fault_kernel_name(const struct session *s, uint32_t module, uint32_t kernel, char *name, size_t bytes)
{
	for (const struct module *m = s->st.modules; m; m = m->next) {
		const struct prepared *p = module_prepared(m);
		for (uint32_t i = 0; m->number == module && p && i < p->result.nkernels; i++) {
			if (p->result.kernels[i].index != kernel)
				continue;
			size_t n = 0;
			for (const char *c = p->result.kernels[i].name; *c && n + 1 < bytes; c++)
				name[n++] = *c > ' ' && *c < 127 ? *c : '?';
			name[n] = 0;
			return true;
		}
	}
	return false;
}

/* --- a variant, loaded ------------------------------------------------------------------------------ */

/* The guard's own part of shared memory comes on top of what programs may use without asking. */
static CUresult add_room(struct session *s, CUfunction f, const struct verify_kernel *k)
{
	const CUfunction_attribute attr = CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
	int most = 0;
	CUresult r;

	if (!k || !k->shared_head)
		return CUDA_SUCCESS;
	r = s->d->cuFuncGetAttribute(&most, attr, f);
	return r ? r : s->d->cuFuncSetAttribute(f, attr, most + (int)k->shared_head);
}

static CUresult load_functions(struct session *s, struct variant *v)
{
	uint32_t n = v->p->result.nkernels;

	v->fn = calloc(n + 1, sizeof *v->fn);
	v->no_room = calloc(n + 1, sizeof *v->no_room);
	if (!v->fn || !v->no_room)
		return CUDA_ERROR_OUT_OF_MEMORY;
	for (uint32_t i = 0; i < n; i++) {
		char name[24];
		snprintf(name, sizeof name, "k%u", v->p->result.kernels[i].index);
		int local = 0;
		CUresult r = s->d->cuModuleGetFunction(&v->fn[i], v->mod, name);
		if (!r)
			r = s->d->cuFuncGetAttribute(&local, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, v->fn[i]);
		if (!r)
			r = add_room(s, v->fn[i], prepared_verdict(v->p, v->p->result.kernels[i].index));
		if (r)
			return r;
		if (local > 0 && quiet_stack(s, (size_t)local)) {
			session_log(s, "kernel %s needs %d bytes of local memory a thread: too much to be launched",
			            v->p->result.kernels[i].name, local);
			v->no_room[i] = true;
		}
	}
	return CUDA_SUCCESS;
}

/* A symbol that no kernel uses is not in the loaded module: then there is no descriptor to write, and the constants
 * live in memory of ours. */
static CUresult load_symbols(struct session *s, struct variant *v)
{
	uint64_t bytes = v->p->result.const_bytes;
	size_t n = 0;
	CUresult r = s->d->cuModuleGetGlobal_v2(&v->desc, &n, v->mod, "ag_desc");

	if (r || n < sizeof(struct guard_desc))
		return r ? r : CUDA_ERROR_INVALID_IMAGE;
	if (!bytes)
		return CUDA_SUCCESS;
	r = s->d->cuModuleGetGlobal_v2(&v->bank, &n, v->mod, "ag_const");
	if (r == CUDA_ERROR_NOT_FOUND) {
		v->own_bank = true;
		return s->d->cuMemAlloc_v2(&v->bank, bytes);
	}
	return r ? r : n < bytes ? CUDA_ERROR_INVALID_IMAGE : CUDA_SUCCESS;
}

/* Each variant was rewritten by a process of its own, which had read hostile text: what was checked of a message
 * against one must hold of the other. */
static bool same_shape(const struct guard_result *a, const struct guard_result *b)
{
	if (a->nkernels != b->nkernels || a->const_bytes != b->const_bytes || a->data_bytes != b->data_bytes)
		return false;
	for (uint32_t i = 0; i < a->nkernels; i++) {
		const struct guard_kernel *x = a->kernels + i, *y = b->kernels + i;
		if (x->index != y->index || x->param_bytes != y->param_bytes || x->hidden_coop != y->hidden_coop)
			return false;
	}
	return true;
}

static CUresult variant_make(struct session *s, struct module *m, bool wide)
{
	struct variant *v = &m->v[wide];
	char why[512] = "";

	v->p = prepared_get(s, m->in, m->npieces, wide, why);
	if (!v->p) {
		session_log(s, "module refused: %s", why);
		return CUDA_ERROR_INVALID_PTX;
	}
	const struct prepared *other = m->v[!wide].p;
	if (other && !same_shape(&other->result, &v->p->result)) {
		session_log(s, "module refused: its variants differ");
		variant_free(s, v);
		return CUDA_ERROR_INVALID_PTX;
	}
	CUresult r = quiet_enter(s, false);
	if (r) {
		variant_free(s, v);
		return r;
	}
	r = s->d->cuModuleLoadData(&v->mod, v->p->code);
	if (!r)
		r = load_functions(s, v);
	if (!r)
		r = load_symbols(s, v);
	for (const struct func_attr *a = m->attrs; a && !r; a = a->next)
		r = s->d->cuFuncSetAttribute(v->fn[a->kernel], a->attr, a->value);
	quiet_leave(s);
	if (r) {
		session_log(s, "the driver does not load a guarded module: error %d", (int)r);
		variant_free(s, v);
	}
	return r;
}

static struct guard_desc descriptor(const struct session *s, const struct module *m)
{
	uint64_t base = window_base(s->win), extent = window_extent(s->win);

	return (struct guard_desc){
		.window_hi = (uint32_t)(base >> 32),
		.window_mask_hi = (uint32_t)((extent - 1) >> 32),
		.data = m->data,
		.kill = s->kill,
		.records = (uint64_t)(uintptr_t)s->records,
		.fault_word = s->host + AG_HOST_FAULT_OFF,
		.printf_ring = s->host + AG_HOST_PRINTF_OFF,
		.heap = s->host + AG_HOST_HEAP_OFF,
		.textures = s->textures,
		.ntextures = TEXTURES,
		.surfaces = s->surfaces,
		.nsurfaces = SURFACES,
		.client = s->number,
		.module = m->number,
		.window_base = base,
		.window_extent = extent,
		.gates = s->w->gates,
	};
}

static CUresult write_descriptor(struct session *s, struct module *m, struct variant *v)
{
	struct guard_desc desc = descriptor(s, m);
	CUresult r = session_loader(s);

	if (!r)
		r = s->d->cuMemcpyHtoDAsync_v2(v->desc, &desc, sizeof desc, s->loader);
	if (!r)
		r = s->d->cuStreamSynchronize(s->loader);
	if (!r)
		v->extent = window_extent(s->win);
	return r;
}

/* Adds addresses to the images, as the guard's relocations say; each is checked against its image. */
static bool relocate(const struct guard_result *g, uint8_t *data, uint8_t *bank, uint64_t data_addr, uint64_t bank_addr)
{
	for (uint32_t i = 0; i < g->nrelocs; i++) {
		const struct guard_data_reloc *q = g->relocs + i;
		uint8_t *image = q->in_const ? bank : data;
		uint64_t bytes = q->in_const ? g->const_bytes : g->data_init, v;
		if (bytes < 8 || q->offset > bytes - 8)
			return false;
		memcpy(&v, image + q->offset, 8);
		v += q->to_const ? bank_addr : data_addr;
		memcpy(image + q->offset, &v, 8);
	}
	return true;
}

/* The initial contents of variables (data: only with the first variant) and the constant bank. */
static CUresult write_images(struct session *s, struct module *m, struct variant *v)
{
	const struct guard_result *g = &v->p->result;
	uint8_t *data = malloc(g->data_init + 1), *bank = malloc(g->const_bytes + 1);
	CUresult r = data && bank ? session_loader(s) : CUDA_ERROR_OUT_OF_MEMORY;

	if (!r && g->data_init)
		memcpy(data, g->data, g->data_init);
	if (!r && g->const_bytes)
		memcpy(bank, g->cimage, g->const_bytes);
	if (!r && !relocate(g, data, bank, m->data, v->bank))
		r = CUDA_ERROR_INVALID_IMAGE;
	if (!r && g->data_bytes > g->data_init)
		r = s->d->cuMemsetD8Async(m->data + g->data_init, 0, g->data_bytes - g->data_init, s->loader);
	if (!r && g->data_init)
		r = s->d->cuMemcpyHtoDAsync_v2(m->data, data, g->data_init, s->loader);
	if (!r && g->const_bytes)
		r = s->d->cuMemcpyHtoDAsync_v2(v->bank, bank, g->const_bytes, s->loader);
	CUresult done = s->loader ? s->d->cuStreamSynchronize(s->loader) : CUDA_SUCCESS; /* nothing reads them now */
	r = r ? r : done;
	free(data);
	free(bank);
	return r;
}

/* The second variant takes over the constant bank as it is, after the session's earlier work. */
static CUresult carry_bank(struct session *s, struct module *m, bool wide)
{
	struct variant *from = &m->v[!wide], *to = &m->v[wide];
	uint64_t bytes = to->p->result.const_bytes;

	if (!bytes)
		return CUDA_SUCCESS;
	if (!streams_drain(s, UINT32_MAX))
		return CUDA_ERROR_NOT_READY;
	CUresult r = session_loader(s);
	if (!r)
		r = s->d->cuMemcpyDtoDAsync_v2(to->bank, from->bank, bytes, s->loader);
	return r ? r : s->d->cuStreamSynchronize(s->loader);
}

CUresult module_variant(struct session *s, struct module *m, struct variant **out)
{
	bool wide = window_extent(s->win) > AG_EXTENT_MIN;
	struct variant *v = &m->v[wide];
	CUresult r = CUDA_SUCCESS;

	if (!v->mod) {
		r = variant_make(s, m, wide);
		if (!r)
			r = carry_bank(s, m, wide);
		if (r) {
			variant_free(s, v);
			return r;
		}
	}
	if (v->extent != window_extent(s->win))
		r = write_descriptor(s, m, v);
	*out = v;
	return r;
}

/* --- module_prepare ------------------------------------------------------------------------------------ */

CUresult check_module_prepare(const struct session *s, const struct msg_module_prepare *m, const void *tail,
                              uint32_t ntail)
{
	(void)tail, (void)ntail;
	if (!session_id_free(s, AG_K_MODULE, m->module))
		return AG_MALFORMED;
	if (!m->pieces || m->pieces > MODULE_PIECES_MAX || m->bytes > MODULE_TEXT_MAX)
		return CUDA_ERROR_INVALID_VALUE;
	if (!session_covers_host(s, m->text, m->bytes) || !session_covers_host(s, m->out, m->out_bytes))
		return AG_MALFORMED;
	return CUDA_SUCCESS;
}

/* Copies the text once, then finds its pieces in the copy. */
static CUresult take_text(struct session *s, struct module *m, uint64_t text, uint64_t bytes, uint32_t pieces)
{
	if (bytes > MODULE_TEXTS_MAX - s->module_bytes)
		return CUDA_ERROR_OUT_OF_MEMORY;
	m->bytes = bytes;
	s->module_bytes += bytes;
	m->text = malloc(bytes + 1);
	m->in = calloc(pieces, sizeof *m->in);
	if (!m->text || !m->in)
		return CUDA_ERROR_OUT_OF_MEMORY;
	memcpy(m->text, (const void *)(uintptr_t)text, bytes);
	for (uint64_t at = 0; m->npieces < pieces; m->npieces++) {
		uint64_t n;
		if (bytes - at < 8)
			return CUDA_ERROR_INVALID_VALUE;
		memcpy(&n, m->text + at, 8);
		at += 8;
		if (n > bytes - at)
			return CUDA_ERROR_INVALID_VALUE;
		m->in[m->npieces] = (struct guard_input){ (const char *)m->text + at, n, "ptx" };
		uint64_t padded = (n + 7) & ~7ull;
		at += padded < bytes - at ? padded : bytes - at;
	}
	return CUDA_SUCCESS;
}

/* Kernels and symbols as one block (api/base/modinfo.h); with out NULL only its size. */
static uint64_t describe(struct session *s, const struct variant *v, uint8_t *out);

CUresult invoke_module_prepare(struct session *s, const struct msg_module_prepare *q, const void *tail, uint32_t ntail,
                               struct rep_module_prepare *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)out;
	modules_sweep(s);
	struct module *m = s->nmodules < MODULES_MAX ? calloc(1, sizeof *m) : NULL;
	if (!m)
		return CUDA_ERROR_OUT_OF_MEMORY;
	s->nmodules++;
	m->id = q->module;
	m->number = ++s->next_module;
	m->next = s->st.modules;
	s->st.modules = m;
	bool wide = window_extent(s->win) > AG_EXTENT_MIN;
	CUresult r = take_text(s, m, q->text, q->bytes, q->pieces);
	if (!r)
		r = variant_make(s, m, wide);
	uint8_t *block = NULL;
	if (!r) {
		rep->bytes = describe(s, &m->v[wide], NULL);
		rep->data_bytes = m->v[wide].p->result.data_bytes;
		block = calloc(1, rep->bytes);
		if (!block)
			r = CUDA_ERROR_OUT_OF_MEMORY;
	}
	bool fits = !r && rep->bytes <= q->out_bytes;
	if (fits) {
		describe(s, &m->v[wide], block);
		memcpy((void *)(uintptr_t)q->out, block, rep->bytes);
		r = table_put(&s->table[AG_K_MODULE], AG_K_MODULE, q->module, m->v[wide].mod, m);
	}
	free(block);
	if (r || !fits) /* not fitting: the answer says how much room it takes, and there is no module */
		module_free(s, m);
	return r;
}

struct writer {
	uint8_t *out;
	uint64_t at;
};

static uint32_t put(struct writer *w, const void *p, uint64_t n, uint64_t align)
{
	w->at = (w->at + align - 1) / align * align;
	uint64_t at = w->at;
	if (w->out)
		memcpy(w->out + at, p, n);
	w->at += n;
	return (uint32_t)at;
}

static struct ag_kerninfo kernel_info(struct session *s, const struct variant *v, uint32_t i)
{
	const struct guard_kernel *k = v->p->result.kernels + i;
	struct ag_kerninfo info = { .nparams = k->nparams, .param_bytes = k->param_bytes, .line = k->line };
	const struct {
		CUfunction_attribute attr;
		void *to;
	} facts[] = {
		{ CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, &info.max_threads },
		{ CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, &info.static_shared },
		{ CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, &info.local_bytes },
		{ CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES, &info.const_bytes },
		{ CU_FUNC_ATTRIBUTE_NUM_REGS, &info.num_regs },
		{ CU_FUNC_ATTRIBUTE_PTX_VERSION, &info.ptx_version },
		{ CU_FUNC_ATTRIBUTE_BINARY_VERSION, &info.binary_version },
		{ CU_FUNC_ATTRIBUTE_CACHE_MODE_CA, &info.cache_mode_ca },
		{ CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, &info.max_dynamic_shared },
		{ CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, &info.preferred_carveout },
		{ CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, &info.cluster[0] },
		{ CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT, &info.cluster[1] },
		{ CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH, &info.cluster[2] },
		{ CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET, &info.cluster_must_be_set },
	};

	for (size_t f = 0; f < sizeof facts / sizeof *facts; f++) {
		int value = 0;
		if (s->d->cuFuncGetAttribute(&value, facts[f].attr, v->fn[i]) == CUDA_SUCCESS)
			memcpy(facts[f].to, &value, sizeof value);
	}
	const struct verify_kernel *verdict = prepared_verdict(v->p, k->index);
	if (verdict)
		info.static_shared -= verdict->shared_head;
	memcpy(info.reqntid, k->reqntid, sizeof info.reqntid);
	memcpy(info.maxntid, k->maxntid, sizeof info.maxntid);
	return info;
}

static uint64_t describe(struct session *s, const struct variant *v, uint8_t *out)
{
	const struct guard_result *g = &v->p->result;
	struct writer w = { out, sizeof(struct ag_modinfo) };
	struct ag_modinfo head = { g->nkernels, g->nsymbols, 0, 0, g->data_bytes, g->const_bytes };

	head.kernels_off = (uint32_t)w.at;
	w.at += (uint64_t)g->nkernels * sizeof(struct ag_kerninfo);
	w.at = (w.at + 7) / 8 * 8;
	head.symbols_off = (uint32_t)w.at;
	w.at += (uint64_t)g->nsymbols * sizeof(struct ag_syminfo);
	for (uint32_t i = 0; i < g->nkernels; i++) {
		struct ag_kerninfo info = out ? kernel_info(s, v, i) : (struct ag_kerninfo){ 0 };
		info.name_off = put(&w, g->kernels[i].name, strlen(g->kernels[i].name) + 1, 1);
		w.at = (w.at + 3) / 4 * 4;
		info.params_off = (uint32_t)w.at;
		for (uint32_t p = 0; p < g->kernels[i].nparams; p++) {
			uint32_t pair[2] = { g->kernels[i].param_offset[p], g->kernels[i].param_size[p] };
			put(&w, pair, sizeof pair, 4);
		}
		if (out)
			memcpy(out + head.kernels_off + (uint64_t)i * sizeof info, &info, sizeof info);
	}
	for (uint32_t i = 0; i < g->nsymbols; i++) {
		const struct guard_symbol *y = g->symbols + i;
		struct ag_syminfo info = { 0, y->is_const, y->is_managed, 0, y->offset, y->size };
		info.name_off = put(&w, y->name, strlen(y->name) + 1, 1);
		if (out)
			memcpy(out + head.symbols_off + (uint64_t)i * sizeof info, &info, sizeof info);
	}
	if (out)
		memcpy(out, &head, sizeof head);
	return w.at;
}

/* --- loading, unloading, the constant bank ------------------------------------------------------------------ */

CUresult check_module_load(const struct session *s, const struct msg_module_load *q, const void *tail, uint32_t ntail)
{
	(void)tail, (void)ntail;
	const struct module *m = module_find(s, q->module);
	if (!m)
		return CUDA_ERROR_INVALID_HANDLE;
	uint64_t bytes = module_prepared(m)->result.data_bytes;
	if (m->loaded || (bytes && (q->data % 256 || !session_covers(s, q->data, bytes))))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

CUresult invoke_module_load(struct session *s, const struct msg_module_load *q, const void *tail, uint32_t ntail,
                            void *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	struct module *m = module_find(s, q->module);
	struct variant *v = m->v[0].p ? &m->v[0] : &m->v[1];

	m->data = q->data;
	CUresult r = write_images(s, m, v);
	if (!r)
		r = write_descriptor(s, m, v);
	m->loaded = r == CUDA_SUCCESS;
	return r;
}

CUresult check_module_unload(const struct session *s, const struct msg_module_unload *q, const void *tail,
                             uint32_t ntail)
{
	(void)tail, (void)ntail;
	return session_has(s, AG_K_MODULE, q->module) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

CUresult invoke_module_unload(struct session *s, const struct msg_module_unload *q, const void *tail, uint32_t ntail,
                              void *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	module_find(s, q->module)->zombie = true;
	session_drop(s, AG_K_MODULE, q->module);
	modules_sweep(s);
	return CUDA_SUCCESS;
}

CUresult check_const_copy(const struct session *s, const struct msg_const_copy *q, const void *tail, uint32_t ntail)
{
	(void)tail, (void)ntail;
	const struct module *m = module_find(s, q->module);
	if (!m || !m->loaded || !session_stream_ok(s, q->stream))
		return CUDA_ERROR_INVALID_HANDLE;
	uint64_t bytes = module_prepared(m)->result.const_bytes;
	if (q->to_const > 1)
		return AG_MALFORMED;
	if (q->offset > bytes || q->bytes > bytes - q->offset || !session_covers(s, q->addr, q->bytes))
		return CUDA_ERROR_INVALID_VALUE;
	return CUDA_SUCCESS;
}

CUresult invoke_const_copy(struct session *s, const struct msg_const_copy *q, const void *tail, uint32_t ntail,
                           void *rep, struct ag_out *out)
{
	(void)tail, (void)ntail, (void)rep, (void)out;
	struct module *m = module_find(s, q->module);
	struct stream *st = stream_find(s, q->stream);
	CUresult r = stream_order(s, st);

	for (int i = 0; i < 2 && !r && q->bytes; i++) {
		if (!m->v[i].mod)
			continue;
		CUdeviceptr bank = m->v[i].bank + q->offset;
		r = s->d->cuMemcpyAsync(q->to_const ? bank : q->addr, q->to_const ? q->addr : bank, q->bytes, st->real);
		if (!q->to_const)
			break; /* both hold the same */
	}
	return r;
}
