-- expect: tests/gen/bad_no_handle.lua:4: miniCreate: parameter plain: const miniPlain * is no known handle
local M = dofile(ROOT .. "/tests/gen/mini.lua")

M.auto.miniCreate = { thing = "new", plain = "id" }
return M
