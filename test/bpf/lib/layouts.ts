/** Byte layouts that only packet rows need. */
import { parseAddress } from "../../../src/lib/ip.ts";
import { objectBtf } from "../../../src/kernel/btf-file.ts";
import { parseBtf } from "../../../src/kernel/btf.ts";

/** Where struct packet, as the programs keep it in `scratch`, has the tunnel key. */
export function scratchLayout(object: string): { size: number; tunnelAt: number } {
  const packet = parseBtf(objectBtf(object)).find((type) => type.kind === "struct" && type.name === "packet");
  const tunnel = packet?.kind === "struct" ? packet.members.find(({ name }) => name === "tunnel") : undefined;
  if (packet?.kind !== "struct" || tunnel === undefined) throw new Error("struct packet has no tunnel");
  return { size: packet.size, tunnelAt: tunnel.bitOffset / 8 };
}

/** struct tunnel_key of outer.bpf.c; the TOS field says that the outer headers are IPv6. */
export function outerValue(source: string, vni: number): Uint8Array {
  const value = new DataView(new ArrayBuffer(44));
  const address = parseAddress(source);
  const isIpv6 = source.includes(":");
  value.setUint32(0, vni, true);
  value.setUint8(20, isIpv6 ? 1 : 0);
  if (isIpv6) new Uint8Array(value.buffer, 28, 16).set(address);
  else value.setUint32(28, new DataView(address.buffer, address.byteOffset).getUint32(12), true);
  return new Uint8Array(value.buffer);
}
