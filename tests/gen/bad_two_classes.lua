-- expect: tests/gen/bad_two_classes.lua:4: miniRefused is in two classes: local and custom
local M = dofile(ROOT .. "/tests/gen/mini.lua")

M.hand = { ["local"] = "miniRefused", custom = "miniRefused" }
return M
