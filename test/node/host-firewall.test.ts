/** The node's own network namespace under policies of nodes: real sockets of a node, and who reaches them. Needs root. */
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Server } from "../e2e/harness/pods.ts";
import { Lab, OUTSIDE, PREFIX, a1, nft, underlay, underlay6 } from "./datapath/lab.ts";

const N1 = `${PREFIX}n1`;
const [PORT, STREAMS] = [8080, 8090];
/** What kube-proxy makes of a service whose backend is the node itself. */
const SERVICE = { ipv4: "10.96.0.10", ipv6: "fd00:96::10", port: 80, streams: 90 } as const;

let lab: Lab;
let node: Server;

before(async () => {
  lab = await Lab.start();
  node = await lab.site(N1).serve(PORT);
  lab.serve(N1, STREAMS);
  const lead = (family: "ip" | "ip6", from: string, to: string): string => [["tcp", SERVICE.port, PORT], ["udp", SERVICE.port, PORT], ["tcp", SERVICE.streams, STREAMS]]
    .map(([protocol, port, target]) => `${family} daddr ${from} ${protocol} dport ${port} dnat ${family} to ${to}:${target}`).join("\n");
  nft(N1, `table inet services { chain led { type nat hook prerouting priority dstnat;
    ${lead("ip", SERVICE.ipv4, underlay(1))}
    ${lead("ip6", SERVICE.ipv6, `[${underlay6(1)}]`)}
  }
}
`);
});
after(() => {
  node?.close();
  lab?.stop();
});
afterEach(async () => await lab.forget());

let words = 0;

/** @returns the protocols over which the node heard it and answered, in both families. */
async function heard(port: number = SERVICE.port): Promise<readonly string[]> {
  const tries = [["tcp", SERVICE.ipv4], ["udp", SERVICE.ipv4], ["tcp", SERVICE.ipv6], ["udp", SERVICE.ipv6]] as const;
  const answers = await Promise.all(tries.map(async ([protocol, address]) => {
    const text = `word-${++words}`;
    const { answered } = await lab.site(a1).ask(protocol, address, port, { text, timeoutMs: 2500 });
    const isHeard = node.received().some((line) => line.text === text);
    assert.equal(isHeard, answered, `${protocol} ${address}: what was heard was answered, and nothing else`);
    return isHeard ? [`${protocol}${address.includes(":") ? "6" : "4"}`] : [];
  }));
  return answers.flat();
}

const ALL = ["tcp4", "udp4", "tcp6", "udp6"] as const;

test("what a pod sends to its own node through a service is judged as what the node is asked for", { timeout: 180_000 }, async () => {
  assert.deepEqual(await heard(), ALL, "while no policy selects the node");
  await lab.hostPolicy(1, { ingress: [{ protocol: 6, port: SERVICE.port, rule: 71 }] });
  assert.deepEqual(await heard(), [], "the service's port is not the node's");
  await lab.hostPolicy(1, { ingress: [{ peer: a1.identity, protocol: 17, port: PORT, rule: 72 }] });
  assert.deepEqual(await heard(), ["udp4", "udp6"]);
  await lab.hostPolicy(1, { ingress: [{ peer: a1.identity, rule: 73 }] });
  assert.deepEqual(await heard(), ALL);
  const rules = new Set((await lab.events(1)).map(({ rule }) => rule));
  assert.ok([72, 73, 900].every((rule) => rules.has(rule)), `told with their rules: ${[...rules].join()}`);
});

test("what a socket of the node answered through a service, the pod owes nothing for", { timeout: 180_000 }, async () => {
  await lab.hostPolicy(1, { ingress: [{ peer: a1.identity, rule: 75 }] });
  await lab.node(1).ask({ do: "clear", map: "flows" });
  const open = lab.connect(a1, SERVICE.ipv4, SERVICE.streams);
  try {
    assert.deepEqual(await heard(), ALL);
    assert.ok(await open.send("one") && await open.send("two"));
    assert.equal(await lab.node(1).ask<number>({ do: "owed" }), 0);
  } finally {
    open.close();
  }
});

test("a connection through a service is cut by the rule that goes, and goes on under rules that came after it", { timeout: 180_000 }, async () => {
  await lab.hostPolicy(1, "learning");
  const early = lab.connect(a1, SERVICE.ipv4, SERVICE.streams);
  try {
    assert.ok(await early.send("before"));
    await lab.hostPolicy(1, { ingress: [] });
    assert.ok(await early.send("open before the rules"));
  } finally {
    early.close();
  }
  await lab.hostPolicy(1, { ingress: [{ peer: a1.identity, protocol: 6, port: STREAMS, rule: 74 }] });
  const allowed = lab.connect(a1, SERVICE.ipv4, SERVICE.streams);
  try {
    assert.ok(await allowed.send("allowed"));
    await lab.hostPolicy(1, { ingress: [] });
    assert.ok(!(await allowed.send("cut")));
    assert.ok(!(await allowed.send("cut in the pod's direction as well")));
  } finally {
    allowed.close();
  }
});

test("from the port of a session that was cut, a pod gets nothing into it, and begins another once the rules allow that again", { timeout: 180_000 }, async () => {
  const rule = { peer: a1.identity, protocol: 6, port: STREAMS, rule: 76 } as const;
  const port = `${SERVICE.streams},sourceport=41234,reuseaddr`;
  await lab.hostPolicy(1, { ingress: [rule] });
  const cut = lab.connect(a1, SERVICE.ipv4, port);
  assert.ok(await cut.send("allowed"));
  await lab.hostPolicy(1, { ingress: [] });
  assert.ok(!(await cut.send("cut")));
  cut.close();
  const refused = lab.connect(a1, SERVICE.ipv4, port);
  assert.ok(!(await refused.send("refused")));
  refused.close();
  await lab.hostPolicy(1, { ingress: [rule] });
  for (const until = performance.now() + 90_000; ;) {
    const anew = lab.connect(a1, SERVICE.ipv4, port);
    try {
      if (await anew.send("allowed again")) break;
      assert.ok(performance.now() < until, "allowed again");
    } finally {
      anew.close();
    }
  }
});

/** The next two datagrams of the flow have been answered. */
async function goesOn(text: string): Promise<void> {
  const count = (): number => node.received().filter((line) => line.text.startsWith(text)).length;
  const wanted = count() + 3;
  for (const until = performance.now() + 60_000; count() < wanted; await sleep(50)) assert.ok(performance.now() < until, `${text} is not heard`);
}

test("the first rules cut nothing that is open, silent or not; what they forget later is judged as anything else", { timeout: 240_000 }, async () => {
  const [silent, silent6] = [lab.connect(OUTSIDE, underlay(1), STREAMS), lab.connect(OUTSIDE, `[${underlay6(1)}]`, STREAMS)];
  const talk = lab.site(OUTSIDE).flow("udp", underlay(1), PORT, 10, 120, "talk");
  try {
    for (const one of [silent, silent6]) assert.ok(await one.send("before"));
    await goesOn("talk");
    await lab.hostPolicy(1, "learning");
    assert.ok(await lab.node(1).ask<number>({ do: "remember", own: [underlay(1), underlay6(1)] }) >= 2);
    await goesOn("talk");
    await lab.hostPolicy(1, { ingress: [], egress: [] });
    const { answered } = await lab.site(OUTSIDE).ask("tcp", underlay(1), PORT, { text: "anew", timeoutMs: 2500 });
    assert.ok(!answered && !node.received().some(({ text }) => text === "anew"), "nobody opens anything");
    for (const one of [silent, silent6]) assert.ok(await one.send("after"));
    await goesOn("talk");
    const { sent, answered: heardOf } = await talk.stop();
    assert.deepEqual([sent > 3, heardOf], [true, sent]);
    await lab.node(1).ask({ do: "clear", map: "flows" });
    assert.ok(!(await silent.send("forgotten")));
    await lab.hostPolicy(1, undefined);
    assert.ok(await silent6.send("open again"), "and nothing is judged any more once the rules are gone");
  } finally {
    await talk.stop();
    silent.close();
    silent6.close();
  }
});

test("a session that earlier rules allowed, and nobody judges any more, is open when other rules come", { timeout: 180_000 }, async () => {
  await lab.hostPolicy(1, { ingress: [{ protocol: 6, port: STREAMS, rule: 75 }] });
  const session = lab.connect(OUTSIDE, underlay(1), STREAMS);
  try {
    assert.ok(await session.send("allowed"));
    await lab.hostPolicy(1, undefined);
    await lab.hostPolicy(1, "learning");
    assert.ok(await lab.node(1).ask<number>({ do: "remember", own: [underlay(1), underlay6(1)] }) >= 1);
    await lab.hostPolicy(1, { ingress: [] });
    assert.ok(await session.send("goes on"));
  } finally {
    session.close();
  }
});

test("a process of the node that marks its packets as ours is judged all the same", { timeout: 180_000 }, async () => {
  const outside = await lab.site(OUTSIDE).serve(PORT);
  const tries = async (text: string): Promise<boolean> => {
    await lab.site(N1).ask("udp", underlay(9), PORT, { text, timeoutMs: 2500 });
    return outside.received().some((line) => line.text === text);
  };
  try {
    for (const mark of ["0x300", "0x400", "0x500"]) {
      nft(N1, `add table inet marks
        delete table inet marks
        table inet marks {
          chain out {
            type route hook output priority mangle
            ip daddr ${underlay(9)} meta mark set ${mark}
          }
        }
`);
      await lab.hostPolicy(1, undefined);
      assert.ok(await tries(`open ${mark}`));
      await lab.hostPolicy(1, { egress: [] });
      assert.ok(!(await tries(`closed ${mark}`)), mark);
    }
  } finally {
    outside.close();
    nft(N1, "add table inet marks\ndelete table inet marks\n");
  }
});
