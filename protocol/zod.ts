/**
 * zod, set once to interpret schemas instead of compiling them: its compiler builds functions from strings, and the
 * enclave runs with code generation from strings turned off.
 */
import * as z from "zod/mini";

z.config({ jitless: true });

export { z };
