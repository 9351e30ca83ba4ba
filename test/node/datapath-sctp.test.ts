/**
 * SCTP (RFC 9260) on real devices, packet by packet: this kernel need not speak it, only carry, judge and translate it.
 * Needs root.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { ethernet, frame, ipv4, ipv6, raw as layer } from "../bpf/lib/packet.ts";
import type { Layer } from "../bpf/lib/packet.ts";
import { parseAddress } from "../../src/lib/ip.ts";
import { DropReason, EventType } from "../../src/kernel/gen/types.ts";
import { Lab, OUTSIDE, PREFIX, a1, b1, c2, macOf, namespaceOf, underlay, underlay6 } from "./datapath/lab.ts";
import type { Mode, Pod } from "./datapath/lab.ts";
import { Raw } from "./datapath/raw.ts";

const SCTP = 132;
const CHUNK = { DATA: 0, INIT: 1, INIT_ACK: 2, COOKIE_ECHO: 10, COOKIE_ACK: 11 } as const;
const [PORT, OTHER_PORT, SOURCE_PORT] = [36412, 36422, 40000];
/** RFC 9260 3.3.2: initiate tag, window, numbers of streams, first TSN. */
const START = [0, 0, 0, 7, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1];

/** CRC32c of RFC 9260 appendix A: netfilter drops an SCTP packet without it. */
function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

function message(from: number, to: number, tag: number, chunk: number, body: readonly number[]): Uint8Array {
  const bytes = Uint8Array.from([from >> 8, from & 255, to >> 8, to & 255, 0, 0, 0, tag, 0, 0, 0, 0, chunk, chunk === CHUNK.DATA ? 3 : 0, 0, 4 + body.length, ...body]);
  new DataView(bytes.buffer).setUint32(8, crc32c(bytes), true);
  return bytes;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const wire = (address: string): string => hex(address.includes(":") ? parseAddress(address) : parseAddress(address).slice(12));

const raw = new Raw();
after(() => raw.close());

function rows(mode: Mode): void {
  let lab: Lab;
  before(async () => { lab = await Lab.start({ mode }); });
  after(() => lab.stop());
  afterEach(() => lab.forget());

  function send(from: Pod | string, source: string, to: string, bytes: Uint8Array): void {
    const { mac, hostMac } = typeof from === "string" ? { mac: macOf(from), hostMac: macOf(`${PREFIX}n1`) } : { mac: macOf(namespaceOf(from)), hostMac: `02:00:00:00:f${from.node}:${from.id}` };
    const ip: Layer = source.includes(":") ? ipv6(source, to, SCTP) : ipv4(source, to, { protocol: SCTP });
    raw.send(namespaceOf(from), [frame(ethernet(mac, hostMac, source.includes(":") ? 0x86dd : 0x0800), ip, layer(bytes))]);
  }

  const families = (from: Pod, to: Pod): readonly (readonly [string, string])[] => [[from.ipv4, to.ipv4], [from.ipv6, to.ipv6]];

  test("policy decides by the port; answers and data of the association pass, also where the other direction is closed", async () => {
    for (const to of [b1, c2]) {
      await lab.policy(to, { ingress: [{ peer: a1.identity, protocol: SCTP, port: PORT, rule: 41 }], egress: [] });
      await lab.policy(a1, { ingress: [], egress: [{ peer: to.identity, protocol: SCTP, rule: 31 }] });
      const [there, here] = [await raw.hear(namespaceOf(to)), await raw.hear(namespaceOf(a1))];
      for (const [source, target] of families(a1, to)) {
        const denied = message(SOURCE_PORT, OTHER_PORT, 0, CHUNK.INIT, START);
        send(a1, source, target, denied);
        const dialogue = [
          [a1, source, target, message(SOURCE_PORT, PORT, 0, CHUNK.INIT, START)], [to, target, source, message(PORT, SOURCE_PORT, 7, CHUNK.INIT_ACK, START)],
          [a1, source, target, message(SOURCE_PORT, PORT, 7, CHUNK.COOKIE_ECHO, [1, 2, 3, 4])], [to, target, source, message(PORT, SOURCE_PORT, 7, CHUNK.COOKIE_ACK, [])],
          [to, target, source, message(PORT, SOURCE_PORT, 7, CHUNK.DATA, [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 104, 105, 33, 33])],
        ] as const;
        for (const [speaker, from, receiver, bytes] of dialogue) {
          send(speaker, from, receiver, bytes);
          await (speaker === a1 ? there : here).waitFor((heard) => heard.includes(wire(from)) && heard.includes(hex(bytes)), `${mode}: chunk ${bytes[12]} from ${from} to ${receiver}`);
        }
        assert.ok(!there.heard.some((heard) => heard.includes(hex(denied))), `${target} heard what no rule allows`);
      }
      const drops = (await lab.events(to.node)).filter(({ type }) => type === EventType.DROP);
      assert.deepEqual(drops.map(({ reason, rule }) => [reason, rule]), [[DropReason.POLICY_DENIED, 900], [DropReason.POLICY_DENIED, 900]]);
      for (const ear of [there, here]) ear.close();
    }
  });

  test("to the outside an association is masqueraded, and its answer comes back to the pod", async () => {
    const [there, here] = [await raw.hear(OUTSIDE), await raw.hear(namespaceOf(a1))];
    for (const [source, target, node] of [[a1.ipv4, "192.0.2.9", underlay(1)], [a1.ipv6, "2001:db8::9", underlay6(1)]] as const) {
      const init = message(SOURCE_PORT, PORT, 0, CHUNK.INIT, START);
      send(a1, source, target, init);
      const chunk = hex(init.slice(12));
      await there.waitFor((heard) => heard.includes(wire(node) + wire(target)) && heard.includes(chunk), `INIT under ${node}`);
      const seen = there.heard.find((heard) => heard.includes(wire(node) + wire(target)) && heard.includes(chunk)) ?? "";
      const port = Number.parseInt(seen.slice(seen.indexOf(wire(target)) + wire(target).length).slice(0, 4), 16);
      const answer = message(PORT, port, 7, CHUNK.INIT_ACK, START);
      send(OUTSIDE, target, node, answer);
      await here.waitFor((heard) => heard.includes(wire(target) + wire(source)) && heard.includes(hex(answer.slice(12))), `INIT ACK to ${source}`);
      assert.ok(!there.heard.some((heard) => heard.includes(wire(source))), `the outside saw ${source}`);
    }
    for (const ear of [there, here]) ear.close();
  });
}

for (const mode of ["tunnel", "native"] as const) describe(mode, () => rows(mode));
