-- expect: tests/gen/bad_stale_parameter.lua:4: miniQuery: miniQuery has no parameter colour
local M = dofile(ROOT .. "/tests/gen/mini.lua")

M.auto.miniQuery = { colour = "out" }
return M
