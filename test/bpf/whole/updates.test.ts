/** At every instant each packet is judged by the old rules or by the new ones, never by a mix: asked of the programs while the agent's code writes. */
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, test } from "node:test";
import { setImmediate } from "node:timers/promises";
import type { CidrPeers, Rule, RuleSet } from "../../../src/compile/state.ts";
import { portRange } from "../../../src/compile/ports.ts";
import { Verdict } from "../../../src/kernel/gen/types.ts";
import { expandRuleSet } from "../../../src/targets/expand.ts";
import type { Expanded } from "../../../src/targets/expand.ts";
import { PolicyTarget } from "../../../src/targets/policy.ts";
import type { ResolvedSelectors } from "../../../src/targets/resolve.ts";
import { tcpFrame } from "../lib/frames.ts";
import { Protocol, Tcp } from "../lib/packet.ts";
import { Action } from "../lib/rows.ts";
import { DEFAULT_EGRESS, DEFAULT_INGRESS, LOOPBACK, World, a, b } from "../lib/world.ts";
import type { Pod } from "../lib/world.ts";
import type { Orders, Probe, Report } from "./prober.ts";

const UPDATES = 1000;
const LEAST_PACKETS = 20_000;
const LIMIT_MS = 120_000;
/** Rule sets stay for half a second after their last reader may have begun. */
const world = new World({ flows: 1 << 18, sizes: { policy: 1 << 19, blocks: 1 << 14 }, options: { config_flow_quota_step_ns: 0n } });
after(() => world.close());

type Direction = "ingress" | "egress";
/** Open in every version; closed in every version by the receiver; closed in every version by the sender. */
const [OPEN, BY_RECEIVER, BY_SENDER] = [80, 81, 82];
const FILLERS = 3000;

const tcp = (port: number): Rule["ports"] => [{ protocol: Protocol.TCP, port, prefix: 16 }];
const everything: Rule["ports"] = [{ protocol: 0, port: 0, prefix: 0 }];
const DEFAULTS = { ingress: DEFAULT_INGRESS, egress: DEFAULT_EGRESS } as const;

/** Ways to say one thing: `open` and `alsoOpen` are, `closed` is not. Any two of them mixed say another. */
function forms(closed: number, alsoOpen: number): readonly (readonly Omit<Rule, "direction" | "id">[])[] {
  return [
    [{ peer: undefined, ports: portRange(Protocol.TCP, OPEN, 95), verdict: "allow", precedence: 1000 }, { peer: "s", ports: tcp(closed), verdict: "deny", precedence: 2000 }],
    [{ peer: "s", ports: tcp(OPEN), verdict: "allow", precedence: 1000 }, { peer: "s", ports: tcp(alsoOpen), verdict: "allow", precedence: 1000 }],
    [
      { tier: "admin", peer: "c", ports: [...tcp(OPEN), ...tcp(alsoOpen)], verdict: "allow", precedence: 3 },
      { tier: "admin", peer: undefined, ports: tcp(closed), verdict: "deny", precedence: 2 },
      { peer: undefined, ports: everything, verdict: "allow", precedence: 1000 },
    ],
    [{ peer: "c", ports: tcp(closed), verdict: "deny", precedence: 2000 }, { peer: undefined, ports: everything, verdict: "allow", precedence: 100 }],
    [{ tier: "admin", peer: "s", ports: everything, verdict: "pass", precedence: 5 }, { tier: "admin", peer: undefined, ports: everything, verdict: "deny", precedence: 4 }, { peer: "c", ports: [...tcp(OPEN), ...tcp(alsoOpen)], verdict: "allow", precedence: 1000 }],
  ];
}

/** In every fifth round two keys come and nothing else changes; in the others a hundred come and go. */
function version(round: number, direction: Direction, peer: Pod): Expanded {
  const all = direction === "ingress" ? forms(BY_RECEIVER, BY_SENDER) : forms(BY_SENDER, BY_RECEIVER);
  const step = Math.floor(round / 5);
  const form = round % 5 === 4 ? round - 1 : round;
  const rules = (all[(form * 3) % all.length] ?? assert.fail()).map((rule, index): Rule => ({ ...rule, direction, id: index + 1 }));
  const filler: Rule = { id: 99, direction, peer: "f", ports: [...tcp(1000 + (step % 50)), ...tcp(2000 + (step % 30))], verdict: "allow", precedence: 1000 };
  const set: RuleSet = { ingressDefault: direction === "ingress" ? DEFAULTS.ingress : undefined, egressDefault: direction === "egress" ? DEFAULTS.egress : undefined, rules: [...rules, filler] };
  const block: CidrPeers = { kind: "cidrs", blocks: [{ cidr: `${peer.ipv4}/32`, except: [] }, { cidr: `${peer.ipv6}/128`, except: [] }], scopes: ["pods"] };
  const selectors: ResolvedSelectors = new Map<string, ReadonlySet<number> | CidrPeers>([["s", new Set([peer.identity])], ["c", block], ["f", new Set(Array.from({ length: 40 + (round % 25) }, (_, index) => FILLERS + index))]]);
  return expandRuleSet(set, selectors);
}

const probes: readonly Probe[] = [[a.ipv4, b.ipv4, 34], [a.ipv6, b.ipv6, 54]].flatMap(([from, to, sourcePortAt]) =>
  [[OPEN, Action.REDIRECT], [BY_RECEIVER, Action.SHOT], [BY_SENDER, Action.SHOT]].map(([dport = 0, verdict = 0]) => ({
    words: `${from} to ${to} port ${dport}`, verdict, sourcePortAt: Number(sourcePortAt),
    frame: Buffer.from(tcpFrame(Tcp.SYN, { from: String(from), to: String(to), dport, pod: a })).toString("base64"),
  })),
);

class Prober {
  readonly #child: ChildProcess;
  latest: Report = { judged: 0, wrong: 0, firstWrong: undefined };

  constructor() {
    world.run("from_container", tcpFrame(Tcp.SYN, { from: a.ipv4, to: b.ipv4, dport: BY_RECEIVER, pod: a }), { at: a, quiet: true }); // from here on the loopback device is a's
    this.#child = fork(join(import.meta.dirname, "prober.ts"), { stdio: ["inherit", "inherit", "inherit", "ipc", world.program("from_container").fd] });
    this.#child.on("message", (report) => (this.latest = report as Report));
    const orders: Orders = { probes, ifindex: LOOPBACK };
    this.#child.send({ ...orders });
  }

  /** Resolves when it has told of more packets. */
  async more(): Promise<void> {
    await once(this.#child, "message");
  }

  async end(): Promise<Report> {
    const ended = once(this.#child, "exit");
    this.#child.kill();
    await ended;
    return this.latest;
  }
}

/** Writes until there were so many updates, and so many packets between them. */
async function during(prober: Prober, update: (round: number) => void): Promise<{ readonly updates: number; readonly report: Report }> {
  await prober.more();
  const [before, startedMs] = [prober.latest.judged, performance.now()];
  let updates = 0;
  while ((updates < UPDATES || prober.latest.judged - before < LEAST_PACKETS) && performance.now() - startedMs < LIMIT_MS) {
    update(updates++);
    await setImmediate();
  }
  const report = await prober.end();
  return { updates, report: { ...report, judged: report.judged - before } };
}

test("a thousand updates of many keys: no packet meets a mix of two versions", { timeout: 2 * LIMIT_MS }, async (context) => {
  world.reset();
  world.clear("subjects");
  const target = new PolicyTarget({ subjects: world.map("subjects"), policy: world.map("policy"), blocks: world.map("blocks") }, 1, () => performance.now());
  target.recover();
  const write = (round: number): void => {
    const ruleSets = new Map([["out", version(round, "egress", b)], ["in", version(round, "ingress", a)]]);
    const { slots, failures } = target.apply({ subjects: new Map([[a.identity, "out"], [b.identity, "in"]]), ruleSets, isComplete: true });
    assert.deepEqual(failures, []);
    if (round === 0) for (const pod of [a, b]) world.endpoint(pod, { subject: slots.get(pod.identity) ?? assert.fail("no slot") });
  };
  write(0);
  const { updates, report } = await during(new Prober(), (round) => write(round + 1));
  context.diagnostic(`${updates} updates, ${report.judged} packets meanwhile`);
  assert.ok(updates >= UPDATES && report.judged >= LEAST_PACKETS, `${updates} updates, ${report.judged} packets`);
  assert.equal(report.wrong, 0, report.firstWrong);
});

test("and the probe sees a change that is written key by key", { timeout: 2 * LIMIT_MS }, async () => {
  world.reset();
  const rules = (round: number) => (round % 2 === 0 ? [{ peer: a.identity, protocol: Protocol.TCP, port: OPEN, rule: 1 }] : [{ protocol: Protocol.TCP, port: OPEN, prefix: 12, rule: 2 }, { protocol: Protocol.TCP, port: BY_RECEIVER, verdict: Verdict.DENY, precedence: 2, rule: 3 }, { protocol: Protocol.TCP, port: BY_SENDER, verdict: Verdict.DENY, precedence: 2, rule: 4 }]);
  world.ingress(b, rules(0));
  const { report } = await during(new Prober(), (round) => world.ingress(b, rules(round + 1)));
  assert.ok(report.wrong > 0, `${report.judged} packets, none between the keys`);
});
