// The `redis` table: what scripts can do with the server. Each function checks its arguments, asks
// the owner's hook, and raises what is to be raised once the hook has returned.
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "vm.h"

// MARK: Errors

void clua_push_error(lua_State *lua, const char *text, size_t count) {
    const char *code = "ERR";
    size_t code_count = 3;
    if (count > 0 && text[0] == '-') {
        const char *space = memchr(text, ' ', count);
        if (space == NULL) {
            text++;
            count--;
        } else {
            code = text + 1;
            code_count = (size_t)(space - code);
            count -= (size_t)(space + 1 - text);
            text = space + 1;
        }
    }
    while (count > 0 && (text[0] == '\r' || text[0] == '\n')) {
        text++;
        count--;
    }
    while (count > 0 && (text[count - 1] == '\r' || text[count - 1] == '\n')) count--;
    luaL_checkstack(lua, 5, "an error");
    lua_createtable(lua, 0, 1);
    lua_pushliteral(lua, "err");
    lua_pushlstring(lua, code, code_count);
    lua_pushliteral(lua, " ");
    lua_pushlstring(lua, text, count);
    lua_concat(lua, 3);
    lua_rawset(lua, -3);
}

void clua_push_error_text(lua_State *lua, const char *text) {
    clua_push_error(lua, text, strlen(text));
}

int clua_raise(lua_State *lua, const char *text) {
    clua_push_error_text(lua, text);
    return lua_error(lua);
}

// MARK: Commands

/// The arguments of a call as bytes, which stay on the stack; null after pushing an error.
static clua_bytes *take_arguments(lua_State *lua, int *count) {
    *count = lua_gettop(lua);
    if (*count == 0) {
        clua_push_error_text(
            lua, "Please specify at least one argument for this redis lib call");
        return NULL;
    }
    // A script may fill its stack up to the limit: the few slots that every C function has must do.
    clua_bytes *arguments = lua_newuserdata(lua, sizeof(clua_bytes) * (size_t)*count);
    for (int index = 1; index <= *count; index++) {
        int type = lua_type(lua, index);
        if (type == LUA_TNUMBER) {
            char digits[64];
            int size = snprintf(digits, sizeof(digits), "%.17g", lua_tonumber(lua, index));
            lua_pushlstring(lua, digits, (size_t)size);
            lua_replace(lua, index);
        } else if (type != LUA_TSTRING) {
            lua_settop(lua, 0);
            clua_push_error_text(
                lua, "Lua redis lib command arguments must be strings or integers");
            return NULL;
        }
        size_t size;
        arguments[index - 1].base = (const unsigned char *)lua_tolstring(lua, index, &size);
        arguments[index - 1].count = (long)size;
    }
    return arguments;
}

static int call_command(lua_State *lua, int raises) {
    clua_vm *vm = clua_of(lua);
    if (vm->activity != clua_running)
        return clua_raise(
            lua, "redis.call/pcall can only be called inside a script invocation");
    int count;
    clua_bytes *arguments = take_arguments(lua, &count);
    if (arguments == NULL) return raises ? lua_error(lua) : 1;
    if (vm->in_call) {
        lua_settop(lua, 0);
        clua_push_error_text(
            lua,
            "luaRedisGenericCommand() recursive call detected. Are you doing funny stuff with "
            "Lua debug hooks?");
        return 1;
    }
    clua_bytes out = {NULL, 0};
    vm->in_call = 1;
    int is_refused = vm->hooks.call(vm->hooks.context, arguments, count, &out);
    lua_settop(lua, 0);
    if (is_refused) {
        clua_push_error(lua, (const char *)out.base, (size_t)out.count);
        lua_pushliteral(lua, "ignore_error_stats_update");
        lua_pushboolean(lua, 1);
        lua_rawset(lua, -3);
    } else {
        // The text of the reply ends with a zero byte.
        is_refused = out.base[0] == '-';
        clua_push_reply(lua, out);
    }
    vm->in_call = 0;
    return raises && is_refused ? lua_error(lua) : 1;
}

static int redis_call(lua_State *lua) { return call_command(lua, 1); }
static int redis_pcall(lua_State *lua) { return call_command(lua, 0); }

static int acl_check_cmd(lua_State *lua) {
    clua_vm *vm = clua_of(lua);
    if (vm->activity != clua_running)
        return clua_raise(
            lua, "redis.acl_check_cmd can only be called inside a script invocation");
    int count;
    clua_bytes *arguments = take_arguments(lua, &count);
    if (arguments == NULL) return lua_error(lua);
    int answer = vm->hooks.check_command(vm->hooks.context, arguments, count);
    if (answer < 0) return clua_raise(lua, "Invalid command passed to redis.acl_check_cmd()");
    lua_pushboolean(lua, answer);
    return 1;
}

// MARK: Helpers

static int sha1hex(lua_State *lua) {
    if (lua_gettop(lua) != 1) return clua_raise(lua, "wrong number of arguments");
    size_t count = 0;
    const char *text = lua_tolstring(lua, 1, &count);
    clua_bytes bytes = {(const unsigned char *)(text == NULL ? "" : text), (long)count};
    char digest[40];
    clua_vm *vm = clua_of(lua);
    vm->hooks.sha1_hex(vm->hooks.context, bytes, digest);
    lua_pushlstring(lua, digest, sizeof(digest));
    return 1;
}

static int error_reply(lua_State *lua) {
    if (lua_gettop(lua) != 1 || lua_type(lua, -1) != LUA_TSTRING) {
        clua_push_error_text(lua, "wrong number or type of arguments");
        return 1;
    }
    // A text that ends at its first zero byte.
    const char *text = lua_tostring(lua, -1);
    if (text[0] != '-') {
        lua_pushliteral(lua, "-");
        lua_pushstring(lua, text);
        lua_concat(lua, 2);
        text = lua_tostring(lua, -1);
    }
    clua_push_error_text(lua, text);
    return 1;
}

static int status_reply(lua_State *lua) {
    if (lua_gettop(lua) != 1 || lua_type(lua, -1) != LUA_TSTRING) {
        clua_push_error_text(lua, "wrong number or type of arguments");
        return 1;
    }
    lua_createtable(lua, 0, 1);
    lua_pushvalue(lua, 1);
    lua_setfield(lua, -2, "ok");
    return 1;
}

static int set_repl(lua_State *lua) {
    clua_vm *vm = clua_of(lua);
    if (vm->activity != clua_running)
        return clua_raise(lua, "redis.set_repl can only be called inside a script invocation");
    if (lua_gettop(lua) != 1)
        return clua_raise(lua, "redis.set_repl() requires two arguments.");
    int flags = (int)lua_tonumber(lua, -1);
    if ((flags & ~3) != 0)
        return clua_raise(
            lua,
            "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.");
    vm->hooks.set_replication(vm->hooks.context, flags);
    return 0;
}

static int set_resp(lua_State *lua) {
    clua_vm *vm = clua_of(lua);
    if (vm->activity != clua_running)
        return clua_raise(lua, "redis.setresp can only be called inside a script invocation");
    if (lua_gettop(lua) != 1) return clua_raise(lua, "redis.setresp() requires one argument.");
    int version = (int)lua_tonumber(lua, 1);
    if (version != 2 && version != 3) return clua_raise(lua, "RESP version must be 2 or 3.");
    vm->resp = version;
    vm->hooks.set_resp(vm->hooks.context, version);
    return 0;
}

static int write_log(lua_State *lua) {
    int count = lua_gettop(lua);
    if (count < 2) return clua_raise(lua, "redis.log() requires two arguments or more.");
    if (!lua_isnumber(lua, 1))
        return clua_raise(lua, "First argument must be a number (log level).");
    int level = (int)lua_tonumber(lua, 1);
    if (level < 0 || level > 3) return clua_raise(lua, "Invalid debug level.");
    luaL_Buffer line;
    luaL_buffinit(lua, &line);
    for (int index = 2; index <= count; index++) {
        size_t size;
        if (lua_type(lua, index) == LUA_TNUMBER) lua_tostring(lua, index);
        const char *text = lua_tolstring(lua, index, &size);
        if (text == NULL) continue;
        if (index > 2) luaL_addchar(&line, ' ');
        luaL_addlstring(&line, text, size);
    }
    luaL_pushresult(&line);
    size_t size;
    const char *text = lua_tolstring(lua, -1, &size);
    clua_bytes bytes = {(const unsigned char *)text, (long)size};
    clua_vm *vm = clua_of(lua);
    vm->hooks.log(vm->hooks.context, level, bytes);
    return 0;
}

static int replicate_commands(lua_State *lua) {
    lua_pushboolean(lua, 1);
    return 1;
}

/// Outside of the debugger there is nothing to stop at.
static int breakpoint(lua_State *lua) {
    lua_pushboolean(lua, 0);
    return 1;
}

static int debug_output(lua_State *lua) {
    (void)lua;
    return 0;
}

void clua_count_hook(lua_State *lua, lua_Debug *activation) {
    (void)activation;
    clua_vm *vm = clua_of(lua);
    if (vm->hooks.interrupt(vm->hooks.context) == 0) return;
    // From now on at each line, so that no pcall of the script goes on for long.
    lua_sethook(lua, clua_count_hook, LUA_MASKLINE, 0);
    clua_raise(lua, "Script killed by user with SCRIPT KILL...");
}

// MARK: Functions

static const struct {
    const char *name;
    int bit;
} flag_names[] = {
    {"no-writes", 1},
    {"allow-oom", 2},
    {"allow-stale", 4},
    {"no-cluster", 8},
    {"allow-cross-slot-keys", 32},
    {NULL, 0},
};

const char *clua_flag_name(int index, int *bit) {
    int count = (int)(sizeof(flag_names) / sizeof(flag_names[0]));
    if (index < 0 || index >= count) return NULL;
    *bit = flag_names[index].bit;
    return flag_names[index].name;
}

/// Reads the list of flags at the top; 0 when one is unknown.
static int read_flags(lua_State *lua, int *flags) {
    *flags = 0;
    for (int place = 1;; place++) {
        lua_pushnumber(lua, place);
        lua_gettable(lua, -2);
        if (lua_isnil(lua, -1)) {
            lua_pop(lua, 1);
            return 1;
        }
        const char *name = lua_isstring(lua, -1) ? lua_tostring(lua, -1) : NULL;
        int bit = 0;
        for (int index = 0; name != NULL && flag_names[index].name != NULL; index++)
            if (strcasecmp(flag_names[index].name, name) == 0) bit = flag_names[index].bit;
        lua_pop(lua, 1);
        if (bit == 0) return 0;
        *flags |= bit;
    }
}

/// A view of a string at an index, where it is moved to from the top so that it stays.
static clua_bytes keep_string(lua_State *lua, int index) {
    lua_pushvalue(lua, -1);
    lua_tostring(lua, -1);
    lua_replace(lua, index);
    size_t count;
    const char *text = lua_tolstring(lua, index, &count);
    clua_bytes bytes = {(const unsigned char *)text, (long)count};
    return bytes;
}

/// One named argument: key and value are at the top. The error, if it is one.
static const char *read_named(lua_State *lua, clua_function *function, int *has_callback) {
    if (!lua_isstring(lua, -2))
        return "named argument key given to redis.register_function is not a string";
    lua_pushvalue(lua, -2);
    const char *key = lua_tostring(lua, -1);
    lua_insert(lua, 5);
    if (strcasecmp(key, "function_name") == 0) {
        if (!lua_isstring(lua, -1))
            return "function_name argument given to redis.register_function must be a string";
        function->name = keep_string(lua, 2);
    } else if (strcasecmp(key, "description") == 0) {
        if (!lua_isstring(lua, -1))
            return "description argument given to redis.register_function must be a string";
        function->description = keep_string(lua, 3);
    } else if (strcasecmp(key, "callback") == 0) {
        if (!lua_isfunction(lua, -1))
            return "callback argument given to redis.register_function must be a function";
        lua_pushvalue(lua, -1);
        lua_replace(lua, 4);
        *has_callback = 1;
    } else if (strcasecmp(key, "flags") == 0) {
        if (!lua_istable(lua, -1))
            return "flags argument to redis.register_function must be a table representing "
                   "function flags";
        if (!read_flags(lua, &function->flags)) return "unknown flag given";
    } else {
        return "unknown argument given to redis.register_function";
    }
    lua_remove(lua, 5);
    return NULL;
}

/// Named arguments in the table at 1. The name is kept at 2, the description at 3 and the callback
/// at 4.
static const char *read_named_arguments(lua_State *lua, clua_function *function) {
    int has_callback = 0;
    if (!lua_istable(lua, 1))
        return "calling redis.register_function with a single argument is only applicable to "
               "Lua table (representing named arguments).";
    lua_settop(lua, 4);
    lua_pushnil(lua);
    while (lua_next(lua, 1)) {
        const char *error = read_named(lua, function, &has_callback);
        if (error != NULL) return error;
        lua_pop(lua, 1);
    }
    if (function->name.base == NULL)
        return "redis.register_function must get a function name argument";
    if (!has_callback) return "redis.register_function must get a callback argument";
    return NULL;
}

static const char *read_positions(lua_State *lua, clua_function *function) {
    if (!lua_isstring(lua, 1)) return "first argument to redis.register_function must be a string";
    if (!lua_isfunction(lua, 2))
        return "second argument to redis.register_function must be a function";
    lua_settop(lua, 2);
    lua_pushnil(lua);
    lua_pushvalue(lua, 2);
    lua_pushvalue(lua, 1);
    function->name = keep_string(lua, 2);
    lua_settop(lua, 4);
    return NULL;
}

static int register_function(lua_State *lua) {
    clua_vm *vm = clua_of(lua);
    if (vm->activity != clua_loading)
        return clua_raise(
            lua, "redis.register_function can only be called on FUNCTION LOAD command");
    clua_function function = {{NULL, 0}, {NULL, 0}, 0, -1};
    int count = lua_gettop(lua);
    if (count < 1 || count > 2)
        return clua_raise(lua, "wrong number of arguments to redis.register_function");
    const char *problem = count == 1 ? read_named_arguments(lua, &function)
                                     : read_positions(lua, &function);
    if (problem != NULL) return clua_raise(lua, problem);
    lua_pushvalue(lua, 4);
    function.reference = luaL_ref(lua, LUA_REGISTRYINDEX);
    clua_bytes error = {NULL, 0};
    if (vm->hooks.register_function(vm->hooks.context, &function, &error) == 0) return 0;
    luaL_unref(lua, LUA_REGISTRYINDEX, function.reference);
    clua_push_error(lua, (const char *)error.base, (size_t)error.count);
    return lua_error(lua);
}

// MARK: The tables

static void set_numbers(clua_vm *vm, lua_State *lua) {
    static const struct {
        const char *name;
        int value;
    } levels[] = {{"LOG_DEBUG", 0}, {"LOG_VERBOSE", 1}, {"LOG_NOTICE", 2}, {"LOG_WARNING", 3}};
    for (int index = 0; index < 4; index++) {
        lua_pushnumber(lua, levels[index].value);
        lua_setfield(lua, -2, levels[index].name);
    }
    lua_pushnumber(lua, vm->version_number);
    lua_setfield(lua, -2, "REDIS_VERSION_NUM");
    lua_pushstring(lua, vm->version);
    lua_setfield(lua, -2, "REDIS_VERSION");
}

static void set_functions(lua_State *lua, const luaL_Reg *functions) {
    for (; functions->name != NULL; functions++) {
        lua_pushcfunction(lua, functions->func);
        lua_setfield(lua, -2, functions->name);
    }
}

void clua_push_api(clua_vm *vm, lua_State *lua) {
    static const luaL_Reg functions[] = {
        {"call", redis_call},
        {"pcall", redis_pcall},
        {"log", write_log},
        {"setresp", set_resp},
        {"sha1hex", sha1hex},
        {"error_reply", error_reply},
        {"status_reply", status_reply},
        {"set_repl", set_repl},
        {"acl_check_cmd", acl_check_cmd},
        {NULL, NULL},
    };
    static const luaL_Reg of_eval[] = {
        {"breakpoint", breakpoint},
        {"debug", debug_output},
        {"replicate_commands", replicate_commands},
        {NULL, NULL},
    };
    static const struct {
        const char *name;
        int value;
    } targets[] = {
        {"REPL_NONE", 0}, {"REPL_AOF", 1},  {"REPL_SLAVE", 2},
        {"REPL_REPLICA", 2}, {"REPL_ALL", 3},
    };
    lua_newtable(lua);
    set_functions(lua, functions);
    if (!vm->for_functions) set_functions(lua, of_eval);
    set_numbers(vm, lua);
    for (int index = 0; index < 5; index++) {
        lua_pushnumber(lua, targets[index].value);
        lua_setfield(lua, -2, targets[index].name);
    }
}

void clua_push_library_api(clua_vm *vm, lua_State *lua) {
    lua_newtable(lua);
    lua_pushcfunction(lua, register_function);
    lua_setfield(lua, -2, "register_function");
    lua_pushcfunction(lua, write_log);
    lua_setfield(lua, -2, "log");
    set_numbers(vm, lua);
}
