/**
 * The greatest packet of every path: what is too big is said to the sender, also where addresses are translated in
 * between, and what the ends agree on at the start of a connection fits. Needs root.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { FAR, FAR_MTU, far, nodePorts, plugInFar } from "./datapath/far.ts";
import { Lab, OUTSIDE, PODS, PREFIX, a1, b1, c2, run, underlay, underlay6 } from "./datapath/lab.ts";
import type { LabOptions, Pod } from "./datapath/lab.ts";
import type { Server } from "../e2e/harness/pods.ts";

const MEGABYTE = "x".repeat(1_000_000);
const TOO_LONG = { answered: false, detail: "Message too long" };
/** The one serves datagrams, the other streams. */
const PORT = 8080;
const STREAMS = 8090;

/** Datagrams that the node's stack had to cut, in both families. */
function fragmentsMade(node: number): number {
  const [snmp, snmp6] = ["snmp", "snmp6"].map((name) => run("ip", "netns", "exec", `${PREFIX}n${node}`, "cat", `/proc/net/${name}`)) as [string, string];
  const [names, values] = snmp.split("\n").filter((line) => line.startsWith("Ip:")).map((line) => line.split(" ")) as [string[], string[]];
  return Number(values[names.indexOf("FragCreates")]) + Number(/^Ip6FragCreates\s+(\d+)/m.exec(snmp6)?.[1]);
}

/** In one piece or refused to the sender; never lost. */
async function fits(lab: () => Lab, from: Pod | string, to: string, port: number, size: number, doesFit: boolean): Promise<void> {
  const answer = await lab().site(from).ask("udp", to, port, { size, timeoutMs: 20_000 });
  if (doesFit) assert.ok(answer.answered, `${size} bytes to ${to} ${port}: ${answer.detail}`);
  else assert.deepEqual(answer, TOO_LONG, `${size} bytes to ${to} ${port}`);
}

function whole(lab: () => Lab): void {
  test("between pods: the whole MTU passes, one byte more is refused, and a connection makes no fragments", async () => {
    const cut = fragmentsMade(1) + fragmentsMade(2);
    for (const to of [b1.ipv4, b1.ipv6, c2.ipv4, c2.ipv6]) {
      await fits(lab, a1, to, PORT, lab().mtu, true);
      await fits(lab, a1, to, PORT, lab().mtu + 1, false);
      assert.ok(lab().echo(a1, to, STREAMS, MEGABYTE), to);
    }
    assert.equal(fragmentsMade(1) + fragmentsMade(2), cut);
  });

  test("between a node and the pods of both: the whole MTU passes, one byte more is refused", async () => {
    for (const to of [b1.ipv4, b1.ipv6, c2.ipv4, c2.ipv6]) {
      await fits(lab, `${PREFIX}n1`, to, PORT, lab().mtu, true);
      await fits(lab, `${PREFIX}n1`, to, PORT, lab().mtu + 1, false);
      assert.ok(lab().echo(`${PREFIX}n1`, to, STREAMS, MEGABYTE), to);
    }
  });
}

/** The outside in the families that the nodes have there. */
function beyond(lab: () => Lab, families: readonly ("ipv4" | "ipv6")[]): void {
  let unplug = (): void => undefined;
  before(() => { unplug = plugInFar(families); });
  after(() => unplug());

  test("from a pod to the outside behind a smaller link: the router's answer arrives, and the connection goes on", async () => {
    const server = await lab().site(FAR).serve(PORT);
    lab().serve(FAR, STREAMS);
    try {
      for (const family of families) {
        const ask = (size: number): Promise<unknown> => lab().site(a1).ask("udp", far[family], PORT, { size, timeoutMs: 20_000 });
        assert.deepEqual(await ask(lab().mtu), TOO_LONG, family);
        assert.ok(lab().echo(a1, far[family], STREAMS, MEGABYTE), family);
        assert.deepEqual((await lab().site(b1).ask("udp", far[family], PORT, { size: FAR_MTU, timeoutMs: 20_000 })).answered, true, family);
      }
    } finally {
      server.close();
    }
  });

  test("from the outside to a node port: too big for the pod's link is said by the node, too big for the outside's to the pod", async () => {
    const removePorts = nodePorts([[30080, c2.ipv4, c2.ipv6], [30081, b1.ipv4, b1.ipv6]]);
    const cut = fragmentsMade(1) + fragmentsMade(2);
    try {
      for (const pod of [b1, c2]) await lab().policy(pod, { ingress: [9, 10].map((peer) => ({ peer, rule: 41 })), egress: [] });
      for (const family of families) {
        const to = family === "ipv4" ? underlay(1) : underlay6(1);
        for (const port of [30080, 30081]) {
          assert.ok(lab().echo(OUTSIDE, to, port, MEGABYTE), `outside → ${to} ${port}`);
          await fits(lab, OUTSIDE, to, port, lab().mtu, true);
          if (lab().mtu < 1500) await fits(lab, OUTSIDE, to, port, 1500, false);
        }
      }
      // Before the router has told the pods that the node's address, under which they see the outside, takes less.
      assert.equal(fragmentsMade(1) + fragmentsMade(2), cut);
      for (const to of families.map((family) => (family === "ipv4" ? underlay(1) : underlay6(1)))) {
        for (const port of [30080, 30081]) assert.ok(lab().echo(FAR, to, port, MEGABYTE), `far → ${to} ${port}`);
      }
    } finally {
      removePorts();
    }
  });
}

/** A path between the nodes that takes less than their devices: the tunnel's own packets go in pieces, over IPv4. */
function throughNarrow(lab: () => Lab): void {
  test("a smaller path between the nodes: the whole MTU still passes, in both directions", async (t) => {
    for (const node of [1, 2]) {
      const [address] = lab().addressesOf(3 - node);
      run("ip", "-n", `${PREFIX}n${node}`, "route", "add", address, "dev", "eth0", "mtu", "1400");
      t.after(() => run("ip", "-n", `${PREFIX}n${node}`, "route", "delete", address, "dev", "eth0"));
    }
    const cut = fragmentsMade(1) + fragmentsMade(2);
    for (const to of [c2.ipv4, c2.ipv6]) {
      await fits(lab, a1, to, PORT, lab().mtu, true);
      assert.ok(lab().echo(a1, to, STREAMS, MEGABYTE), to);
    }
    assert.ok(fragmentsMade(1) + fragmentsMade(2) > cut, "the path is smaller");
  });
}

/** Pods that were there when encryption was switched on: their links, and what they agree on at the start of a connection, are of before. */
function afterShrinking(lab: () => Lab): void {
  test("from a pod with a link of before to another node: what is too big now is told, nothing is lost, and connections make no fragments", async () => {
    const cut = fragmentsMade(1) + fragmentsMade(2);
    for (const to of [c2.ipv4, c2.ipv6]) {
      assert.ok(lab().echo(a1, to, STREAMS, MEGABYTE), `a first connection to ${to}`);
      for (const size of [lab().linkMtu, lab().mtu + 1]) await fits(lab, b1, to, PORT, size, false);
      for (const from of [a1, b1]) await fits(lab, from, to, PORT, lab().mtu, true);
      assert.ok(lab().echo(a1, to, STREAMS, MEGABYTE), `a later connection to ${to}`);
    }
    assert.equal(fragmentsMade(1) + fragmentsMade(2), cut);
  });
}

/** With native routing and encryption the agent goes by the tunnel (`compile/routing.ts`). */
const LABS: readonly (readonly [name: string, options: LabOptions, families: readonly ("ipv4" | "ipv6")[], mtu: number])[] = [
  ["tunnel over IPv4", {}, ["ipv4", "ipv6"], 1450],
  ["tunnel over IPv6 alone", { nodes: "ipv6 alone" }, ["ipv6"], 1430],
  ["native", { mode: "native" }, ["ipv4", "ipv6"], 1500],
  ["encrypted, over IPv4", { isEncrypted: true }, ["ipv4", "ipv6"], 1390],
  ["encrypted, over IPv6 alone", { isEncrypted: true, nodes: "ipv6 alone" }, ["ipv6"], 1350],
];

for (const name of ["ipv4", "ipv6 alone"] as const) {
  describe(`encrypted while pods run, over ${name}`, () => {
    let lab: Lab;
    let server: Server | undefined;
    before(async () => {
      lab = await Lab.start({ isEncrypted: true, hasOldLinks: true, nodes: name });
      lab.serve(c2, STREAMS);
      server = await lab.site(c2).serve(PORT);
    });
    after(() => {
      server?.close();
      lab.stop();
    });
    afterShrinking(() => lab);
  });
}

for (const [name, options, families, mtu] of LABS) {
  describe(name, () => {
    let lab: Lab;
    let servers: readonly Server[] = [];
    before(async () => {
      lab = await Lab.start(options);
      for (const pod of [b1, c2]) lab.serve(pod, STREAMS);
      servers = await Promise.all([b1, c2].map((pod) => lab.site(pod).serve(PORT)));
    });
    after(() => {
      for (const server of servers) server.close();
      lab.stop();
    });
    afterEach(async () => { for (const pod of PODS) await lab.policy(pod, {}); });
    test("the greatest packet is what the headers around it leave of the underlay's", () => assert.equal(lab.mtu, mtu));
    whole(() => lab);
    // The way to the outside is the same whatever the nodes are known by.
    if (name !== "encrypted, over IPv6 alone") beyond(() => lab, families);
    if (name === "tunnel over IPv4") throughNarrow(() => lab);
  });
}
