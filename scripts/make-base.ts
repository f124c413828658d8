/** Makes the bases that Dockerfile.enclave builds on, as OCI archives in the cache, and prints where they are. */
import { makeBase } from "./image/base.ts";

for (const name of ["build", "runtime"] as const) {
  const { archive, reference } = await makeBase(name, console.log);
  console.log(`${reference}  ${archive}`);
}
