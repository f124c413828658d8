/* The verifier stands in dist/browser/attestation.js, which `make size` builds from attestation/. */
(() => {
  const { AttestationError, AWS_NITRO_ROOT_G1, createPcrSet, verifyAttestation } = globalThis.CloisterAttestation;
  const MAX_AGE_MS = 5 * 60_000;
  const byId = (id) => document.getElementById(id);
  const answer = byId("answer");

  byId("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const verified = await verifyAttestation(await readDocument(), readExpectation());
      show("verified", describe(verified));
    } catch (error) {
      const code = error instanceof AttestationError ? `${error.code} (step ${error.step})` : error.name;
      show("refused", `${code}: ${error.message}`);
    }
  });

  function readExpectation() {
    const pcr0 = byId("pcr0").value.trim();
    const nonce = byId("nonce").value.trim();
    return {
      roots: [AWS_NITRO_ROOT_G1],
      atMs: byId("form").elements.at.value === "document" ? "document" : Date.now(),
      nonce: nonce === "" ? "unchecked" : fromHex(nonce),
      pcrs: pcr0 === "" ? "unchecked" : [createPcrSet([[0, fromHex(pcr0)]])],
      maxAgeMs: MAX_AGE_MS,
      allowDebug: byId("debug").checked,
    };
  }

  async function readDocument() {
    const [file] = byId("file").files;
    if (file !== undefined) return new Uint8Array(await file.arrayBuffer());
    const text = byId("document").value.replaceAll(/\s/g, "");
    return /^[0-9a-f]*$/i.test(text) ? fromHex(text) : fromBase64(text);
  }

  function fromHex(text) {
    if (!/^([0-9a-f]{2})+$/i.test(text)) throw new TypeError("expected pairs of hex digits");
    return Uint8Array.from(text.match(/../g), (pair) => Number.parseInt(pair, 16));
  }

  function fromBase64(text) {
    const standard = text.replaceAll("-", "+").replaceAll("_", "/");
    return Uint8Array.from(atob(standard), (character) => character.charCodeAt(0));
  }

  function describe({ moduleId, timestampMs, pcrs, publicKey, userData, nonce }) {
    const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    const field = (bytes) => (bytes === null ? "absent" : bytes.length === 0 ? "empty" : hex(bytes));
    return [
      "verified",
      `module      ${moduleId}`,
      `made        ${new Date(timestampMs).toISOString()}`,
      `public_key  ${field(publicKey)}`,
      `user_data   ${field(userData)}`,
      `nonce       ${field(nonce)}`,
      ...[...pcrs]
        .filter(([, value]) => value.some((byte) => byte !== 0))
        .map(([n, value]) => `PCR${n}  ${hex(value)}`),
    ].join("\n");
  }

  /** As text, never as HTML: a refused document's content was chosen by nobody knows whom. */
  function show(kind, text) {
    answer.className = kind;
    answer.textContent = text;
    answer.hidden = false;
  }
})();
