-- expect: tests/gen/bad_unknown_meaning.lua:4: miniQuery: parameter out: unknown meaning "sideways"
local M = dofile(ROOT .. "/tests/gen/mini.lua")

M.auto.miniQuery = { out = "sideways" }
return M
