/* device.c - the snapshot of the device that every client gets in its segment, so that asking for an attribute costs no
 * call. */
#include "session.h"

void device_snapshot(struct worker *w)
{
	const struct ag_driver *d = w->d;
	struct ag_device_info *info = &w->info;
	CUuuid id;
	size_t total = 0;

	if (d->cuDeviceGetName(info->name, sizeof info->name, w->dev))
		info->name[0] = 0;
	if (d->cuDeviceGetUuid_v2(&id, w->dev) == CUDA_SUCCESS)
		for (unsigned i = 0; i < sizeof info->uuid; i++)
			info->uuid[i] = (uint8_t)id.bytes[i];
	if (d->cuDeviceTotalMem_v2(&total, w->dev) == CUDA_SUCCESS)
		info->total_mem = total;
	for (int i = 1; i < (int)AG_MAX_ATTRS; i++) {
		int value = 0;
		info->attr_ok[i] = d->cuDeviceGetAttribute(&value, (CUdevice_attribute)i, w->dev) == CUDA_SUCCESS;
		info->attr[i] = value;
	}
	info->is_soft = w->soft;
}
