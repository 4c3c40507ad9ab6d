/* soft_module.c - modules and libraries of PTX: loading, functions, kernels, variables and their attributes.
 *
 * A library's code is loaded once, for all contexts.  A module lives until it is unloaded and the last grid that uses
 * it has ended.  Parsing and decoding run without the lock. Owns: modules, functions, libraries, kernels, and the
 * memory of variables (in the context's heap, or in one of its own for libraries). */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "soft_internal.h"

enum { MAX_IMAGE = PTX_MAX_TEXT };

struct kernel_handle {               /* a CUkernel */
	struct soft_obj obj;
	struct soft_func *f;
};

struct soft_library {
	struct soft_obj obj;
	struct soft_module *module;
};

static struct soft_module *modules;
static struct soft_heap *library_heap;
static _Thread_local struct soft_ctx *loading_for;   /* whose heap variables go to; NULL: the libraries' */
static _Thread_local bool lock_held;                 /* while exec_unload runs */

/* --- memory of variables --- */

static uint64_t variable_alloc(uint64_t size, uint64_t align)
{
	soft_lock();
	if (!loading_for && !library_heap)
		library_heap = soft_heap_new();
	struct soft_heap *heap = loading_for ? loading_for->heap : library_heap;
	struct soft_range *r = NULL;
	CUresult e =
		heap ? soft_heap_alloc(heap, size, align, SOFT_R_DEVICE, loading_for, &r) : CUDA_ERROR_OUT_OF_MEMORY;
	if (!e)
		r->variable = true;
	soft_unlock();
	if (e)
		return 0;
	memset((void *)r->e.base, 0, size);
	return r->e.base;
}

static void variable_release(uint64_t addr, uint64_t size)
{
	(void)size;
	if (!lock_held)
		soft_lock();
	struct soft_range *r = soft_range_at(addr);
	if (r && r->e.base == addr)
		soft_heap_release(r);
	if (!lock_held)
		soft_unlock();
}

/* --- loading --- */

struct jit {                         /* the options that softgpu answers */
	char *error, *info;
	size_t error_size, info_size;
	void **error_used, **info_used, **wall;
};

static CUresult read_options(unsigned n, CUjit_option *options, void **values, struct jit *j)
{
	*j = (struct jit){ 0 };
	if (n && (!options || !values))
		return CUDA_ERROR_INVALID_VALUE;
	for (unsigned i = 0; i < n; i++) {
		switch (options[i]) {
		case CU_JIT_ERROR_LOG_BUFFER:
			j->error = values[i];
			break;
		case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
			j->error_size = (size_t)(uintptr_t)values[i] & UINT32_MAX;
			j->error_used = &values[i];
			break;
		case CU_JIT_INFO_LOG_BUFFER:
			j->info = values[i];
			break;
		case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
			j->info_size = (size_t)(uintptr_t)values[i] & UINT32_MAX;
			j->info_used = &values[i];
			break;
		case CU_JIT_WALL_TIME:
			j->wall = &values[i];
			break;
		default:
			if ((unsigned)options[i] >= CU_JIT_NUM_OPTIONS)
				return CUDA_ERROR_INVALID_VALUE;
		}
	}
	return CUDA_SUCCESS;
}

static void write_log(char *buffer, size_t size, void **used, const char *text)
{
	size_t n = buffer && size ? (size_t)snprintf(buffer, size, "%s", text) : 0;
	if (used)
		*used = (void *)(uintptr_t)(n < size ? n : size ? size - 1 : 0);
}

static void report(const struct jit *j, const struct ptx_error *e, uint64_t started)
{
	char text[512] = "";
	if (e && e->text[0] && e->line)
		snprintf(text, sizeof text, "ptxas application ptx input, line %u; error   : %s\n"
			"ptxas fatal   : Ptx assembly aborted due to errors\n", e->line, e->text);
	else if (e && e->text[0])
		snprintf(text, sizeof text, "ptxas fatal   : %s\n", e->text);
	write_log(j->error, j->error_size, j->error_used, text);
	write_log(j->info, j->info_size, j->info_used, "");
	float ms = (float)(soft_now_ns() - started) / 1e6f;
	if (j->wall)
		memcpy(j->wall, &ms, sizeof ms);
}

static CUresult text_length(const void *image, size_t *len)
{
	uint32_t magic;
	size_t n = strnlen(image, sizeof magic);
	if (n == sizeof magic || memchr(image, '\x7f', n)) {
		memcpy(&magic, image, sizeof magic);
		if (magic == 0x464c457fu || magic == 0x466243b1u || magic == 0xba55ed50u) {
			soft_log("machine code cannot run here: this device takes PTX text (build with -gencode "
				"arch=compute_90,code=compute_90)");
			return CUDA_ERROR_NO_BINARY_FOR_GPU;
		}
	}
	*len = strnlen(image, (size_t)MAX_IMAGE + 1);
	return *len == 0 ? CUDA_ERROR_INVALID_IMAGE : *len > MAX_IMAGE ? CUDA_ERROR_INVALID_PTX : CUDA_SUCCESS;
}

static CUresult decode(const char *text, size_t len, struct ptx_module **out, struct ptx_error *e)
{
	struct ptx_module *m = ptx_parse(text, len, e);
	if (!m)
		return CUDA_ERROR_INVALID_PTX;
	if (m->version_major > 9 || (m->version_major == 9 && m->version_minor > 0)) {
		snprintf(e->text, sizeof e->text, "Unsupported .version %d.%d; current version is '9.0'",
			 m->version_major, m->version_minor);
		ptx_free(m);
		return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
	}
	if (m->target_sm > 90) {
		snprintf(e->text, sizeof e->text,
			 "SM version specified by .target is higher than default SM version assumed");
		ptx_free(m);
		return CUDA_ERROR_INVALID_PTX;
	}
	*out = m;
	return CUDA_SUCCESS;
}

static void func_free(struct soft_obj *o)
{
	free(o);
}

static void module_free(struct soft_obj *o)
{
	struct soft_module *m = (struct soft_module *)o;
	for (struct soft_func *f = m->funcs, *next; f; f = next) {
		next = f->next;
		if (f->as_kernel)
			soft_unref(f->as_kernel);
		soft_unref(&f->obj);
	}
	lock_held = true;
	exec_unload(m->exec);
	lock_held = false;
	free(m);
}

/* Managed variables are managed memory to whoever asks. */
static void mark_managed(const struct ptx_module *ptx, const struct exec_module *exec)
{
	for (uint32_t i = 0; i < ptx->nvars; i++) {
		const struct exec_symbol *s = ptx->vars[i]->managed ? exec_find_symbol(exec, ptx->vars[i]->name) : NULL;
		struct soft_range *r = s ? soft_range_at(s->addr) : NULL;
		if (r && r->variable)
			r->type = SOFT_R_MANAGED;
	}
}

/* Called without the lock.  `c` is referred to by the caller; NULL for a library. */
static CUresult load(struct soft_ctx *c, const void *image, const struct jit *j, struct soft_module **out)
{
	uint64_t started = soft_now_ns();
	struct ptx_error e = { 0 };
	struct ptx_module *ptx = NULL;
	struct exec_module *exec = NULL;
	size_t len;
	CUresult r = image ? text_length(image, &len) : CUDA_ERROR_INVALID_VALUE;
	if (!r)
		r = decode(image, len, &ptx, &e);
	if (!r) {
		loading_for = c;
		r = exec_load(ptx, variable_alloc, variable_release, &exec, &e);
		loading_for = NULL;
	}
	report(j, r ? &e : NULL, started);
	if (r) {
		if (e.text[0])
			soft_log("module refused, line %u: %s", e.line, e.text);
		return r;
	}
	struct soft_module *m = calloc(1, sizeof *m);
	if (!m) {
		exec_unload(exec);
		return CUDA_ERROR_OUT_OF_MEMORY;
	}
	soft_lock();
	m->exec = exec;
	m->ctx = c;
	m->virtual_arch = (int)ptx->target_sm;
	soft_obj_init(&m->obj, SOFT_MODULE, module_free);
	mark_managed(ptx, exec);
	if (c) {
		m->next = modules;
		modules = m;
	}
	soft_unlock();
	*out = m;
	return CUDA_SUCCESS;
}

static void module_drop(struct soft_module *m)
{
	struct soft_module **p = &modules;
	while (*p && *p != m)
		p = &(*p)->next;
	if (*p)
		*p = m->next;
	for (struct soft_func *f = m->funcs; f; f = f->next)
		soft_obj_hide(&f->obj);
	m->unloaded = true;
	soft_obj_hide(&m->obj);
	soft_unref(&m->obj);
}

void soft_modules_drop(struct soft_ctx *c)
{
	for (struct soft_module *m = modules, *next; m; m = next) {
		next = m->next;
		if (m->ctx == c)
			module_drop(m);
	}
}

CUresult soft_cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned int n, CUjit_option *options, void **values)
{
	struct soft_ctx *c;
	struct jit j;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	r = out && image ? read_options(n, options, values, &j) : CUDA_ERROR_INVALID_VALUE;
	if (!r)
		r = soft_capture_forbid_unsafe(c);
	if (r)
		return soft_leave(r);
	soft_ref(&c->obj);
	soft_unlock();
	struct soft_module *m;
	r = load(c, image, &j, &m);
	soft_lock();
	bool destroyed = c->destroyed || !c->heap;
	soft_unref(&c->obj);
	if (!r && destroyed)
		r = CUDA_ERROR_CONTEXT_IS_DESTROYED;
	if (!r)
		*out = (CUmodule)m;
	return soft_leave(r);
}

CUresult soft_cuModuleLoadData(CUmodule *out, const void *image)
{
	return soft_cuModuleLoadDataEx(out, image, 0, NULL, NULL);
}

CUresult soft_cuModuleLoadFatBinary(CUmodule *out, const void *image)
{
	return soft_cuModuleLoadDataEx(out, image, 0, NULL, NULL);
}

/* The whole file, NUL-terminated. */
static CUresult read_file(const char *path, char **out)
{
	struct stat st;
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return path ? CUDA_ERROR_FILE_NOT_FOUND : CUDA_ERROR_INVALID_VALUE;
	char *text = NULL;
	CUresult r = fstat(fd, &st) || st.st_size > MAX_IMAGE ? CUDA_ERROR_INVALID_IMAGE : CUDA_SUCCESS;
	if (!r && !(text = calloc(1, (size_t)st.st_size + 8)))
		r = CUDA_ERROR_OUT_OF_MEMORY;
	for (off_t at = 0; !r && at < st.st_size;) {
		ssize_t n = read(fd, text + at, (size_t)(st.st_size - at));
		if (n <= 0)
			r = CUDA_ERROR_INVALID_IMAGE;
		at += n;
	}
	close(fd);
	if (r)
		free(text);
	else
		*out = text;
	return r;
}

CUresult soft_cuModuleLoad(CUmodule *out, const char *path)
{
	char *text;
	CUresult r = read_file(path, &text);
	if (r)
		return r;
	r = soft_cuModuleLoadData(out, text);
	free(text);
	return r;
}

CUresult soft_cuModuleUnload(CUmodule h)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	struct soft_module *m = soft_obj_find(SOFT_MODULE, h);
	if (!m || m->library)
		return soft_leave(CUDA_ERROR_INVALID_HANDLE);
	module_drop(m);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuModuleGetLoadingMode(CUmoduleLoadingMode *mode)
{
	CUresult r = soft_enter_any();
	return SOFT_GIVE(r, mode, CU_MODULE_EAGER_LOADING);
}

/* --- functions and variables of a module --- */

/* The function object of a kernel, made at the first request.  Lock held. */
static CUresult func_of(struct soft_module *m, const struct exec_kernel *k, struct soft_func **out)
{
	for (struct soft_func *f = m->funcs; f; f = f->next) {
		if (f->k == k) {
			*out = f;
			return CUDA_SUCCESS;
		}
	}
	struct soft_func *f = calloc(1, sizeof *f);
	if (!f)
		return CUDA_ERROR_OUT_OF_MEMORY;
	soft_obj_init(&f->obj, SOFT_FUNC, func_free);
	f->module = m;
	f->k = k;
	f->carveout = -1;
	f->max_dynamic_shared = k->static_shared < 49152 ? 49152 - (int)k->static_shared : 0;
	f->next = m->funcs;
	m->funcs = f;
	*out = f;
	return CUDA_SUCCESS;
}

struct soft_func *soft_func_find(CUfunction h)
{
	struct soft_func *f = soft_obj_find(SOFT_FUNC, h);
	struct kernel_handle *k = f ? NULL : soft_obj_find(SOFT_KERNEL, h);
	return k ? k->f : f;
}

static CUresult enter_module(CUmodule h, struct soft_module **m)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	*m = soft_obj_find(SOFT_MODULE, h);
	return *m ? CUDA_SUCCESS : soft_leave(CUDA_ERROR_INVALID_HANDLE);
}

CUresult soft_cuModuleGetFunction(CUfunction *out, CUmodule h, const char *name)
{
	struct soft_module *m;
	CUresult r = enter_module(h, &m);
	if (r)
		return r;
	if (!out || !name || !*name)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	const struct exec_kernel *k = exec_find_kernel(m->exec, name);
	struct soft_func *f;
	r = k ? func_of(m, k, &f) : CUDA_ERROR_NOT_FOUND;
	if (!r)
		*out = (CUfunction)f;
	return soft_leave(r);
}

CUresult soft_cuModuleGetFunctionCount(unsigned int *count, CUmodule h)
{
	struct soft_module *m;
	CUresult r = enter_module(h, &m);
	return SOFT_GIVE(r, count, exec_kernel_count(m->exec));
}

CUresult soft_cuModuleEnumerateFunctions(CUfunction *out, unsigned int n, CUmodule h)
{
	struct soft_module *m;
	CUresult r = enter_module(h, &m);
	if (r)
		return r;
	if (!out)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	uint32_t count = exec_kernel_count(m->exec);
	for (uint32_t i = 0; i < n && i < count && !r; i++) {
		struct soft_func *f;
		r = func_of(m, exec_kernel_at(m->exec, i), &f);
		if (!r)
			out[i] = (CUfunction)f;
	}
	return soft_leave(r);
}

static CUresult global(const struct soft_module *m, const char *name, bool managed_only, CUdeviceptr *addr,
		       size_t *size)
{
	if (!name || !*name)
		return CUDA_ERROR_INVALID_VALUE;
	const struct exec_symbol *s = exec_find_symbol(m->exec, name);
	if (!s || (managed_only && !s->is_managed))
		return CUDA_ERROR_NOT_FOUND;
	if (addr)
		*addr = s->addr;
	if (size)
		*size = s->size;
	return CUDA_SUCCESS;
}

CUresult soft_cuModuleGetGlobal_v2(CUdeviceptr *addr, size_t *size, CUmodule h, const char *name)
{
	struct soft_module *m;
	CUresult r = enter_module(h, &m);
	return r ? r : soft_leave(global(m, name, false, addr, size));
}

/* --- attributes --- */

unsigned soft_func_max_threads(const struct soft_func *f)
{
	unsigned per_warp = (f->k->num_regs * 32 + 255) / 256 * 256;
	unsigned by_regs = per_warp ? 65536 / per_warp / 4 * 4 * 32 : 1024;
	unsigned most = f->k->max_threads < 1024 ? f->k->max_threads : 1024;
	return by_regs < most ? by_regs : most;
}

static CUresult get_attribute(const struct soft_func *f, CUfunction_attribute a, int *out)
{
	const struct exec_kernel *k = f->k;
	const int values[] = {
		[CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK] = (int)soft_func_max_threads(f),
		[CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES] = (int)k->static_shared,
		[CU_FUNC_ATTRIBUTE_CONST_SIZE_BYTES] = (int)k->const_bytes,
		[CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES] = (int)k->local_bytes,
		[CU_FUNC_ATTRIBUTE_NUM_REGS] = (int)k->num_regs,
		[CU_FUNC_ATTRIBUTE_PTX_VERSION] =
			f->module->virtual_arch, /* the architecture, whatever its name says */
		[CU_FUNC_ATTRIBUTE_BINARY_VERSION] = k->binary_version,
		[CU_FUNC_ATTRIBUTE_CACHE_MODE_CA] = 0,
		[CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES] = f->max_dynamic_shared,
		[CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT] = f->carveout,
		[CU_FUNC_ATTRIBUTE_CLUSTER_SIZE_MUST_BE_SET] = k->explicit_cluster,
		[CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH] = k->cluster[0] ? (int)k->cluster[0] : f->cluster[0],
		[CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT] = k->cluster[0] ? (int)k->cluster[1] : f->cluster[1],
		[CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH] = k->cluster[0] ? (int)k->cluster[2] : f->cluster[2],
		[CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED] = f->nonportable_cluster,
		[CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE] = f->cluster_policy,
	};
	if (!out || a < 0 || (size_t)a >= sizeof values / sizeof *values)
		return CUDA_ERROR_INVALID_VALUE;
	*out = values[a];
	return CUDA_SUCCESS;
}

static CUresult set_attribute(struct soft_func *f, CUfunction_attribute a, int value)
{
	switch (a) {
	case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
		if (value < 0 || value > 232448 - (int)f->k->static_shared)
			return CUDA_ERROR_INVALID_VALUE;
		f->max_dynamic_shared = value;
		return CUDA_SUCCESS;
	case CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
		if (value < -1 || value > 100)
			return CUDA_ERROR_INVALID_VALUE;
		f->carveout = value;
		return CUDA_SUCCESS;
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH:
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT:
	case CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH:
		if (value < 0 || f->k->cluster[0])
			return CUDA_ERROR_INVALID_VALUE;
		f->cluster[a - CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH] = value;
		return CUDA_SUCCESS;
	case CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED:
		f->nonportable_cluster = value != 0;
		return CUDA_SUCCESS;
	case CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
		if (value < CU_CLUSTER_SCHEDULING_POLICY_DEFAULT || value > CU_CLUSTER_SCHEDULING_POLICY_LOAD_BALANCING)
			return CUDA_ERROR_INVALID_VALUE;
		f->cluster_policy = value;
		return CUDA_SUCCESS;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
}

static CUresult enter_func(CUfunction h, struct soft_func **f)
{
	struct soft_ctx *c;
	CUresult r = soft_enter(&c);
	if (r)
		return r;
	*f = soft_func_find(h);
	return *f ? CUDA_SUCCESS : soft_leave(CUDA_ERROR_INVALID_HANDLE);
}

CUresult soft_cuFuncGetAttribute(int *out, CUfunction_attribute a, CUfunction h)
{
	struct soft_func *f;
	CUresult r = enter_func(h, &f);
	return r ? r : soft_leave(get_attribute(f, a, out));
}

CUresult soft_cuFuncSetAttribute(CUfunction h, CUfunction_attribute a, int value)
{
	struct soft_func *f;
	CUresult r = enter_func(h, &f);
	return r ? r : soft_leave(set_attribute(f, a, value));
}

CUresult soft_cuFuncSetCacheConfig(CUfunction h, CUfunc_cache config)
{
	struct soft_func *f;
	CUresult r = enter_func(h, &f);
	if (r)
		return r;
	if (config > CU_FUNC_CACHE_PREFER_EQUAL)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	f->cache_config = config;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuFuncSetSharedMemConfig(CUfunction h, CUsharedconfig config)
{
	struct soft_func *f;
	CUresult r = enter_func(h, &f);
	return r ? r
		 : soft_leave(config > CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE ? CUDA_ERROR_INVALID_VALUE
										 : CUDA_SUCCESS);
}

CUresult soft_cuFuncGetModule(CUmodule *out, CUfunction h)
{
	struct soft_func *f;
	CUresult r = enter_func(h, &f);
	return SOFT_GIVE(r, out, (CUmodule)f->module);
}

CUresult soft_cuFuncGetName(const char **out, CUfunction h)
{
	struct soft_func *f;
	CUresult r = enter_func(h, &f);
	return SOFT_GIVE(r, out, f->k->name);
}

static CUresult param_info(const struct soft_func *f, size_t i, size_t *offset, size_t *size)
{
	if (!offset || i >= f->k->nparams)
		return CUDA_ERROR_INVALID_VALUE;
	*offset = f->k->param_offset[i];
	if (size)
		*size = f->k->param_size[i];
	return CUDA_SUCCESS;
}

CUresult soft_cuFuncGetParamInfo(CUfunction h, size_t i, size_t *offset, size_t *size)
{
	struct soft_func *f;
	CUresult r = enter_func(h, &f);
	return r ? r : soft_leave(param_info(f, i, offset, size));
}

CUresult soft_cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction h)
{
	struct soft_func *f;
	CUresult r = enter_func(h, &f);
	return SOFT_GIVE(r, state, CU_FUNCTION_LOADING_STATE_LOADED);
}

CUresult soft_cuFuncLoad(CUfunction h)
{
	struct soft_func *f;
	CUresult r = enter_func(h, &f);
	return r ? r : soft_leave(CUDA_SUCCESS);
}

/* --- libraries --- */

static void library_free(struct soft_obj *o)
{
	free(o);
}

CUresult soft_cuLibraryLoadData(CUlibrary *out, const void *code, CUjit_option *options, void **values, unsigned int n,
	CUlibraryOption *library_options, void **library_values, unsigned int nlibrary)
{
	struct jit j;
	CUresult r = soft_enter_any();
	if (r)
		return r;
	soft_unlock();
	(void)library_values;
	if (!out || !code || (nlibrary && !library_options))
		return CUDA_ERROR_INVALID_VALUE;
	r = read_options(n, options, values, &j);
	if (r)
		return r;
	struct soft_library *l = calloc(1, sizeof *l);
	if (!l)
		return CUDA_ERROR_OUT_OF_MEMORY;
	r = load(NULL, code, &j, &l->module);
	if (r) {
		free(l);
		return r;
	}
	soft_lock();
	l->module->library = l;
	soft_obj_init(&l->obj, SOFT_LIBRARY, library_free);
	*out = (CUlibrary)l;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuLibraryLoadFromFile(CUlibrary *out, const char *path, CUjit_option *options, void **values,
				    unsigned int n, CUlibraryOption *library_options, void **library_values,
				    unsigned int nlibrary)
{
	char *text;
	CUresult r = read_file(path, &text);
	if (r)
		return r;
	r = soft_cuLibraryLoadData(out, text, options, values, n, library_options, library_values, nlibrary);
	free(text);
	return r;
}

static CUresult enter_library(CUlibrary h, const void *argument, struct soft_library **l)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	*l = soft_obj_find(SOFT_LIBRARY, h);
	return !*l	   ? soft_leave(CUDA_ERROR_INVALID_HANDLE)
	       : !argument ? soft_leave(CUDA_ERROR_INVALID_VALUE)
			   : CUDA_SUCCESS;
}

CUresult soft_cuLibraryUnload(CUlibrary h)
{
	struct soft_library *l;
	CUresult r = enter_library(h, h, &l);
	if (r)
		return r;
	for (struct soft_func *f = l->module->funcs; f; f = f->next)
		if (f->as_kernel)
			soft_obj_hide(f->as_kernel);
	module_drop(l->module);
	soft_obj_hide(&l->obj);
	soft_unref(&l->obj);
	return soft_leave(CUDA_SUCCESS);
}

static CUresult kernel_of(struct soft_library *l, const struct exec_kernel *k, CUkernel *out)
{
	struct soft_func *f;
	CUresult r = func_of(l->module, k, &f);
	if (r)
		return r;
	if (!f->as_kernel) {
		struct kernel_handle *h = calloc(1, sizeof *h);
		if (!h)
			return CUDA_ERROR_OUT_OF_MEMORY;
		soft_obj_init(&h->obj, SOFT_KERNEL, func_free);
		h->f = f;
		f->as_kernel = &h->obj;
	}
	*out = (CUkernel)f->as_kernel;
	return CUDA_SUCCESS;
}

CUresult soft_cuLibraryGetKernel(CUkernel *out, CUlibrary h, const char *name)
{
	struct soft_library *l;
	CUresult r = enter_library(h, out && name ? out : NULL, &l);
	if (r)
		return r;
	const struct exec_kernel *k = exec_find_kernel(l->module->exec, name);
	return soft_leave(k ? kernel_of(l, k, out) : CUDA_ERROR_NOT_FOUND);
}

CUresult soft_cuLibraryGetKernelCount(unsigned int *count, CUlibrary h)
{
	struct soft_library *l;
	CUresult r = enter_library(h, count, &l);
	if (r)
		return r;
	*count = exec_kernel_count(l->module->exec);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuLibraryEnumerateKernels(CUkernel *out, unsigned int n, CUlibrary h)
{
	struct soft_library *l;
	CUresult r = enter_library(h, out, &l);
	if (r)
		return r;
	uint32_t count = exec_kernel_count(l->module->exec);
	for (uint32_t i = 0; i < n && i < count && !r; i++)
		r = kernel_of(l, exec_kernel_at(l->module->exec, i), &out[i]);
	return soft_leave(r);
}

CUresult soft_cuLibraryGetModule(CUmodule *out, CUlibrary h)
{
	struct soft_library *l;
	CUresult r = enter_library(h, out, &l);
	if (r)
		return r;
	if (!soft_current())
		return soft_leave(CUDA_ERROR_INVALID_CONTEXT);
	*out = (CUmodule)l->module;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuLibraryGetGlobal(CUdeviceptr *addr, size_t *size, CUlibrary h, const char *name)
{
	struct soft_library *l;
	CUresult r = enter_library(h, h, &l);
	if (r)
		return r;
	if (!soft_current())
		return soft_leave(CUDA_ERROR_INVALID_CONTEXT);
	return soft_leave(global(l->module, name, false, addr, size));
}

CUresult soft_cuLibraryGetManaged(CUdeviceptr *addr, size_t *size, CUlibrary h, const char *name)
{
	struct soft_library *l;
	CUresult r = enter_library(h, h, &l);
	return r ? r : soft_leave(global(l->module, name, true, addr, size));
}

CUresult soft_cuLibraryGetUnifiedFunction(void **out, CUlibrary h, const char *symbol)
{
	struct soft_library *l;
	CUresult r = enter_library(h, out && symbol ? out : NULL, &l);
	return r ? r : soft_leave(CUDA_ERROR_NOT_FOUND); /* no unified function pointers on this device */
}

static CUresult enter_kernel(CUkernel h, struct soft_func **f)
{
	CUresult r = soft_enter_any();
	if (r)
		return r;
	*f = soft_func_find((CUfunction)h);
	return *f ? CUDA_SUCCESS : soft_leave(CUDA_ERROR_INVALID_HANDLE);
}

CUresult soft_cuKernelGetFunction(CUfunction *out, CUkernel h)
{
	struct soft_func *f;
	CUresult r = enter_kernel(h, &f);
	if (r)
		return r;
	if (!out || !soft_current())
		return soft_leave(out ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_INVALID_VALUE);
	*out = (CUfunction)f;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuKernelGetLibrary(CUlibrary *out, CUkernel h)
{
	struct soft_func *f;
	CUresult r = enter_kernel(h, &f);
	if (r)
		return r;
	if (!out || !f->module->library)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	*out = (CUlibrary)f->module->library;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuKernelGetAttribute(int *out, CUfunction_attribute a, CUkernel h, CUdevice dev)
{
	struct soft_func *f;
	CUresult r = enter_kernel(h, &f);
	if (r)
		return r;
	return soft_leave(soft_device_ok(dev) ? get_attribute(f, a, out) : CUDA_ERROR_INVALID_DEVICE);
}

CUresult soft_cuKernelSetAttribute(CUfunction_attribute a, int value, CUkernel h, CUdevice dev)
{
	struct soft_func *f;
	CUresult r = enter_kernel(h, &f);
	if (r)
		return r;
	return soft_leave(soft_device_ok(dev) ? set_attribute(f, a, value) : CUDA_ERROR_INVALID_DEVICE);
}

CUresult soft_cuKernelSetCacheConfig(CUkernel h, CUfunc_cache config, CUdevice dev)
{
	struct soft_func *f;
	CUresult r = enter_kernel(h, &f);
	if (r)
		return r;
	if (!soft_device_ok(dev) || config > CU_FUNC_CACHE_PREFER_EQUAL)
		return soft_leave(soft_device_ok(dev) ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_INVALID_DEVICE);
	f->cache_config = config;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuKernelGetName(const char **out, CUkernel h)
{
	struct soft_func *f;
	CUresult r = enter_kernel(h, &f);
	return SOFT_GIVE(r, out, f->k->name);
}

CUresult soft_cuKernelGetParamInfo(CUkernel h, size_t i, size_t *offset, size_t *size)
{
	struct soft_func *f;
	CUresult r = enter_kernel(h, &f);
	return r ? r : soft_leave(param_info(f, i, offset, size));
}
