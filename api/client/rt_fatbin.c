/* rt_fatbin.c - what nvcc's start-up code registers: fatbins, kernels, variables; loaded on first use.
 *
 * Registration happens in static constructors, possibly before main and in any order between objects; it only takes
 * notes. A fatbin becomes a CUlibrary when one of its kernels or variables is first needed (lazy loading, NVIDIA's
 * default too). Lock order: `lock` guards the tables; a module's own `load` mutex is held while it is loaded, never
 * with `lock`.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "runtime.h"

struct rt_module {
	const void *wrapper;
	void **handle;                  /* what nvcc's code holds: points at `self` */
	void *self;
	pthread_mutex_t load;
	_Atomic bool loaded;
	CUlibrary library;
	CUresult error;                 /* of loading: reported by every later use */
	struct rt_module *next;
};

enum entry_kind { ENTRY_KERNEL, ENTRY_VAR, ENTRY_MANAGED };

struct entry {
	const void *host;               /* stub or host variable: the key */
	enum entry_kind kind;
	struct rt_module *module;
	const char *name;               /* lives in the program's read-only data */
	size_t bytes;
	void **managed;                 /* ENTRY_MANAGED: the program's pointer, filled when the module is loaded */
	_Atomic(CUkernel) kernel;
	struct entry *next;             /* hash chain */
};

enum { BUCKETS = 4096 };
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct rt_module *modules;
static struct entry *buckets[BUCKETS];

static unsigned bucket_of(const void *p)
{
	return (unsigned)((uintptr_t)p * 0x9e3779b97f4a7c15ull >> 52) % BUCKETS;
}

static struct entry *find(const void *host)
{
	pthread_rwlock_rdlock(&lock);
	struct entry *e = buckets[bucket_of(host)];
	while (e && e->host != host) e = e->next;
	pthread_rwlock_unlock(&lock);
	return e;
}

static void add_entry(void **handle, const void *host, enum entry_kind kind, const char *name, size_t bytes,
		      void **managed)
{
	struct entry *e = handle ? calloc(1, sizeof *e) : NULL;
	if (!e) {
		agc_log("out of memory while registering %s", name);
		return;
	}
	e->host = host;
	e->kind = kind;
	e->module = *(struct rt_module **)handle;
	e->name = name;
	e->bytes = bytes;
	e->managed = managed;
	pthread_rwlock_wrlock(&lock);
	struct entry **b = &buckets[bucket_of(host)];
	e->next = *b;
	*b = e;
	pthread_rwlock_unlock(&lock);
}

RT_EXPORT void **__cudaRegisterFatBinary(void *wrapper)
{
	struct rt_module *m = calloc(1, sizeof *m);
	if (!m) {
		agc_log("out of memory while registering a fatbin");
		abort(); /* nvcc's code cannot take an error here, NVIDIA's Runtime ends the program too */
	}
	m->wrapper = wrapper;
	m->self = m;
	m->handle = &m->self;
	pthread_mutex_init(&m->load, NULL);
	pthread_rwlock_wrlock(&lock);
	m->next = modules;
	modules = m;
	pthread_rwlock_unlock(&lock);
	return m->handle;
}

RT_EXPORT void __cudaRegisterFatBinaryEnd(void **handle) { (void)handle; }

RT_EXPORT void __cudaRegisterFunction(void **handle, const char *host, char *device, const char *name, int thread_limit,
                               void *tid, void *bid, void *bdim, void *gdim, int *wsize)
{
	(void)device; (void)thread_limit; (void)tid; (void)bid; (void)bdim; (void)gdim; (void)wsize;
	add_entry(handle, host, ENTRY_KERNEL, name, 0, NULL);
}

RT_EXPORT void __cudaRegisterVar(void **handle, char *host, char *device, const char *name, int ext, size_t bytes,
				 int constant, int global)
{
	(void)device; (void)ext; (void)constant; (void)global;
	add_entry(handle, host, ENTRY_VAR, name, bytes, NULL);
}

RT_EXPORT void __cudaRegisterManagedVar(void **handle, void **host, char *device, const char *name, int ext,
					size_t bytes, int constant, int global)
{
	(void)device; (void)ext; (void)constant; (void)global;
	add_entry(handle, host, ENTRY_MANAGED, name, bytes, host);
}

RT_EXPORT void __cudaRegisterHostVar(void **handle, const char *name, char *host, size_t bytes)
{
	(void)name;
	(void)host;
	(void)bytes;
	(void)handle; /* device code reaches host variables only through ATS, which no device here reports */
}

RT_EXPORT void __cudaRegisterUnifiedTable(void **handle, void *table)
{
	(void)handle;
	(void)table; /* unified function pointers: attribute is 0 */
}

static CUresult fill_managed(struct rt_module *m)
{
	for (unsigned b = 0; b < BUCKETS; b++)
		for (struct entry *e = buckets[b]; e; e = e->next) {
			if (e->module != m || e->kind != ENTRY_MANAGED) continue;
			CUdeviceptr p;
			size_t n;
			CUresult r = rt_cu()->cuLibraryGetManaged(&p, &n, m->library, e->name);
			if (r) return r;
			*e->managed = (void *)(uintptr_t)p;
		}
	return CUDA_SUCCESS;
}

static CUresult load(struct rt_module *m)
{
	CUresult r;
	if (atomic_load_explicit(&m->loaded, memory_order_acquire)) return m->error;
	if ((r = rt_init())) return r;  /* no device now: may be asked again */
	pthread_mutex_lock(&m->load);
	if (!atomic_load_explicit(&m->loaded, memory_order_relaxed)) {
		m->error = rt_cu()->cuLibraryLoadData(&m->library, m->wrapper, NULL, NULL, 0, NULL, NULL, 0);
		if (!m->error) {
			pthread_rwlock_rdlock(&lock);
			m->error = fill_managed(m);
			pthread_rwlock_unlock(&lock);
		}
		atomic_store_explicit(&m->loaded, true, memory_order_release);
	}
	pthread_mutex_unlock(&m->load);
	return m->error;
}

/* nvcc calls this before main touches a managed variable of the module. */
RT_EXPORT char __cudaInitModule(void **handle)
{
	if (!handle) return 0;
	return load(*(struct rt_module **)handle) == CUDA_SUCCESS;
}

RT_EXPORT void __cudaUnregisterFatBinary(void **handle)
{
	if (!handle) return;
	struct rt_module *m = *(struct rt_module **)handle;
	pthread_rwlock_wrlock(&lock);
	for (unsigned b = 0; b < BUCKETS; b++)
		for (struct entry **p = &buckets[b]; *p;) {
			struct entry *e = *p;
			if (e->module != m) { p = &e->next; continue; }
			*p = e->next;
			free(e);
		}
	for (struct rt_module **p = &modules; *p; p = &(*p)->next)
		if (*p == m) { *p = m->next; break; }
	pthread_rwlock_unlock(&lock);
	/* Runs from atexit handlers and dlclose. The library goes with the process, or here when it outlives this
	 * code. */
	if (atomic_load(&m->loaded) && !m->error) rt_cu()->cuLibraryUnload(m->library);
	pthread_mutex_destroy(&m->load);
	free(m);
}

CUresult rt_kernel(const void *func, CUkernel *k)
{
	struct entry *e = find(func);
	if (!e || e->kind != ENTRY_KERNEL) {
		/* cudaLaunchKernel and friends also take a cudaKernel_t where a stub is expected. */
		if (AG_ID_KIND(agc_id(func)) == AG_K_KERNEL || AG_ID_KIND(agc_id(func)) == AG_K_FUNCTION) {
			*k = (CUkernel)func;
			return rt_init();
		}
		return (CUresult)cudaErrorInvalidDeviceFunction;
	}
	*k = atomic_load_explicit(&e->kernel, memory_order_acquire);
	if (*k) return CUDA_SUCCESS;
	CUresult r = load(e->module);
	if (r) return r;
	r = rt_cu()->cuLibraryGetKernel(k, e->module->library, e->name);
	if (r) return r == CUDA_ERROR_NOT_FOUND ? (CUresult)cudaErrorInvalidDeviceFunction : r;
	atomic_store_explicit(&e->kernel, *k, memory_order_release);
	return CUDA_SUCCESS;
}

cudaError_t rt_symbol(const void *symbol, CUdeviceptr *addr, size_t *bytes)
{
	struct entry *e = symbol ? find(symbol) : NULL;
	if (!e || e->kind == ENTRY_KERNEL) return cudaErrorInvalidSymbol;
	CUresult r = load(e->module);
	if (r) return rt_from_driver(r);
	r = e->kind == ENTRY_MANAGED ? rt_cu()->cuLibraryGetManaged(addr, bytes, e->module->library, e->name)
	                             : rt_cu()->cuLibraryGetGlobal(addr, bytes, e->module->library, e->name);
	return r == CUDA_ERROR_NOT_FOUND ? cudaErrorInvalidSymbol : rt_from_driver(r);
}

cudaError_t rt_cudaGetSymbolAddress(void **addr, const void *symbol)
{
	CUdeviceptr p;
	size_t n;
	if (!addr) return rt_error(cudaErrorInvalidValue);
	cudaError_t e = rt_symbol(symbol, &p, &n);
	if (!e) *addr = (void *)(uintptr_t)p;
	return rt_error(e);
}

cudaError_t rt_cudaGetSymbolSize(size_t *bytes, const void *symbol)
{
	CUdeviceptr p;
	if (!bytes) return rt_error(cudaErrorInvalidValue);
	return rt_error(rt_symbol(symbol, &p, bytes));
}

/* Exported by NVIDIA's library, called by no code that nvcc 13.0 generates, its prototype in no header: refused. */
RT_EXPORT cudaError_t __cudaGetProcAddress(void);
RT_EXPORT cudaError_t __cudaGetProcAddress(void)
{
	agc_log("__cudaGetProcAddress is not supported: its prototype is not public");
	return rt_error(cudaErrorNotSupported);
}
