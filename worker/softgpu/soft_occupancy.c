/* soft_occupancy.c - how many blocks fit on a multiprocessor of compute capability 9.0, by the documented rules:
 * 64 warps, 32 blocks, 65536 registers given to warps in units of 256 over four partitions, 228 KiB of shared memory in
 * units of 128 bytes of which each block pays 1 KiB to the system. */
#include "soft_internal.h"

enum {
	SM_WARPS = 64, SM_BLOCKS = 32, SM_REGS = 65536, PARTITIONS = 4, REG_UNIT = 256,
	SM_SHARED = 233472, BLOCK_SHARED = 232448, SHARED_UNIT = 128, SHARED_SYSTEM = 1024,
};

static uint64_t round_up(uint64_t x, uint64_t unit)
{
	return (x + unit - 1) / unit * unit;
}

int soft_blocks_per_sm(const struct soft_func *f, uint32_t threads, uint64_t dyn_shared)
{
	if (!threads || threads > f->k->max_threads || dyn_shared > BLOCK_SHARED)
		return 0;
	uint64_t warps = round_up(threads, 32) / 32, blocks = SM_WARPS / warps;
	if (blocks > SM_BLOCKS)
		blocks = SM_BLOCKS;
	uint64_t per_warp = round_up((uint64_t)f->k->num_regs * 32, REG_UNIT);
	if (per_warp) {
		if (per_warp * round_up(warps, PARTITIONS) > SM_REGS)
			return 0;
		uint64_t by_regs = SM_REGS / PARTITIONS / per_warp * PARTITIONS / warps;
		blocks = by_regs < blocks ? by_regs : blocks;
	}
	uint64_t shared = f->k->static_shared + dyn_shared;
	if (shared > BLOCK_SHARED)
		return 0;
	uint64_t by_shared = SM_SHARED / round_up(shared + SHARED_SYSTEM, SHARED_UNIT);
	return (int)(by_shared < blocks ? by_shared : blocks);
}

/* --- clusters --- */

enum { PORTABLE_CLUSTER = 8 };

/* How many multiprocessors each graphics processing cluster of an H200 has: a thread-block cluster stays within one. */
static const uint8_t gpc_sms[] = { 18, 18, 16, 16, 16, 16, 16, 16 };

static uint32_t largest_cluster(const struct soft_func *f)
{
	uint32_t most = f->nonportable_cluster ? EXEC_CLUSTER_MAX : PORTABLE_CLUSTER, rank = f->k->max_cluster_rank;
	return rank && rank < most ? rank : most;
}

/* The kernel's own size counts, then the attributes set on it, then the launch's; they must not contradict. */
CUresult soft_cluster_size(const struct soft_func *f, struct soft_config *cfg)
{
	uint64_t blocks = 1;
	for (int i = 0; i < 3; i++) {
		uint32_t own = f->k->cluster[0] ? f->k->cluster[i] : (uint32_t)f->cluster[i];
		if (own && cfg->cluster[i] && own != cfg->cluster[i])
			return CUDA_ERROR_INVALID_CLUSTER_SIZE;
		if (own)
			cfg->cluster[i] = own;
	}
	if (!cfg->cluster[0] && !cfg->cluster[1] && !cfg->cluster[2])
		return f->k->explicit_cluster ? CUDA_ERROR_INVALID_CLUSTER_SIZE : CUDA_SUCCESS;
	for (int i = 0; i < 3; i++) {
		cfg->cluster[i] += !cfg->cluster[i];
		blocks *= cfg->cluster[i] > EXEC_CLUSTER_MAX ? EXEC_CLUSTER_MAX + 1 : cfg->cluster[i];
		if (cfg->grid[i] % cfg->cluster[i])
			return CUDA_ERROR_INVALID_VALUE;
	}
	return blocks > largest_cluster(f) ? CUDA_ERROR_INVALID_CLUSTER_SIZE : CUDA_SUCCESS;
}

static int active_clusters(const struct soft_func *f, uint32_t threads, uint64_t dyn_shared, uint64_t blocks)
{
	uint64_t each = (uint64_t)soft_blocks_per_sm(f, threads, dyn_shared), n = 0;
	for (size_t i = 0; i < sizeof gpc_sms; i++)
		n += gpc_sms[i] * each / blocks;
	return (int)n;
}

static uint64_t volume(const uint32_t d[3])
{
	uint64_t n = 1;
	for (int i = 0; i < 3; i++)
		n *= d[i] > 1 ? d[i] > 65536 ? 65536 : d[i] : 1;
	return n;
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

CUresult soft_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *out, CUfunction h, int threads,
								   size_t dyn_shared, unsigned int flags)
{
	struct soft_func *f;
	CUresult r = enter_func(h, &f);
	if (r)
		return r;
	if (!out || threads <= 0 || flags & ~(unsigned)CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	*out = soft_blocks_per_sm(f, (uint32_t)threads, dyn_shared);
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuOccupancyMaxActiveBlocksPerMultiprocessor(int *out, CUfunction f, int threads, size_t dyn_shared)
{
	return soft_cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(out, f, threads, dyn_shared, 0);
}

CUresult soft_cuOccupancyAvailableDynamicSMemPerBlock(size_t *out, CUfunction h, int blocks, int threads)
{
	struct soft_func *f;
	CUresult r = enter_func(h, &f);
	if (r)
		return r;
	if (!out || blocks <= 0 || threads <= 0 || soft_blocks_per_sm(f, (uint32_t)threads, 0) < blocks)
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	uint64_t each = SM_SHARED / (uint64_t)blocks / SHARED_UNIT * SHARED_UNIT - SHARED_SYSTEM;
	each = each > BLOCK_SHARED ? BLOCK_SHARED : each;
	*out = each - f->k->static_shared;
	return soft_leave(CUDA_SUCCESS);
}

/* The program's callback runs without the lock. */
CUresult soft_cuOccupancyMaxPotentialBlockSizeWithFlags(int *min_grid, int *block, CUfunction h,
	CUoccupancyB2DSize shared_of, size_t dyn_shared, int limit, unsigned int flags)
{
	struct soft_func *f;
	CUresult r = enter_func(h, &f);
	if (r)
		return r;
	int most = (int)soft_func_max_threads(f);
	soft_ref(&f->module->obj);
	soft_unlock();
	if (!min_grid || !block || flags & ~(unsigned)CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE)
		r = CUDA_ERROR_INVALID_VALUE;
	if (limit > 0 && limit < most)
		most = limit;
	int best_threads = 0, best_block = 0, best_blocks = 0;
	for (int aligned = (most + 31) / 32 * 32; aligned > 0 && !r; aligned -= 32) {
		int threads = aligned < most ? aligned : most;
		int blocks = soft_blocks_per_sm(f, (uint32_t)threads, shared_of ? shared_of(threads) : dyn_shared);
		if (blocks * threads > best_threads) {
			best_threads = blocks * threads;
			best_block = threads;
			best_blocks = blocks;
		}
		if (best_threads == SM_WARPS * 32)
			break;
	}
	soft_lock();
	soft_unref(&f->module->obj);
	if (!r) {
		*min_grid = best_blocks * SOFT_SM_COUNT;
		*block = best_block;
	}
	return soft_leave(r);
}

CUresult soft_cuOccupancyMaxPotentialBlockSize(int *min_grid, int *block, CUfunction f, CUoccupancyB2DSize shared_of,
	size_t dyn_shared, int limit)
{
	return soft_cuOccupancyMaxPotentialBlockSizeWithFlags(min_grid, block, f, shared_of, dyn_shared, limit, 0);
}

/* Grid dimensions of 0 are allowed: these functions ask about the block and the cluster alone. */
static CUresult cluster_query(CUfunction h, const CUlaunchConfig *config, bool sized, int *out)
{
	struct soft_func *f;
	struct soft_config cfg;
	CUevent event;
	CUresult r = enter_func(h, &f);
	if (r)
		return r;
	r = out ? soft_read_config(config, &cfg, &event) : CUDA_ERROR_INVALID_VALUE;
	if (r)
		return soft_leave(r);
	uint32_t threads = (uint32_t)volume(cfg.block), largest = largest_cluster(f);
	int fit = soft_blocks_per_sm(f, threads, cfg.dyn_shared);
	if (!cfg.block[0] || !cfg.block[1] || !cfg.block[2] || threads > soft_func_max_threads(f))
		return soft_leave(CUDA_ERROR_INVALID_VALUE);
	if (sized) {
		r = soft_cluster_size(f, &cfg);
		if (!r)
			*out = active_clusters(f, threads, cfg.dyn_shared, volume(cfg.cluster));
		return soft_leave(r);
	}
	*out = fit ? (int)largest : 0;
	return soft_leave(CUDA_SUCCESS);
}

CUresult soft_cuOccupancyMaxActiveClusters(int *clusters, CUfunction f, const CUlaunchConfig *config)
{
	return cluster_query(f, config, true, clusters);
}

CUresult soft_cuOccupancyMaxPotentialClusterSize(int *size, CUfunction f, const CUlaunchConfig *config)
{
	return cluster_query(f, config, false, size);
}
