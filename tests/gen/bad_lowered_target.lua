-- expect: tests/gen/bad_lowered_target.lua:4: M.lowered.miniRefused names cuNothing, which the headers do not declare
local M = dofile(ROOT .. "/tests/gen/mini.lua")

M.lowered = { miniRefused = "	return call_cuNothing(x);" }
return M
