-- expect: tests/gen/bad_stale_function.lua:4: M.auto names miniGone, which the headers do not declare
local M = dofile(ROOT .. "/tests/gen/mini.lua")

M.auto.miniGone = {}
return M
