// Tables that scripts may read and not change: the globals and everything in them, so that no
// script leaves anything behind for the next. Lua 5.1 has no such tables; here a script gets an
// empty one whose metatable reads from the real one and refuses writes. The functions that go
// around metatables (next, pairs, rawget, rawset, getmetatable, setmetatable and table's own) are
// wrapped, and never give the real table away.
#include <string.h>

#include "vm.h"

/// The registry's table from stand-ins to what they stand for; its address is its key.
static char stand_ins;

static void push_stand_ins(lua_State *lua) {
    lua_pushlightuserdata(lua, &stand_ins);
    lua_rawget(lua, LUA_REGISTRYINDEX);
    if (lua_isnil(lua, -1)) {
        lua_pop(lua, 1);
        lua_newtable(lua);
        lua_pushlightuserdata(lua, &stand_ins);
        lua_pushvalue(lua, -2);
        lua_rawset(lua, LUA_REGISTRYINDEX);
    }
}

/// Pushes what the table at `index` stands for, or nothing and returns 0.
static int push_real(lua_State *lua, int index) {
    if (!lua_istable(lua, index)) return 0;
    lua_pushvalue(lua, index);
    push_stand_ins(lua);
    lua_insert(lua, -2);
    lua_rawget(lua, -2);
    lua_remove(lua, -2);
    if (lua_istable(lua, -1)) return 1;
    lua_pop(lua, 1);
    return 0;
}

static int is_protected(lua_State *lua, int index) {
    if (!push_real(lua, index)) return 0;
    lua_pop(lua, 1);
    return 1;
}

static const char refusal[] = "Attempt to modify a readonly table";

int clua_refuse_write(lua_State *lua) { return luaL_error(lua, refusal); }

/// Refused from inside a function of the libraries: no line of the script is to blame.
static void refuse_if_protected(lua_State *lua, int index) {
    if (!is_protected(lua, index)) return;
    lua_pushstring(lua, refusal);
    lua_error(lua);
}

void clua_protect(lua_State *lua) {
    luaL_checkstack(lua, 6, "protecting a table");
    lua_newtable(lua);
    push_stand_ins(lua);
    lua_pushvalue(lua, -2);
    lua_pushvalue(lua, -4);
    lua_rawset(lua, -3);
    lua_pop(lua, 1);
    lua_newtable(lua);
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pushcfunction(lua, clua_refuse_write);
    lua_setfield(lua, -2, "__newindex");
    lua_setmetatable(lua, -2);
    lua_remove(lua, -2);
}

static int guarded_next(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 2);
    if (push_real(lua, 1)) lua_replace(lua, 1);
    if (lua_next(lua, 1)) return 2;
    lua_pushnil(lua);
    return 1;
}

static int guarded_pairs(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_pushvalue(lua, 1);
    lua_pushnil(lua);
    return 3;
}

static int guarded_rawget(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    lua_settop(lua, 2);
    if (push_real(lua, 1)) lua_replace(lua, 1);
    lua_rawget(lua, 1);
    return 1;
}

static int guarded_rawset(lua_State *lua) {
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_checkany(lua, 2);
    luaL_checkany(lua, 3);
    lua_settop(lua, 3);
    refuse_if_protected(lua, 1);
    lua_rawset(lua, 1);
    return 1;
}

/// The metatable of a protected table, itself protected; nil where there is none. That of strings
/// is protected as well.
static int guarded_getmetatable(lua_State *lua) {
    luaL_checkany(lua, 1);
    int shared = lua_type(lua, 1) == LUA_TSTRING;
    if (!shared && push_real(lua, 1)) {
        shared = 1;
        lua_replace(lua, 1);
    }
    if (!lua_getmetatable(lua, 1)) {
        lua_pushnil(lua);
        return 1;
    }
    if (shared) {
        clua_protect(lua);
        return 1;
    }
    luaL_getmetafield(lua, 1, "__metatable");
    return 1;
}

static int guarded_setmetatable(lua_State *lua) {
    int kind = lua_type(lua, 2);
    luaL_checktype(lua, 1, LUA_TTABLE);
    luaL_argcheck(lua, kind == LUA_TNIL || kind == LUA_TTABLE, 2, "nil or table expected");
    if (luaL_getmetafield(lua, 1, "__metatable"))
        return luaL_error(lua, "cannot change a protected metatable");
    lua_settop(lua, 2);
    refuse_if_protected(lua, 1);
    lua_setmetatable(lua, 1);
    return 1;
}

/// A function of `table` that changes its first argument. The original runs in this very frame, so
/// that its errors have the name under which it was called.
static int guarded_change(lua_State *lua) {
    refuse_if_protected(lua, 1);
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

/// One that only reads it. What it reads is for its own eyes.
static int guarded_read(lua_State *lua) {
    if (push_real(lua, 1)) lua_replace(lua, 1);
    return lua_tocfunction(lua, lua_upvalueindex(1))(lua);
}

/// Source only: compiled chunks can be made to read and write any memory. Behind a space, what
/// begins like one is refused as the source that it is not.
static int load_text(lua_State *lua, const char *text, size_t count, const char *name) {
    int code;
    if (count > 0 && text[0] == LUA_SIGNATURE[0]) {
        lua_pushliteral(lua, " ");
        lua_pushlstring(lua, text, count);
        lua_concat(lua, 2);
        text = lua_tolstring(lua, -1, &count);
    }
    code = luaL_loadbuffer(lua, text, count, name);
    if (code == 0) return 1;
    lua_pushnil(lua);
    lua_insert(lua, -2);
    return 2;
}

static int guarded_loadstring(lua_State *lua) {
    size_t count;
    const char *text = luaL_checklstring(lua, 1, &count);
    return load_text(lua, text, count, luaL_optstring(lua, 2, text));
}

static int guarded_load(lua_State *lua) {
    const char *name = luaL_optstring(lua, 2, "=(load)");
    luaL_checktype(lua, 1, LUA_TFUNCTION);
    lua_settop(lua, 2);
    lua_newtable(lua);
    int pieces = 0;
    while (1) {
        luaL_checkstack(lua, 2, "too many nested functions");
        lua_pushvalue(lua, 1);
        lua_call(lua, 0, 1);
        if (lua_isnil(lua, -1)) break;
        if (!lua_isstring(lua, -1)) {
            lua_pushnil(lua);
            lua_pushliteral(lua, "reader function must return a string");
            return 2;
        }
        if (lua_objlen(lua, -1) == 0) break;
        lua_rawseti(lua, 3, ++pieces);
    }
    lua_settop(lua, 3);
    luaL_Buffer whole;
    luaL_buffinit(lua, &whole);
    for (int index = 1; index <= pieces; index++) {
        lua_rawgeti(lua, 3, index);
        luaL_addvalue(&whole);
    }
    luaL_pushresult(&whole);
    size_t count;
    const char *text = lua_tolstring(lua, -1, &count);
    return load_text(lua, text, count, name);
}

static void wrap(lua_State *lua, const char *name, lua_CFunction function) {
    lua_getfield(lua, -1, name);
    if (lua_isnil(lua, -1)) {
        lua_pop(lua, 1);
        return;
    }
    lua_pushcclosure(lua, function, 1);
    lua_setfield(lua, -2, name);
}

void clua_open_guards(lua_State *lua) {
    static const luaL_Reg base[] = {
        {"rawget", guarded_rawget},
        {"rawset", guarded_rawset},
        {"getmetatable", guarded_getmetatable},
        {"setmetatable", guarded_setmetatable},
        {"loadstring", guarded_loadstring},
        {"load", guarded_load},
        {NULL, NULL},
    };
    for (const luaL_Reg *entry = base; entry->name != NULL; entry++) {
        lua_pushcfunction(lua, entry->func);
        lua_setglobal(lua, entry->name);
    }
    lua_pushcfunction(lua, guarded_next);
    lua_pushvalue(lua, -1);
    lua_setglobal(lua, "next");
    lua_pushcclosure(lua, guarded_pairs, 1);
    lua_setglobal(lua, "pairs");
    lua_getglobal(lua, "table");
    static const char *const changing[] = {"insert", "remove", "sort", "setn", NULL};
    static const char *const reading[] = {"concat", "foreach", "foreachi", "getn", "maxn", NULL};
    for (int index = 0; changing[index] != NULL; index++)
        wrap(lua, changing[index], guarded_change);
    for (int index = 0; reading[index] != NULL; index++) wrap(lua, reading[index], guarded_read);
    lua_pop(lua, 1);
}
