-- util.lua: what the generator's Lua files share: errors, text buffers, files, C spellings.
local U = {}

-- A mistake in headers, annotations or arguments: reported as one line, without a traceback.
function U.fail(fmt, ...)
	error({ message = fmt:format(...) }, 0)
end

-- A text buffer: b(fmt, ...) appends a line, b:raw(text) appends text.
local buffer = {}
buffer.__index = buffer
function buffer:raw(text)
	self[#self + 1] = text
end
function buffer:text()
	return table.concat(self)
end
function buffer.__call(self, fmt, ...)
	self[#self + 1] = select("#", ...) > 0 and fmt:format(...) or fmt
	self[#self + 1] = "\n"
end
function U.buffer()
	return setmetatable({}, buffer)
end

-- Replaces ${name} in text by values.name.
function U.fill(text, values)
	return (text:gsub("%${([%w_]+)}", function(key)
		local v = values[key]
		if v == nil then U.fail("template value %s is missing", key) end
		return tostring(v)
	end))
end

function U.read(path)
	local f = io.open(path, "rb")
	if not f then return nil end
	local text = f:read("a")
	f:close()
	return text
end

-- Writes only when the content changed, so that make rebuilds only what changed.
function U.write(path, text)
	if U.read(path) == text then return false end
	local temporary = path .. ".new"
	local f, why = io.open(temporary, "wb")
	if not f then U.fail("%s", why) end
	local written = f:write(text)
	if not f:close() or not written then U.fail("%s: cannot write", path) end
	local ok, reason = os.rename(temporary, path)
	if not ok then U.fail("%s", reason) end
	return true
end

function U.load(path, ...)
	local chunk, why = loadfile(path)
	if not chunk then U.fail("%s", why) end
	return chunk(...)
end

function U.sorted(t)
	local keys = {}
	for k in pairs(t) do keys[#keys + 1] = k end
	table.sort(keys)
	return keys
end

function U.set(list)
	local s = {}
	for _, v in ipairs(list or {}) do s[v] = true end
	return s
end

-- The line of `text` where the word first appears outside comments, for errors about data files; 0 when it does not.
function U.line_of(text, word)
	text = text:gsub("%-%-[^\n]*", "")
	local pattern = "%f[%w_]" .. word:gsub("%p", "%%%0") .. "%f[^%w_]"
	local at = text:find(pattern)
	if not at then return 0 end
	local _, n = text:sub(1, at):gsub("\n", "\n")
	return n + 1
end

-- `type` declared as `name`, in C.  Function pointers are typedefs in these headers, except where spelled with (*).
function U.declare(t, name)
	local spell = t.spell
	if spell:find("%(%*") then return (spell:gsub("%(%*", "(*" .. name, 1)) end
	local base, dims = spell:match("^(.-)%s*(%[.*)$")
	if base then return base .. " " .. name .. dims end
	return spell:match("%*$") and spell .. name or spell .. " " .. name
end

function U.parameters(f)
	if #f.params == 0 then return "void" end
	local list = {}
	for i, p in ipairs(f.params) do list[i] = U.declare(p.type, p.name) end
	return table.concat(list, ", ")
end

function U.arguments(f)
	local list = {}
	for i, p in ipairs(f.params) do list[i] = p.name end
	return table.concat(list, ", ")
end

function U.unused(f)
	local list = {}
	for i, p in ipairs(f.params) do list[i] = "(void)" .. p.name .. ";" end
	return table.concat(list, " ")
end

local escapes = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n", ["\t"] = "\\t" }
function U.quote(s)
	return '"' .. s:gsub('[\\"\n\t]', escapes) .. '"'
end

return U
