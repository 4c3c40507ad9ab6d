#!/usr/bin/env lua5.4
-- dump_test.lua: `agileos guard --dump STAGE` says, stage by stage, what has happened to a small kernel so far; an
-- unknown stage is a usage error, and what a pass made is there though a later one refuses. Argument: the guard.
local guard, failed = arg[1], false
local file = os.tmpname()
local source = [[
.version 9.0
.target sm_90
.address_size 64
.global .align 4 .u32 counter;
.func (.reg .b32 r) twice(.reg .b32 a) { add.u32 r, a, a; ret; }
.visible .entry k(.param .u64 out)
{
	.reg .b32 %r<6>;
	.reg .b64 %rd<4>;
	.shared .align 4 .b8 s[16];
	ld.param.u64 %rd1, [out];
	mov.u32 %r1, s;
	st.shared.u32 [%r1+4], %r4;
	call (%r2), twice, (%r4);
	st.global.u32 [counter], %r2;
	bra END;
	st.global.u32 [%rd1], %r2;
END:
	ret;
}
]]
local f = assert(io.open(file, "w"))
f:write(source)
f:close()

local function dump(stage, input)
	local p <close> = io.popen(("%s %s --dump %s 2>&1; echo exit $?"):format(guard, input or file, stage))
	return p:read("a")
end

local function case(name, text, has, lacks)
	local why
	for _, s in ipairs(has) do
		if not text:find(s, 1, true) then why = why or "no '" .. s .. "'" end
	end
	for _, s in ipairs(lacks or {}) do
		if text:find(s, 1, true) then why = why or "there is '" .. s .. "'" end
	end
	print(why and ("not ok %s: %s"):format(name, why) or "ok " .. name)
	failed = failed or why ~= nil
end

case("parse", dump("parse"), { ".entry k", "call", "exit 0" })
case("link", dump("link"), { "variable counter: 4 bytes in .global", "kernel 0 k", "exit 0" }, { "data+" })
case("place", dump("place"), { "variable counter: 4 bytes in .global, piece 0, data+", "exit 0" })
case("inline", dump("inline"), { "add.u32", "[counter]", "[%rd", "exit 0" }, { "call" })
case("prune", dump("prune"), { "add.u32", "[counter]", "exit 0" }, { "17\tst.global" })
case("relocate", dump("relocate"), { "ag_smem_0", "[%gd", "exit 0" }, { "counter" })
case("define", dump("define"), { "mov", "exit 0" })
case("space", dump("space"), { "= ag_smem_0+0", "exit 0" })
case("print", dump("print"), { "// agileos: body", ".visible .entry k0", "exit 0" })
case("unknown", dump("fences"), { "usage:", "exit 1" })
f = assert(io.open(file, "w"))
f:write((source:gsub("bra END;", "bra END;\n\tsetmaxnreg.inc.sync.aligned.u32 40;")))
f:close()
case("refused_later", dump("link"), { "kernel 0 k", "setmaxnreg", "exit 3" })
os.remove(file)
os.exit(not failed)
