/*
 * P-256 for Node, by the OpenSSL inside it: what node:crypto does not offer is a signature over a digest as it is, and
 * arithmetic on private keys. Byte arrays in and out; every copy of a key that is made here, or by OpenSSL for it, is wiped.
 *
 * Every type and length is checked here, and a wrong one is a TypeError.
 */
#define NAPI_VERSION 8

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/params.h>
#include <pthread.h>

#include "arguments.h"

enum { KEY_BYTES = 32, SIGNATURE_BYTES = 64, COMPRESSED_BYTES = 33, UNCOMPRESSED_BYTES = 65, MAX_DER_BYTES = 72 };

/* RFC 6979's, as OSSL_SIGNATURE_PARAM_NONCE_TYPE counts. */
enum { DETERMINISTIC_NONCE = 1 };

/* FIPS 186-4, D.1.2.3. */
static const uint8_t ORDER[KEY_BYTES] = {
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};

/* Whether `scalar` is below n, in a time that does not depend on it: the borrow of scalar - n. */
static bool is_below_order(const uint8_t scalar[KEY_BYTES]) {
  unsigned int borrow = 0;
  for (int i = KEY_BYTES - 1; i >= 0; i--) borrow = ((unsigned int)scalar[i] - ORDER[i] - borrow) >> 31;
  return borrow == 1;
}

static bool is_zero(const uint8_t scalar[KEY_BYTES]) {
  uint8_t any = 0;
  for (int i = 0; i < KEY_BYTES; i++) any |= scalar[i];
  return any == 0;
}

static bool is_key(const uint8_t scalar[KEY_BYTES]) { return is_below_order(scalar) && !is_zero(scalar); }

/* What OpenSSL said of a failure must not be found by the next caller of OpenSSL on this thread. */
static napi_value failed(napi_env env, const char *message) {
  ERR_clear_error();
  napi_throw_error(env, NULL, message);
  return NULL;
}

/* isPrivateKey(key): whether it is 32 bytes and a scalar between 1 and n - 1. */
static napi_value is_private_key(napi_env env, napi_callback_info info) {
  struct bytes args[1];
  if (!byte_arguments(env, info, 1, args)) return wrong_arguments(env, "p256 addon: isPrivateKey: expected bytes");
  return boolean(env, args[0].length == KEY_BYTES && is_key(args[0].data));
}

/* publicKey(key, out: 33 or 65 bytes): false for what is no private key. */
static napi_value public_key(napi_env env, napi_callback_info info) {
  struct bytes args[2];
  if (!byte_arguments(env, info, 2, args) || args[0].length != KEY_BYTES ||
      (args[1].length != COMPRESSED_BYTES && args[1].length != UNCOMPRESSED_BYTES))
    return wrong_arguments(env, "p256 addon: publicKey: expected a key of 32 bytes and room for 33 or 65");
  if (!is_key(args[0].data)) return boolean(env, false);
  point_conversion_form_t form =
      args[1].length == COMPRESSED_BYTES ? POINT_CONVERSION_COMPRESSED : POINT_CONVERSION_UNCOMPRESSED;
  EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
  EC_POINT *point = group == NULL ? NULL : EC_POINT_new(group);
  BIGNUM *scalar = BN_secure_new();
  BN_CTX *scratch = BN_CTX_secure_new();
  bool done = false;
  if (point != NULL && scalar != NULL && scratch != NULL &&
      BN_bin2bn(args[0].data, KEY_BYTES, scalar) != NULL) {
    BN_set_flags(scalar, BN_FLG_CONSTTIME);
    done = EC_POINT_mul(group, point, scalar, NULL, NULL, scratch) == 1 &&
           EC_POINT_point2oct(group, point, form, args[1].data, args[1].length, scratch) == args[1].length;
  }
  BN_CTX_free(scratch);
  BN_clear_free(scalar);
  EC_POINT_free(point);
  EC_GROUP_free(group);
  return done ? boolean(env, true) : failed(env, "p256 addon: publicKey: OpenSSL failed");
}

/* addTweak(key, tweak): key becomes (key + tweak) mod n. False, and zeros, where that is 0 or the tweak not below n. */
static napi_value add_tweak(napi_env env, napi_callback_info info) {
  struct bytes args[2];
  if (!byte_arguments(env, info, 2, args) || args[0].length != KEY_BYTES || args[1].length != KEY_BYTES)
    return wrong_arguments(env, "p256 addon: addTweak: expected two arrays of 32 bytes");
  uint8_t *key = args[0].data;
  BIGNUM *sum = BN_secure_new(), *tweak = BN_secure_new(), *order = BN_bin2bn(ORDER, KEY_BYTES, NULL);
  bool are_scalars = is_key(key) && is_below_order(args[1].data);
  /* For what is below n already, and then constant in time. */
  bool done = are_scalars && sum != NULL && tweak != NULL && order != NULL &&
              BN_bin2bn(key, KEY_BYTES, sum) != NULL && BN_bin2bn(args[1].data, KEY_BYTES, tweak) != NULL &&
              BN_mod_add_quick(sum, sum, tweak, order) == 1 && BN_bn2binpad(sum, key, KEY_BYTES) == KEY_BYTES;
  BN_clear_free(sum);
  BN_clear_free(tweak);
  BN_free(order);
  if (!done) OPENSSL_cleanse(key, KEY_BYTES);
  if (are_scalars && !done) return failed(env, "p256 addon: addTweak: OpenSSL failed");
  return boolean(env, done && !is_zero(key));
}

/* OpenSSL takes private keys in the machine's order of bytes, and copies them into memory that it wipes. */
static EVP_PKEY *pkey_of(const uint8_t key[KEY_BYTES]) {
  uint8_t native[KEY_BYTES];
  for (int i = 0; i < KEY_BYTES; i++) native[i] = key[KEY_BYTES - 1 - i];
  char group[] = "P-256";
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
      OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, native, sizeof native),
      OSSL_PARAM_construct_end(),
  };
  EVP_PKEY *pkey = NULL;
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
  if (context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
      EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_KEYPAIR, params) != 1)
    pkey = NULL;
  EVP_PKEY_CTX_free(context);
  OPENSSL_cleanse(native, sizeof native);
  return pkey;
}

/* signDigest(digest, key, out: 64 bytes): r ‖ s with the nonce of RFC 6979 (SHA-256), s as it comes out. False for what is no
 * private key. */
static napi_value sign_digest(napi_env env, napi_callback_info info) {
  struct bytes args[3];
  if (!byte_arguments(env, info, 3, args) || args[0].length != KEY_BYTES || args[1].length != KEY_BYTES ||
      args[2].length != SIGNATURE_BYTES)
    return wrong_arguments(env, "p256 addon: signDigest: expected a digest and a key of 32 bytes and room for 64");
  if (!is_key(args[1].data)) return boolean(env, false);
  unsigned int nonce_type = DETERMINISTIC_NONCE;
  char digest_name[] = "SHA256";
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_SIGNATURE_PARAM_DIGEST, digest_name, 0),
      OSSL_PARAM_construct_uint("nonce-type", &nonce_type),
      OSSL_PARAM_construct_end(),
  };
  uint8_t der[MAX_DER_BYTES];
  size_t der_length = sizeof der;
  ECDSA_SIG *signature = NULL;
  EVP_PKEY *pkey = pkey_of(args[1].data);
  EVP_PKEY_CTX *context = pkey == NULL ? NULL : EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
  /* An OpenSSL before 3.2 would pass over a parameter that it does not know, and take nonces at random. */
  if (context != NULL && EVP_PKEY_sign_init(context) == 1 &&
      OSSL_PARAM_locate_const(EVP_PKEY_CTX_settable_params(context), "nonce-type") != NULL &&
      EVP_PKEY_CTX_set_params(context, params) == 1 &&
      EVP_PKEY_sign(context, der, &der_length, args[0].data, args[0].length) == 1) {
    const uint8_t *start = der;
    signature = d2i_ECDSA_SIG(NULL, &start, (long)der_length);
  }
  bool done = signature != NULL &&
              BN_bn2binpad(ECDSA_SIG_get0_r(signature), args[2].data, KEY_BYTES) == KEY_BYTES &&
              BN_bn2binpad(ECDSA_SIG_get0_s(signature), args[2].data + KEY_BYTES, KEY_BYTES) == KEY_BYTES;
  ECDSA_SIG_free(signature);
  EVP_PKEY_CTX_free(context);
  EVP_PKEY_free(pkey);
  return done ? boolean(env, true) : failed(env, "p256 addon: signDigest: OpenSSL failed (it must be 3.2 or newer)");
}

/* One for the process, fetched once: fetching costs more than hashing. Never freed. NULL before OpenSSL 3.2. */
static EVP_MD *keccak;

static void fetch_keccak(void) {
  keccak = EVP_MD_fetch(NULL, "KECCAK-256", NULL);
  if (keccak == NULL) ERR_clear_error();
}

/* keccak256(data, out: 32 bytes): the padding of before FIPS 202. False where OpenSSL does not have it. */
static napi_value keccak_256(napi_env env, napi_callback_info info) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  struct bytes args[2];
  if (!byte_arguments(env, info, 2, args) || args[1].length != KEY_BYTES)
    return wrong_arguments(env, "p256 addon: keccak256: expected bytes, and room for 32");
  pthread_once(&once, fetch_keccak);
  if (keccak == NULL) return boolean(env, false);
  if (EVP_Digest(args[0].data, args[0].length, args[1].data, NULL, keccak, NULL) != 1)
    return failed(env, "p256 addon: keccak256: OpenSSL failed");
  return boolean(env, true);
}

NAPI_MODULE_INIT(/* env, exports */) {
  const napi_property_descriptor functions[] = {
      {"isPrivateKey", NULL, is_private_key, NULL, NULL, NULL, napi_enumerable, NULL},
      {"publicKey", NULL, public_key, NULL, NULL, NULL, napi_enumerable, NULL},
      {"addTweak", NULL, add_tweak, NULL, NULL, NULL, napi_enumerable, NULL},
      {"signDigest", NULL, sign_digest, NULL, NULL, NULL, napi_enumerable, NULL},
      {"keccak256", NULL, keccak_256, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  if (napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions) != napi_ok) return NULL;
  return exports;
}
