export { deviceFileStore, openDeviceShare, shareKeyFromJwk } from "./device-file-store.ts";
export { KeyFileError, type KeyFileErrorCode } from "./errors.ts";
export { fileStore } from "./file-store.ts";
export { createKeyFile, openKeyFile, publicKeyOfFile } from "./key-file.ts";
export { stampKeyFromKeyObject } from "./key-object.ts";
