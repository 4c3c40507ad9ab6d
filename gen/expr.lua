-- expr.lua: size expressions of annotations -> C that notices overflow.
-- a + b, a - b, a * b, parentheses, numbers, sizeof(T), C lvalues (v->res.linear.sizeInBytes) and f(lvalue) become
-- calls of ag_add, ag_sub, ag_mul, which set *over.
local U = require("gen.util")
local E = {}

local function tokens(text, where)
	local list, at = {}, 1
	while true do
		at = text:match("^%s*()", at)
		if at > #text then break end
		local t = text:match("^[%a_][%w_]*%b()", at) or text:match("^[%a_][%w_%.]*[%w_]*",
			at) or text:match("^%d+", at) or text:match("^[%+%-%*%(%)]", at)
		local path = text:match("^[%a_][%w_]*%->[%w_%.%[%]]+", at)
		t = path or t
		if not t then U.fail("%s: cannot read expression %q", where, text) end
		list[#list + 1] = t
		at = at + #t
	end
	return list
end

function E.compile(text, where)
	local list, at = tokens(text, where), 1
	local sum
	local function atom()
		local t = list[at]
		at = at + 1
		if t == "(" then
			local inner = sum()
			if list[at] ~= ")" then U.fail("%s: missing ) in %q", where, text) end
			at = at + 1
			return inner
		end
		if not t or t:match("^[%+%-%*%)]$") then U.fail("%s: cannot read expression %q", where, text) end
		return "(uint64_t)" .. t
	end
	local function product()
		local left = atom()
		while list[at] == "*" do
			at = at + 1
			left = ("ag_mul(&over, %s, %s)"):format(left, atom())
		end
		return left
	end
	function sum()
		local left = product()
		while list[at] == "+" or list[at] == "-" do
			local op = list[at] == "+" and "ag_add" or "ag_sub"
			at = at + 1
			left = ("%s(&over, %s, %s)"):format(op, left, product())
		end
		return left
	end
	local result = sum()
	if at <= #list then U.fail("%s: cannot read expression %q after %s", where, text, list[at - 1]) end
	return result
end

return E
