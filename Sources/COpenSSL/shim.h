// What Martlet takes from libcrypto. The plain functions of each hash, not the newer interface:
// they read no configuration, allocate nothing and cannot fail.
#pragma once

#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stddef.h>

static inline void copenssl_sha256(const void *bytes, size_t count, unsigned char *out) {
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, bytes, count);
    SHA256_Final(out, &context);
    OPENSSL_cleanse(&context, sizeof context);
}

static inline void copenssl_sha1(const void *bytes, size_t count, unsigned char *out) {
    SHA_CTX context;
    SHA1_Init(&context);
    SHA1_Update(&context, bytes, count);
    SHA1_Final(out, &context);
}
