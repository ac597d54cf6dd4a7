// The `struct` library: packs numbers and strings into bytes by a format, and unpacks them. Formats
// and errors are those that scripts know: b h l T i f d x c s, `<` `>` for the order of bytes, `!`
// for alignment.
#include <ctype.h>
#include <limits.h>
#include <string.h>

#include "vm.h"

enum { largest_integer = 32, default_alignment = 8 };

/// A format as it is being read.
struct format {
    lua_State *lua;
    const char *at;
    int is_big;
    int alignment;
};

static struct format open_format(lua_State *lua) {
    struct format format = {lua, luaL_checkstring(lua, 1), 0, 1};
    return format;
}

static int take_count(struct format *format, int usual) {
    if (!isdigit((unsigned char)*format->at)) return usual;
    int count = 0;
    while (isdigit((unsigned char)*format->at)) {
        int digit = *format->at++ - '0';
        if (count > (INT_MAX - digit) / 10) luaL_error(format->lua, "integral size overflow");
        count = count * 10 + digit;
    }
    return count;
}

/// How many bytes an option stands for; 0 for those that stand for none, or for as many as it takes.
static size_t size_of(struct format *format, char option) {
    switch (option) {
    case 'b':
    case 'B':
    case 'x': return 1;
    case 'h':
    case 'H': return sizeof(short);
    case 'l':
    case 'L': return sizeof(long);
    case 'T': return sizeof(size_t);
    case 'f': return sizeof(float);
    case 'd': return sizeof(double);
    case 'c': return (size_t)take_count(format, 1);
    case 'i':
    case 'I': {
        int size = take_count(format, sizeof(int));
        if (size > largest_integer)
            luaL_error(
                format->lua, "integral size %d is larger than limit of %d", size,
                largest_integer);
        return (size_t)size;
    }
    default: return 0;
    }
}

/// Bytes between `position` and where an element of `size` may stand.
static size_t padding(const struct format *format, size_t position, char option, size_t size) {
    if (size == 0 || option == 'c') return 0;
    if (size > (size_t)format->alignment) size = (size_t)format->alignment;
    return (size - (position & (size - 1))) & (size - 1);
}

static void control(struct format *format, char option) {
    switch (option) {
    case ' ': return;
    case '>': format->is_big = 1; return;
    case '<': format->is_big = 0; return;
    case '!': {
        int alignment = take_count(format, default_alignment);
        if (alignment <= 0 || (alignment & (alignment - 1)) != 0)
            luaL_error(format->lua, "alignment %d is not a power of 2", alignment);
        format->alignment = alignment;
        return;
    }
    default:
        luaL_argerror(
            format->lua, 1, lua_pushfstring(format->lua, "invalid format option '%c'", option));
    }
}

static int is_integer(char option) { return option != 0 && strchr("bBhHlLTiI", option) != NULL; }

static void reverse(unsigned char *bytes, size_t count) {
    for (size_t low = 0; low + 1 < count; low++) {
        count--;
        unsigned char swapped = bytes[low];
        bytes[low] = bytes[count];
        bytes[count] = swapped;
    }
}

static void add_integer(struct format *format, luaL_Buffer *out, int argument, size_t size) {
    unsigned char bytes[largest_integer];
    lua_Number number = luaL_checknumber(format->lua, argument);
    unsigned long value = number < 0 ? (unsigned long)(long)number : (unsigned long)number;
    for (size_t index = 0; index < size; index++) {
        bytes[index] = (unsigned char)(value & 0xff);
        value >>= 8;
    }
    if (format->is_big) reverse(bytes, size);
    luaL_addlstring(out, (const char *)bytes, size);
}

static void add_real(struct format *format, luaL_Buffer *out, int argument, char option) {
    unsigned char bytes[sizeof(double)];
    double number = luaL_checknumber(format->lua, argument);
    float narrow = (float)number;
    size_t size = option == 'f' ? sizeof(float) : sizeof(double);
    memcpy(bytes, option == 'f' ? (void *)&narrow : (void *)&number, size);
    if (format->is_big) reverse(bytes, size);
    luaL_addlstring(out, (const char *)bytes, size);
}

static int pack(lua_State *lua) {
    struct format format = open_format(lua);
    luaL_Buffer out;
    int argument = 2;
    size_t position = 0;
    // Between the arguments and what the buffer keeps on the stack.
    lua_pushnil(lua);
    luaL_buffinit(lua, &out);
    while (*format.at != 0) {
        char option = *format.at++;
        size_t size = size_of(&format, option);
        size_t pad = padding(&format, position, option, size);
        position += pad;
        for (; pad > 0; pad--) luaL_addchar(&out, 0);
        if (is_integer(option)) {
            add_integer(&format, &out, argument++, size);
        } else if (option == 'x') {
            luaL_addchar(&out, 0);
        } else if (option == 'f' || option == 'd') {
            add_real(&format, &out, argument++, option);
        } else if (option == 'c' || option == 's') {
            size_t length;
            const char *text = luaL_checklstring(lua, argument++, &length);
            if (size == 0) size = length;
            luaL_argcheck(lua, length >= size, argument, "string too short");
            luaL_addlstring(&out, text, size);
            if (option == 's') {
                luaL_addchar(&out, 0);
                size++;
            }
        } else {
            control(&format, option);
        }
        position += size;
    }
    luaL_pushresult(&out);
    return 1;
}

static void push_integer(const struct format *format, const char *from, size_t size, int is_signed) {
    unsigned long value = 0;
    for (size_t index = 0; index < size; index++) {
        size_t place = format->is_big ? index : size - 1 - index;
        value = value << 8 | (unsigned char)from[place];
    }
    if (!is_signed) {
        lua_pushnumber(format->lua, (lua_Number)value);
        return;
    }
    if (size > 0 && size < sizeof(value) && (value >> (size * 8 - 1)) & 1)
        value |= ~0ul << (size * 8 - 1);
    lua_pushnumber(format->lua, (lua_Number)(long)value);
}

static void push_real(const struct format *format, const char *from, char option) {
    unsigned char bytes[sizeof(double)];
    size_t size = option == 'f' ? sizeof(float) : sizeof(double);
    memcpy(bytes, from, size);
    if (format->is_big) reverse(bytes, size);
    float narrow;
    double number;
    memcpy(&narrow, bytes, sizeof(narrow));
    memcpy(&number, bytes, sizeof(number));
    lua_pushnumber(format->lua, option == 'f' ? narrow : number);
}

static void need(lua_State *lua, size_t size, size_t position, size_t count) {
    luaL_argcheck(lua, size <= count && position <= count - size, 2, "data string too short");
}

static int unpack(lua_State *lua) {
    struct format format = open_format(lua);
    size_t count;
    const char *data = luaL_checklstring(lua, 2, &count);
    size_t position = (size_t)luaL_optinteger(lua, 3, 1);
    luaL_argcheck(lua, position > 0, 3, "offset must be 1 or greater");
    position--;
    int results = 0;
    while (*format.at != 0) {
        char option = *format.at++;
        size_t size = size_of(&format, option);
        position += padding(&format, position, option, size);
        need(lua, size, position, count);
        luaL_checkstack(lua, 2, "too many results");
        if (is_integer(option)) {
            push_integer(&format, data + position, size, islower((unsigned char)option));
            results++;
        } else if (option == 'f' || option == 'd') {
            push_real(&format, data + position, option);
            results++;
        } else if (option == 'c') {
            if (size == 0) {
                if (results == 0 || !lua_isnumber(lua, -1))
                    luaL_error(lua, "format 'c0' needs a previous size");
                size = (size_t)lua_tonumber(lua, -1);
                lua_pop(lua, 1);
                results--;
                need(lua, size, position, count);
            }
            lua_pushlstring(lua, data + position, size);
            results++;
        } else if (option == 's') {
            const char *end = memchr(data + position, 0, count - position);
            if (end == NULL) luaL_error(lua, "unfinished string in data");
            size = (size_t)(end - (data + position)) + 1;
            lua_pushlstring(lua, data + position, size - 1);
            results++;
        } else if (option != 'x') {
            control(&format, option);
        }
        position += size;
    }
    lua_pushinteger(lua, (lua_Integer)position + 1);
    return results + 1;
}

static int size(lua_State *lua) {
    struct format format = open_format(lua);
    size_t position = 0;
    while (*format.at != 0) {
        char option = *format.at++;
        size_t size = size_of(&format, option);
        position += padding(&format, position, option, size);
        if (option == 's') luaL_argerror(lua, 1, "option 's' has no fixed size");
        if (option == 'c' && size == 0) luaL_argerror(lua, 1, "option 'c0' has no fixed size");
        if (!isalnum((unsigned char)option)) control(&format, option);
        position += size;
    }
    lua_pushinteger(lua, (lua_Integer)position);
    return 1;
}

int luaopen_struct(lua_State *lua) {
    static const luaL_Reg functions[] = {
        {"pack", pack}, {"unpack", unpack}, {"size", size}, {NULL, NULL}};
    lua_newtable(lua);
    for (const luaL_Reg *entry = functions; entry->name != NULL; entry++) {
        lua_pushcfunction(lua, entry->func);
        lua_setfield(lua, -2, entry->name);
    }
    return 1;
}
