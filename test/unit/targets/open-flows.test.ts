/** Flows of what the node has open already, from the kernel's tables. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeMap } from "../../../src/kernel/fake.ts";
import { CT_FROM_LOW, CT_REPLIED, CT_REVOKED, TIMEOUT_TCP_ESTABLISHED, flowKeyCodec, flowStateCodec } from "../../../src/kernel/gen/types.ts";
import type { FlowState } from "../../../src/kernel/gen/types.ts";
import { formatAddress } from "../../../src/lib/ip.ts";
import { viewOf } from "../../../src/targets/map-target.ts";
import { openSockets, rememberOpen, trackedFlows } from "../../../src/targets/open-flows.ts";
import type { OpenFlow } from "../../../src/targets/open-flows.ts";

const HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const TCP4 = `${HEAD}   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1
   1: 010200C0:0016 076433C6:9C40 01 00000000:00000000 00:00000000 00000000     0        0 2 1
   2: 010200C0:C350 090200C0:192B 08 00000000:00000000 00:00000000 00000000     0        0 3 1
   3: 010200C0:C351 090200C0:192B 02 00000000:00000000 00:00000000 00000000     0        0 4 1
   4: 0100007F:C352 0100007F:192B 01 00000000:00000000 00:00000000 00000000     0        0 5 1
`;
const TCP6 = `${HEAD}   0: B80D0120000000000000000001000000:0016 B80D0120000000000000000009000000:9C41 01 0:0 0:0 0 0 0 6 1
   1: 0000000000000000FFFF0000010200C0:0016 0000000000000000FFFF0000086433C6:9C42 01 0:0 0:0 0 0 0 7 1
`;
const CONNTRACK = `ipv4     2 tcp      6 431999 ESTABLISHED src=192.0.2.1 dst=10.96.0.1 sport=50010 dport=443 src=192.0.2.9 dst=192.0.2.1 sport=6443 dport=50010 [ASSURED] mark=0 zone=0 use=2
ipv6     10 udp      17 119 src=2001:db8::9 dst=2001:db8::1 sport=40000 dport=53 src=2001:db8::1 dst=2001:db8::9 sport=53 dport=40000 [ASSURED] mark=0 use=2
ipv4     2 udp      17 29 src=198.51.100.7 dst=192.0.2.1 sport=40001 dport=53 [UNREPLIED] src=192.0.2.1 dst=198.51.100.7 sport=53 dport=40001 mark=0 use=2
ipv4     2 tcp      6 110 TIME_WAIT src=192.0.2.1 dst=192.0.2.9 sport=50011 dport=6443 src=192.0.2.9 dst=192.0.2.1 sport=6443 dport=50011 [ASSURED] mark=0 use=2
ipv4     2 icmp     1 29 src=192.0.2.1 dst=192.0.2.9 type=8 code=0 id=7 src=192.0.2.9 dst=192.0.2.1 type=0 code=0 id=7 mark=0 use=2
`;
const words = ({ protocol, opener, responder }: OpenFlow): string => `${protocol} ${formatAddress(opener.address)} ${opener.port} > ${formatAddress(responder.address)} ${responder.port}`;

test("a connected socket is a flow, opened by the other side where somebody listens on the port here", () => {
  assert.deepEqual(openSockets(TCP4, TCP6).map(words), [
    "6 198.51.100.7 40000 > 192.0.2.1 22",
    "6 192.0.2.1 50000 > 192.0.2.9 6443",
    "6 127.0.0.1 50002 > 127.0.0.1 6443",
    "6 2001:db8::9 40001 > 2001:db8::1 22",
    "6 198.51.100.8 40002 > 192.0.2.1 22",
  ]);
  assert.deepEqual(openSockets("", ""), []);
});

test("what the stack translates is known on both sides of it; what was never answered, or is over, is not", () => {
  assert.deepEqual([...trackedFlows(CONNTRACK)].map(words), [
    "6 192.0.2.1 50010 > 10.96.0.1 443",
    "6 192.0.2.1 50010 > 192.0.2.9 6443",
    "17 2001:db8::9 40000 > 2001:db8::1 53",
  ]);
});

const OWN = new Set(["192.0.2.1", "2001:db8::1", "127.0.0.1"]);
const isOwn = (address: Uint8Array): boolean => OWN.has(formatAddress(address));
const TABLES = { now: 100, tcp: TCP4, tcp6: TCP6, conntrack: CONNTRACK };
const make = (maxEntries = 1024, refuse?: () => number | undefined): FakeMap => new FakeMap({ name: "flows", keySize: flowKeyCodec.size, valueSize: flowStateCodec.size, maxEntries, ...(refuse === undefined ? {} : { refuse }) });
const rowsOf = (map: FakeMap) => [...map.entries()].map(([key, value]) => ({ key, ...flowKeyCodec.decode(viewOf(key)), ...flowStateCodec.decode(viewOf(value)) }));

test("the node's own are written, as judged by nobody, and none that the programs know already", () => {
  const map = make();
  const remember = (): number => rememberOpen(map, TABLES, isOwn).written;
  assert.equal(remember(), 7);
  const ssh = rowsOf(map).find(({ highPort, lowPort }) => lowPort === 22 && highPort === 40000) ?? assert.fail("no flow of the connection");
  assert.deepEqual([formatAddress(ssh.low), formatAddress(ssh.high), ssh.flags & CT_FROM_LOW], ["192.0.2.1", "198.51.100.7", 0], "opened by the greater address");
  assert.deepEqual([ssh.sourceIdentity, ssh.destinationIdentity, ssh.sourceGeneration, ssh.destinationGeneration, ssh.expires], [0, 1, 0, 0, 100 + TIMEOUT_TCP_ESTABLISHED]);
  assert.equal(remember(), 0);
});

test("what earlier rules of the node judged, or nobody has collected, is remembered as judged by nobody; a pod's own judgement stays", () => {
  const map = make();
  rememberOpen(map, TABLES, isOwn);
  const set = (lowPort: number, highPort: number, change: Partial<FlowState>): (() => FlowState) => {
    const { key, ...state } = rowsOf(map).find((row) => row.lowPort === lowPort && row.highPort === highPort) ?? assert.fail("no such flow");
    const value = new Uint8Array(flowStateCodec.size);
    flowStateCodec.encode({ ...state, ...change }, viewOf(value));
    map.update(key, value);
    return () => flowStateCodec.decode(viewOf(map.lookup(key) ?? assert.fail("gone")));
  };
  const asked = set(22, 40000, { destinationGeneration: 7, flags: CT_REPLIED | CT_REVOKED, packets: 5n }); // 198.51.100.7 opened it to the node
  const opened = set(50000, 6443, { sourceGeneration: 7 }); // the node opened it
  const ofPod = set(22, 40002, { sourceGeneration: 9, ingressRule: 3 }); // the other side is a pod's
  const old = set(443, 50010, { expires: 100 });
  assert.deepEqual(rememberOpen(map, TABLES, isOwn), { written: 3, leftOut: 0 });
  assert.deepEqual([asked().destinationGeneration, asked().flags & CT_REVOKED, asked().packets], [0, 0, 5n]);
  assert.equal(opened().sourceGeneration, 0);
  assert.deepEqual([ofPod().sourceGeneration, ofPod().ingressRule], [9, 3]);
  assert.equal(old().expires, 100 + TIMEOUT_TCP_ESTABLISHED);
});

test("what is open takes a quarter of the map at most, half of what is free, and sockets first; where the kernel has no room it ends", () => {
  const quarter = make(20);
  assert.deepEqual(rememberOpen(quarter, TABLES, isOwn), { written: 5, leftOut: 2 });
  assert.equal(rowsOf(quarter).filter(({ lowPort }) => lowPort === 22 || lowPort === 50000).length, 4, "every socket");
  assert.equal(rememberOpen(make(20), TABLES, isOwn, 14).written, 3);
  assert.equal(rememberOpen(make(20), TABLES, isOwn, 25).written, 0);
  for (const errno of [7, 12, 28]) {
    let left = 2;
    assert.deepEqual(rememberOpen(make(1024, () => (left-- > 0 ? undefined : errno)), TABLES, isOwn), { written: 2, leftOut: 5 });
    assert.equal(left, -1, "is asked no more");
  }
  assert.throws(() => rememberOpen(make(1024, () => 1), TABLES, isOwn), /EPERM/);
});
