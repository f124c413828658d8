/*
 * libsecp256k1 for Node: byte arrays in and out, no allocation of our own, no branch on a secret but whether a key is one.
 * Keys are read where JavaScript holds them; the only copies are the library's own, which it clears, and a key pair, which
 * is wiped here.
 *
 * Every type and length is checked here, and a wrong one is a TypeError: the library trusts its callers' buffers.
 */
#define NAPI_VERSION 8

#include <secp256k1.h>
#include <secp256k1_extrakeys.h>
#include <secp256k1_recovery.h>
#include <secp256k1_schnorrsig.h>
#include <string.h>

#include "arguments.h"

enum {
  KEY_BYTES = 32, /* and digests, seeds, tweaks and x-only keys */
  SIGNATURE_BYTES = 64,
  COMPRESSED_BYTES = 33,
  UNCOMPRESSED_BYTES = 65,
  LAST_RECOVERY_ID = 3,
};

/* The library calls these where a caller breaks its contract; both would print and abort. The process ends: a signer
 * whose arithmetic contradicts itself must not go on. */
static void on_broken_contract(const char *message, void *data) {
  (void)data;
  napi_fatal_error("secp256k1", NAPI_AUTO_LENGTH, message, NAPI_AUTO_LENGTH);
}

/* One for each environment, so that workers share nothing. */
static secp256k1_context *context_of(napi_env env) {
  void *context = NULL;
  if (napi_get_instance_data(env, &context) != napi_ok || context == NULL) on_broken_contract("no context", NULL);
  return context;
}

static bool serialize(secp256k1_context *context, const secp256k1_pubkey *point, struct bytes out) {
  size_t length = out.length;
  unsigned int form = length == COMPRESSED_BYTES ? SECP256K1_EC_COMPRESSED : SECP256K1_EC_UNCOMPRESSED;
  return secp256k1_ec_pubkey_serialize(context, out.data, &length, point, form) == 1;
}

static bool is_point_length(struct bytes out) {
  return out.length == COMPRESSED_BYTES || out.length == UNCOMPRESSED_BYTES;
}

/* randomize(seed: 32 bytes): blinds the context against side channels. */
static napi_value randomize(napi_env env, napi_callback_info info) {
  struct bytes args[1];
  if (!byte_arguments(env, info, 1, args) || args[0].length != KEY_BYTES)
    return wrong_arguments(env, "secp256k1 addon: randomize: expected a seed of 32 bytes");
  return boolean(env, secp256k1_context_randomize(context_of(env), args[0].data) == 1);
}

/* isPrivateKey(key): whether it is 32 bytes and a scalar between 1 and n - 1. */
static napi_value is_private_key(napi_env env, napi_callback_info info) {
  struct bytes args[1];
  if (!byte_arguments(env, info, 1, args))
    return wrong_arguments(env, "secp256k1 addon: isPrivateKey: expected bytes");
  return boolean(env, args[0].length == KEY_BYTES && secp256k1_ec_seckey_verify(context_of(env), args[0].data) == 1);
}

/* publicKey(key, out: 33 or 65 bytes): false for what is no private key. */
static napi_value public_key(napi_env env, napi_callback_info info) {
  struct bytes args[2];
  if (!byte_arguments(env, info, 2, args) || args[0].length != KEY_BYTES || !is_point_length(args[1]))
    return wrong_arguments(env, "secp256k1 addon: publicKey: expected a key of 32 bytes and room for 33 or 65");
  secp256k1_context *context = context_of(env);
  secp256k1_pubkey point;
  if (secp256k1_ec_pubkey_create(context, &point, args[0].data) != 1) return boolean(env, false);
  return boolean(env, serialize(context, &point, args[1]));
}

/* addTweak(key, tweak): key becomes (key + tweak) mod n. False, and zeros, where that is 0 or the tweak not below n. */
static napi_value add_tweak(napi_env env, napi_callback_info info) {
  struct bytes args[2];
  if (!byte_arguments(env, info, 2, args) || args[0].length != KEY_BYTES || args[1].length != KEY_BYTES)
    return wrong_arguments(env, "secp256k1 addon: addTweak: expected two arrays of 32 bytes");
  return boolean(env, secp256k1_ec_seckey_tweak_add(context_of(env), args[0].data, args[1].data) == 1);
}

/* tweakPublicKey(key: 33 or 65 bytes, tweak, out: 33 or 65 bytes): key + tweak·G; false where there is no such point. */
static napi_value tweak_public_key(napi_env env, napi_callback_info info) {
  struct bytes args[3];
  if (!byte_arguments(env, info, 3, args) || !is_point_length(args[0]) || args[1].length != KEY_BYTES ||
      !is_point_length(args[2]))
    return wrong_arguments(env, "secp256k1 addon: tweakPublicKey: expected 33 or 65 bytes, 32, and room for 33 or 65");
  secp256k1_context *context = context_of(env);
  secp256k1_pubkey point;
  if (secp256k1_ec_pubkey_parse(context, &point, args[0].data, args[0].length) != 1 ||
      secp256k1_ec_pubkey_tweak_add(context, &point, args[1].data) != 1)
    return boolean(env, false);
  return boolean(env, serialize(context, &point, args[2]));
}

/* signRecoverable(digest, key, out: 64 bytes): the recovery id, or -1 for what is no private key. RFC 6979, low s. */
static napi_value sign_recoverable(napi_env env, napi_callback_info info) {
  struct bytes args[3];
  if (!byte_arguments(env, info, 3, args) || args[0].length != KEY_BYTES || args[1].length != KEY_BYTES ||
      args[2].length != SIGNATURE_BYTES)
    return wrong_arguments(env, "secp256k1 addon: signRecoverable: expected a digest and a key of 32 bytes and room for 64");
  secp256k1_context *context = context_of(env);
  secp256k1_ecdsa_recoverable_signature signature;
  int recovery_id = -1;
  if (secp256k1_ecdsa_sign_recoverable(context, &signature, args[0].data, args[1].data, NULL, NULL) == 1)
    secp256k1_ecdsa_recoverable_signature_serialize_compact(context, args[2].data, &recovery_id, &signature);
  napi_value result = NULL;
  return napi_create_int32(env, recovery_id, &result) == napi_ok ? result : NULL;
}

/* recover(digest, rs: 64 bytes, recoveryId, out: 33 or 65 bytes): false where no key can have made that. */
static napi_value recover(napi_env env, napi_callback_info info) {
  napi_value values[4];
  struct bytes digest, rs, out;
  int recovery_id = -1;
  if (!arguments_of(env, info, 4, values) || !bytes_of(env, values[0], &digest) || !bytes_of(env, values[1], &rs) ||
      !small_number_of(env, values[2], LAST_RECOVERY_ID, &recovery_id) || !bytes_of(env, values[3], &out) ||
      digest.length != KEY_BYTES || rs.length != SIGNATURE_BYTES || !is_point_length(out))
    return wrong_arguments(env, "secp256k1 addon: recover: expected 32 and 64 bytes, 0 to 3, and room for 33 or 65");
  secp256k1_context *context = context_of(env);
  secp256k1_ecdsa_recoverable_signature signature;
  secp256k1_pubkey point;
  if (secp256k1_ecdsa_recoverable_signature_parse_compact(context, &signature, rs.data, recovery_id) != 1 ||
      secp256k1_ecdsa_recover(context, &point, &signature, digest.data) != 1)
    return boolean(env, false);
  return boolean(env, serialize(context, &point, out));
}

/* verifyDer(digest, signature: strict DER, publicKey: 33 or 65 bytes): high s counts like low s. All of it is public. */
static napi_value verify_der(napi_env env, napi_callback_info info) {
  struct bytes args[3];
  if (!byte_arguments(env, info, 3, args) || args[0].length != KEY_BYTES)
    return wrong_arguments(env, "secp256k1 addon: verifyDer: expected a digest of 32 bytes, a signature and a public key");
  secp256k1_context *context = context_of(env);
  secp256k1_ecdsa_signature signature;
  secp256k1_pubkey point;
  /* The library reads no byte of an empty array, and still wants an address. */
  if (args[1].length == 0 || args[2].length == 0 ||
      secp256k1_ec_pubkey_parse(context, &point, args[2].data, args[2].length) != 1 ||
      secp256k1_ecdsa_signature_parse_der(context, &signature, args[1].data, args[1].length) != 1)
    return boolean(env, false);
  secp256k1_ecdsa_signature_normalize(context, &signature, &signature);
  return boolean(env, secp256k1_ecdsa_verify(context, &signature, args[0].data, &point) == 1);
}

/* signSchnorr(message: 32 bytes, key, auxiliary randomness: 32 bytes or null, taproot tweak: 32 bytes or null, out: 64 bytes):
 * BIP-340, by the key that BIP-341 makes of it where there is a tweak. False for what is no private key, or becomes none. */
static napi_value sign_schnorr(napi_env env, napi_callback_info info) {
  napi_value values[5];
  struct bytes message, key, randomness, tweak, out;
  if (!arguments_of(env, info, 5, values) || !bytes_of(env, values[0], &message) || !bytes_of(env, values[1], &key) ||
      !bytes_or_null_of(env, values[2], &randomness) || !bytes_or_null_of(env, values[3], &tweak) ||
      !bytes_of(env, values[4], &out) || message.length != KEY_BYTES || key.length != KEY_BYTES ||
      (randomness.data != NULL && randomness.length != KEY_BYTES) || (tweak.data != NULL && tweak.length != KEY_BYTES) ||
      out.length != SIGNATURE_BYTES)
    return wrong_arguments(
        env, "secp256k1 addon: signSchnorr: expected a message and a key of 32 bytes, 32 or null twice, and room for 64");
  secp256k1_context *context = context_of(env);
  secp256k1_keypair pair;
  bool is_signed = secp256k1_keypair_create(context, &pair, key.data) == 1 &&
                   (tweak.data == NULL || secp256k1_keypair_xonly_tweak_add(context, &pair, tweak.data) == 1) &&
                   secp256k1_schnorrsig_sign32(context, out.data, message.data, &pair, randomness.data) == 1;
  explicit_bzero(&pair, sizeof pair);
  return boolean(env, is_signed);
}

/* verifySchnorr(signature: 64 bytes, message of any length, x-only key: 32 bytes). All of it is public. */
static napi_value verify_schnorr(napi_env env, napi_callback_info info) {
  struct bytes args[3];
  if (!byte_arguments(env, info, 3, args) || args[0].length != SIGNATURE_BYTES || args[2].length != KEY_BYTES)
    return wrong_arguments(env, "secp256k1 addon: verifySchnorr: expected 64 bytes, a message and 32 bytes");
  secp256k1_context *context = context_of(env);
  secp256k1_xonly_pubkey point;
  if (secp256k1_xonly_pubkey_parse(context, &point, args[2].data) != 1) return boolean(env, false);
  return boolean(env, secp256k1_schnorrsig_verify(context, args[0].data, args[1].data, args[1].length, &point) == 1);
}

static void destroy_context(napi_env env, void *context, void *hint) {
  (void)env;
  (void)hint;
  secp256k1_context_destroy(context);
}

NAPI_MODULE_INIT(/* env, exports */) {
  secp256k1_context *context = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
  if (context == NULL) return NULL;
  secp256k1_context_set_illegal_callback(context, on_broken_contract, NULL);
  secp256k1_context_set_error_callback(context, on_broken_contract, NULL);
  if (napi_set_instance_data(env, context, destroy_context, NULL) != napi_ok) {
    secp256k1_context_destroy(context);
    return NULL;
  }
  napi_value version;
  if (napi_create_string_utf8(env, LIBSECP256K1_VERSION, NAPI_AUTO_LENGTH, &version) != napi_ok) return NULL;
  const napi_property_descriptor properties[] = {
      {"version", NULL, NULL, NULL, NULL, version, napi_enumerable, NULL},
      {"randomize", NULL, randomize, NULL, NULL, NULL, napi_enumerable, NULL},
      {"isPrivateKey", NULL, is_private_key, NULL, NULL, NULL, napi_enumerable, NULL},
      {"publicKey", NULL, public_key, NULL, NULL, NULL, napi_enumerable, NULL},
      {"addTweak", NULL, add_tweak, NULL, NULL, NULL, napi_enumerable, NULL},
      {"tweakPublicKey", NULL, tweak_public_key, NULL, NULL, NULL, napi_enumerable, NULL},
      {"signRecoverable", NULL, sign_recoverable, NULL, NULL, NULL, napi_enumerable, NULL},
      {"recover", NULL, recover, NULL, NULL, NULL, napi_enumerable, NULL},
      {"verifyDer", NULL, verify_der, NULL, NULL, NULL, napi_enumerable, NULL},
      {"signSchnorr", NULL, sign_schnorr, NULL, NULL, NULL, napi_enumerable, NULL},
      {"verifySchnorr", NULL, verify_schnorr, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  if (napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) != napi_ok) return NULL;
  return exports;
}
