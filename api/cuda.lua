-- cuda.lua: what the Driver's headers do not say: the class of every function and the meaning of its parameters.
-- Every function is in exactly one class:
--   local    answered in the client, by hand: call_cuX in api/client/
--   custom   by hand too, with messages of api/wire.lua
--   auto     generated from end to end, from the rules and annotations below
--   lowered  in terms of other Driver functions (older ABIs, per-thread twins)
--   refuse   returns CUDA_ERROR_NOT_SUPPORTED, with a reason
local M = {}

-- ==== HAND-WRITTEN =================================================================================
-- Names whose call_cuX is written by hand.  Add a name together with its definition: a name without definition does not link,
-- a definition without name does not compile.  Per-thread twins (_ptds, _ptsz) are made from the base, do not list them.
M.hand = {
	["local"] = [[
	]],
	custom = [[
	]],
}
-- ==== end of the hand-written lists ================================================================

-- Refused for a reason that a name pattern decides; the first match counts.
M.refuse_patterns = {
}

return M
