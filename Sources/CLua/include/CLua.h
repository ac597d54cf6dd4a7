// Lua 5.1 as scripts use it: a sandboxed state with the `redis` table, whose functions come back to
// the owner through hooks. A Lua error unwinds the C stack by longjmp, which must never cross a
// Swift frame; so every function that Lua calls is in this target, asks its hook, waits for the
// answer, and only then raises. What Lua allocates is counted.
#ifndef MARTLET_CLUA_H
#define MARTLET_CLUA_H

#include <stddef.h>

/// Borrowed bytes.
typedef struct {
    const unsigned char *base;
    long count;
} clua_bytes;

/// What a script's result, or an error, is made of; told to `emit` in the order of the reply.
enum clua_kind {
    /// `text`.
    clua_bulk,
    /// `number` is the value.
    clua_integer,
    clua_null,
    /// `number` is 0 or 1.
    clua_boolean,
    /// `real` is the value.
    clua_double,
    /// `text` is the digits.
    clua_big_number,
    /// `text` with `extra` as its format.
    clua_verbatim,
    /// `text` without its dash; `number` is 1 when the error has been counted already.
    clua_error,
    clua_status,
    /// `number` elements follow.
    clua_array,
    /// `number` pairs follow.
    clua_map,
    clua_set
};

/// What `redis.register_function` was given.
typedef struct {
    clua_bytes name;
    /// A null base: none was given.
    clua_bytes description;
    int flags;
    /// The callback; whoever accepts the registration owns it.
    int reference;
} clua_function;

/// How the owner answers. The views that hooks get are valid until they return; those that they
/// give back, until the next hook.
typedef struct {
    void *context;
    /// Runs a command. 0: `*out` is its whole reply in RESP; 1: it was refused, `*out` is the text
    /// of the error.
    int (*call)(void *context, const clua_bytes *arguments, long count, clua_bytes *out);
    /// Every 100000 instructions; not 0: the script is to end.
    int (*interrupt)(void *context);
    void (*set_resp)(void *context, int version);
    void (*set_replication)(void *context, int flags);
    /// 1: the caller may run it; 0: not; -1: there is no such command.
    int (*check_command)(void *context, const clua_bytes *arguments, long count);
    /// Levels as in `redis.LOG_DEBUG` (0) to `redis.LOG_WARNING` (3).
    void (*log)(void *context, int level, clua_bytes text);
    /// Writes 40 characters.
    void (*sha1_hex)(void *context, clua_bytes text, char *out);
    /// 0: accepted; otherwise `*error` says why not.
    int (*register_function)(void *context, const clua_function *function, clua_bytes *error);
    void (*emit)(
        void *context, int kind, clua_bytes text, clua_bytes extra, long long number, double real);
} clua_hooks;

/// A run of a script or of a function.
typedef struct {
    int reference;
    /// How errors name it.
    clua_bytes name;
    const clua_bytes *keys;
    long key_count;
    const clua_bytes *arguments;
    long argument_count;
    /// Keys and arguments are the globals KEYS and ARGV, not parameters.
    int has_globals;
    /// `interrupt` is to be asked.
    int is_interruptible;
} clua_run_request;

typedef struct clua_vm clua_vm;

/// A new state; `for_functions`: for libraries of functions, otherwise for EVAL.
clua_vm *clua_open(const clua_hooks *hooks, int for_functions, const char *version, int number);
void clua_close(clua_vm *vm);

/// Bytes that Lua holds.
size_t clua_memory(const clua_vm *vm);

/// Compiles a script. Returns its reference, or -1 and the reason, valid until the next call.
int clua_compile(clua_vm *vm, clua_bytes source, clua_bytes *error);
/// Forgets a script or a function.
void clua_release(clua_vm *vm, int reference);

/// Runs; result or error go to `emit`.
void clua_run(clua_vm *vm, const clua_run_request *request);

/// RESP version in which `redis.call` replies come, and in which booleans are answered.
void clua_set_resp(clua_vm *vm, int version);

/// Runs a library's code, which registers its functions. 0, or -1 and the reason. With
/// `is_interruptible`, `interrupt` may end it.
int clua_load_library(
    clua_vm *vm, clua_bytes source, int is_interruptible, clua_bytes *error);

/// The names of scripts' flags by their bits, as `flags=` and FUNCTION LIST have them; null behind
/// the last.
const char *clua_flag_name(int index, int *bit);

#endif
