-- expect: tests/gen/bad_expression.lua:4: miniWipe: cannot read expression "m->bytes *"
local M = dofile(ROOT .. "/tests/gen/mini.lua")

M.auto.miniWipe = { where = "dev m->bytes *" }
return M
