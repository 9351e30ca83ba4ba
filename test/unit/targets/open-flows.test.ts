/** Flows of what the node has open already, from the kernel's tables. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeMap } from "../../../src/kernel/fake.ts";
import { CT_FROM_LOW, TIMEOUT_TCP_ESTABLISHED, flowKeyCodec, flowStateCodec } from "../../../src/kernel/gen/types.ts";
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
  assert.deepEqual(trackedFlows(CONNTRACK).map(words), [
    "6 192.0.2.1 50010 > 10.96.0.1 443",
    "6 192.0.2.1 50010 > 192.0.2.9 6443",
    "17 2001:db8::9 40000 > 2001:db8::1 53",
    "17 2001:db8::9 40000 > 2001:db8::1 53",
  ]);
});

test("the node's own are written, as judged by nobody, and none that the programs know already", () => {
  const map = new FakeMap({ name: "flows", keySize: flowKeyCodec.size, valueSize: flowStateCodec.size });
  const own = new Set(["192.0.2.1", "2001:db8::1", "127.0.0.1"]);
  const remember = (): number => rememberOpen(map, { now: 100, tcp: TCP4, tcp6: TCP6, conntrack: CONNTRACK }, (address) => own.has(formatAddress(address)));
  assert.equal(remember(), 7);
  const flows = [...map.entries()].map(([key, value]) => ({ ...flowKeyCodec.decode(viewOf(key)), ...flowStateCodec.decode(viewOf(value)) }));
  const ssh = flows.find(({ highPort, lowPort }) => lowPort === 22 && highPort === 40000) ?? assert.fail("no flow of the connection");
  assert.deepEqual([formatAddress(ssh.low), formatAddress(ssh.high), ssh.flags & CT_FROM_LOW], ["192.0.2.1", "198.51.100.7", 0], "opened by the greater address");
  assert.deepEqual([ssh.sourceIdentity, ssh.destinationIdentity, ssh.sourceGeneration, ssh.destinationGeneration, ssh.expires], [0, 1, 0, 0, 100 + TIMEOUT_TCP_ESTABLISHED]);
  assert.equal(remember(), 0);
});
