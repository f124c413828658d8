import fc from "fast-check";
import { expect, test } from "vitest";
import { isPublicAddress } from "../../parent-proxy/egress/address-rules.ts";
import { parseAddressAndPort } from "../../parent-proxy/egress/destination.ts";

test.each([
  "1.1.1.1",
  "52.94.5.10",
  "11.0.0.0",
  "172.15.255.255",
  "172.32.0.0",
  "169.253.255.255",
  "169.255.0.0",
  "100.63.255.255",
  "100.128.0.0",
  "223.255.255.255",
  "2600:1f18::1",
  "2a05:d018::7",
  "64:ff9b::1.1.1.1",
])("%s is public", (address) => expect(isPublicAddress(address)).toBe(true));

test.each([
  ["unspecified", "0.0.0.0"],
  ["this network", "0.1.2.3"],
  ["loopback", "127.0.0.1"],
  ["loopback", "127.255.255.254"],
  ["instance metadata", "169.254.169.254"],
  ["link-local", "169.254.0.0"],
  ["private", "10.0.0.1"],
  ["private", "172.16.0.1"],
  ["private", "172.31.255.255"],
  ["private", "192.168.1.1"],
  ["shared", "100.64.0.1"],
  ["multicast", "224.0.0.1"],
  ["multicast", "239.255.255.255"],
  ["broadcast", "255.255.255.255"],
  ["documentation", "203.0.113.7"],
  ["unspecified", "::"],
  ["loopback", "::1"],
  ["link-local", "fe80::1"],
  ["link-local with a zone", "fe80::1%eth0"],
  ["public with a zone", "2600:1f18::1%eth0"],
  ["link-local, end of its range", "febf::1"],
  ["unique local", "fd00:ec2::254"],
  ["unique local", "fc00::1"],
  ["site-local", "fec0::1"],
  ["multicast", "ff02::1"],
  ["IPv4-mapped private", "::ffff:10.0.0.1"],
  ["IPv4-mapped in hex", "::ffff:7f00:1"],
  ["IPv4-mapped public", "::ffff:1.1.1.1"],
  ["IPv4-mapped, spelt out", "0:0:0:0:0:ffff:a9fe:a9fe"],
  ["IPv4-compatible", "::127.0.0.1"],
  ["NAT64 of instance metadata", "64:ff9b::169.254.169.254"],
  ["NAT64 of private, in hex", "64:ff9b::a00:1"],
  ["local NAT64", "64:ff9b:1::1.1.1.1"],
  ["6to4", "2002:7f00:1::"],
  ["Teredo", "2001:0:1::1"],
  ["documentation", "2001:db8::1"],
  ["no address", "kms.eu-west-1.amazonaws.com"],
  ["no address", ""],
  ["octal", "0177.0.0.1"],
  ["one number", "2130706433"],
])("%s is not public: %s", (_kind, address) => expect(isPublicAddress(address)).toBe(false));

test("an IPv4 address is public behind NAT64 exactly when it is by itself, and never when mapped", () => {
  fc.assert(
    fc.property(fc.ipV4(), (address) => {
      expect(isPublicAddress(`64:ff9b::${address}`)).toBe(isPublicAddress(address));
      expect(isPublicAddress(`::ffff:${address}`)).toBe(false);
    }),
  );
});

test("reads ip:port and [ip]:port", () => {
  expect(parseAddressAndPort("10.0.0.7:443")).toEqual({ address: "10.0.0.7", port: 443 });
  expect(parseAddressAndPort("[fd00::7]:65535")).toEqual({ address: "fd00::7", port: 65_535 });
});

test.each([
  "10.0.0.7",
  "10.0.0.7:0",
  "10.0.0.7:65536",
  "10.0.0:1",
  "fd00::7:443",
  "[10.0.0.7]:443",
  "localhost:443",
  "",
])("does not take %j for an address and a port", (text) => expect(parseAddressAndPort(text)).toBeUndefined());
