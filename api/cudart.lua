-- cudart.lua: the Runtime, lowered onto the Driver in the client.
-- Every function is in exactly one class:
--   local, custom  by hand: rt_cudaX in api/client/rt_*.c
--   lowered        the rules below: one or two Driver calls
--   refuse         returns cudaErrorNotSupported, with a reason
local M = {}

-- ==== HAND-WRITTEN =================================================================================
-- Names whose rt_cudaX is written by hand.  Add a name together with its definition: a name without definition does not link,
-- a definition without name does not compile.  Per-thread twins (_ptds, _ptsz) are made from the base, do not list them.
M.hand = {
	["local"] = [[
		cudaGetLastError cudaPeekAtLastError cudaGetDeviceCount cudaSetDevice cudaInitDevice cudaGetDevice
		cudaSetValidDevices cudaDeviceReset cudaRuntimeGetVersion cudaDriverGetVersion cudaGetDeviceProperties
		cudaDeviceGetAttribute cudaChooseDevice
	]],
	custom = [[
		cudaGetSymbolAddress cudaGetSymbolSize cudaLaunchKernel cudaLaunchCooperativeKernel cudaLaunchKernelExC
		cudaGetKernel cudaGetFuncBySymbol cudaFuncGetAttributes cudaFuncSetAttribute cudaFuncSetCacheConfig
		cudaFuncGetName cudaFuncGetParamInfo cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags
		cudaOccupancyMaxActiveBlocksPerMultiprocessor cudaOccupancyAvailableDynamicSMemPerBlock
		cudaOccupancyMaxPotentialClusterSize cudaOccupancyMaxActiveClusters cudaMemcpy cudaMemcpyAsync
		cudaMemcpyToSymbol cudaMemcpyFromSymbol cudaMemcpyToSymbolAsync cudaMemcpyFromSymbolAsync cudaMemcpy2D
		cudaMemcpy2DAsync cudaMemcpy2DToArray cudaMemcpy2DToArrayAsync cudaMemcpy2DFromArray
		cudaMemcpy2DFromArrayAsync cudaMemcpyToArray cudaMemcpyToArrayAsync cudaMemcpyFromArray
		cudaMemcpyFromArrayAsync cudaMemcpy2DArrayToArray cudaMemcpyArrayToArray cudaMemcpy3D cudaMemcpy3DAsync
		cudaMemset cudaMemsetAsync cudaMemset2D cudaMemset2DAsync cudaMemset3D cudaMemset3DAsync
	]],
}
-- ==== end of the hand-written lists ================================================================

-- Exported by libcudart but declared in no header: what nvcc's host code calls.  The prototypes are in api/client/runtime.h.
M.internal = [[
	__cudaGetKernel __cudaGetProcAddress __cudaInitModule __cudaLaunchKernel __cudaLaunchKernel_ptsz __cudaPopCallConfiguration
	__cudaPushCallConfiguration __cudaRegisterFatBinary __cudaRegisterFatBinaryEnd __cudaRegisterFunction __cudaRegisterHostVar
	__cudaRegisterManagedVar __cudaRegisterUnifiedTable __cudaRegisterVar __cudaUnregisterFatBinary
]]

-- Exported and declared in headers that need OpenGL, EGL or VDPAU: graphics interop, refused.
M.undeclared = [[
	cudaEGLStreamConsumerAcquireFrame cudaEGLStreamConsumerConnect cudaEGLStreamConsumerConnectWithFlags
	cudaEGLStreamConsumerDisconnect cudaEGLStreamConsumerReleaseFrame cudaEGLStreamProducerConnect cudaEGLStreamProducerDisconnect
	cudaEGLStreamProducerPresentFrame cudaEGLStreamProducerReturnFrame cudaEventCreateFromEGLSync cudaGLGetDevices
	cudaGLMapBufferObject cudaGLMapBufferObjectAsync cudaGLRegisterBufferObject cudaGLSetBufferObjectMapFlags cudaGLSetGLDevice
	cudaGLUnmapBufferObject cudaGLUnmapBufferObjectAsync cudaGLUnregisterBufferObject cudaGraphicsEGLRegisterImage
	cudaGraphicsGLRegisterBuffer cudaGraphicsGLRegisterImage cudaGraphicsResourceGetMappedEglFrame
	cudaGraphicsVDPAURegisterOutputSurface cudaGraphicsVDPAURegisterVideoSurface cudaVDPAUGetDevice cudaVDPAUSetVDPAUDevice
]]

-- Written out: the body of rt_cudaX in C.
M.lowered = {
	cudaGetErrorName = "\tconst struct ag_error *e = ag_runtime_error(error);\n\treturn e ? e->name : \"unrecognized error code\";",
	cudaGetErrorString = "\tconst struct ag_error *e = ag_runtime_error(error);\n\treturn e ? e->text : \"unrecognized error code\";",
	cudaCreateChannelDesc = "\treturn (struct cudaChannelFormatDesc){ x, y, z, w, f };",
}

M.refuse_patterns = {
}

return M
