/* streamattr.c - attributes of streams, and values written in stream order.
 *
 * Attributes are hints about caches, waiting and memory domains; they are kept and given back, and the device is free
 * to ignore them.
 */
#include "internal.h"

#include <string.h>

CUresult call_cuStreamGetAttribute(CUstream h, CUstreamAttrID a, CUstreamAttrValue *value)
{
	AGC_STREAM(s, h);
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	memset(value, 0, sizeof *value);
	switch (a) {
	case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:   value->accessPolicyWindow = s->access_policy; break;
	case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
		value->syncPolicy = s->sync_policy ? s->sync_policy : CU_SYNC_POLICY_AUTO;
		break;
	case CU_LAUNCH_ATTRIBUTE_PRIORITY:               value->priority = s->priority; break;
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:    value->memSyncDomainMap = s->domain_map; break;
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:        value->memSyncDomain = s->domain; break;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
	return CUDA_SUCCESS;
}

CUresult call_cuStreamSetAttribute(CUstream h, CUstreamAttrID a, const CUstreamAttrValue *value)
{
	AGC_STREAM(s, h);
	if (!value)
		return CUDA_ERROR_INVALID_VALUE;
	switch (a) {
	case CU_LAUNCH_ATTRIBUTE_ACCESS_POLICY_WINDOW:
		if (value->accessPolicyWindow.hitRatio < 0 || value->accessPolicyWindow.hitRatio > 1)
			return CUDA_ERROR_INVALID_VALUE;
		s->access_policy = value->accessPolicyWindow;
		return CUDA_SUCCESS;
	case CU_LAUNCH_ATTRIBUTE_SYNCHRONIZATION_POLICY:
		if (value->syncPolicy < CU_SYNC_POLICY_AUTO || value->syncPolicy > CU_SYNC_POLICY_BLOCKING_SYNC)
			return CUDA_ERROR_INVALID_VALUE;
		s->sync_policy = value->syncPolicy;
		return CUDA_SUCCESS;
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN_MAP:
		s->domain_map = value->memSyncDomainMap;
		return CUDA_SUCCESS;
	case CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN:
		if ((unsigned)value->memSyncDomain > CU_LAUNCH_MEM_SYNC_DOMAIN_REMOTE)
			return CUDA_ERROR_INVALID_VALUE;
		s->domain = value->memSyncDomain;
		return CUDA_SUCCESS;
	default:
		return CUDA_ERROR_INVALID_VALUE;         /* a priority cannot be changed */
	}
}

CUresult call_cuStreamCopyAttributes(CUstream to, CUstream from)
{
	AGC_STREAM(d, to);
	AGC_STREAM(s, from);
	d->access_policy = s->access_policy;
	d->sync_policy = s->sync_policy;
	d->domain_map = s->domain_map;
	d->domain = s->domain;
	return CUDA_SUCCESS;
}

/* --- values in stream order --------------------------------------------------------------------------------------- */

CUresult call_cuStreamWriteValue32_v2(CUstream h, CUdeviceptr addr, cuuint32_t value, unsigned flags)
{
	AGC_STREAM(s, h);
	if (addr % 4 || flags & ~(unsigned)CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER)
		return CUDA_ERROR_INVALID_VALUE;
	return agc_set(addr, 0, 1, 1, value, 4, s);
}

/* Eight bytes at once: in host memory as completion words are written, in device memory by a copy. */
CUresult call_cuStreamWriteValue64_v2(CUstream h, CUdeviceptr addr, cuuint64_t value, unsigned flags)
{
	AGC_STREAM(s, h);
	if (addr % 8 || flags & ~(unsigned)CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER ||
	    !agc_in_window((void *)(uintptr_t)addr, 8) || !agc_block_covers(addr, 8))
		return CUDA_ERROR_INVALID_VALUE;
	if (!agc_is_host((void *)(uintptr_t)addr))
		return agc_copy(addr, (uint64_t)(uintptr_t)&value, 8, s, true);
	agc_t.touched = s;
	struct msg_signal *m = agc_begin(AG_OP_signal, sizeof *m, 0);
	if (!m)
		return agc_error();
	m->word = addr;
	m->value = value;
	m->stream = s->id;
	m->all = 0;
	m->pad = 0;
	return agc_post(m);
}
