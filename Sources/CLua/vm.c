// Lua states: making them, running what they have compiled, and the memory that they hold. Every
// way in is a protected call, for even pushing a string may run a script's finaliser.
#include <stdlib.h>
#include <string.h>

#include "vm.h"

int luaopen_cjson(lua_State *lua);
int luaopen_bit(lua_State *lua);

enum {
    instructions_per_hook = 100000,
    /// So many runs between two steps of the collector, and so long a step.
    collector_period = 50
};

/// The registry's key of the owner.
static char owner_key;

clua_vm *clua_of(lua_State *lua) {
    lua_pushlightuserdata(lua, &owner_key);
    lua_rawget(lua, LUA_REGISTRYINDEX);
    clua_vm *vm = lua_touserdata(lua, -1);
    lua_pop(lua, 1);
    return vm;
}

clua_bytes clua_keep(clua_vm *vm, const char *text, size_t count) {
    char *copy = malloc(count + 1);
    if (copy == NULL) abort();
    memcpy(copy, text, count);
    copy[count] = 0;
    free(vm->text);
    vm->text = copy;
    vm->text_count = count;
    clua_bytes kept = {(const unsigned char *)copy, (long)count};
    return kept;
}

/// Lua's allocator: malloc, counted. A server without memory ends here, as everywhere.
static void *allocate(void *context, void *place, size_t old_size, size_t new_size) {
    clua_vm *vm = context;
    if (new_size == 0) {
        vm->memory -= place == NULL ? 0 : old_size;
        free(place);
        return NULL;
    }
    void *fresh = realloc(place, new_size);
    if (fresh == NULL) abort();
    vm->memory += new_size - (place == NULL ? 0 : old_size);
    return fresh;
}

size_t clua_memory(const clua_vm *vm) { return vm->memory; }

// MARK: Opening

static int undefined_global(lua_State *lua) {
    if (lua_gettop(lua) != 2)
        return luaL_error(lua, "Wrong number of arguments to luaProtectedTableError");
    if (!lua_isstring(lua, -1))
        return luaL_error(
            lua, "Second argument to luaProtectedTableError must be a string or number");
    return luaL_error(
        lua, "Script attempted to access nonexistent global variable '%s'",
        lua_tostring(lua, -1));
}

/// Reading what the table at the top does not have becomes an error.
static void refuse_undefined(lua_State *lua) {
    lua_newtable(lua);
    lua_pushcfunction(lua, undefined_global);
    lua_setfield(lua, -2, "__index");
    lua_setmetatable(lua, -2);
}

/// Pushes what tostring gives.
static void push_text(lua_State *lua, int index) {
    switch (lua_type(lua, index)) {
    case LUA_TNUMBER:
    case LUA_TSTRING:
        lua_pushvalue(lua, index);
        lua_tostring(lua, -1);
        break;
    case LUA_TBOOLEAN: lua_pushstring(lua, lua_toboolean(lua, index) ? "true" : "false"); break;
    case LUA_TNIL: lua_pushliteral(lua, "nil"); break;
    default:
        lua_pushfstring(lua, "%s: %p", luaL_typename(lua, index), lua_topointer(lua, index));
    }
}

/// Where an error happened is added to what it is.
static int add_place(lua_State *lua) {
    lua_Debug place;
    lua_settop(lua, 1);
    int found = lua_getstack(lua, 1, &place) && lua_getinfo(lua, "nSl", &place);
    if (found && strcmp(place.what, "C") == 0)
        found = lua_getstack(lua, 2, &place) && lua_getinfo(lua, "nSl", &place);
    if (!lua_istable(lua, 1)) {
        lua_newtable(lua);
        lua_pushliteral(lua, "ERR ");
        push_text(lua, 1);
        lua_concat(lua, 2);
        lua_setfield(lua, -2, "err");
        lua_replace(lua, 1);
    }
    if (found) {
        lua_pushliteral(lua, "source");
        lua_pushstring(lua, place.source);
        lua_rawset(lua, 1);
        lua_pushliteral(lua, "line");
        lua_pushnumber(lua, place.currentline);
        lua_rawset(lua, 1);
    }
    return 1;
}

/// pcall as scripts know it from versions where errors were strings.
static int string_pcall(lua_State *lua) {
    int count = lua_gettop(lua);
    lua_pushboolean(lua, 1);
    lua_insert(lua, 1);
    if (lua_pcall(lua, count - 1, LUA_MULTRET, 0)) {
        lua_remove(lua, 1);
        if (lua_istable(lua, -1)) {
            lua_getfield(lua, -1, "err");
            if (lua_isstring(lua, -1)) lua_replace(lua, -2);
        }
        lua_pushboolean(lua, 0);
        lua_insert(lua, 1);
    }
    return lua_gettop(lua);
}

static double random_fraction(clua_vm *vm) {
    long value = nrand48(vm->random);
    return (double)(value % 0x7fffffff) / (double)0x7fffffff;
}

static int math_random(lua_State *lua) {
    clua_vm *vm = clua_of(lua);
    if (vm->activity != clua_running)
        return luaL_error(lua, "math.random can only be called inside a script invocation");
    double fraction = random_fraction(vm);
    switch (lua_gettop(lua)) {
    case 0: lua_pushnumber(lua, fraction); break;
    case 1: {
        int upper = luaL_checkint(lua, 1);
        luaL_argcheck(lua, 1 <= upper, 1, "interval is empty");
        lua_pushnumber(lua, (double)(long long)(fraction * upper) + 1);
        break;
    }
    case 2: {
        int lower = luaL_checkint(lua, 1);
        int upper = luaL_checkint(lua, 2);
        luaL_argcheck(lua, lower <= upper, 2, "interval is empty");
        double width = (double)upper - (double)lower + 1;
        lua_pushnumber(lua, (double)(long long)(fraction * width) + lower);
        break;
    }
    default: return luaL_error(lua, "wrong number of arguments");
    }
    return 1;
}

static void seed_random(clua_vm *vm, unsigned seed) {
    vm->random[0] = 0x330E;
    vm->random[1] = (unsigned short)(seed & 0xffff);
    vm->random[2] = (unsigned short)(seed >> 16);
}

static int math_randomseed(lua_State *lua) {
    clua_vm *vm = clua_of(lua);
    if (vm->activity != clua_running)
        return luaL_error(lua, "math.randomseed can only be called inside a script invocation");
    seed_random(vm, (unsigned)luaL_checkint(lua, 1));
    return 0;
}

static void open_library(lua_State *lua, const char *name, lua_CFunction open) {
    lua_pushcfunction(lua, open);
    lua_pushstring(lua, name);
    lua_call(lua, 1, 0);
}

/// Of a library that returns its table instead of making a global.
static void open_returned(lua_State *lua, const char *name, lua_CFunction open) {
    lua_pushcfunction(lua, open);
    lua_pushstring(lua, name);
    lua_call(lua, 1, 1);
    lua_setglobal(lua, name);
}

static void open_libraries(lua_State *lua) {
    open_library(lua, "", luaopen_base);
    open_library(lua, LUA_TABLIBNAME, luaopen_table);
    open_library(lua, LUA_STRLIBNAME, luaopen_string);
    open_library(lua, LUA_MATHLIBNAME, luaopen_math);
    open_returned(lua, "cjson", luaopen_cjson);
    open_returned(lua, "struct", luaopen_struct);
    open_returned(lua, "cmsgpack", luaopen_cmsgpack);
    open_returned(lua, "bit", luaopen_bit);
    // Files and output; and what reaches around the sandbox, as patched reference versions have it.
    static const char *const withheld[] = {
        "dofile", "loadfile", "print", "getfenv", "setfenv", "newproxy", NULL,
    };
    for (int index = 0; withheld[index] != NULL; index++) {
        lua_pushnil(lua);
        lua_setglobal(lua, withheld[index]);
    }
    lua_getglobal(lua, "math");
    lua_pushcfunction(lua, math_random);
    lua_setfield(lua, -2, "random");
    lua_pushcfunction(lua, math_randomseed);
    lua_setfield(lua, -2, "randomseed");
    lua_pop(lua, 1);
    lua_pushcfunction(lua, string_pcall);
    lua_setglobal(lua, "pcall");
    clua_open_guards(lua);
}

/// Everything in the globals that is a table becomes one that cannot be changed.
static void protect_globals(clua_vm *vm, lua_State *lua) {
    static const char *const tables[] = {
        "string", "table", "math", "coroutine", "cjson", "struct", "cmsgpack", "bit", "redis",
        NULL,
    };
    for (int index = 0; tables[index] != NULL; index++) {
        lua_getglobal(lua, tables[index]);
        clua_protect(lua);
        lua_setglobal(lua, tables[index]);
    }
    // Methods of strings come from the protected table, too.
    lua_pushliteral(lua, "");
    lua_getmetatable(lua, -1);
    lua_getglobal(lua, "string");
    lua_setfield(lua, -2, "__index");
    lua_pop(lua, 2);

    lua_pushvalue(lua, LUA_GLOBALSINDEX);
    refuse_undefined(lua);
    lua_pushvalue(lua, -1);
    vm->real_globals = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_pushvalue(lua, -1);
    clua_protect(lua);
    lua_pushvalue(lua, -1);
    lua_setfield(lua, -3, "_G");
    lua_getmetatable(lua, -1);
    vm->globals_metatable = luaL_ref(lua, LUA_REGISTRYINDEX);
    lua_replace(lua, LUA_GLOBALSINDEX);
    lua_pop(lua, 1);
}

static int open_state(lua_State *lua) {
    clua_vm *vm = lua_touserdata(lua, 1);
    lua_settop(lua, 0);
    lua_pushlightuserdata(lua, &owner_key);
    lua_pushlightuserdata(lua, vm);
    lua_rawset(lua, LUA_REGISTRYINDEX);
    open_libraries(lua);
    clua_push_api(vm, lua);
    lua_setglobal(lua, "redis");
    lua_pushcfunction(lua, add_place);
    vm->error_handler = luaL_ref(lua, LUA_REGISTRYINDEX);
    if (vm->for_functions) {
        lua_newtable(lua);
        clua_push_library_api(vm, lua);
        refuse_undefined(lua);
        clua_protect(lua);
        lua_setfield(lua, -2, "redis");
        refuse_undefined(lua);
        vm->library_globals = luaL_ref(lua, LUA_REGISTRYINDEX);
    } else {
        lua_pushcfunction(lua, add_place);
        lua_setglobal(lua, "__redis__err__handler");
    }
    protect_globals(vm, lua);
    return 0;
}

clua_vm *clua_open(const clua_hooks *hooks, int for_functions, const char *version, int number) {
    clua_vm *vm = calloc(1, sizeof(clua_vm));
    if (vm == NULL) abort();
    vm->hooks = *hooks;
    vm->for_functions = for_functions;
    vm->resp = 2;
    vm->version = version;
    vm->version_number = number;
    vm->random[0] = 0x330E;
    vm->random[1] = 0xABCD;
    vm->random[2] = 0x1234;
    vm->lua = lua_newstate(allocate, vm);
    if (vm->lua == NULL || lua_cpcall(vm->lua, open_state, vm) != 0) abort();
    return vm;
}

void clua_close(clua_vm *vm) {
    if (vm == NULL) return;
    lua_close(vm->lua);
    free(vm->text);
    free(vm);
}

void clua_set_resp(clua_vm *vm, int version) { vm->resp = version; }

// MARK: Compiling

struct compilation {
    clua_vm *vm;
    clua_bytes source;
    const char *chunk;
    int reference;
    int interruptible;
    clua_bytes error;
};

static int load_source(lua_State *lua, struct compilation *work) {
    const char *text = (const char *)work->source.base;
    size_t count = (size_t)work->source.count;
    // Compiled chunks are no source; see `guards.c`.
    if (count > 0 && text[0] == LUA_SIGNATURE[0]) {
        lua_pushliteral(lua, " ");
        lua_pushlstring(lua, text, count);
        lua_concat(lua, 2);
        text = lua_tolstring(lua, -1, &count);
    }
    return luaL_loadbuffer(lua, text, count, work->chunk);
}

/// The text at the top of the stack says why not.
static int keep_reason(lua_State *lua, struct compilation *work) {
    size_t count;
    const char *reason = lua_tolstring(lua, -1, &count);
    work->error = clua_keep(work->vm, reason, count);
    return 0;
}

static int compile(lua_State *lua) {
    struct compilation *work = lua_touserdata(lua, 1);
    lua_settop(lua, 0);
    if (load_source(lua, work) != 0) return keep_reason(lua, work);
    work->reference = luaL_ref(lua, LUA_REGISTRYINDEX);
    return 0;
}

/// What is left of an error that came where none is expected: a finaliser's.
static clua_bytes stray_error(clua_vm *vm, lua_State *lua) {
    size_t count = 0;
    const char *text = lua_type(lua, -1) == LUA_TSTRING ? lua_tolstring(lua, -1, &count) : NULL;
    if (text == NULL) {
        text = "execution failure";
        count = strlen(text);
    }
    clua_bytes kept = clua_keep(vm, text, count);
    lua_settop(lua, 0);
    return kept;
}

int clua_compile(clua_vm *vm, clua_bytes source, clua_bytes *error) {
    struct compilation work = {.vm = vm, .source = source, .chunk = "@user_script"};
    work.reference = -1;
    if (lua_cpcall(vm->lua, compile, &work) != 0) work.error = stray_error(vm, vm->lua);
    if (work.reference >= 0) return work.reference;
    *error = work.error;
    return -1;
}

static int release(lua_State *lua) {
    int *reference = lua_touserdata(lua, 1);
    luaL_unref(lua, LUA_REGISTRYINDEX, *reference);
    return 0;
}

void clua_release(clua_vm *vm, int reference) {
    if (lua_cpcall(vm->lua, release, &reference) != 0) lua_settop(vm->lua, 0);
}

// MARK: Running

struct run {
    clua_vm *vm;
    const clua_run_request *request;
    int has_answered;
};

static void push_array(lua_State *lua, const clua_bytes *items, long count) {
    lua_createtable(lua, count > 1 << 20 ? 0 : (int)count, 0);
    for (long index = 0; index < count; index++) {
        lua_pushlstring(lua, (const char *)items[index].base, (size_t)items[index].count);
        lua_rawseti(lua, -2, (int)(index + 1));
    }
}

static void push_inputs(clua_vm *vm, lua_State *lua, const clua_run_request *request) {
    if (!request->has_globals) {
        push_array(lua, request->keys, request->key_count);
        push_array(lua, request->arguments, request->argument_count);
        return;
    }
    lua_rawgeti(lua, LUA_REGISTRYINDEX, vm->real_globals);
    lua_pushliteral(lua, "KEYS");
    push_array(lua, request->keys, request->key_count);
    lua_rawset(lua, -3);
    lua_pushliteral(lua, "ARGV");
    push_array(lua, request->arguments, request->argument_count);
    lua_rawset(lua, -3);
    lua_pop(lua, 1);
}

static int run(lua_State *lua) {
    struct run *work = lua_touserdata(lua, 1);
    clua_vm *vm = work->vm;
    const clua_run_request *request = work->request;
    lua_settop(lua, 0);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, vm->error_handler);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, request->reference);
    if (request->is_interruptible)
        lua_sethook(lua, clua_count_hook, LUA_MASKCOUNT, instructions_per_hook);
    push_inputs(vm, lua, request);
    int failed = lua_pcall(lua, request->has_globals ? 0 : 2, 1, 1);
    lua_sethook(lua, NULL, 0, 0);
    if (++vm->runs % collector_period == 0) lua_gc(lua, LUA_GCSTEP, collector_period);
    work->has_answered = 1;
    if (failed) {
        clua_emit_failure(vm, lua, request->name);
    } else {
        clua_emit_value(vm, lua);
    }
    return 0;
}

void clua_run(clua_vm *vm, const clua_run_request *request) {
    struct run work = {.vm = vm, .request = request};
    vm->activity = clua_running;
    vm->resp = 2;
    vm->in_call = 0;
    if (lua_cpcall(vm->lua, run, &work) != 0) {
        clua_bytes text = stray_error(vm, vm->lua);
        clua_bytes none = {NULL, 0};
        if (!work.has_answered)
            vm->hooks.emit(vm->hooks.context, clua_error, text, none, 0, 0);
    }
    lua_sethook(vm->lua, NULL, 0, 0);
    vm->activity = clua_idle;
}

// MARK: Libraries

static void set_globals_source(clua_vm *vm, lua_State *lua, int reference) {
    lua_rawgeti(lua, LUA_REGISTRYINDEX, vm->globals_metatable);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, reference);
    lua_setfield(lua, -2, "__index");
    lua_pop(lua, 1);
}

static void load_hook(lua_State *lua, lua_Debug *activation) {
    (void)activation;
    clua_vm *vm = clua_of(lua);
    if (vm->hooks.interrupt(vm->hooks.context) == 0) return;
    lua_sethook(lua, load_hook, LUA_MASKLINE, 0);
    clua_raise(lua, "FUNCTION LOAD timeout");
}

static int load_library(lua_State *lua) {
    struct compilation *work = lua_touserdata(lua, 1);
    clua_vm *vm = work->vm;
    lua_settop(lua, 0);
    if (load_source(lua, work) != 0) {
        lua_pushliteral(lua, "Error compiling function: ");
        lua_insert(lua, -2);
        lua_concat(lua, 2);
        return keep_reason(lua, work);
    }
    set_globals_source(vm, lua, vm->library_globals);
    if (work->interruptible) lua_sethook(lua, load_hook, LUA_MASKCOUNT, instructions_per_hook);
    int failed = lua_pcall(lua, 0, 0, 0);
    lua_sethook(lua, NULL, 0, 0);
    set_globals_source(vm, lua, vm->real_globals);
    if (!failed) {
        work->reference = 0;
        return 0;
    }
    lua_pushliteral(lua, "Error registering functions: ");
    if (lua_istable(lua, -2)) {
        lua_pushliteral(lua, "err");
        lua_rawget(lua, -3);
        if (!lua_isstring(lua, -1)) {
            lua_pop(lua, 1);
            lua_pushliteral(lua, "ERR unknown error");
        }
    } else if (lua_isstring(lua, -2)) {
        lua_pushliteral(lua, "ERR ");
        lua_pushvalue(lua, -3);
        lua_concat(lua, 2);
    } else {
        lua_pushliteral(lua, "ERR unknown error");
    }
    lua_concat(lua, 2);
    return keep_reason(lua, work);
}

int clua_load_library(
    clua_vm *vm, clua_bytes source, int is_interruptible, clua_bytes *error) {
    struct compilation work = {.vm = vm, .source = source, .chunk = "@user_function"};
    work.reference = -1;
    work.interruptible = is_interruptible;
    vm->activity = clua_loading;
    if (lua_cpcall(vm->lua, load_library, &work) != 0) work.error = stray_error(vm, vm->lua);
    vm->activity = clua_idle;
    if (work.reference >= 0) return 0;
    *error = work.error;
    return -1;
}
