-- expect: tests/gen/bad_stale_parameter.lua:4: miniQuery: annotation names parameter colour, which miniQuery does not have
local M = dofile(ROOT .. "/tests/gen/mini.lua")

M.auto.miniQuery = { colour = "out" }
return M
