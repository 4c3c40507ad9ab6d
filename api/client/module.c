/* module.c - modules: an image becomes PTX pieces, the worker guards and compiles them (module_prepare), we give the
 * variables a block of memory and have it loaded (module_load).  What the worker says of kernels and symbols is kept
 * here, so asking costs no call.
 *
 * A CUmodule is the id under which the worker knows the module.  Constant variables have addresses that only copies
 * understand (memory.c); they map to (module, offset).  A struct agc_module lives until it is unloaded; calls that
 * race with that are the program's error.
 */
#include "memory.h"
#include "../base/modinfo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct symbol { const char *name; uint64_t offset, size; bool is_const, is_managed; };

struct agc_module {
	ag_id id;
	ag_id owner;                         /* the library's, 0 for a context's module */
	struct agc_ctx *ctx;
	uint64_t data, data_bytes;           /* block of variables in the window */
	uint64_t bank, bank_bytes;           /* addresses that stand for the constant bank */
	uint8_t *info;                       /* the worker's description, NUL-terminated strings inside */
	uint32_t nkernels, nsymbols;
	struct agc_function *kernel;
	struct symbol *symbol;
	struct agc_pieces text;              /* a library's, kept: it is loaded anew after a device reset */
	_Atomic bool stale;                  /* such a reset happened */
	pthread_mutex_t reload;
	struct agc_module *next;
};

static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct agc_module *modules;

/* --- what the worker answered ------------------------------------------------------------------------------------- */

struct block { const uint8_t *p; size_t bytes; };

static bool inside(const struct block *b, uint64_t off, uint64_t count, uint64_t each)
{
	return off % 4 == 0 && off <= b->bytes && count <= (b->bytes - off) / each;
}

static const char *name_at(const struct block *b, uint32_t off)
{
	return off < b->bytes && memchr(b->p + off, 0, b->bytes - off) ? (const char *)b->p + off : NULL;
}

static bool read_kernel(const struct block *b, const struct ag_kerninfo *k, struct agc_module *m, uint32_t i)
{
	struct agc_function *f = &m->kernel[i];
	if (!inside(b, k->params_off, k->nparams, 8) || !(f->name = name_at(b, k->name_off)))
		return false;
	f->module = m;
	f->module_id = m->id;
	f->index = i;
	f->nparams = k->nparams;
	f->param_bytes = k->param_bytes;
	f->param = (const uint32_t (*)[2])(const void *)(b->p + k->params_off);
	for (uint32_t p = 0; p < f->nparams; p++)
		if (f->param[p][0] > f->param_bytes || f->param[p][1] > f->param_bytes - f->param[p][0])
			return false;
	f->max_threads = k->max_threads;
	f->static_shared = k->static_shared;
	f->local_bytes = k->local_bytes;
	f->const_bytes = k->const_bytes;
	f->num_regs = k->num_regs;
	f->ptx_version = k->ptx_version;
	f->binary_version = k->binary_version;
	f->cache_mode_ca = k->cache_mode_ca;
	atomic_store(&f->max_dynamic_shared, k->max_dynamic_shared);
	atomic_store(&f->preferred_carveout, k->preferred_carveout);
	memcpy(f->reqntid, k->reqntid, sizeof f->reqntid);
	memcpy(f->maxntid, k->maxntid, sizeof f->maxntid);
	for (int i = 0; i < 3; i++)
		atomic_store(&f->cluster[i], (int32_t)k->cluster[i]);
	f->cluster_declared = k->cluster[0] != 0;
	f->cluster_must_be_set = k->cluster_must_be_set != 0;
	return true;
}

static bool read_symbol(const struct block *b, const struct ag_syminfo *y, struct agc_module *m, uint32_t i)
{
	struct symbol *s = &m->symbol[i];
	uint64_t room = y->is_const ? m->bank_bytes : m->data_bytes;
	s->name = name_at(b, y->name_off);
	s->offset = y->offset;
	s->size = y->size;
	s->is_const = y->is_const;
	s->is_managed = y->is_managed;
	return s->name && y->offset <= room && y->size <= room - y->offset;
}

/* Takes over m->info. The description speaks of text that came from anywhere, so nothing in it is believed unchecked.
 */
static bool read_info(struct agc_module *m, size_t bytes)
{
	struct block b = { m->info, bytes };
	struct ag_modinfo h;
	if (bytes < sizeof h)
		return false;
	memcpy(&h, b.p, sizeof h);
	if (!inside(&b, h.kernels_off, h.nkernels, sizeof(struct ag_kerninfo)) ||
	    !inside(&b, h.symbols_off, h.nsymbols, sizeof(struct ag_syminfo)))
		return false;
	m->nkernels = h.nkernels;
	m->nsymbols = h.nsymbols;
	m->data_bytes = h.data_bytes;
	m->bank_bytes = h.const_bytes;
	m->kernel = calloc(h.nkernels + 1u, sizeof *m->kernel);
	m->symbol = calloc(h.nsymbols + 1u, sizeof *m->symbol);
	if (!m->kernel || !m->symbol)
		return false;
	for (uint32_t i = 0; i < h.nkernels; i++) {
		struct ag_kerninfo k;
		memcpy(&k, b.p + h.kernels_off + (size_t)i * sizeof k, sizeof k);
		if (!read_kernel(&b, &k, m, i))
			return false;
	}
	for (uint32_t i = 0; i < h.nsymbols; i++) {
		struct ag_syminfo y;
		memcpy(&y, b.p + h.symbols_off + (size_t)i * sizeof y, sizeof y);
		if (!read_symbol(&b, &y, m, i))
			return false;
	}
	return true;
}

/* --- preparing ---------------------------------------------------------------------------------------------------- */

/* The pieces as the worker reads them: u64 length, bytes, padding to 8. */
static uint8_t *lay_out(const struct agc_pieces *in, size_t *bytes)
{
	size_t total = 0, at = 0;
	for (uint32_t i = 0; i < in->n; i++)
		total += 8 + ((in->v[i].len + 7) & ~(size_t)7);
	uint8_t *text = agc_host_alloc(total, 64);
	for (uint32_t i = 0; text && i < in->n; i++) {
		uint64_t n = in->v[i].len;
		memcpy(text + at, &n, 8);
		memcpy(text + at + 8, in->v[i].text, n);
		at += 8 + ((n + 7) & ~(size_t)7);
	}
	*bytes = total;
	return text;
}

static CUresult ask(const struct agc_module *m, const uint8_t *text, size_t text_bytes, uint32_t pieces, uint8_t *out,
		    size_t out_bytes, struct rep_module_prepare *rep)
{
	struct msg_module_prepare *q = agc_begin(AG_OP_module_prepare, sizeof *q, 0);
	if (!q)
		return agc_error();
	q->module = m->id;
	q->text = (uint64_t)(uintptr_t)text;
	q->bytes = text_bytes;
	q->pieces = pieces;
	q->pad = 0;
	q->out = (uint64_t)(uintptr_t)out;
	q->out_bytes = out_bytes;
	return agc_call(q, rep, sizeof *rep, NULL, NULL);
}

/* The answer does not fit: it says how much room it needs, and the module does not exist yet. */
static CUresult prepare(struct agc_module *m, const struct agc_pieces *in)
{
	struct rep_module_prepare rep = { 0 };
	size_t text_bytes, out_bytes = 16384;
	uint8_t *text = lay_out(in, &text_bytes);
	CUresult r = text ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
	for (int tries = 0; tries < 2 && r == CUDA_SUCCESS; tries++) {
		uint8_t *out = agc_host_alloc(out_bytes, 64);
		r = out ? ask(m, text, text_bytes, in->n, out, out_bytes, &rep) : CUDA_ERROR_OUT_OF_MEMORY;
		bool fits = r == CUDA_SUCCESS && rep.bytes <= out_bytes;
		if (fits && !m->info) {
			m->info = malloc(rep.bytes + 1);
			if (m->info)
				memcpy(m->info, out, rep.bytes);
			if (!m->info || !read_info(m, rep.bytes))
				r = m->info ? CUDA_ERROR_INVALID_IMAGE : CUDA_ERROR_OUT_OF_MEMORY;
		}
		agc_host_free(out);
		if (fits)
			break;
		out_bytes = rep.bytes;
	}
	agc_host_free(text);
	return r ? r : m->info ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN;
}

/* The worker writes the variables' first values and the module can be used. */
static CUresult load_message(const struct agc_module *m)
{
	struct msg_module_load *q = agc_begin(AG_OP_module_load, sizeof *q, 0);
	if (!q)
		return agc_error();
	q->module = m->id;
	q->data = m->data;
	return agc_call(q, NULL, 0, NULL, NULL);
}

static CUresult load(struct agc_module *m)
{
	CUresult r = CUDA_SUCCESS;
	bool managed = false;
	for (uint32_t i = 0; i < m->nsymbols; i++)
		managed |= m->symbol[i].is_managed;
	/* Managed variables are read by the host too, so their block is host memory of the window. */
	if (m->data_bytes)
		r = managed ? agc_host_block_alloc(m->data_bytes, 512, AGC_B_MODULE, 0, &m->data)
			    : agc_device_alloc(m->data_bytes, 512, AGC_B_MODULE, 0, &m->data);
	if (r)
		return r;
	if (m->bank_bytes && !(m->bank = agc_const_reserve(m->bank_bytes)))
		return CUDA_ERROR_OUT_OF_MEMORY;
	return load_message(m);
}

static void module_free(struct agc_module *m)
{
	if (m->data)
		agc_device_free(m->data);
	agc_const_release(m->bank);
	for (uint32_t i = 0; m->kernel && i < m->nkernels; i++) {
		agc_id_free(m->kernel[i].id);
		agc_id_free(m->kernel[i].kernel_id);
	}
	agc_id_free(m->id);
	agc_pieces_free(&m->text);
	pthread_mutex_destroy(&m->reload);
	free(m->kernel);
	free(m->symbol);
	free(m->info);
	free(m);
}

static CUresult unload_message(const struct agc_module *m)
{
	struct msg_module_unload *q = agc_begin(AG_OP_module_unload, sizeof *q, 0);
	if (!q)
		return agc_error();
	q->module = m->id;
	return agc_post(q);
}

static bool uses_malloc(const struct agc_pieces *in)
{
	for (uint32_t i = 0; i < in->n; i++)
		if (strstr(in->v[i].text, ".func") && strstr(in->v[i].text, "malloc"))
			return true;
	return false;
}

CUresult agc_module_load(const void *image, size_t size, struct agc_ctx *ctx, struct agc_module **out)
{
	struct agc_pieces in;
	const int32_t *a = agc_s.shm->device[0].attr;
	unsigned sm = (unsigned)(a[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR] * 10 +
				 a[CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR]);
	CUresult r = agc_image_pieces(image, size, sm, &in);
	struct agc_module *m = r ? NULL : calloc(1, sizeof *m);
	if (m) {
		m->ctx = ctx;
		m->id = agc_id_new(AG_K_MODULE, m);
		pthread_mutex_init(&m->reload, NULL);
	}
	if (r == CUDA_SUCCESS && (!m || !m->id))
		r = CUDA_ERROR_OUT_OF_MEMORY;
	if (r == CUDA_SUCCESS && uses_malloc(&in))
		r = agc_heap_resize(0);
	if (r == CUDA_SUCCESS)
		r = prepare(m, &in);
	bool prepared = r == CUDA_SUCCESS;
	if (prepared)
		r = load(m);
	if (r == CUDA_SUCCESS && !ctx)
		m->text = in;
	else
		agc_pieces_free(&in);
	if (r) {
		if (prepared)
			(void)unload_message(m); /* the failure to report is the load's */
		if (m)
			module_free(m);
		return r;
	}
	pthread_rwlock_wrlock(&lock);
	m->next = modules;
	modules = m;
	pthread_rwlock_unlock(&lock);
	*out = m;
	return CUDA_SUCCESS;
}

CUresult agc_module_unload(struct agc_module *m)
{
	pthread_rwlock_wrlock(&lock);
	for (struct agc_module **p = &modules; *p; p = &(*p)->next)
		if (*p == m) {
			*p = m->next;
			break;
		}
	pthread_rwlock_unlock(&lock);
	CUresult r = unload_message(m);
	module_free(m);
	return r;
}

void agc_modules_drop(struct agc_ctx *ctx)
{
	for (;;) {
		pthread_rwlock_rdlock(&lock);
		struct agc_module *m = modules;
		while (m && m->ctx != ctx)
			m = m->next;
		pthread_rwlock_unlock(&lock);
		if (!m)
			return;
		(void)agc_module_unload(m);      /* the context ends either way */
	}
}

/* After a reset of the primary context: what libraries' variables hold is lost, so each is loaded anew when it is
 * next used. */
void agc_modules_stale(void)
{
	pthread_rwlock_rdlock(&lock);
	for (struct agc_module *m = modules; m; m = m->next)
		if (!m->ctx)
			atomic_store(&m->stale, true);
	pthread_rwlock_unlock(&lock);
}

static CUresult reload_locked(struct agc_module *m)
{
	ag_id old = m->id, id = agc_id_new(AG_K_MODULE, m);
	if (!id)
		return CUDA_ERROR_OUT_OF_MEMORY;
	(void)unload_message(m);                 /* the old one is of no use either way */
	m->id = id;
	CUresult r = prepare(m, &m->text);
	if (r == CUDA_SUCCESS)
		r = load_message(m);
	for (uint32_t i = 0; i < m->nkernels; i++)
		m->kernel[i].module_id = id;
	agc_id_free(old);
	if (r == CUDA_SUCCESS)
		atomic_store(&m->stale, false);
	return r;
}

CUresult agc_module_fresh(struct agc_module *m)
{
	if (!atomic_load_explicit(&m->stale, memory_order_acquire))
		return CUDA_SUCCESS;
	pthread_mutex_lock(&m->reload);
	CUresult r = atomic_load(&m->stale) ? reload_locked(m) : CUDA_SUCCESS;
	pthread_mutex_unlock(&m->reload);
	return r;
}

/* --- looking up --------------------------------------------------------------------------------------------------- */

ag_id agc_module_id(const struct agc_module *m) { return m->id; }
ag_id *agc_module_owner(struct agc_module *m) { return &m->owner; }
uint32_t agc_module_kernels(const struct agc_module *m) { return m->nkernels; }
struct agc_function *agc_module_kernel(struct agc_module *m, uint32_t i) { return &m->kernel[i]; }

struct agc_function *agc_module_find(struct agc_module *m, const char *name)
{
	for (uint32_t i = 0; i < m->nkernels; i++)
		if (strcmp(m->kernel[i].name, name) == 0)
			return &m->kernel[i];
	return NULL;
}

CUresult agc_module_global(struct agc_module *m, const char *name, uint64_t *addr, uint64_t *bytes, bool *is_managed)
{
	for (uint32_t i = 0; i < m->nsymbols; i++) {
		const struct symbol *s = &m->symbol[i];
		if (strcmp(s->name, name))
			continue;
		*addr = (s->is_const ? m->bank : m->data) + s->offset;
		*bytes = s->size;
		if (is_managed)
			*is_managed = s->is_managed;
		return CUDA_SUCCESS;
	}
	return CUDA_ERROR_NOT_FOUND;
}

bool agc_module_const(uint64_t addr, uint64_t bytes, ag_id *module, uint64_t *offset)
{
	pthread_rwlock_rdlock(&lock);
	struct agc_module *m = modules;
	while (m && (!m->bank || addr - m->bank >= m->bank_bytes))
		m = m->next;
	bool ok = m && bytes <= m->bank_bytes - (addr - m->bank);
	if (ok) {
		*module = m->id;
		*offset = addr - m->bank;
	}
	pthread_rwlock_unlock(&lock);
	return ok;
}

ag_id agc_function_id(struct agc_function *f)
{
	pthread_rwlock_wrlock(&lock);
	if (!f->id)
		f->id = agc_id_new(AG_K_FUNCTION, f);
	pthread_rwlock_unlock(&lock);
	return f->id;
}

CUresult agc_function_of(CUfunction h, struct agc_function **out)
{
	*out = agc_id_state(AG_ID_KIND(agc_id(h)) == AG_K_KERNEL ? AG_K_KERNEL : AG_K_FUNCTION, h, NULL);
	return *out ? agc_module_fresh((*out)->module) : CUDA_ERROR_INVALID_HANDLE;
}

/* --- the functions ------------------------------------------------------------------------------------------------ */

CUresult agc_read_file(const char *path, void **data, size_t *size)
{
	FILE *f = path ? fopen(path, "rb") : NULL;
	long n = -1;
	if (!f)
		return path ? CUDA_ERROR_FILE_NOT_FOUND : CUDA_ERROR_INVALID_VALUE;
	if (fseek(f, 0, SEEK_END) == 0)
		n = ftell(f);
	char *p = n >= 0 ? malloc((size_t)n + 1) : NULL;
	CUresult r = n < 0 ? CUDA_ERROR_FILE_NOT_FOUND : p ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
	if (p) {
		rewind(f);
		if (fread(p, 1, (size_t)n, f) != (size_t)n)
			r = CUDA_ERROR_FILE_NOT_FOUND;
		p[n] = 0;
	}
	fclose(f);
	if (r) {
		free(p);
		return r;
	}
	*data = p;
	*size = (size_t)n;
	return CUDA_SUCCESS;
}

static CUresult load_image(CUmodule *out, const void *image, size_t size)
{
	struct agc_module *m;
	AGC_CURRENT();
	if (!out || !image)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = agc_module_load(image, size, agc_t.ctx, &m);
	if (r == CUDA_SUCCESS)
		*out = (CUmodule)(uintptr_t)m->id;
	return r;
}

CUresult call_cuModuleLoadData(CUmodule *out, const void *image) { return load_image(out, image, 0); }
CUresult call_cuModuleLoadFatBinary(CUmodule *out, const void *image) { return load_image(out, image, 0); }

CUresult call_cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned n, CUjit_option *option, void **value)
{
	CUresult r = n && (!option || !value) ? CUDA_ERROR_INVALID_VALUE : load_image(out, image, 0);
	agc_jit_logs(n, option, value, r);
	return r;
}

CUresult call_cuModuleLoad(CUmodule *out, const char *path)
{
	void *data;
	size_t size;
	AGC_CURRENT();
	CUresult r = agc_read_file(path, &data, &size);
	if (r)
		return r;
	r = load_image(out, data, size);
	free(data);
	return r;
}

#define MODULE(m, h) \
	AGC_FOUND(struct agc_module, m, AGC_CURRENT, agc_id_state(AG_K_MODULE, h, NULL), CUDA_ERROR_INVALID_HANDLE)

CUresult call_cuModuleUnload(CUmodule h)
{
	MODULE(m, h);
	return agc_module_unload(m);
}

CUresult call_cuModuleGetFunction(CUfunction *out, CUmodule h, const char *name)
{
	MODULE(m, h);
	if (!out || !name)
		return CUDA_ERROR_INVALID_VALUE;
	struct agc_function *f = agc_module_find(m, name);
	if (!f)
		return CUDA_ERROR_NOT_FOUND;
	*out = (CUfunction)(uintptr_t)agc_function_id(f);
	return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult call_cuModuleGetFunctionCount(unsigned *count, CUmodule h)
{
	MODULE(m, h);
	return AGC_GIVE(count, m->nkernels);
}

CUresult call_cuModuleEnumerateFunctions(CUfunction *out, unsigned n, CUmodule h)
{
	MODULE(m, h);
	if (!out && n)
		return CUDA_ERROR_INVALID_VALUE;
	for (uint32_t i = 0; i < n && i < m->nkernels; i++)
		if (!(out[i] = (CUfunction)(uintptr_t)agc_function_id(&m->kernel[i])))
			return CUDA_ERROR_OUT_OF_MEMORY;
	return CUDA_SUCCESS;
}

CUresult call_cuModuleGetGlobal_v2(CUdeviceptr *addr, size_t *size, CUmodule h, const char *name)
{
	uint64_t at, bytes;
	MODULE(m, h);
	if (!name || (!addr && !size))
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = agc_module_global(m, name, &at, &bytes, NULL);
	if (r)
		return r;
	if (addr)
		*addr = at;
	if (size)
		*size = bytes;
	return CUDA_SUCCESS;
}

CUresult call_cuModuleGetLoadingMode(CUmoduleLoadingMode *mode)
{
	if (!mode)
		return CUDA_ERROR_INVALID_VALUE;
	const char *env = getenv("CUDA_MODULE_LOADING");
	*mode = env && strcmp(env, "EAGER") == 0 ? CU_MODULE_EAGER_LOADING : CU_MODULE_LAZY_LOADING;
	return CUDA_SUCCESS;
}
