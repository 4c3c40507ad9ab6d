-- mini.lua: annotations of mini.h.
local M = { hand = { ["local"] = "", custom = "" }, lowered = {} }

M.handles = { miniThing = "GRAPH" }
M.destroy = { GRAPH = "miniDestroy" }
M.addresses = { CUdeviceptr = true }
M.masks = {}
M.structs = {
	["struct miniDeep_st"] = {
		{ "thing", id = "GRAPH" },
		{ "where", dev = "v->rows * v->pitch", when = "v->rows" },
	},
}
M.auto = {
	miniCreate = { thing = "new", after = "object_made" },
	miniDestroy = { thing = "drop" },
	miniQuery = {},
	miniRun = { async = true },
	miniMany = { things = "in[count]" },
	miniList = { parts = "list number", number = "count" },
	miniWipe = { where = "dev m->bytes" },
	miniWeak = {},
	miniDeepGuess = {},
	miniUnknown = {},
}
M.refuse_patterns = { { "Refused$", "because" } }
return M
