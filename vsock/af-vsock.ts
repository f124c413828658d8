/** AF_VSOCK itself, on EC2 and in a virtual machine. It needs `make native`. */
import { loadNative } from "./load-native.ts";
import type { SocketAddon } from "./socket-addon.ts";
import { type AfVsock, BACKLOG, socketVsock } from "./socket-vsock.ts";

/** linux/vm_sockets.h, `VMADDR_FLAG_TO_HOST`. */
const TO_HOST = 0x01;

/**
 * The enclave's side.
 *
 * @param options.parentCid - 3 on EC2, 2 under vhost-device-vsock: the image's init finds it out. Streams from any other
 *   CID are closed and counted. It keeps strangers out, not a hostile parent: the hypervisor vouches for the number only.
 * @throws {@link NativeError} `NATIVE_MISSING`
 */
export function guestAfVsock({ parentCid }: { readonly parentCid: number }): AfVsock {
  return afVsock(parentCid, 0);
}

/**
 * The parent's side, of one enclave.
 *
 * @param options.toHost - Where `vhost_vsock` is loaded on the parent (nested virtual machines, some container runtimes),
 *   the kernel looks for CIDs above 2 among virtual machines of its own, and the enclave is found only with this flag.
 * @throws {@link NativeError} `NATIVE_MISSING`
 */
export function hostAfVsock(options: { readonly enclaveCid: number; readonly toHost?: boolean }): AfVsock {
  return afVsock(options.enclaveCid, options.toHost === true ? TO_HOST : 0);
}

function afVsock(peerCid: number, flags: number): AfVsock {
  const addon = loadNative("vsock") as SocketAddon;
  return socketVsock(addon, {
    peerCid,
    listen: (port) => addon.listen(port, BACKLOG),
    connect: (port, timeoutMs) => addon.connect(peerCid, port, flags, timeoutMs),
  });
}
