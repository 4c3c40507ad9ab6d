# The client's core (api/client/): what every link form holds besides the Runtime and the exported names.
CLIENT_SRC := $(addprefix api/client/,core.c session.c launcher.c ring.c ids.c wait.c stream.c event.c hostfunc.c memory.c memapi.c pool.c heap.c \
	copy.c copy3d.c module.c library.c func.c link.c launch.c fatbin.c context.c device.c printf.c) alloc/range.c
CLIENT_OBJ := $(call objs,$(CLIENT_SRC))
$(CLIENT_OBJ) $(call asan_objs,$(CLIENT_SRC)): | build/gen/.stamp
