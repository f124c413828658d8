export * from "./certificate.ts";
export * as der from "./der.ts";
export * from "./errors.ts";
export * from "./extensions.ts";
export * from "./tls-authority.ts";
