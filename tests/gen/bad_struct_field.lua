-- expect: tests/gen/bad_struct_field.lua:3: struct miniDeep_st has no field nowhere
local M = dofile(ROOT .. "/tests/gen/mini.lua")
M.structs["struct miniDeep_st"][1] = { "nowhere", id = "GRAPH" }
return M
