-- wire.lua: the messages that are not one Driver function each.  Generated from this: structs msg_X and rep_X and op
-- numbers (build/gen/msg.h), and the worker's permit table.
--
-- Field: {name, type[, count]}; types u8 u16 u32 u64 i32 f32 f64, id (an ag_id of `kind`), stream (an id or 0), addr
-- (device or window address).
-- tail: the message ends in bytes whose number is head.tail.  reply: fields of the answer; rtail: the answer ends in
-- bytes.  A message without reply and without `sync` is asynchronous.
-- Hand-written per message, in worker/: the first judges and changes nothing, the second acts.
--   CUresult check_X(const struct session *, const struct msg_X *, const void *tail, uint32_t ntail)
--   CUresult invoke_X(struct session *, const struct msg_X *, const void *tail, uint32_t ntail, struct rep_X *,
--                     struct ag_out *)
-- states: which session states permit it: R ready, F faulted (the session's context is dead, only queries and
-- releases).
local M = {}

M.messages = {
	-- memory
	{ "grant", states = "R", doc = "granules of device memory, or a chunk of host memory, mapped and scrubbed",
		{ "bytes", "u64" }, { "host", "u32" }, { "pad", "u32" }, reply = { { "addr", "u64" },
			{ "bytes", "u64" } } },
	{ "giveback", states = "RF", doc = "returns a granted range once the session's earlier work is done",
		sync = true,
		{ "addr", "addr" }, { "bytes", "u64" } },
	{ "meminfo", states = "RF", reply = { { "free", "u64" }, { "total", "u64" } } },
	-- copies: every address inside the window; host memory is window host memory
	{ "copy", states = "R", { "dst", "addr" }, { "src", "addr" }, { "bytes", "u64" }, { "stream", "stream" } },
	{ "copy3d", states = "R", doc = "linear or array on either side; pitches and heights as in CUDA_MEMCPY3D",
		{ "dst", "u64" }, { "src", "u64" }, { "dst_is_array", "u8" }, { "src_is_array", "u8" },
			{ "pad", "u8", 6 },
		{ "dst_x", "u64" }, { "dst_y", "u64" }, { "dst_z", "u64" }, { "dst_lod", "u64" },
			{ "dst_pitch", "u64" },
			{ "dst_height", "u64" },
		{ "src_x", "u64" }, { "src_y", "u64" }, { "src_z", "u64" }, { "src_lod", "u64" },
			{ "src_pitch", "u64" },
			{ "src_height", "u64" },
		{ "width", "u64" }, { "height", "u64" }, { "depth", "u64" }, { "stream", "stream" } },
	{ "set", states = "R", doc = "memset of width x height elements of elem bytes", { "dst", "addr" },
		{ "pitch", "u64" }, { "width", "u64" },
		{ "height", "u64" }, { "value", "u32" }, { "elem", "u32" }, { "stream", "stream" } },
	-- modules: text is PTX pieces in the window's host memory (each: u64 length, bytes, padded to 8), copied once
	-- by the worker
	{ "module_prepare", states = "R",
		doc = "guards and compiles; the answer describes kernels and symbols (struct ag_modinfo)",
		{ "module", "id", kind = "MODULE" }, { "text", "addr" }, { "bytes", "u64" }, { "pieces", "u32" },
			{ "pad", "u32" },
		{ "out", "addr" }, { "out_bytes", "u64" }, reply = { { "bytes", "u64" }, { "data_bytes", "u64" } } },
	{ "module_load", states = "R",
		doc = "loads it with its variables at data (data_bytes, 256-aligned, in the window)", sync = true,
		{ "module", "id", kind = "MODULE" }, { "data", "addr" } },
	{ "module_unload", states = "RF", { "module", "id", kind = "MODULE" } },
	{ "const_copy", states = "R", doc = "to or from the module's constant bank; other side in the window",
		{ "module", "id", kind = "MODULE" }, { "offset", "u64" }, { "addr", "addr" }, { "bytes", "u64" },
			{ "to_const", "u32" }, { "pad", "u32" }, { "stream", "stream" } },
	-- kernels: a function is (module, kernel index as in ag_modinfo)
	{ "launch", states = "R", doc = "tail: the parameter block", tail = true, { "module", "id", kind = "MODULE" },
		{ "kernel", "u32" }, { "flags", "u32" },
		{ "grid", "u32", 3 }, { "block", "u32", 3 }, { "cluster", "u32", 3 }, { "shared", "u32" },
			{ "stream", "stream" } },
	{ "func_attr_set", states = "R", sync = true, { "module", "id", kind = "MODULE" }, { "kernel", "u32" },
		{ "attr", "u32" }, { "value", "i32" }, { "pad", "u32" } },
	{ "occupancy", states = "R",
		doc =
		"what: 0 active blocks (block size, dynamic shared, flags), 1 potential block size without callback " ..
			"(limit), 2 available dynamic shared (blocks, block size), 3 active clusters, 4 potential " ..
			"cluster size (grid3, block3, cluster; cluster 0: without the attribute)",
		{ "module", "id", kind = "MODULE" }, { "kernel", "u32" }, { "what", "u32" }, { "shared", "u64" },
			{ "block", "i32" }, { "blocks", "i32" }, { "flags", "u32" }, { "grid3", "u32", 3 },
			{ "block3", "u32", 3 }, { "cluster", "u32", 3 },
		reply = { { "a", "u64" }, { "b", "u64" } } },
	-- streams and events
	{ "stream_create", states = "R", { "stream", "id", kind = "STREAM" }, { "flags", "u32" },
		{ "priority", "i32" } },
	{ "stream_destroy", states = "RF", { "stream", "id", kind = "STREAM" } },
	{ "signal", states = "R",
		doc =
		"stores value at word (window host memory, 8-aligned) when the stream gets there; all: after " ..
			"everything the session submitted",
		{ "word", "addr" }, { "value", "u64" }, { "stream", "stream" }, { "all", "u32" }, { "pad", "u32" } },
	{ "event_create", states = "R", { "event", "id", kind = "EVENT" }, { "flags", "u32" }, { "pad", "u32" } },
	{ "event_destroy", states = "RF", { "event", "id", kind = "EVENT" } },
	{ "event_record", states = "R", doc = "and stores value at word (0: none)", { "event", "id", kind = "EVENT" },
		{ "stream", "stream" }, { "word", "addr" }, { "value", "u64" },
		{ "flags", "u32" }, { "pad", "u32" } },
	{ "event_elapsed", states = "R", { "start", "id", kind = "EVENT" }, { "stop", "id", kind = "EVENT" },
		reply = { { "ms", "f32" }, { "pad", "u32" } } },
	{ "stream_wait", states = "R", { "stream", "stream" }, { "event", "id", kind = "EVENT" }, { "flags", "u32" },
		{ "pad", "u32" } },
	-- host functions: the worker stores ticket at word when the stream gets there, then holds back the stream's
	-- later messages until hostfunc_done
	{ "hostfunc", states = "R", { "stream", "stream" }, { "word", "addr" }, { "ticket", "u64" } },
	{ "hostfunc_done", states = "RF", { "ticket", "u64" } },
	-- captures and kernel nodes; the other graph functions are generated (api/cuda.lua)
	{ "capture_begin", states = "R", sync = true, tail = true,
		doc = "into a new graph, or (graph) into one, after the nodes whose ids are the tail",
		{ "stream", "id", kind = "STREAM" }, { "graph", "u64" }, { "ndeps", "u32" }, { "pad", "u32" } },
	{ "capture_end", states = "R",
		doc = "graph: id for a new graph, node: id for the one node that was captured (0: none)",
		{ "stream", "id", kind = "STREAM" }, { "graph", "u64" }, { "node", "u64" },
			reply = { { "graph", "u64" } } },
	{ "capture_info", states = "R", { "stream", "u64" }, reply = { { "status", "u32" }, { "pad", "u32" },
		{ "id", "u64" } } },
	{ "graph_kernel_copy", states = "R", sync = true,
		doc = "gives kernel node `to` (of exec, when not 0) the kernel and parameters of node `from`",
		{ "exec", "u64" }, { "to", "id", kind = "GRAPHNODE" }, { "from", "id", kind = "GRAPHNODE" } },
	-- faults
	{ "fault", states = "RF",
		doc = "the first fault of the session: CUresult 0 when none; what says it in one line",
		reply = { { "result", "u32" }, { "kind", "u32" }, { "line", "u32" }, { "pad", "u32" },
			{ "addr", "u64" },
			{ "ctaid", "u32", 3 }, { "tid", "u32", 3 }, { "kernel", "u8", 128 } } },
	{ "recover", states = "F", sync = true,
		doc = "ends what is left of the session's work, forgets the fault: all calls are permitted again" },
	{ "nop", states = "RF", doc = "an empty call and reply", reply = {} },
}

-- struct ag_modinfo as bytes: see api/base/modinfo.h
return M
