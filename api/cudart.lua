-- cudart.lua: the Runtime, lowered onto the Driver in the client.
-- Every function is in exactly one class:
--   local, custom  by hand: rt_cudaX in api/client/rt_*.c
--   lowered        the rules below: one or two Driver calls
--   refuse         returns cudaErrorNotSupported, with a reason
local M = {}

-- ==== HAND-WRITTEN =================================================================================
-- Names whose rt_cudaX is written by hand.  Add a name together with its definition: a name without definition does not
-- link, a definition without name does not compile.  Per-thread twins (_ptds, _ptsz) are made from the base, do not
-- list them.
-- A name here wins over a rule below.
M.hand = {
	["local"] = [[
		cudaChooseDevice cudaDeviceGetAttribute cudaDeviceReset cudaDriverGetVersion cudaFuncGetAttributes
			cudaFuncGetName
		cudaFuncGetParamInfo cudaFuncSetAttribute cudaFuncSetCacheConfig cudaGetDevice cudaGetDeviceCount
			cudaGetDeviceProperties
		cudaGetFuncBySymbol cudaGetKernel cudaGetLastError cudaGetSymbolAddress cudaGetSymbolSize cudaInitDevice
		cudaLaunchCooperativeKernel cudaLaunchKernel cudaLaunchKernelExC cudaMemcpy cudaMemcpy2D
			cudaMemcpy2DArrayToArray
		cudaMemcpy2DAsync cudaMemcpy2DFromArray cudaMemcpy2DFromArrayAsync cudaMemcpy2DToArray
			cudaMemcpy2DToArrayAsync
		cudaMemcpy3D cudaMemcpy3DAsync cudaMemcpyArrayToArray cudaMemcpyAsync cudaMemcpyFromArray
			cudaMemcpyFromArrayAsync
		cudaMemcpyFromSymbol cudaMemcpyFromSymbolAsync cudaMemcpyToArray cudaMemcpyToArrayAsync
			cudaMemcpyToSymbol
		cudaMemcpyToSymbolAsync cudaMemset cudaMemset2D cudaMemset2DAsync cudaMemset3D cudaMemset3DAsync
			cudaMemsetAsync
		cudaOccupancyAvailableDynamicSMemPerBlock cudaOccupancyMaxActiveBlocksPerMultiprocessor
		cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags cudaOccupancyMaxActiveClusters
			cudaOccupancyMaxPotentialClusterSize
		cudaPeekAtLastError cudaRuntimeGetVersion cudaSetDevice cudaSetValidDevices
	]],
	custom = [[
	]],
}
-- ==== end of the hand-written lists ================================================================

-- Exported by libcudart but declared in no header: what nvcc's host code calls.  The prototypes are in
-- api/client/runtime.h.
M.internal = [[
	__cudaGetKernel __cudaGetProcAddress __cudaInitModule __cudaLaunchKernel __cudaLaunchKernel_ptsz
		__cudaPopCallConfiguration
	__cudaPushCallConfiguration __cudaRegisterFatBinary __cudaRegisterFatBinaryEnd __cudaRegisterFunction
		__cudaRegisterHostVar
	__cudaRegisterManagedVar __cudaRegisterUnifiedTable __cudaRegisterVar __cudaUnregisterFatBinary
]]

-- Exported and declared in headers that need OpenGL, EGL or VDPAU: graphics interop, refused.
M.undeclared = [[
	cudaEGLStreamConsumerAcquireFrame cudaEGLStreamConsumerConnect cudaEGLStreamConsumerConnectWithFlags
	cudaEGLStreamConsumerDisconnect cudaEGLStreamConsumerReleaseFrame cudaEGLStreamProducerConnect
		cudaEGLStreamProducerDisconnect
	cudaEGLStreamProducerPresentFrame cudaEGLStreamProducerReturnFrame cudaEventCreateFromEGLSync cudaGLGetDevices
	cudaGLMapBufferObject cudaGLMapBufferObjectAsync cudaGLRegisterBufferObject cudaGLSetBufferObjectMapFlags
		cudaGLSetGLDevice
	cudaGLUnmapBufferObject cudaGLUnmapBufferObjectAsync cudaGLUnregisterBufferObject cudaGraphicsEGLRegisterImage
	cudaGraphicsGLRegisterBuffer cudaGraphicsGLRegisterImage cudaGraphicsResourceGetMappedEglFrame
	cudaGraphicsVDPAURegisterOutputSurface cudaGraphicsVDPAURegisterVideoSurface cudaVDPAUGetDevice
		cudaVDPAUSetVDPAUDevice
]]

-- Refused for a reason that the name decides; the first match counts, a rule below that applies wins.
M.refuse_patterns = {
	{ "^cudaGraphics", "graphics interop" },
	{ "^cudaIpc", "memory and events are not shared between clients by handle" },
	{ "External", "memory and semaphores of other APIs" },
	{ "NvSciSync", "memory and semaphores of other APIs" },
	{ "ShareableHandle$", "memory is not shared between clients by handle" },
	{ "^cudaMemPool.*Pointer$", "memory is not shared between clients by handle" },
	{ "^cudaLogs", "the driver's log belongs to the worker" },
	{ "AsyncNotification$", "device notifications belong to the worker" },
	{ "^cudaGraphConditional", "conditional graph nodes" },
	{ "^cudaGraphAddNode$", "nodes of any kind; the functions of each kind are there" },
	{ "^cudaGraphNodeSetParams$", "nodes of any kind; the functions of each kind are there" },
	{ "^cudaGraphExecNodeSetParams$", "nodes of any kind; the functions of each kind are there" },
	{ "^cudaGraphKernelNodeGetParams$", "a kernel node's parameters stay with the worker" },
	{ "^cudaGraphMemcpyNodeGetParams$", "a copy node's parameters in the Runtime's terms" },
}

-- The Runtime function on the left has the parameters of the Driver function on the right, in this order.
M.same = [[
	cudaDeviceSynchronize                   cuCtxSynchronize
	cudaDeviceSetLimit                      cuCtxSetLimit
	cudaDeviceGetLimit                      cuCtxGetLimit
	cudaDeviceGetCacheConfig                cuCtxGetCacheConfig
	cudaDeviceSetCacheConfig                cuCtxSetCacheConfig
	cudaDeviceGetSharedMemConfig            cuCtxGetSharedMemConfig
	cudaDeviceSetSharedMemConfig            cuCtxSetSharedMemConfig
	cudaDeviceGetStreamPriorityRange        cuCtxGetStreamPriorityRange
	cudaDeviceGetByPCIBusId                 cuDeviceGetByPCIBusId
	cudaDeviceGetPCIBusId                   cuDeviceGetPCIBusId
	cudaDeviceFlushGPUDirectRDMAWrites      cuFlushGPUDirectRDMAWrites
	cudaDeviceGetHostAtomicCapabilities     cuDeviceGetHostAtomicCapabilities
	cudaDeviceGetP2PAtomicCapabilities      cuDeviceGetP2PAtomicCapabilities
	cudaDeviceGetDefaultMemPool             cuDeviceGetDefaultMemPool
	cudaDeviceSetMemPool                    cuDeviceSetMemPool
	cudaDeviceGetMemPool                    cuDeviceGetMemPool
	cudaDeviceGetP2PAttribute               cuDeviceGetP2PAttribute
	cudaDeviceCanAccessPeer                 cuDeviceCanAccessPeer
	cudaDeviceGraphMemTrim                  cuDeviceGraphMemTrim
	cudaDeviceGetGraphMemAttribute          cuDeviceGetGraphMemAttribute
	cudaDeviceSetGraphMemAttribute          cuDeviceSetGraphMemAttribute
	cudaGetDeviceFlags                      cuCtxGetFlags
	cudaCtxResetPersistingL2Cache           cuCtxResetPersistingL2Cache
	cudaStreamCreateWithFlags               cuStreamCreate
	cudaStreamCreateWithPriority            cuStreamCreateWithPriority
	cudaStreamGetPriority                   cuStreamGetPriority
	cudaStreamGetFlags                      cuStreamGetFlags
	cudaStreamGetId                         cuStreamGetId
	cudaStreamGetDevice                     cuStreamGetDevice
	cudaStreamCopyAttributes                cuStreamCopyAttributes
	cudaStreamGetAttribute                  cuStreamGetAttribute
	cudaStreamSetAttribute                  cuStreamSetAttribute
	cudaStreamDestroy                       cuStreamDestroy_v2
	cudaStreamWaitEvent                     cuStreamWaitEvent
	cudaStreamAddCallback                   cuStreamAddCallback
	cudaStreamSynchronize                   cuStreamSynchronize
	cudaStreamQuery                         cuStreamQuery
	cudaStreamAttachMemAsync                cuStreamAttachMemAsync
	cudaStreamBeginCapture                  cuStreamBeginCapture_v2
	cudaStreamBeginCaptureToGraph           cuStreamBeginCaptureToGraph
	cudaThreadExchangeStreamCaptureMode     cuThreadExchangeStreamCaptureMode
	cudaStreamEndCapture                    cuStreamEndCapture
	cudaStreamIsCapturing                   cuStreamIsCapturing
	cudaStreamGetCaptureInfo                cuStreamGetCaptureInfo_v3
	cudaStreamUpdateCaptureDependencies     cuStreamUpdateCaptureDependencies_v2
	cudaEventCreateWithFlags                cuEventCreate
	cudaEventRecord                         cuEventRecord
	cudaEventRecordWithFlags                cuEventRecordWithFlags
	cudaEventQuery                          cuEventQuery
	cudaEventSynchronize                    cuEventSynchronize
	cudaEventDestroy                        cuEventDestroy_v2
	cudaEventElapsedTime                    cuEventElapsedTime_v2
	cudaLaunchHostFunc                      cuLaunchHostFunc
	cudaHostRegister                        cuMemHostRegister_v2
	cudaHostUnregister                      cuMemHostUnregister
	cudaHostGetDevicePointer                cuMemHostGetDevicePointer_v2
	cudaHostGetFlags                        cuMemHostGetFlags
	cudaGetMipmappedArrayLevel              cuMipmappedArrayGetLevel
	cudaMemGetInfo                          cuMemGetInfo_v2
	cudaArrayGetPlane                       cuArrayGetPlane
	cudaArrayGetMemoryRequirements          cuArrayGetMemoryRequirements
	cudaMipmappedArrayGetMemoryRequirements cuMipmappedArrayGetMemoryRequirements
	cudaArrayGetSparseProperties            cuArrayGetSparseProperties
	cudaMipmappedArrayGetSparseProperties   cuMipmappedArrayGetSparseProperties
	cudaMemcpyBatchAsync                    cuMemcpyBatchAsync_v2
	cudaMemcpy3DBatchAsync                  cuMemcpy3DBatchAsync_v2
	cudaMemPrefetchAsync                    cuMemPrefetchAsync_v2
	cudaMemPrefetchBatchAsync               cuMemPrefetchBatchAsync
	cudaMemDiscardBatchAsync                cuMemDiscardBatchAsync
	cudaMemDiscardAndPrefetchBatchAsync     cuMemDiscardAndPrefetchBatchAsync
	cudaMemAdvise                           cuMemAdvise_v2
	cudaMemRangeGetAttribute                cuMemRangeGetAttribute
	cudaMemRangeGetAttributes               cuMemRangeGetAttributes
	cudaMallocAsync                         cuMemAllocAsync
	cudaFreeAsync                           cuMemFreeAsync
	cudaMallocFromPoolAsync                 cuMemAllocFromPoolAsync
	cudaMemPoolTrimTo                       cuMemPoolTrimTo
	cudaMemPoolSetAttribute                 cuMemPoolSetAttribute
	cudaMemPoolGetAttribute                 cuMemPoolGetAttribute
	cudaMemPoolSetAccess                    cuMemPoolSetAccess
	cudaMemPoolGetAccess                    cuMemPoolGetAccess
	cudaMemPoolCreate                       cuMemPoolCreate
	cudaMemPoolDestroy                      cuMemPoolDestroy
	cudaMemGetDefaultMemPool                cuMemGetDefaultMemPool
	cudaMemGetMemPool                       cuMemGetMemPool
	cudaMemSetMemPool                       cuMemSetMemPool
	cudaDestroyTextureObject                cuTexObjectDestroy
	cudaDestroySurfaceObject                cuSurfObjectDestroy
	cudaGraphCreate                         cuGraphCreate
	cudaGraphKernelNodeCopyAttributes       cuGraphKernelNodeCopyAttributes
	cudaGraphKernelNodeGetAttribute         cuGraphKernelNodeGetAttribute
	cudaGraphKernelNodeSetAttribute         cuGraphKernelNodeSetAttribute
	cudaGraphHostNodeGetParams              cuGraphHostNodeGetParams
	cudaGraphHostNodeSetParams              cuGraphHostNodeSetParams
	cudaGraphAddHostNode                    cuGraphAddHostNode
	cudaGraphAddChildGraphNode              cuGraphAddChildGraphNode
	cudaGraphChildGraphNodeGetGraph         cuGraphChildGraphNodeGetGraph
	cudaGraphAddEmptyNode                   cuGraphAddEmptyNode
	cudaGraphAddEventRecordNode             cuGraphAddEventRecordNode
	cudaGraphEventRecordNodeGetEvent        cuGraphEventRecordNodeGetEvent
	cudaGraphEventRecordNodeSetEvent        cuGraphEventRecordNodeSetEvent
	cudaGraphAddEventWaitNode               cuGraphAddEventWaitNode
	cudaGraphEventWaitNodeGetEvent          cuGraphEventWaitNodeGetEvent
	cudaGraphEventWaitNodeSetEvent          cuGraphEventWaitNodeSetEvent
	cudaGraphAddMemAllocNode                cuGraphAddMemAllocNode
	cudaGraphMemAllocNodeGetParams          cuGraphMemAllocNodeGetParams
	cudaGraphAddMemFreeNode                 cuGraphAddMemFreeNode
	cudaGraphMemFreeNodeGetParams           cuGraphMemFreeNodeGetParams
	cudaGraphClone                          cuGraphClone
	cudaGraphNodeFindInClone                cuGraphNodeFindInClone
	cudaGraphNodeGetType                    cuGraphNodeGetType
	cudaGraphGetNodes                       cuGraphGetNodes
	cudaGraphGetRootNodes                   cuGraphGetRootNodes
	cudaGraphGetEdges                       cuGraphGetEdges_v2
	cudaGraphNodeGetDependencies            cuGraphNodeGetDependencies_v2
	cudaGraphNodeGetDependentNodes          cuGraphNodeGetDependentNodes_v2
	cudaGraphAddDependencies                cuGraphAddDependencies_v2
	cudaGraphRemoveDependencies             cuGraphRemoveDependencies_v2
	cudaGraphDestroyNode                    cuGraphDestroyNode
	cudaGraphInstantiate                    cuGraphInstantiateWithFlags
	cudaGraphInstantiateWithFlags           cuGraphInstantiateWithFlags
	cudaGraphInstantiateWithParams          cuGraphInstantiateWithParams
	cudaGraphExecGetFlags                   cuGraphExecGetFlags
	cudaGraphExecHostNodeSetParams          cuGraphExecHostNodeSetParams
	cudaGraphExecChildGraphNodeSetParams    cuGraphExecChildGraphNodeSetParams
	cudaGraphExecEventRecordNodeSetEvent    cuGraphExecEventRecordNodeSetEvent
	cudaGraphExecEventWaitNodeSetEvent      cuGraphExecEventWaitNodeSetEvent
	cudaGraphNodeSetEnabled                 cuGraphNodeSetEnabled
	cudaGraphNodeGetEnabled                 cuGraphNodeGetEnabled
	cudaGraphExecUpdate                     cuGraphExecUpdate_v2
	cudaGraphUpload                         cuGraphUpload
	cudaGraphLaunch                         cuGraphLaunch
	cudaGraphExecDestroy                    cuGraphExecDestroy
	cudaGraphDestroy                        cuGraphDestroy
	cudaGraphDebugDotPrint                  cuGraphDebugDotPrint
	cudaUserObjectCreate                    cuUserObjectCreate
	cudaUserObjectRetain                    cuUserObjectRetain
	cudaUserObjectRelease                   cuUserObjectRelease
	cudaGraphRetainUserObject               cuGraphRetainUserObject
	cudaGraphReleaseUserObject              cuGraphReleaseUserObject
	cudaLibraryLoadData                     cuLibraryLoadData
	cudaLibraryLoadFromFile                 cuLibraryLoadFromFile
	cudaLibraryUnload                       cuLibraryUnload
	cudaLibraryGetKernel                    cuLibraryGetKernel
	cudaLibraryGetGlobal                    cuLibraryGetGlobal
	cudaLibraryGetManaged                   cuLibraryGetManaged
	cudaLibraryGetUnifiedFunction           cuLibraryGetUnifiedFunction
	cudaLibraryGetKernelCount               cuLibraryGetKernelCount
	cudaLibraryEnumerateKernels             cuLibraryEnumerateKernels
	cudaGetExportTable                      cuGetExportTable
	cudaProfilerStart                       cuProfilerStart
	cudaProfilerStop                        cuProfilerStop
]]

-- Driver calls with other arguments; a name that is a parameter of the Runtime function is converted, calls after `;`
-- follow on success.
M.call = {
	cudaStreamCreate = "cuStreamCreate(pStream, CU_STREAM_DEFAULT)",
	cudaEventCreate = "cuEventCreate(event, CU_EVENT_DEFAULT)",
	cudaSetDeviceFlags = "cuDevicePrimaryCtxSetFlags_v2(rt_device(), flags)",
	cudaKernelSetAttributeForDevice = "cuKernelSetAttribute(attr, value, kernel, device)",
	cudaMemcpyPeer =
		"cuDeviceGet(&(CUdevice){ 0 }, dstDevice); cuDeviceGet(&(CUdevice){ 0 }, srcDevice); " ..
			"cuMemcpyDtoD_v2(dst, src, count)",
	cudaMemcpyPeerAsync = "cuDeviceGet(&(CUdevice){ 0 }, dstDevice); cuDeviceGet(&(CUdevice){ 0 }, srcDevice); " ..
		"cuMemcpyDtoDAsync_v2(dst, src, count, stream)",
}

-- Written out in C (api/convert.h helps).
M.lowered = {
	cudaGetErrorName = [[
	const struct ag_error *e = ag_runtime_error(error);
	return e ? e->name : "unrecognized error code";]],
	cudaGetErrorString = [[
	const struct ag_error *e = ag_runtime_error(error);
	return e ? e->text : "unrecognized error code";]],
	cudaCreateChannelDesc = [[
	return (struct cudaChannelFormatDesc){ x, y, z, w, f };]],

	-- Memory: the Runtime gives NULL for nothing and ignores freeing it, the Driver refuses both.
	cudaMalloc = [[
	CUdeviceptr p = 0;
	if (!devPtr)
		return rt_error(cudaErrorInvalidValue);
	CUresult r = rt_init();
	if (!r && size)
		r = rt_cu()->cuMemAlloc_v2(&p, size);
	if (!r)
		*devPtr = (void *)(uintptr_t)p;
	return rt_return(r);]],
	-- Nothing is a valid amount to the Runtime, not to the Driver.
	cudaMallocManaged = [[
	CUdeviceptr p = 0;
	if (!devPtr || (flags != cudaMemAttachGlobal && flags != cudaMemAttachHost))
		return rt_error(cudaErrorInvalidValue);
	CUresult r = rt_init();
	if (!r && size)
		r = rt_cu()->cuMemAllocManaged(&p, size, flags);
	if (!r)
		*devPtr = (void *)(uintptr_t)p;
	return rt_return(r);]],
	cudaMallocPitch = [[
	CUdeviceptr p = 0;
	size_t row = 0;
	if (!devPtr || !pitch)
		return rt_error(cudaErrorInvalidValue);
	CUresult r = rt_init();
	if (!r && width && height)
		r = rt_cu()->cuMemAllocPitch_v2(&p, &row, width, height, 4);
	if (!r) {
		*devPtr = (void *)(uintptr_t)p;
		*pitch = row;
	}
	return rt_return(r);]],
	cudaMalloc3D = [[
	CUdeviceptr p = 0;
	size_t row = 0, rows;
	if (!pitchedDevPtr || __builtin_mul_overflow(extent.height, extent.depth, &rows))
		return rt_error(cudaErrorInvalidValue);
	CUresult r = rt_init();
	if (!r && extent.width && rows)
		r = rt_cu()->cuMemAllocPitch_v2(&p, &row, extent.width, rows, 4);
	if (!r)
		*pitchedDevPtr = (struct cudaPitchedPtr){ (void *)(uintptr_t)p, row, extent.width, extent.height };
	return rt_return(r);]],
	cudaPointerGetAttributes = [[
	CUmemorytype type = 0;
	unsigned managed = 0;
	int device = 0;
	CUdeviceptr on_device = 0;
	void *on_host = NULL;
	CUpointer_attribute which[] = { CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_IS_MANAGED,
		CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL,
		CU_POINTER_ATTRIBUTE_DEVICE_POINTER, CU_POINTER_ATTRIBUTE_HOST_POINTER };
	void *where[] = { &type, &managed, &device, &on_device, &on_host };
	if (!attributes)
		return rt_error(cudaErrorInvalidValue);
	CUresult r = rt_init();
	if (!r)
		r = rt_cu()->cuPointerGetAttributes(5, which, where, (CUdeviceptr)(uintptr_t)ptr);
	if (r)
		return rt_return(r);
	memset(attributes, 0, sizeof *attributes);
	/* Memory that CUDA does not know is no error since CUDA 11: the pointer is the host's. */
	if (!type) {
		attributes->type = cudaMemoryTypeUnregistered;
		attributes->device = cudaInvalidDeviceId;
		attributes->hostPointer = (void *)(uintptr_t)ptr;
		return cudaSuccess;
	}
	attributes->type = managed ? cudaMemoryTypeManaged : type == CU_MEMORYTYPE_HOST ? cudaMemoryTypeHost
		: cudaMemoryTypeDevice;
	attributes->device = device;
	attributes->devicePointer = (void *)(uintptr_t)on_device;
	attributes->hostPointer = on_host;
	return cudaSuccess;]],

	cudaMemcpy3DPeer = [=[
	if (!p)
		return rt_error(cudaErrorInvalidValue);
	struct cudaMemcpy3DParms q = { .srcArray = p->srcArray, .srcPos = p->srcPos, .srcPtr = p->srcPtr,
		.dstArray = p->dstArray,
		.dstPos = p->dstPos, .dstPtr = p->dstPtr, .extent = p->extent, .kind = cudaMemcpyDefault };
	return rt_cudaMemcpy3D(&q);]=],
	cudaMemcpy3DPeerAsync = [=[
	if (!p)
		return rt_error(cudaErrorInvalidValue);
	struct cudaMemcpy3DParms q = { .srcArray = p->srcArray, .srcPos = p->srcPos, .srcPtr = p->srcPtr,
		.dstArray = p->dstArray,
		.dstPos = p->dstPos, .dstPtr = p->dstPtr, .extent = p->extent, .kind = cudaMemcpyDefault };
	return rt_cudaMemcpy3DAsync(&q, stream);]=],
	cudaFuncSetSharedMemConfig = [[
	CUkernel kernel;
	CUfunction function;
	CUresult r = rt_init();
	if (!r)
		r = rt_kernel(func, &kernel);
	if (!r)
		r = rt_cu()->cuKernelGetFunction(&function, kernel);
	if (!r)
		r = rt_cu()->cuFuncSetSharedMemConfig(function, (CUsharedconfig)config);
	return rt_return(r);]],

	-- Arrays.
	cudaArrayGetInfo = [[
	CUDA_ARRAY3D_DESCRIPTOR a;
	struct cudaChannelFormatDesc channel;
	CUresult r = rt_init();
	if (!r)
		r = rt_cu()->cuArray3DGetDescriptor_v2(&a, (CUarray)array);
	if (r)
		return rt_return(r);
	cudaError_t e = cv_channel_back(a.Format, a.NumChannels, &channel);
	if (e != cudaSuccess)
		return rt_error(e);
	if (desc)
		*desc = channel;
	if (extent)
		*extent = (struct cudaExtent){ a.Width, a.Height, a.Depth };
	if (flags)
		*flags = a.Flags;
	return cudaSuccess;]],
	cudaDeviceGetTexture1DLinearMaxWidth = [[
	CUarray_format format;
	unsigned channels;
	cudaError_t e = cv_channel(fmtDesc, &format, &channels);
	if (e != cudaSuccess)
		return rt_error(e);
	CUresult r = rt_init();
	if (!r)
		r = rt_cu()->cuDeviceGetTexture1DLinearMaxWidth(maxWidthInElements, format, channels, device);
	return rt_return(r);]],

	-- Textures and surfaces.
	cudaCreateTextureObject = [[
	CUDA_RESOURCE_DESC resource;
	cudaError_t e = cv_resource(pResDesc, &resource);
	if (e != cudaSuccess || !pTexDesc)
		return rt_error(e != cudaSuccess ? e : cudaErrorInvalidValue);
	CUDA_TEXTURE_DESC texture = cv_texture(pTexDesc);
	CUDA_RESOURCE_VIEW_DESC view;
	if (pResViewDesc)
		view = cv_view(pResViewDesc);
	CUresult r = rt_init();
	if (!r)
		r = rt_cu()->cuTexObjectCreate((CUtexObject *)pTexObject, &resource, &texture,
			pResViewDesc ? &view : NULL);
	return rt_return(r);]],
	cudaCreateSurfaceObject = [[
	CUDA_RESOURCE_DESC resource;
	cudaError_t e = cv_resource(pResDesc, &resource);
	if (e != cudaSuccess)
		return rt_error(e);
	CUresult r = rt_init();
	if (!r)
		r = rt_cu()->cuSurfObjectCreate((CUsurfObject *)pSurfObject, &resource);
	return rt_return(r);]],

	-- Entry points of the Driver by name.
	cudaGetDriverEntryPoint = [[
	return rt_cudaGetDriverEntryPointByVersion(symbol, funcPtr, CUDART_VERSION, flags, driverStatus);]],
	cudaGetDriverEntryPointByVersion = [[
	CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
	if (!symbol || !funcPtr || flags > cudaEnablePerThreadDefaultStream)
		return rt_error(cudaErrorInvalidValue);
	if (flags == cudaEnableDefault && rt_per_thread_default)
		flags = cudaEnablePerThreadDefaultStream;
	CUresult r = rt_init();
	if (!r)
		r = rt_cu()->cuGetProcAddress_v2(symbol, funcPtr, (int)cudaVersion, flags, &status);
	if (driverStatus)
		*driverStatus = (enum cudaDriverEntryPointQueryResult)status;
	/* An unknown name is no failure of the call where the caller asks for the status. */
	return r == CUDA_ERROR_NOT_FOUND && driverStatus ? cudaSuccess : rt_return(r);]],
}

-- A family of functions of one text: @{NAME} marks what differs.
local function from(text, values)
	return (text:gsub("@{(%u+)}", values))
end

-- Pinned memory.
local function host_memory(out, flags)
	return from([[
	void *p = NULL;
	if (!@{OUT})
		return rt_error(cudaErrorInvalidValue);
	CUresult r = rt_init();
	if (!r && size)
		r = rt_cu()->cuMemHostAlloc(&p, size, @{FLAGS});
	if (!r)
		*@{OUT} = p;
	return rt_return(r);]], { OUT = out, FLAGS = flags })
end
M.lowered.cudaMallocHost = host_memory("ptr", "0")
M.lowered.cudaHostAlloc = host_memory("pHost", "flags")

-- What is freed by handle: nothing is no error.
local function freed(handle, call)
	return from([[
	CUresult r = rt_init();
	if (!r && @{HANDLE})
		r = rt_cu()->@{CALL};
	return rt_return(r);]], { HANDLE = handle, CALL = call })
end
M.lowered.cudaFree = freed("devPtr", "cuMemFree_v2((CUdeviceptr)(uintptr_t)devPtr)")
M.lowered.cudaFreeHost = freed("ptr", "cuMemFreeHost(ptr)")
M.lowered.cudaFreeArray = freed("array", "cuArrayDestroy((CUarray)array)")
M.lowered.cudaFreeMipmappedArray = freed("mipmappedArray",
	"cuMipmappedArrayDestroy((CUmipmappedArray)mipmappedArray)")

-- Peers: a context is what the Driver names them by.
local function peer(call)
	return from([[
	CUcontext peer;
	CUresult r = rt_init();
	if (!r)
		r = rt_cu()->cuDevicePrimaryCtxRetain(&peer, peerDevice);
	if (!r)
		r = rt_cu()->@{CALL};
	return rt_return(r);]], { CALL = call })
end
M.lowered.cudaDeviceEnablePeerAccess = peer("cuCtxEnablePeerAccess(peer, flags)")
M.lowered.cudaDeviceDisablePeerAccess = peer("cuCtxDisablePeerAccess(peer)")

-- Arrays.
local function array(extent, out, call)
	return from([[
	CUDA_ARRAY3D_DESCRIPTOR a;
	cudaError_t e = cv_array(desc, @{EXTENT}, flags, &a);
	if (e != cudaSuccess || !@{OUT})
		return rt_error(e != cudaSuccess ? e : cudaErrorInvalidValue);
	CUresult r = rt_init();
	if (!r)
		r = rt_cu()->@{CALL};
	return rt_return(r);]], { EXTENT = extent, OUT = out, CALL = call })
end
M.lowered.cudaMallocArray = array("(struct cudaExtent){ width, height, 0 }", "array",
	"cuArray3DCreate_v2((CUarray *)array, &a)")
M.lowered.cudaMalloc3DArray = array("extent", "array", "cuArray3DCreate_v2((CUarray *)array, &a)")
M.lowered.cudaMallocMipmappedArray = array("extent", "mipmappedArray",
	"cuMipmappedArrayCreate((CUmipmappedArray *)mipmappedArray, &a, numLevels)")

-- Descriptions of textures and surfaces; `back` turns the Driver's into the Runtime's and may fail.
local function described(struct, out, call, back)
	return from([[
	@{STRUCT} d;
	if (!@{OUT})
		return rt_error(cudaErrorInvalidValue);
	CUresult r = rt_init();
	if (!r)
		r = rt_cu()->@{CALL};
	if (r)
		return rt_return(r);
	cudaError_t e = cudaSuccess;
	@{BACK};
	return e == cudaSuccess ? e : rt_error(e);]], { STRUCT = struct, OUT = out, CALL = call, BACK = back })
end
M.lowered.cudaGetTextureObjectResourceDesc = described("CUDA_RESOURCE_DESC", "pResDesc",
	"cuTexObjectGetResourceDesc(&d, texObject)", "e = cv_resource_back(&d, pResDesc)")
M.lowered.cudaGetSurfaceObjectResourceDesc = described("CUDA_RESOURCE_DESC", "pResDesc",
	"cuSurfObjectGetResourceDesc(&d, surfObject)", "e = cv_resource_back(&d, pResDesc)")
M.lowered.cudaGetTextureObjectTextureDesc = described("CUDA_TEXTURE_DESC", "pTexDesc",
	"cuTexObjectGetTextureDesc(&d, texObject)", "*pTexDesc = cv_texture_back(&d)")
M.lowered.cudaGetTextureObjectResourceViewDesc = described("CUDA_RESOURCE_VIEW_DESC", "pResViewDesc",
	"cuTexObjectGetResourceViewDesc(&d, texObject)", "*pResViewDesc = cv_view_back(&d)")
M.lowered.cudaGetChannelDesc = described("CUDA_ARRAY3D_DESCRIPTOR", "desc",
	"cuArray3DGetDescriptor_v2(&d, (CUarray)(uintptr_t)array)",
	"e = cv_channel_back(d.Format, d.NumChannels, desc)")
M.lowered.cudaGraphMemsetNodeGetParams = described("CUDA_MEMSET_NODE_PARAMS", "pNodeParams",
	"cuGraphMemsetNodeGetParams((CUgraphNode)node, &d)", "*pNodeParams = cv_memset_node_back(&d)")

-- Graph nodes with parameters.
local node = [[
	@{STRUCT} p;
	cudaError_t e = @{MAKE};
	if (e != cudaSuccess)
		return rt_error(e);
	CUresult r = rt_init();
@{CONTEXT}	if (!r)
		r = rt_cu()->@{CALL};
	return rt_return(r);]]
local with_context = "\tCUcontext ctx = NULL;\n\tif (!r)\n\t\tr = rt_cu()->cuCtxGetCurrent(&ctx);\n"
local add = "pGraphNode, graph, pDependencies, numDependencies, &p"

-- Each kind of node: its Driver struct, how the Runtime's arguments become it, the names of its three setters.
local function node_rules(struct, make, suffix, driver_add, driver_set, driver_exec, context)
	local tail = context and ", ctx)" or ")"
	local function rule(call)
		return from(node, { STRUCT = struct, MAKE = make, CALL = call,
			CONTEXT = call:find("ctx") and with_context or "" })
	end
	M.lowered["cudaGraphAdd" .. suffix.add] = rule(driver_add .. "(" .. add .. tail)
	M.lowered["cudaGraph" .. suffix.set] = rule(driver_set .. "(node, &p)")
	M.lowered["cudaGraphExec" .. suffix.set] = rule(driver_exec .. "(hGraphExec, node, &p" .. tail)
end

local copies = { "cuGraphAddMemcpyNode", "cuGraphMemcpyNodeSetParams", "cuGraphExecMemcpyNodeSetParams", true }
local symbol = "cv_symbol(symbol, count, offset, &at)"
node_rules("CUDA_KERNEL_NODE_PARAMS", "cv_kernel_node(pNodeParams, &p)", { add = "KernelNode",
	set = "KernelNodeSetParams" },
	"cuGraphAddKernelNode_v2", "cuGraphKernelNodeSetParams_v2", "cuGraphExecKernelNodeSetParams_v2")
node_rules("CUDA_MEMCPY3D", "cv_copy1d(dst, src, count, kind, &p)", { add = "MemcpyNode1D",
	set = "MemcpyNodeSetParams1D" },
	table.unpack(copies))
node_rules("void *at = NULL;\n\tCUDA_MEMCPY3D",
	symbol .. ";\n\tif (e == cudaSuccess)\n\t\te = cv_copy1d(at, src, count, kind, &p)",
	{ add = "MemcpyNodeToSymbol", set = "MemcpyNodeSetParamsToSymbol" }, table.unpack(copies))
node_rules("void *at = NULL;\n\tCUDA_MEMCPY3D",
	symbol .. ";\n\tif (e == cudaSuccess)\n\t\te = cv_copy1d(dst, at, count, kind, &p)",
	{ add = "MemcpyNodeFromSymbol", set = "MemcpyNodeSetParamsFromSymbol" }, table.unpack(copies))
node_rules("CUDA_MEMCPY3D", "cv_copy3d(pNodeParams, &p)", { add = "MemcpyNode", set = "MemcpyNodeSetParams" },
	table.unpack(copies))
M.lowered.cudaGraphAddMemcpyNode = M.lowered.cudaGraphAddMemcpyNode:gsub("pNodeParams", "pCopyParams")
node_rules("CUDA_MEMSET_NODE_PARAMS", "cv_memset_node(pNodeParams, &p)", { add = "MemsetNode",
	set = "MemsetNodeSetParams" },
	"cuGraphAddMemsetNode", "cuGraphMemsetNodeSetParams", "cuGraphExecMemsetNodeSetParams", true)
M.lowered.cudaGraphAddMemsetNode = M.lowered.cudaGraphAddMemsetNode:gsub("pNodeParams", "pMemsetParams")

return M
