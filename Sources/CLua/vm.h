// What the files of this target share.
#ifndef MARTLET_CLUA_VM_H
#define MARTLET_CLUA_VM_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "CLua.h"

/// What the state is doing, for functions that are only allowed meanwhile.
enum clua_activity { clua_idle, clua_running, clua_loading };

struct clua_vm {
    lua_State *lua;
    clua_hooks hooks;
    size_t memory;
    enum clua_activity activity;
    int for_functions;
    int resp;
    /// redis.call has been entered; a finaliser may try to enter it again.
    int in_call;
    /// math.random's state.
    unsigned short random[3];
    const char *version;
    int version_number;
    /// The latest error.
    char *text;
    size_t text_count;
    long runs;
    /// Places in the registry.
    int globals_metatable;
    int real_globals;
    int library_globals;
    int error_handler;
};

/// The owner of a state.
clua_vm *clua_of(lua_State *lua);

/// Pushes `{err = text}`. A text with a leading dash has its own code, others get ERR.
void clua_push_error(lua_State *lua, const char *text, size_t count);
void clua_push_error_text(lua_State *lua, const char *text);
/// Raises that.
int clua_raise(lua_State *lua, const char *text);

/// Pushes the value of a reply; the reply is the server's own and whole.
void clua_push_reply(lua_State *lua, clua_bytes reply);
/// Emits the value at the top of the stack and pops it.
void clua_emit_value(clua_vm *vm, lua_State *lua);
/// Emits the error at the top of the stack and pops it.
void clua_emit_failure(clua_vm *vm, lua_State *lua, clua_bytes name);

/// Keeps a text for whoever asked; the view is valid until the next one.
clua_bytes clua_keep(clua_vm *vm, const char *text, size_t count);

/// Makes a copy of nothing that stands for the table at the top of the stack, which it replaces:
/// reads go to the table, writes are refused.
void clua_protect(lua_State *lua);
/// Functions of the base and table libraries that must know of protected tables.
void clua_open_guards(lua_State *lua);
/// `__newindex` of a protected table.
int clua_refuse_write(lua_State *lua);

/// Pushes the `redis` table of scripts, or the smaller one that loading libraries have.
void clua_push_api(clua_vm *vm, lua_State *lua);
void clua_push_library_api(clua_vm *vm, lua_State *lua);
/// Ends a script that runs too long, by request.
void clua_count_hook(lua_State *lua, lua_Debug *activation);

int luaopen_struct(lua_State *lua);
int luaopen_cmsgpack(lua_State *lua);

#endif
