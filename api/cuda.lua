-- cuda.lua: what the Driver's headers do not say: the class of every function and the meaning of its parameters.
-- Every function is in exactly one class:
--   local    answered in the client, by hand: call_cuX in api/client/
--   custom   by hand too, with messages of api/wire.lua
--   auto     generated from end to end, from the rules and annotations below
--   lowered  in terms of other Driver functions (older ABIs, per-thread twins)
--   refuse   returns CUDA_ERROR_NOT_SUPPORTED, with a reason
local M = {}

-- ==== HAND-WRITTEN =================================================================================
-- Names whose call_cuX is written by hand.  Add a name together with its definition: a name without definition does not
-- link, a definition without name does not compile.  Per-thread twins (_ptds, _ptsz) are made from the base, do not
-- list them.
M.hand = {
	["local"] = [[
		cuCtxCreate_v4 cuCtxDisablePeerAccess cuCtxEnablePeerAccess cuCtxGetApiVersion cuCtxGetCacheConfig
			cuCtxGetCurrent
		cuStreamCopyAttributes cuStreamGetAttribute cuStreamSetAttribute
		cuMemAddressFree cuMemAddressReserve cuMemCreate cuMemGetAccess cuMemGetAllocationGranularity
		cuMemGetAllocationPropertiesFromHandle cuMemRelease cuMemRetainAllocationHandle cuMemSetAccess
		cuCtxGetDevice cuCtxGetDevice_v2 cuCtxGetFlags cuCtxGetId cuCtxGetLimit cuCtxGetSharedMemConfig
			cuCtxPopCurrent_v2
		cuCtxPushCurrent_v2 cuCtxResetPersistingL2Cache cuCtxSetCacheConfig cuCtxSetCurrent cuCtxSetFlags
			cuCtxSetLimit
		cuCtxSetSharedMemConfig cuDeviceComputeCapability cuDeviceGet cuDeviceGetAttribute cuDeviceGetByPCIBusId
			cuDeviceGetCount
		cuDeviceGetDefaultMemPool cuDeviceGetMemPool cuDeviceGetName cuDeviceGetPCIBusId cuDeviceGetProperties
			cuDeviceGetUuid_v2
		cuDeviceGetGraphMemAttribute cuDeviceGraphMemTrim cuDevicePrimaryCtxGetState
			cuDeviceSetGraphMemAttribute
		cuGraphMemAllocNodeGetParams cuThreadExchangeStreamCaptureMode cuDevicePrimaryCtxRetain
			cuDevicePrimaryCtxSetFlags_v2 cuDeviceSetMemPool cuDeviceTotalMem_v2
		cuDriverGetVersion cuFuncGetAttribute cuFuncGetModule cuFuncGetName cuFuncGetParamInfo cuFuncIsLoaded
			cuFuncLoad
		cuFuncSetCacheConfig cuFuncSetSharedMemConfig cuGetErrorName cuGetErrorString cuGetExportTable
			cuGetProcAddress_v2
		cuKernelGetAttribute cuKernelGetFunction cuKernelGetLibrary cuKernelGetName cuKernelGetParamInfo
			cuKernelSetCacheConfig
		cuLibraryEnumerateKernels cuLibraryGetGlobal cuLibraryGetKernel cuLibraryGetKernelCount
			cuLibraryGetManaged
		cuLibraryGetModule cuLibraryGetUnifiedFunction cuLinkAddData_v2 cuLinkAddFile_v2 cuLinkComplete
			cuLinkCreate_v2
		cuLinkDestroy cuMemAdvise_v2 cuMemGetAddressRange_v2 cuMemGetDefaultMemPool cuMemGetMemPool
			cuMemHostGetDevicePointer_v2
		cuMemHostGetFlags cuMemHostRegister_v2 cuMemHostUnregister cuMemPoolCreate cuMemPoolDestroy
			cuMemPoolGetAccess
		cuMemPoolGetAttribute cuMemPoolSetAccess cuMemPoolSetAttribute cuMemPoolTrimTo cuMemPrefetchAsync_v2
			cuMemRangeGetAttribute
		cuMemRangeGetAttributes cuMemSetMemPool cuModuleEnumerateFunctions cuModuleGetFunction
			cuModuleGetFunctionCount
		cuModuleGetGlobal_v2 cuModuleGetLoadingMode cuPointerGetAttribute cuPointerGetAttributes
			cuPointerSetAttribute
		cuProfilerStart cuProfilerStop cuStreamAttachMemAsync cuStreamGetCtx cuStreamGetDevice cuStreamGetFlags
			cuStreamGetId
		cuStreamGetPriority
	]],
	custom = [[
		cuMemMap cuMemUnmap cuStreamWriteValue32_v2 cuStreamWriteValue64_v2
		cuCtxDestroy_v2 cuCtxSynchronize cuCtxSynchronize_v2 cuDevicePrimaryCtxRelease_v2
			cuDevicePrimaryCtxReset_v2 cuEventCreate
		cuEventDestroy_v2 cuEventElapsedTime_v2 cuEventQuery cuEventRecord cuEventRecordWithFlags
			cuEventSynchronize
		cuFuncSetAttribute cuGraphAddKernelNode_v2 cuGraphAddMemAllocNode cuGraphAddMemFreeNode
			cuGraphExecKernelNodeSetParams_v2
		cuGraphKernelNodeSetParams_v2 cuInit cuKernelSetAttribute cuLaunchCooperativeKernel cuLaunchHostFunc
			cuLaunchKernel cuLaunchKernelEx
		cuLibraryLoadData cuLibraryLoadFromFile cuLibraryUnload cuMemAllocAsync cuMemAllocFromPoolAsync
			cuMemAllocHost_v2
		cuMemAllocManaged cuMemAllocPitch_v2 cuMemAlloc_v2 cuMemFreeAsync cuMemFreeHost cuMemFree_v2
			cuMemGetInfo_v2 cuMemHostAlloc
		cuMemcpy cuMemcpy2DAsync_v2 cuMemcpy2DUnaligned_v2 cuMemcpy2D_v2 cuMemcpy3DAsync_v2 cuMemcpy3DPeer
			cuMemcpy3DPeerAsync
		cuMemcpy3D_v2 cuMemcpyAsync cuMemcpyAtoA_v2 cuMemcpyAtoD_v2 cuMemcpyAtoHAsync_v2 cuMemcpyAtoH_v2
			cuMemcpyBatchAsync_v2
		cuMemcpyDtoA_v2 cuMemcpyDtoDAsync_v2 cuMemcpyDtoD_v2 cuMemcpyDtoHAsync_v2 cuMemcpyDtoH_v2
			cuMemcpyHtoAAsync_v2
		cuMemcpyHtoA_v2 cuMemcpyHtoDAsync_v2 cuMemcpyHtoD_v2 cuMemcpyPeer cuMemcpyPeerAsync cuMemsetD16Async
			cuMemsetD16_v2
		cuMemsetD2D16Async cuMemsetD2D16_v2 cuMemsetD2D32Async cuMemsetD2D32_v2 cuMemsetD2D8Async
			cuMemsetD2D8_v2 cuMemsetD32Async
		cuMemsetD32_v2 cuMemsetD8Async cuMemsetD8_v2 cuModuleLoad cuModuleLoadData cuModuleLoadDataEx
			cuModuleLoadFatBinary
		cuModuleUnload cuOccupancyAvailableDynamicSMemPerBlock cuOccupancyMaxActiveBlocksPerMultiprocessor
		cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags cuOccupancyMaxPotentialBlockSize
		cuOccupancyMaxActiveClusters cuOccupancyMaxPotentialClusterSize
		cuOccupancyMaxPotentialBlockSizeWithFlags cuStreamAddCallback cuStreamBeginCaptureToGraph
			cuStreamBeginCapture_v2 cuStreamCreate
		cuStreamEndCapture cuStreamGetCaptureInfo_v3 cuStreamIsCapturing cuStreamCreateWithPriority
			cuStreamDestroy_v2
		cuStreamQuery cuStreamSynchronize cuStreamWaitEvent
	]],
}
-- ==== end of the hand-written lists ================================================================

-- Older ABIs in terms of the newest, in C; the twins follow their base.
M.lowered = {
	cuCtxCreate = "\treturn call_cuCtxCreate_v4(pctx, NULL, flags, dev);",
	cuCtxCreate_v2 = "\treturn call_cuCtxCreate_v4(pctx, NULL, flags, dev);",
	cuCtxCreate_v3 = "\tif (paramsArray || numParams)\n\t\treturn CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY;\n" ..
		"\treturn call_cuCtxCreate_v4(pctx, NULL, flags, dev);",
	cuCtxDestroy = "\treturn call_cuCtxDestroy_v2(ctx);",
	cuCtxPopCurrent = "\treturn call_cuCtxPopCurrent_v2(pctx);",
	cuCtxPushCurrent = "\treturn call_cuCtxPushCurrent_v2(ctx);",
	cuStreamDestroy = "\treturn call_cuStreamDestroy_v2(hStream);",
	cuEventDestroy = "\treturn call_cuEventDestroy_v2(hEvent);",
	cuEventElapsedTime = "\treturn call_cuEventElapsedTime_v2(pMilliseconds, hStart, hEnd);",
	cuDevicePrimaryCtxRelease = "\treturn call_cuDevicePrimaryCtxRelease_v2(dev);",
	cuDevicePrimaryCtxReset = "\treturn call_cuDevicePrimaryCtxReset_v2(dev);",
	cuDevicePrimaryCtxSetFlags = "\treturn call_cuDevicePrimaryCtxSetFlags_v2(dev, flags);",
	cuDeviceGetUuid = "\treturn call_cuDeviceGetUuid_v2(uuid, dev);",
	cuMemHostRegister = "\treturn call_cuMemHostRegister_v2(p, bytesize, Flags);",
	cuLinkCreate = "\treturn call_cuLinkCreate_v2(numOptions, options, optionValues, stateOut);",
	cuLinkAddData =
		"\treturn call_cuLinkAddData_v2(state, type, data, size, name, numOptions, options, optionValues);",
	cuLinkAddFile = "\treturn call_cuLinkAddFile_v2(state, type, path, numOptions, options, optionValues);",
	cuMemcpyBatchAsync = "\tif (failIdx)\n\t\t*failIdx = (size_t)-1;\n" ..
		"\treturn call_cuMemcpyBatchAsync_v2(dsts, srcs, sizes, count, attrs, attrsIdxs, numAttrs, hStream);",
	cuMemcpy3DBatchAsync =
		"\tif (failIdx)\n\t\t*failIdx = (size_t)-1;\n\treturn call_cuMemcpy3DBatchAsync_v2(numOps, opList, " ..
			"flags, hStream);",
	cuMemPrefetchAsync =
		"\tCUmemLocation l = { .type = dstDevice == CU_DEVICE_CPU ? CU_MEM_LOCATION_TYPE_HOST : " ..
			"CU_MEM_LOCATION_TYPE_DEVICE, " ..
		".id = dstDevice };\n\treturn call_cuMemPrefetchAsync_v2(devPtr, count, l, 0, hStream);",
	cuMemAdvise =
		"\tCUmemLocation l = { .type = device == CU_DEVICE_CPU ? CU_MEM_LOCATION_TYPE_HOST : " ..
			"CU_MEM_LOCATION_TYPE_DEVICE, " ..
		".id = device };\n\treturn call_cuMemAdvise_v2(devPtr, count, advice, l);",
	cuStreamBeginCapture = "\treturn call_cuStreamBeginCapture_v2(hStream, CU_STREAM_CAPTURE_MODE_GLOBAL);",
	cuStreamGetCaptureInfo =
		"\treturn call_cuStreamGetCaptureInfo_v3(hStream, captureStatus_out, id_out, NULL, NULL, NULL, NULL);",
	cuStreamGetCaptureInfo_v2 =
		"\treturn call_cuStreamGetCaptureInfo_v3(hStream, captureStatus_out, id_out, graph_out, " ..
			"dependencies_out, " ..
		"NULL,\n\t\tnumDependencies_out);",
	cuStreamUpdateCaptureDependencies =
		"\treturn call_cuStreamUpdateCaptureDependencies_v2(hStream, dependencies, NULL, numDependencies, " ..
			"flags);",
	cuGraphGetEdges = "\treturn call_cuGraphGetEdges_v2(hGraph, from, to, NULL, numEdges);",
	cuGraphNodeGetDependencies =
		"\treturn call_cuGraphNodeGetDependencies_v2(hNode, dependencies, NULL, numDependencies);",
	cuGraphNodeGetDependentNodes =
		"\treturn call_cuGraphNodeGetDependentNodes_v2(hNode, dependentNodes, NULL, numDependentNodes);",
	cuGraphAddDependencies = "\treturn call_cuGraphAddDependencies_v2(hGraph, from, to, NULL, numDependencies);",
	cuGraphRemoveDependencies =
		"\treturn call_cuGraphRemoveDependencies_v2(hGraph, from, to, NULL, numDependencies);",
	cuGraphInstantiate =
		"\tif (phErrorNode)\n\t\t*phErrorNode = NULL;\n\tif (logBuffer && bufferSize)\n\t\t*logBuffer = 0;\n" ..
		"\treturn call_cuGraphInstantiateWithFlags(phGraphExec, hGraph, 0);",
	cuGraphInstantiate_v2 =
		"\treturn call_cuGraphInstantiate(phGraphExec, hGraph, phErrorNode, logBuffer, bufferSize);",
	cuGraphInstantiateWithParams = [[
	if (!instantiateParams)
		return CUDA_ERROR_INVALID_VALUE;
	CUresult r = call_cuGraphInstantiateWithFlags(phGraphExec, hGraph,
		instantiateParams->flags & ~(cuuint64_t)CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD);
	instantiateParams->hErrNode_out = NULL;
	instantiateParams->result_out = r ? CUDA_GRAPH_INSTANTIATE_ERROR : CUDA_GRAPH_INSTANTIATE_SUCCESS;
	if (!r && (instantiateParams->flags & CUDA_GRAPH_INSTANTIATE_FLAG_UPLOAD))
		r = call_cuGraphUpload(*phGraphExec, instantiateParams->hUploadStream);
	return r;]],
	cuGraphExecUpdate = [[
	CUgraphExecUpdateResultInfo info = { 0 };
	CUresult r = call_cuGraphExecUpdate_v2(hGraphExec, hGraph, &info);
	if (hErrorNode_out)
		*hErrorNode_out = info.errorNode;
	if (updateResult_out)
		*updateResult_out = info.result;
	return r;]],
	cuStreamWriteValue32 = "\treturn call_cuStreamWriteValue32_v2(stream, addr, value, flags);",
	cuStreamWriteValue64 = "\treturn call_cuStreamWriteValue64_v2(stream, addr, value, flags);",
	cuStreamGetCtx_v2 = "\tif (pGreenCtx)\n\t\t*pGreenCtx = NULL;\n\treturn call_cuStreamGetCtx(hStream, pCtx);",
	cuMemPrefetchBatchAsync = [=[
	if (!count || !dptrs || !sizes || !prefetchLocs || !prefetchLocIdxs || !numPrefetchLocs || prefetchLocIdxs[0]
		|| flags)
		return CUDA_ERROR_INVALID_VALUE;
	for (size_t i = 0, at = 0; i < count; i++) {
		if (at + 1 < numPrefetchLocs && prefetchLocIdxs[at + 1] == i)
			at++;
		CUresult r = call_cuMemPrefetchAsync_v2(dptrs[i], sizes[i], prefetchLocs[at], 0, hStream);
		if (r)
			return r;
	}
	return CUDA_SUCCESS;]=],
	cuGetProcAddress = "\treturn call_cuGetProcAddress_v2(symbol, pfn, cudaVersion, flags, NULL);",
}

-- CUDA 11's kernel node parameters are the front of CUDA 12's.
for name, call in pairs {
	cuGraphAddKernelNode = "cuGraphAddKernelNode_v2(phGraphNode, hGraph, dependencies, numDependencies, &p)",
	cuGraphKernelNodeSetParams = "cuGraphKernelNodeSetParams_v2(hNode, &p)",
	cuGraphExecKernelNodeSetParams = "cuGraphExecKernelNodeSetParams_v2(hGraphExec, hNode, &p)",
} do
	M.lowered[name] = ([=[
	CUDA_KERNEL_NODE_PARAMS p = { .func = NULL };
	_Static_assert(offsetof(CUDA_KERNEL_NODE_PARAMS, kern) == sizeof(CUDA_KERNEL_NODE_PARAMS_v1),
		"the front of the newer struct");
	if (!nodeParams)
		return CUDA_ERROR_INVALID_VALUE;
	memcpy(&p, nodeParams, sizeof *nodeParams);
	return call_%s;]=]):format(call)
end

-- --- what types mean ---------------------------------------------------------------------------------------------

-- Handles: what a program holds is an id of this kind (enum ag_kind).
M.handles = {
	CUarray = "ARRAY", CUmipmappedArray = "MIPMAP", CUtexObject = "TEXTURE", CUsurfObject = "SURFACE",
		CUevent = "EVENT",
	CUgraph = "GRAPH", CUgraphNode = "GRAPHNODE", CUgraphExec = "GRAPHEXEC", CUmodule = "MODULE",
		CUfunction = "FUNCTION",
	CUlibrary = "LIBRARY", CUkernel = "KERNEL", CUmemoryPool = "MEMPOOL",
		CUmemGenericAllocationHandle = "MEMHANDLE",
	CUlinkState = "LINK", CUuserObject = "USEROBJECT", CUexternalMemory = "EXTMEM", CUexternalSemaphore = "EXTSEM",
	CUgreenCtx = "GREENCTX",
}

-- Kinds whose objects the worker destroys when it cannot register them.
M.destroy = {
	ARRAY = "cuArrayDestroy", TEXTURE = "cuTexObjectDestroy", SURFACE = "cuSurfObjectDestroy",
		GRAPH = "cuGraphDestroy",
	GRAPHNODE = "cuGraphDestroyNode", GRAPHEXEC = "cuGraphExecDestroy",
}

-- Addresses: never without an extent.
M.addresses = { CUdeviceptr = true, CUdeviceptr_v1 = true, CUdeviceptr_v2 = true }

-- Enums whose values are bits.
M.masks = {}

-- Structs that hold handles, addresses, pointers or unions.  Rules, in order; `when` is C over v (the struct):
--   { field, id = KIND, when }     a live object, translated     { field, dev = EXPR, when }  an address of EXPR bytes
--   in the window { field, null = true, when }   must be 0                     { field, enum = true, when } one of the
--   header's values { check = EXPR, when }         C that must hold
-- Every enum outside of unions is checked without a rule.
local linear = "v->resType == CU_RESOURCE_TYPE_LINEAR"
local pitch2d = "v->resType == CU_RESOURCE_TYPE_PITCH2D"

-- One side of a CUDA_MEMCPY3D: the last byte touched is at ((z + depth - 1) * height + y + rows - 1) * pitch + x +
-- width.
local function side(s)
	local array = ("v->%sMemoryType == CU_MEMORYTYPE_ARRAY"):format(s)
	local memory = ("v->%sMemoryType != CU_MEMORYTYPE_ARRAY"):format(s)
	local touched =
		("((v->@Z + v->Depth - 1) * v->@Height + v->@Y + v->Height - 1) * v->@Pitch + v->@XInBytes + " ..
			"v->WidthInBytes"):gsub("@", s)
	return { s .. "Array", id = "ARRAY", when = array },
		{ s .. "Device", dev = touched, when = memory, host = s .. "Host",
			host_when = ("v->%sMemoryType == CU_MEMORYTYPE_HOST"):format(s) },
		-- pitch and height count wherever the copy is not of one row from the start: a driver may take 0 for
		-- "packed"
		{ check = ("(v->@Height >= v->Height && v->@Height - v->Height >= v->@Y) || " ..
			"(v->Depth == 1 && !v->@Z)"):gsub("@", s), when = memory },
		{ check = ("(v->@Pitch >= v->WidthInBytes && v->@Pitch - v->WidthInBytes >= v->@XInBytes) || " ..
			"(v->Height == 1 && v->Depth == 1 && !v->@Y && !v->@Z)"):gsub("@", s), when = memory },
		{ check = ("!v->%sLOD"):format(s) }
end
local function copy3d()
	local rules = { { check = "v->WidthInBytes && v->Height && v->Depth" }, { "reserved0", null = true },
		{ "reserved1", null = true } }
	for _, s in ipairs { "src", "dst" } do
		for _, rule in ipairs { side(s) } do rules[#rules + 1] = rule end
	end
	local extent =
		"v.WidthInBytes = 64; v.Height = 4; v.Depth = 2; v.srcPitch = v.dstPitch = 128; v.srcHeight = " ..
			"v.dstHeight = 8; "
	rules.samples = {
		extent
			.. "v.srcMemoryType = CU_MEMORYTYPE_DEVICE; v.srcDevice = SAMPLE_ADDRESS; v.dstMemoryType = " ..
				"CU_MEMORYTYPE_HOST; " ..
			"v.dstHost = (void *)SAMPLE_ADDRESS;",
		extent
			.. "v.srcMemoryType = CU_MEMORYTYPE_ARRAY; v.srcArray = SAMPLE(ARRAY); v.dstMemoryType = " ..
				"CU_MEMORYTYPE_UNIFIED; " ..
			"v.dstDevice = SAMPLE_ADDRESS;",
	}
	return rules
end

M.structs = {
	["struct CUDA_RESOURCE_DESC_st"] = {
		{ "res.array.hArray", id = "ARRAY", when = "v->resType == CU_RESOURCE_TYPE_ARRAY" },
		{ "res.mipmap.hMipmappedArray", id = "MIPMAP",
			when = "v->resType == CU_RESOURCE_TYPE_MIPMAPPED_ARRAY" },
		{ "res.linear.devPtr", dev = "v->res.linear.sizeInBytes", when = linear },
		{ "res.linear.format", enum = true, when = linear },
		{ "res.pitch2D.devPtr", dev = "v->res.pitch2D.pitchInBytes * v->res.pitch2D.height", when = pitch2d },
		{ "res.pitch2D.format", enum = true, when = pitch2d },
		{ check = "v->flags == 0" },
		samples = {
			"v.resType = CU_RESOURCE_TYPE_ARRAY; v.res.array.hArray = SAMPLE(ARRAY);",
			"v.resType = CU_RESOURCE_TYPE_LINEAR; v.res.linear.devPtr = SAMPLE_ADDRESS; " ..
				"v.res.linear.sizeInBytes = 256; " ..
				"v.res.linear.format = CU_AD_FORMAT_FLOAT; v.res.linear.numChannels = 1;",
			"v.resType = CU_RESOURCE_TYPE_PITCH2D; v.res.pitch2D.devPtr = SAMPLE_ADDRESS; " ..
				"v.res.pitch2D.pitchInBytes = 512; " ..
				"v.res.pitch2D.width = 64; v.res.pitch2D.height = 4; v.res.pitch2D.format = " ..
					"CU_AD_FORMAT_HALF; v.res.pitch2D.numChannels = 1;",
		},
	},
	-- Sparse arrays and those mapped later have no memory of their own: an access to a hole is a fault.
	["struct CUDA_ARRAY3D_DESCRIPTOR_st"] = {
		{ check = "(v->Flags & ~(CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_SURFACE_LDST | CUDA_ARRAY3D_CUBEMAP | " ..
			"CUDA_ARRAY3D_TEXTURE_GATHER | CUDA_ARRAY3D_DEPTH_TEXTURE | " ..
			"CUDA_ARRAY3D_COLOR_ATTACHMENT)) == 0" },
		-- What raw accesses do to a depth buffer's or a render target's kind of memory is not documented.
		{ check = "!(v->Flags & CUDA_ARRAY3D_SURFACE_LDST) || !(v->Flags & (CUDA_ARRAY3D_DEPTH_TEXTURE | " ..
			"CUDA_ARRAY3D_COLOR_ATTACHMENT))" },
		samples = { "v.Width = 4; v.Format = CU_AD_FORMAT_FLOAT; v.NumChannels = 1;" },
	},
	["struct CUDA_MEMCPY3D_st"] = copy3d(),
	["struct CUDA_MEMSET_NODE_PARAMS_st"] = {
		{ check = "v->elementSize == 1 || v->elementSize == 2 || v->elementSize == 4" },
		{ check = "v->width && v->height && v->dst % v->elementSize == 0" },
		{ check = "v->height == 1 || (v->pitch % v->elementSize == 0 && v->pitch / v->elementSize >= " ..
			"v->width)" },
		{ "dst", dev = "(v->height - 1) * v->pitch + v->width * v->elementSize" },
		samples = { "v.dst = SAMPLE_ADDRESS; v.elementSize = 4; v.width = 16; v.height = 2; v.pitch = 128;" },
	},
	["struct CUgraphExecUpdateResultInfo_st"] = {
		{ "errorNode", id = "GRAPHNODE", out = true }, { "errorFromNode", id = "GRAPHNODE", out = true },
	},
}

-- --- generated from end to end -------------------------------------------------------------------------------------
-- A function that is not here is never generated, whatever its types say: what it does to the session and to others
-- must have been thought about.  Parameters that types and conventions explain are not named; the meanings are:
--   value  device  enum  mask  context  stream  numbers, checked as their type asks
--   id  id?                             a handle of a live object (or 0)
--   drop                                the same, gone when the call succeeds
--   new                                 a handle for a new object, under an id that the client chooses
--   view  find                          a handle for an object that exists; unknown to the session: view gives
--                                       it an id that the client offers, find gives 0
--   in  in?  in[COUNT]  in?[COUNT]  string  read (or absent); COUNT is a parameter
--   out  out[COUNT]                     written
--   list COUNT  count                   an array whose length the in-out parameter COUNT tells
--   dev EXPR                            the address of EXPR bytes in the window, EXPR over m-> (the message)
-- and of the function: states ("R", "RF"), async = true (no answer), room (C: may the session have what it makes,
-- worker/limits.c), after and before (C functions of the worker around creation and destruction, worker/objects.c),
-- done and failed (C that the client runs afterwards).
local node = { phGraphNode = "new", dependencies = "in[numDependencies]",
	room = "graph_room(s, 1 + m->numDependencies)" }
local function add(more)
	local a = {}
	for k, v in pairs(node) do a[k] = v end
	for k, v in pairs(more) do a[k] = v end
	return a
end
local edges = { from = "in[numDependencies]", to = "in[numDependencies]", edgeData = "in?[numDependencies]" }
local more_edges = { from = edges.from, to = edges.to, edgeData = edges.edgeData,
	room = "graph_room(s, m->numDependencies)" }

M.auto = {
	-- device queries
	cuDeviceGetTexture1DLinearMaxWidth = {},
	cuDeviceGetExecAffinitySupport = { pi = "out" },
	cuDeviceGetP2PAttribute = { value = "out" },
	cuDeviceCanAccessPeer = { canAccessPeer = "out" },
	cuDeviceGetHostAtomicCapabilities = { capabilities = "out[count]", operations = "in[count]" },
	cuDeviceGetP2PAtomicCapabilities = { capabilities = "out[count]", operations = "in[count]" },
	cuCtxGetStreamPriorityRange = { leastPriority = "out", greatestPriority = "out" },

	-- arrays: scrubbed before the program sees them
	cuArrayCreate_v2 = { pHandle = "new", after = "object_array_scrub" },
	cuArray3DCreate_v2 = { pHandle = "new", after = "object_array_scrub" },
	cuArrayGetDescriptor_v2 = { pArrayDescriptor = "out" },
	cuArray3DGetDescriptor_v2 = { pArrayDescriptor = "out" },
	cuArrayGetMemoryRequirements = { memoryRequirements = "out" },
	cuArrayGetSparseProperties = { sparseProperties = "out" },
	cuArrayDestroy = { hArray = "drop", before = "object_array_unused" },

	-- texture and surface objects
	cuTexObjectCreate = { pTexObject = "new", pResDesc = "in", pTexDesc = "in", pResViewDesc = "in?",
		after = "object_texture_made" },
	cuTexObjectDestroy = { texObject = "drop", before = "object_texture_gone" },
	cuTexObjectGetResourceDesc = { pResDesc = "out" },
	cuTexObjectGetTextureDesc = { pTexDesc = "out" },
	cuTexObjectGetResourceViewDesc = { pResViewDesc = "out" },
	cuSurfObjectCreate = { pSurfObject = "new", pResDesc = "in", after = "object_surface_made" },
	cuSurfObjectDestroy = { surfObject = "drop", before = "object_surface_gone" },
	cuSurfObjectGetResourceDesc = { pResDesc = "out" },

	-- graphs
	cuGraphCreate = { phGraph = "new", room = "graph_room(s, 1)" },
	cuGraphDestroy = { hGraph = "drop", before = "object_graph_forget", done = "agc_graph_gone(agc_id(hGraph))" },
	cuGraphClone = { phGraphClone = "new", room = "graph_room_copy(s, m->originalGraph)",
		done = "agc_graph_shares(agc_id(*phGraphClone), agc_id(originalGraph))" },
	cuGraphAddEmptyNode = node,
	cuGraphAddChildGraphNode = add { room = "graph_room_child(s, m->childGraph, m->numDependencies)" },
	cuGraphAddEventRecordNode = node,
	cuGraphAddEventWaitNode = node,
	cuGraphAddMemcpyNode = add { copyParams = "in" },
	cuGraphAddMemsetNode = add { memsetParams = "in" },
	cuGraphMemcpyNodeGetParams = { nodeParams = "out" },
	cuGraphMemcpyNodeSetParams = { nodeParams = "in" },
	cuGraphMemsetNodeGetParams = { nodeParams = "out" },
	cuGraphMemsetNodeSetParams = { nodeParams = "in" },
	cuGraphExecMemcpyNodeSetParams = { copyParams = "in" },
	cuGraphExecMemsetNodeSetParams = { memsetParams = "in" },
	cuGraphExecChildGraphNodeSetParams = {},
	cuGraphEventRecordNodeGetEvent = { event_out = "find" },
	cuGraphEventRecordNodeSetEvent = {},
	cuGraphEventWaitNodeGetEvent = { event_out = "find" },
	cuGraphEventWaitNodeSetEvent = {},
	cuGraphExecEventRecordNodeSetEvent = {},
	cuGraphExecEventWaitNodeSetEvent = {},
	cuGraphNodeFindInClone = { phNode = "view" },
	cuGraphNodeGetType = { type = "out" },
	cuGraphGetNodes = { nodes = "list numNodes", numNodes = "count" },
	cuGraphGetRootNodes = { rootNodes = "list numRootNodes", numRootNodes = "count" },
	cuGraphGetEdges_v2 = { from = "list numEdges", to = "list numEdges", edgeData = "list numEdges",
		numEdges = "count" },
	cuGraphNodeGetDependencies_v2 = { dependencies = "list numDependencies", edgeData = "list numDependencies",
		numDependencies = "count" },
	cuGraphNodeGetDependentNodes_v2 = { dependentNodes = "list numDependentNodes",
		edgeData = "list numDependentNodes",
		numDependentNodes = "count" },
	cuGraphAddDependencies_v2 = more_edges,
	cuGraphRemoveDependencies_v2 = edges,
	cuGraphDestroyNode = { hNode = "drop", before = "object_node_forget" },
	cuGraphInstantiateWithFlags = { phGraphExec = "new", room = "graph_room_exec(s, m->hGraph)",
		after = "object_exec_made",
		done = "agc_graph_shares(agc_id(*phGraphExec), agc_id(hGraph))" },
	cuGraphExecGetFlags = { flags = "out" },
	cuGraphExecUpdate_v2 = { resultInfo = "out",
		failed = "*resultInfo = (CUgraphExecUpdateResultInfo){ .result = CU_GRAPH_EXEC_UPDATE_ERROR }" },
	cuGraphUpload = { async = true },
	cuGraphLaunch = { async = true },
	cuGraphExecDestroy = { hGraphExec = "drop", done = "agc_graph_gone(agc_id(hGraphExec))" },
	cuGraphNodeSetEnabled = {},
	cuGraphNodeGetEnabled = { isEnabled = "out" },
}

-- Refused for a reason that the name decides; the first match counts.  Lists and rules above win.
M.refuse_patterns = {
	{ "^cuGraphics", "graphics interop" },
	{ "^cuIpc", "memory and events are not shared between clients by handle" },
	{ "ShareableHandle$", "memory is not shared between clients by handle" },
	{ "^cuMemGetHandleForAddressRange$", "memory is not shared between clients by handle" },
	{ "^cuMemPool.*Pointer$", "memory is not shared between clients by handle" },
	{ "External", "memory and semaphores of other APIs" },
	{ "NvSciSync", "memory and semaphores of other APIs" },
	{ "^cuMulticast", "memory of several devices" },
	{ "GreenCtx", "partitions of the device belong to the worker" },
	{ "DevResource", "partitions of the device belong to the worker" },
	{ "^cuDevSmResource", "partitions of the device belong to the worker" },
	{ "^cuCheckpoint", "the process that owns the GPU is the worker" },
	{ "^cuCoredump", "the process that owns the GPU is the worker" },
	{ "^cuLogs", "the driver's log belongs to the worker" },
	{ "AsyncNotification$", "device notifications belong to the worker" },
	{ "^cuFlushGPUDirectRDMAWrites$", "RDMA writes belong to the worker" },
	{ "^cuTensorMap", "tensor maps carry raw addresses" },
	{ "^cuTexRef", "texture references left the language" },
	{ "TexRef$", "texture references left the language" },
	{ "SurfRef", "surface references left the language" },
	{ "^cuParamSet", "the launch interface of CUDA 3" },
	{ "^cuLaunch$", "the launch interface of CUDA 3" },
	{ "^cuLaunchGrid", "the launch interface of CUDA 3" },
	{ "^cuFuncSetBlockShape$", "the launch interface of CUDA 3" },
	{ "^cuFuncSetSharedSize$", "the launch interface of CUDA 3" },
	{ "^cuStreamWaitValue", "a stream would hold up the GPU for other clients" },
	{ "^cuStreamBatchMemOp", "a stream would hold up the GPU for other clients" },
	{ "BatchMemOp", "a stream would hold up the GPU for other clients" },
	{ "^cuGraph.*HostNode", "a graph's host functions would hold up the GPU for other clients" },
	{ "^cuGraphConditional", "conditional graph nodes" },
	{ "UserObject", "host functions of graphs" },
	{ "^cuGraphChildGraphNodeGetGraph$", "the graph belongs to its node: it must not be destroyed by name" },
	{ "^cuGraphDebugDotPrint$", "writes a file of the worker's" },
	{ "^cuMipmapped", "a level's array would outlive its parent" },
	{ "^cuArrayGetPlane$", "planar formats" },
	{ "^cuMemMapArrayAsync$", "sparse arrays" },
	{ "^cuMemBatchDecompressAsync$", "hardware decompression" },
	{ "^cuLaunchCooperativeKernelMultiDevice$", "kernels that span devices" },
	{ "^cuCtxAttach$", "withdrawn in CUDA 4" },
	{ "^cuCtxDetach$", "withdrawn in CUDA 4" },
	{ "ExecAffinity$", "shares of the device's processors belong to the worker" },
	{ "^cuCtxRecordEvent$", "events of a whole context" },
	{ "^cuCtxWaitEvent$", "events of a whole context" },
	{ "^cuDeviceGetLuid$", "a name of the device on Windows" },
	{ "^cuGraphAddNode", "nodes of any kind; the functions of each kind are there" },
	{ "^cuGraphNodeSetParams$", "nodes of any kind; the functions of each kind are there" },
	{ "^cuGraphExecNodeSetParams$", "nodes of any kind; the functions of each kind are there" },
	{ "^cuGraphKernelNodeGetParams", "a kernel node's parameters stay with the worker" },
	{ "^cuGraphKernelNode.*Attribute", "launch attributes of graph nodes" },
	{ "^cuGraphMemFreeNodeGetParams$", "in the graph, memory nodes are empty ones" },
	{ "^cuMemDiscard", "promises about contents that nothing here makes use of" },
	{ "^cuMemcpy3DBatchAsync", "batches of shaped copies" },
	{ "^cuProfilerInitialize$", "withdrawn in CUDA 12" },
	{ "^cuStreamUpdateCaptureDependencies", "a running capture's graph is not handed out" },
	{ "^cuLink", "linking of the program's own choice; device code is linked when it is loaded" },
}

-- In the 32-bit ABI of CUDA 3.1 device pointers have 32 bits: none of ours fit.
for name in ([[
	cuDeviceTotalMem cuModuleGetGlobal cuMemGetInfo cuMemAlloc cuMemAllocPitch cuMemFree cuMemGetAddressRange
		cuMemAllocHost
	cuMemHostGetDevicePointer cuMemcpyHtoD cuMemcpyDtoH cuMemcpyDtoD cuMemcpyDtoA cuMemcpyAtoD cuMemcpyHtoA
		cuMemcpyAtoH cuMemcpyAtoA
	cuMemcpyHtoAAsync cuMemcpyAtoHAsync cuMemcpy2D cuMemcpy2DUnaligned cuMemcpy3D cuMemcpyHtoDAsync
		cuMemcpyDtoHAsync
	cuMemcpyDtoDAsync cuMemcpy2DAsync cuMemcpy3DAsync cuMemsetD8 cuMemsetD16 cuMemsetD32 cuMemsetD2D8 cuMemsetD2D16
		cuMemsetD2D32
	cuArrayCreate cuArrayGetDescriptor cuArray3DCreate cuArray3DGetDescriptor
]]):gmatch("%S+") do
	table.insert(M.refuse_patterns, 1, { "^" .. name .. "$", "an ABI with 32-bit device pointers" })
end

return M
