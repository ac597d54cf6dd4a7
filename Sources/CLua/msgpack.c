// The `cmsgpack` library: MessagePack (https://msgpack.org), as far as Lua's values go. Strings are
// raw strings, numbers are integers when they can be, tables are arrays when their keys are 1 to n
// and maps otherwise. Tables nested more deeply than 16 levels become nil.
#include <limits.h>
#include <stdint.h>
#include <string.h>

#include "vm.h"

enum { deepest = 16 };

// MARK: Packing

/// Big-endian, `size` bytes after a mark.
static void add_word(luaL_Buffer *out, unsigned char mark, uint64_t word, int size) {
    luaL_addchar(out, (char)mark);
    for (int shift = (size - 1) * 8; shift >= 0; shift -= 8)
        luaL_addchar(out, (char)(word >> shift & 0xff));
}

static void add_string(luaL_Buffer *out, const char *text, size_t count) {
    if (count < 32)
        luaL_addchar(out, (char)(0xa0 | count));
    else if (count <= 0xff)
        add_word(out, 0xd9, count, 1);
    else if (count <= 0xffff)
        add_word(out, 0xda, count, 2);
    else
        add_word(out, 0xdb, count, 4);
    luaL_addlstring(out, text, count);
}

static void add_integer(luaL_Buffer *out, int64_t number) {
    uint64_t word = (uint64_t)number;
    if (number >= 0) {
        if (number <= 0x7f)
            luaL_addchar(out, (char)number);
        else if (number <= 0xff)
            add_word(out, 0xcc, word, 1);
        else if (number <= 0xffff)
            add_word(out, 0xcd, word, 2);
        else if (number <= 0xffffffffll)
            add_word(out, 0xce, word, 4);
        else
            add_word(out, 0xcf, word, 8);
    } else if (number >= -32) {
        luaL_addchar(out, (char)number);
    } else if (number >= INT8_MIN) {
        add_word(out, 0xd0, word, 1);
    } else if (number >= INT16_MIN) {
        add_word(out, 0xd1, word, 2);
    } else if (number >= INT32_MIN) {
        add_word(out, 0xd2, word, 4);
    } else {
        add_word(out, 0xd3, word, 8);
    }
}

static void add_number(luaL_Buffer *out, double number) {
    if (number >= -9223372036854775808.0 && number < 9223372036854775808.0
        && number == (double)(int64_t)number) {
        add_integer(out, (int64_t)number);
        return;
    }
    float narrow = (float)number;
    if (number == (double)narrow) {
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof(bits));
        add_word(out, 0xca, bits, 4);
    } else {
        uint64_t bits;
        memcpy(&bits, &number, sizeof(bits));
        add_word(out, 0xcb, bits, 8);
    }
}

static void add_header(luaL_Buffer *out, unsigned char small, unsigned char mark, size_t count) {
    if (count < 16)
        luaL_addchar(out, (char)(small | count));
    else if (count <= 0xffff)
        add_word(out, mark, count, 2);
    else
        add_word(out, (unsigned char)(mark + 1), count, 4);
}

/// Whether the keys of the table at `index` are exactly 1 to n; counts its pairs.
static int is_array(lua_State *lua, int index, size_t *count) {
    int whole = 1;
    double largest = 0;
    *count = 0;
    lua_pushnil(lua);
    while (lua_next(lua, index)) {
        lua_pop(lua, 1);
        (*count)++;
        if (lua_type(lua, -1) != LUA_TNUMBER) {
            whole = 0;
            continue;
        }
        double key = lua_tonumber(lua, -1);
        if (key <= 0 || key > INT_MAX || key != (double)(int)key) whole = 0;
        if (key > largest) largest = key;
    }
    return whole && largest == (double)*count;
}

/// Packs the value at `index` into a string, which it pushes. Buffers live on the stack as well, so
/// nested values are strings of their own that the outer one takes up.
static void push_packed(lua_State *lua, int index, int level);

static void push_packed_table(lua_State *lua, int index, int level) {
    luaL_Buffer out;
    size_t count;
    int as_array = is_array(lua, index, &count);
    if (as_array) {
        luaL_buffinit(lua, &out);
        add_header(&out, 0x90, 0xdc, count);
        for (size_t place = 1; place <= count; place++) {
            lua_rawgeti(lua, index, (int)place);
            push_packed(lua, lua_gettop(lua), level + 1);
            lua_remove(lua, -2);
            luaL_addvalue(&out);
        }
        luaL_pushresult(&out);
        return;
    }
    // The walk needs its key where the buffer would be: pieces are gathered in a table.
    lua_newtable(lua);
    int pieces = lua_gettop(lua);
    int piece = 0;
    lua_pushnil(lua);
    while (lua_next(lua, index)) {
        int value = lua_gettop(lua);
        push_packed(lua, value - 1, level + 1);
        lua_rawseti(lua, pieces, ++piece);
        push_packed(lua, value, level + 1);
        lua_rawseti(lua, pieces, ++piece);
        lua_settop(lua, value - 1);
    }
    luaL_buffinit(lua, &out);
    add_header(&out, 0x80, 0xde, count);
    for (int place = 1; place <= piece; place++) {
        lua_rawgeti(lua, pieces, place);
        luaL_addvalue(&out);
    }
    luaL_pushresult(&out);
    lua_remove(lua, pieces);
}

static void push_packed(lua_State *lua, int index, int level) {
    luaL_Buffer out;
    luaL_checkstack(lua, LUA_MINSTACK, "packing a value");
    int type = lua_type(lua, index);
    if (type == LUA_TTABLE && level < deepest) {
        push_packed_table(lua, index, level);
        return;
    }
    luaL_buffinit(lua, &out);
    switch (type) {
    case LUA_TSTRING: {
        size_t count;
        const char *text = lua_tolstring(lua, index, &count);
        add_string(&out, text, count);
        break;
    }
    case LUA_TNUMBER: add_number(&out, lua_tonumber(lua, index)); break;
    case LUA_TBOOLEAN: luaL_addchar(&out, (char)(lua_toboolean(lua, index) ? 0xc3 : 0xc2)); break;
    default: luaL_addchar(&out, (char)0xc0);
    }
    luaL_pushresult(&out);
}

static int pack(lua_State *lua) {
    int count = lua_gettop(lua);
    if (count == 0) return luaL_argerror(lua, 0, "MessagePack pack needs input.");
    if (!lua_checkstack(lua, count))
        return luaL_argerror(lua, 0, "Too many arguments for MessagePack pack.");
    for (int index = 1; index <= count; index++) push_packed(lua, index, 0);
    lua_concat(lua, count);
    return 1;
}

// MARK: Unpacking

struct input {
    const unsigned char *at;
    size_t left;
    /// Why it cannot go on.
    const char *problem;
};

static int needs(struct input *input, size_t count) {
    if (input->left >= count) return 1;
    input->problem = "Missing bytes in input.";
    return 0;
}

/// The big-endian word of `size` bytes behind the mark; both are taken.
static uint64_t take_word(struct input *input, int size) {
    uint64_t word = 0;
    for (int index = 1; index <= size; index++) word = word << 8 | input->at[index];
    input->at += size + 1;
    input->left -= (size_t)size + 1;
    return word;
}

static void push_unpacked(lua_State *lua, struct input *input);

static void push_array(lua_State *lua, struct input *input, size_t count) {
    lua_newtable(lua);
    for (size_t index = 1; index <= count; index++) {
        lua_pushnumber(lua, (lua_Number)index);
        push_unpacked(lua, input);
        if (input->problem != NULL) return;
        lua_settable(lua, -3);
    }
}

static void push_map(lua_State *lua, struct input *input, size_t count) {
    lua_newtable(lua);
    for (size_t index = 0; index < count; index++) {
        push_unpacked(lua, input);
        if (input->problem != NULL) return;
        push_unpacked(lua, input);
        if (input->problem != NULL) return;
        lua_settable(lua, -3);
    }
}

static void push_text(lua_State *lua, struct input *input, size_t count) {
    if (!needs(input, count)) return;
    lua_pushlstring(lua, (const char *)input->at, count);
    input->at += count;
    input->left -= count;
}

/// Marks that hold their value, or its length, themselves.
static void push_small(lua_State *lua, struct input *input) {
    unsigned char mark = *input->at;
    if (mark < 0x80 || mark >= 0xe0) {
        take_word(input, 0);
        lua_pushinteger(lua, mark < 0x80 ? mark : (signed char)mark);
    } else if (mark >= 0xa0 && mark < 0xc0) {
        if (!needs(input, 1 + (size_t)(mark & 0x1f))) return;
        take_word(input, 0);
        push_text(lua, input, mark & 0x1f);
    } else if (mark >= 0x90 && mark < 0xa0) {
        take_word(input, 0);
        push_array(lua, input, mark & 0xf);
    } else if (mark < 0x90) {
        take_word(input, 0);
        push_map(lua, input, mark & 0xf);
    } else {
        input->problem = "Bad data format in input.";
    }
}

static void push_float(lua_State *lua, uint32_t bits) {
    float number;
    memcpy(&number, &bits, sizeof(number));
    lua_pushnumber(lua, number);
}

static void push_double(lua_State *lua, uint64_t bits) {
    double number;
    memcpy(&number, &bits, sizeof(number));
    lua_pushnumber(lua, number);
}

/// Bytes of the word behind a mark.
static int word_size(unsigned char mark) {
    switch (mark) {
    case 0xcc:
    case 0xd0:
    case 0xd9: return 1;
    case 0xcd:
    case 0xd1:
    case 0xda:
    case 0xdc:
    case 0xde: return 2;
    case 0xce:
    case 0xd2:
    case 0xca:
    case 0xdb:
    case 0xdd:
    case 0xdf: return 4;
    case 0xcf:
    case 0xd3:
    case 0xcb: return 8;
    default: return 0;
    }
}

static void push_unpacked(lua_State *lua, struct input *input) {
    if (!needs(input, 1)) return;
    luaL_checkstack(
        lua, 5,
        "too many return values at once; use unpack_one or unpack_limit instead.");
    unsigned char mark = *input->at;
    int size = word_size(mark);
    if (!needs(input, 1 + (size_t)size)) return;
    switch (mark) {
    case 0xc0:
    case 0xc2:
    case 0xc3:
        take_word(input, 0);
        if (mark == 0xc0)
            lua_pushnil(lua);
        else
            lua_pushboolean(lua, mark == 0xc3);
        break;
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf: lua_pushinteger(lua, (lua_Integer)take_word(input, size)); break;
    case 0xd0: lua_pushinteger(lua, (int8_t)take_word(input, 1)); break;
    case 0xd1: lua_pushinteger(lua, (int16_t)take_word(input, 2)); break;
    case 0xd2: lua_pushinteger(lua, (int32_t)take_word(input, 4)); break;
    case 0xd3: lua_pushnumber(lua, (lua_Number)(int64_t)take_word(input, 8)); break;
    case 0xca: push_float(lua, (uint32_t)take_word(input, 4)); break;
    case 0xcb: push_double(lua, take_word(input, 8)); break;
    case 0xd9:
    case 0xda:
    case 0xdb: push_text(lua, input, take_word(input, size)); break;
    case 0xdc:
    case 0xdd: push_array(lua, input, take_word(input, size)); break;
    case 0xde:
    case 0xdf: push_map(lua, input, take_word(input, size)); break;
    default: push_small(lua, input);
    }
}

static int unpack_some(lua_State *lua, lua_Integer limit, lua_Integer offset) {
    size_t count;
    const char *text = luaL_checklstring(lua, 1, &count);
    int takes_all = limit == 0 && offset == 0;
    if (offset < 0 || limit < 0)
        return luaL_error(
            lua, "Invalid request to unpack with offset of %d and limit of %d.", (int)offset,
            (int)count);
    if ((size_t)offset > count)
        return luaL_error(
            lua, "Start offset %d greater than input length %d.", (int)offset, (int)count);
    if (takes_all) limit = INT_MAX;
    struct input input = {(const unsigned char *)text + offset, count - (size_t)offset, NULL};
    int results = 0;
    for (; input.left > 0 && results < limit; results++) {
        push_unpacked(lua, &input);
        if (input.problem != NULL) return luaL_error(lua, "%s", input.problem);
    }
    if (takes_all) return results;
    luaL_checkstack(lua, 1, "the end of unpacking");
    lua_pushinteger(lua, input.left == 0 ? -1 : (lua_Integer)(count - input.left));
    lua_insert(lua, 2);
    return results + 1;
}

static int unpack(lua_State *lua) { return unpack_some(lua, 0, 0); }

static int unpack_one(lua_State *lua) {
    lua_Integer offset = luaL_optinteger(lua, 2, 0);
    lua_settop(lua, 1);
    return unpack_some(lua, 1, offset);
}

static int unpack_limit(lua_State *lua) {
    lua_Integer limit = luaL_checkinteger(lua, 2);
    lua_Integer offset = luaL_optinteger(lua, 3, 0);
    lua_settop(lua, 1);
    return unpack_some(lua, limit, offset);
}

int luaopen_cmsgpack(lua_State *lua) {
    static const luaL_Reg functions[] = {
        {"pack", pack},
        {"unpack", unpack},
        {"unpack_one", unpack_one},
        {"unpack_limit", unpack_limit},
        {NULL, NULL},
    };
    static const char *const facts[][2] = {
        {"_NAME", "cmsgpack"},
        {"_VERSION", "lua-cmsgpack 0.4.0"},
        {"_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"},
        {"_DESCRIPTION", "MessagePack C implementation for Lua"},
    };
    lua_newtable(lua);
    for (const luaL_Reg *entry = functions; entry->name != NULL; entry++) {
        lua_pushcfunction(lua, entry->func);
        lua_setfield(lua, -2, entry->name);
    }
    for (int index = 0; index < 4; index++) {
        lua_pushstring(lua, facts[index][1]);
        lua_setfield(lua, -2, facts[index][0]);
    }
    return 1;
}
