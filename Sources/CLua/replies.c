// Replies become Lua values, and Lua values replies. RESP3's types are tables with one field that
// names the type, as redis.setresp(3) promises.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vm.h"

// MARK: To Lua

/// A place in a reply. The reply is the server's own: nothing is missing and all of it is well
/// formed.
struct cursor {
    const char *at;
};

static const char *take_line(struct cursor *cursor, size_t *count) {
    const char *start = cursor->at + 1;
    const char *end = strstr(start, "\r\n");
    if (end == NULL) abort();
    *count = (size_t)(end - start);
    cursor->at = end + 2;
    return start;
}

static long long take_number(struct cursor *cursor) {
    size_t count;
    return strtoll(take_line(cursor, &count), NULL, 10);
}

static void push_item(lua_State *lua, struct cursor *cursor);

static void push_field(lua_State *lua, const char *field, const char *text, size_t count) {
    lua_createtable(lua, 0, 1);
    lua_pushstring(lua, field);
    lua_pushlstring(lua, text, count);
    lua_rawset(lua, -3);
}

static void push_elements(lua_State *lua, struct cursor *cursor) {
    long long count = take_number(cursor);
    if (count < 0) {
        lua_pushboolean(lua, 0);
        return;
    }
    lua_createtable(lua, count > 1 << 20 ? 0 : (int)count, 0);
    for (long long index = 1; index <= count; index++) {
        push_item(lua, cursor);
        lua_rawseti(lua, -2, (int)index);
    }
}

/// RESP3's null can be no key; what would be one is left out.
static void set_pair(lua_State *lua) {
    if (lua_isnil(lua, -2))
        lua_pop(lua, 2);
    else
        lua_rawset(lua, -3);
}

static void push_map(lua_State *lua, struct cursor *cursor) {
    long long count = take_number(cursor);
    lua_createtable(lua, 0, 1);
    lua_pushliteral(lua, "map");
    lua_newtable(lua);
    for (long long index = 0; index < count; index++) {
        push_item(lua, cursor);
        push_item(lua, cursor);
        set_pair(lua);
    }
    lua_rawset(lua, -3);
}

static void push_set(lua_State *lua, struct cursor *cursor) {
    long long count = take_number(cursor);
    lua_createtable(lua, 0, 1);
    lua_pushliteral(lua, "set");
    lua_newtable(lua);
    for (long long index = 0; index < count; index++) {
        push_item(lua, cursor);
        lua_pushboolean(lua, 1);
        set_pair(lua);
    }
    lua_rawset(lua, -3);
}

static void push_bulk(lua_State *lua, struct cursor *cursor) {
    long long count = take_number(cursor);
    if (count < 0) {
        lua_pushboolean(lua, 0);
        return;
    }
    lua_pushlstring(lua, cursor->at, (size_t)count);
    cursor->at += count + 2;
}

static void push_verbatim(lua_State *lua, struct cursor *cursor) {
    long long count = take_number(cursor);
    lua_createtable(lua, 0, 1);
    lua_pushliteral(lua, "verbatim_string");
    lua_createtable(lua, 0, 2);
    lua_pushliteral(lua, "string");
    lua_pushlstring(lua, cursor->at + 4, (size_t)count - 4);
    lua_rawset(lua, -3);
    lua_pushliteral(lua, "format");
    lua_pushlstring(lua, cursor->at, 3);
    lua_rawset(lua, -3);
    lua_rawset(lua, -3);
    cursor->at += count + 2;
}

static void push_double(lua_State *lua, struct cursor *cursor) {
    size_t count;
    const char *text = take_line(cursor, &count);
    lua_createtable(lua, 0, 1);
    lua_pushliteral(lua, "double");
    lua_pushnumber(lua, strtod(text, NULL));
    lua_rawset(lua, -3);
}

static void push_failure(lua_State *lua, struct cursor *cursor) {
    const char *dash = cursor->at;
    size_t count;
    take_line(cursor, &count);
    clua_push_error(lua, dash, count + 1);
    // The command that failed has been counted.
    lua_pushliteral(lua, "ignore_error_stats_update");
    lua_pushboolean(lua, 1);
    lua_rawset(lua, -3);
}

static void push_item(lua_State *lua, struct cursor *cursor) {
    size_t count;
    const char *text;
    luaL_checkstack(lua, 8, "the reply is nested too deeply");
    switch (*cursor->at) {
    case ':': lua_pushnumber(lua, (lua_Number)take_number(cursor)); break;
    case '$': push_bulk(lua, cursor); break;
    case '*':
    case '>': push_elements(lua, cursor); break;
    case '+':
        text = take_line(cursor, &count);
        push_field(lua, "ok", text, count);
        break;
    case '-': push_failure(lua, cursor); break;
    case '%': push_map(lua, cursor); break;
    case '~': push_set(lua, cursor); break;
    case '#':
        text = take_line(cursor, &count);
        lua_pushboolean(lua, *text == 't');
        break;
    case ',': push_double(lua, cursor); break;
    case '_':
        take_line(cursor, &count);
        lua_pushnil(lua);
        break;
    case '(':
        text = take_line(cursor, &count);
        push_field(lua, "big_number", text, count);
        break;
    case '=': push_verbatim(lua, cursor); break;
    case '|':
        // Scripts are not shown attributes.
        for (long long left = 2 * take_number(cursor); left > 0; left--) {
            push_item(lua, cursor);
            lua_pop(lua, 1);
        }
        push_item(lua, cursor);
        break;
    default: abort();
    }
}

void clua_push_reply(lua_State *lua, clua_bytes reply) {
    struct cursor cursor = {(const char *)reply.base};
    push_item(lua, &cursor);
}

// MARK: From Lua

static clua_bytes no_bytes(void) {
    clua_bytes none = {NULL, 0};
    return none;
}

static void emit(clua_vm *vm, int kind, clua_bytes text, long long number) {
    vm->hooks.emit(vm->hooks.context, kind, text, no_bytes(), number, 0);
}

static void emit_text(clua_vm *vm, int kind, const char *text, size_t count, long long number) {
    clua_bytes bytes = {(const unsigned char *)text, (long)count};
    emit(vm, kind, bytes, number);
}

static clua_bytes string_at(lua_State *lua, int index) {
    size_t count;
    const char *text = lua_tolstring(lua, index, &count);
    clua_bytes bytes = {(const unsigned char *)text, (long)count};
    return bytes;
}

/// Pushes a field of the table at the top; its type.
static int push_raw_field(lua_State *lua, const char *name) {
    lua_pushstring(lua, name);
    lua_rawget(lua, -2);
    return lua_type(lua, -1);
}

static int error_is_counted(lua_State *lua) {
    int counted = 0;
    if (push_raw_field(lua, "ignore_error_stats_update") == LUA_TBOOLEAN)
        counted = lua_toboolean(lua, -1);
    lua_pop(lua, 1);
    return counted;
}

/// Emits the table at the top when a field says that it stands for a single value.
static int emit_typed(clua_vm *vm, lua_State *lua) {
    int done = 1;
    if (push_raw_field(lua, "err") == LUA_TSTRING) {
        clua_bytes text = string_at(lua, -1);
        lua_pop(lua, 1);
        emit(vm, clua_error, text, error_is_counted(lua));
        return 1;
    }
    lua_pop(lua, 1);
    if (push_raw_field(lua, "ok") == LUA_TSTRING) {
        // As text that ends at its first zero byte.
        const char *text = lua_tostring(lua, -1);
        emit_text(vm, clua_status, text, strlen(text), 0);
        lua_pop(lua, 1);
        return 1;
    }
    lua_pop(lua, 1);
    if (push_raw_field(lua, "double") == LUA_TNUMBER) {
        vm->hooks.emit(
            vm->hooks.context, clua_double, no_bytes(), no_bytes(), 0, lua_tonumber(lua, -1));
        lua_pop(lua, 1);
        return 1;
    }
    lua_pop(lua, 1);
    if (push_raw_field(lua, "big_number") == LUA_TSTRING) {
        emit(vm, clua_big_number, string_at(lua, -1), 0);
        lua_pop(lua, 1);
        return 1;
    }
    lua_pop(lua, 1);
    done = 0;
    if (push_raw_field(lua, "verbatim_string") == LUA_TTABLE) {
        if (push_raw_field(lua, "format") == LUA_TSTRING) {
            clua_bytes format = string_at(lua, -1);
            lua_pushliteral(lua, "string");
            lua_rawget(lua, -3);
            if (lua_type(lua, -1) == LUA_TSTRING) {
                vm->hooks.emit(
                    vm->hooks.context, clua_verbatim, string_at(lua, -1), format, 0, 0);
                done = 1;
            }
            lua_pop(lua, 1);
        }
        lua_pop(lua, 1);
    }
    lua_pop(lua, 1);
    return done;
}

static long count_pairs(lua_State *lua) {
    long count = 0;
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        lua_pop(lua, 1);
        count++;
    }
    return count;
}

static int emit_map(clua_vm *vm, lua_State *lua) {
    if (push_raw_field(lua, "map") != LUA_TTABLE) {
        lua_pop(lua, 1);
        return 0;
    }
    emit(vm, clua_map, no_bytes(), count_pairs(lua));
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        lua_pushvalue(lua, -2);
        clua_emit_value(vm, lua);
        clua_emit_value(vm, lua);
    }
    lua_pop(lua, 1);
    return 1;
}

static int emit_set(clua_vm *vm, lua_State *lua) {
    if (push_raw_field(lua, "set") != LUA_TTABLE) {
        lua_pop(lua, 1);
        return 0;
    }
    emit(vm, clua_set, no_bytes(), count_pairs(lua));
    lua_pushnil(lua);
    while (lua_next(lua, -2)) {
        lua_pop(lua, 1);
        lua_pushvalue(lua, -1);
        clua_emit_value(vm, lua);
    }
    lua_pop(lua, 1);
    return 1;
}

static void emit_array(clua_vm *vm, lua_State *lua) {
    int count = 0;
    while (1) {
        lua_rawgeti(lua, -1, count + 1);
        int is_end = lua_isnil(lua, -1);
        lua_pop(lua, 1);
        if (is_end) break;
        count++;
    }
    emit(vm, clua_array, no_bytes(), count);
    for (int index = 1; index <= count; index++) {
        lua_rawgeti(lua, -1, index);
        clua_emit_value(vm, lua);
    }
}

void clua_emit_value(clua_vm *vm, lua_State *lua) {
    if (!lua_checkstack(lua, 4)) {
        static const char text[] = "ERR reached lua stack limit";
        emit_text(vm, clua_error, text, sizeof(text) - 1, 0);
        lua_pop(lua, 1);
        return;
    }
    switch (lua_type(lua, -1)) {
    case LUA_TSTRING: emit(vm, clua_bulk, string_at(lua, -1), 0); break;
    case LUA_TNUMBER: emit(vm, clua_integer, no_bytes(), (long long)lua_tonumber(lua, -1)); break;
    case LUA_TBOOLEAN:
        if (vm->resp == 3)
            emit(vm, clua_boolean, no_bytes(), lua_toboolean(lua, -1));
        else if (lua_toboolean(lua, -1))
            emit(vm, clua_integer, no_bytes(), 1);
        else
            emit(vm, clua_null, no_bytes(), 0);
        break;
    case LUA_TTABLE:
        if (!emit_typed(vm, lua) && !emit_map(vm, lua) && !emit_set(vm, lua))
            emit_array(vm, lua);
        break;
    default: emit(vm, clua_null, no_bytes(), 0);
    }
    lua_pop(lua, 1);
}

void clua_emit_failure(clua_vm *vm, lua_State *lua, clua_bytes name) {
    if (!lua_istable(lua, -1)) {
        const char *reason = lua_isstring(lua, -1) ? lua_tostring(lua, -1) : "execution failure";
        char text[256];
        int count = snprintf(
            text, sizeof(text), "ERR Error running script %.*s, %.100s", (int)name.count,
            (const char *)name.base, reason);
        emit_text(vm, clua_error, text, (size_t)count, 0);
        lua_pop(lua, 1);
        return;
    }
    int error = lua_gettop(lua);
    int is_counted = error_is_counted(lua);
    luaL_checkstack(lua, 12, "an error of a script");
    if (push_raw_field(lua, "err") == LUA_TNIL || !lua_isstring(lua, -1)) {
        lua_pop(lua, 1);
        lua_pushliteral(lua, "ERR unknown error");
    }
    lua_pushvalue(lua, error);
    push_raw_field(lua, "line");
    lua_pushvalue(lua, error);
    push_raw_field(lua, "source");
    // text, error, line, error, source
    if (lua_isstring(lua, -1) && lua_isstring(lua, -3)) {
        int top = lua_gettop(lua);
        lua_pushvalue(lua, top - 4);
        lua_pushliteral(lua, " script: ");
        lua_pushlstring(lua, (const char *)name.base, (size_t)name.count);
        lua_pushliteral(lua, ", on ");
        lua_pushvalue(lua, top);
        lua_pushliteral(lua, ":");
        lua_pushvalue(lua, top - 2);
        lua_pushliteral(lua, ".");
        lua_concat(lua, 8);
    } else {
        lua_pushvalue(lua, lua_gettop(lua) - 4);
    }
    emit(vm, clua_error, string_at(lua, -1), is_counted);
    lua_settop(lua, error - 1);
}
