-- opcodes.lua: api/opcodes.lua, the append-only list of operation numbers: line N of the list is operation N.
local U = require("gen.util")
local O = {}

function O.read(path)
	local list = U.load(path)
	local number = {}
	for i, name in ipairs(list) do
		if number[name] then U.fail("%s:%d: operation %s has two numbers", path, U.line_of(U.read(path), name),
			name) end
		number[name] = i
	end
	return list, number
end

-- Appends the names that have no number yet; returns how many.
function O.append(path, names)
	local list, number = O.read(path)
	local text, added = U.read(path), {}
	for _, name in ipairs(names) do
		if not number[name] then added[#added + 1] = "\t" .. U.quote(name) .. ",\n" end
	end
	local head = text:match("^(.*)}%s*$")
	if not head then U.fail("%s: must end in }", path) end
	if #added > 0 then U.write(path, head .. table.concat(added) .. "}\n") end
	return #added
end

return O
