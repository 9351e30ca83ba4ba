/** The engine of explanations against the naive reading of the languages, and forecasts against judging every pair. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CidrSet } from "../../../src/lib/cidr-set.ts";
import fc from "fast-check";
import { Validator } from "../../../src/api/index.ts";
import type { KubeObject } from "../../../src/api/meta.ts";
import { Engine, denialsOf, policyWarnings, shadowWarnings, simulate, withPolicies, worldOf } from "../../../src/explain/index.ts";
import type { Party, Sourced, World } from "../../../src/explain/index.ts";
import { verdictOf } from "../../../src/explain/simulate.ts";
import { GROUPS, NAMESPACES, NODES, SERVICES } from "../compile/oracle/language.ts";
import { naive, naiveOfAll } from "../compile/oracle/tiers.ts";
import type { Packet, Policy, Workload } from "../compile/oracle/language.ts";
import { packet, policies, rowsOf, workload } from "../compile/oracle/worlds.ts";

const OPTIONS = { validator: new Validator(), live: false };
const POLICY = { policy: { cidrMatchMode: new Set<never>() } };
const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1, ICMPv6: 58, GRE: 47 } as const;

const plain = (object: unknown): KubeObject => JSON.parse(JSON.stringify(object)) as KubeObject;

function podObject(name: string, { namespace, labels, named }: Workload, ip?: string): Sourced {
  const ports = named.map(({ name: called, protocol, port }) => ({ name: called, protocol, containerPort: port }));
  return { object: plain({ kind: "Pod", metadata: { name, namespace, labels }, spec: { nodeName: "own", containers: ports.map((port) => ({ ports: [port] })) }, ...(ip === undefined ? {} : { status: { podIP: ip } }) }) };
}

const SURROUNDINGS: readonly Sourced[] = [
  ...Object.entries(NAMESPACES).map(([name, labels]) => ({ object: plain({ kind: "Namespace", metadata: { name, labels } }) })),
  ...Object.entries(NODES).map(([name, { labels, addresses }]) => ({ object: plain({ kind: "Node", metadata: { name, labels }, status: { addresses: addresses.map((address) => ({ type: "InternalIP", address })) } }) })),
  ...Object.entries(SERVICES).flatMap(([namespace, services]) => Object.entries(services).flatMap(([name, { labels, selector, addresses = [] }]) => [
    { object: plain({ kind: "Service", metadata: { namespace, name, labels }, spec: { selector } }) },
    { object: plain({ kind: "EndpointSlice", metadata: { namespace, name: `${name}-1`, labels: { "kubernetes.io/service-name": name } }, endpoints: addresses.map((address) => ({ addresses: [address] })) }) },
  ])),
  ...Object.entries(GROUPS).map(([name, { labels, cidrs }]) => ({ object: plain({ kind: "CiliumCIDRGroup", metadata: { name, labels }, spec: { externalCIDRs: cidrs } }) })),
];

function policyObjects(list: readonly Policy[], prefix = "p"): Sourced[] {
  return list.map(({ kind, namespace, enforcement, ...content }, index) => ({
    object: plain({ kind, metadata: { name: `${prefix}${index}`, ...(namespace === "" ? {} : { namespace }), ...(enforcement === undefined ? {} : { annotations: { "cilium.io/enforcement": enforcement } }) }, ...content }),
  }));
}

function partyOf(world: World, one: Packet): Party {
  if (one.peer.kind === "pod") return { kind: "pod", workload: world.workloads[1] ?? assert.fail() };
  if (one.peer.kind === "world") return { kind: "address", address: one.address, unknown: false };
  const node = { name: one.peer.kind === "host" ? "own" : "another", addresses: [one.address], internalIps: [one.address], podCidrs: [] };
  return { kind: "node", node, address: one.address };
}

test("the engine judges every packet as the languages say", () => {
  const counts = { allow: 0, deny: 0, audit: 0 };
  fc.assert(
    fc.property(policies, workload, fc.array(packet, { minLength: 4, maxLength: 8 }), (list, subject, packets) => {
      for (const one of packets) {
        const peer = one.peer.kind === "pod" ? [podObject("peer", one.peer, one.address)] : [];
        const world = worldOf([podObject("subject", subject), ...peer, ...SURROUNDINGS, ...policyObjects(list)], OPTIONS);
        const own = world.workloads[0] ?? assert.fail();
        const judged = new Engine(world, POLICY).judge(one.direction, own, partyOf(world, one), { protocol: PROTOCOLS[one.protocol], port: one.port });
        const expected = !naive(list, subject, one).allowed ? "deny" : naiveOfAll(list, subject, one).allowed ? "allow" : "audit";
        assert.equal(judged.verdict, expected, JSON.stringify({ list, subject, one }));
        if (judged.by !== "nothing") assert.ok(judged.subject.names.has(judged.rule), "the rule has its words");
        counts[expected]++;
      }
    }),
    { numRuns: 500 },
  );
  assert.ok(counts.allow > 300 && counts.deny > 300 && counts.audit > 50, `all verdicts occur: ${JSON.stringify(counts)}`);
});

/** Numbers on either side of everything that the random policies name. */
const PORTS = [[6, 1], [6, 52], [6, 53], [6, 54], [6, 79], [6, 80], [6, 81], [6, 8080], [6, 8081], [6, 65535], [17, 53], [17, 80], [132, 80], [1, 0], [1, 8], [1, 9], [58, 128], [58, 129], [58, 1], [255, 0]] as const;
const NAMES: Readonly<Record<number, string>> = { 6: "TCP", 17: "UDP", 132: "SCTP", 1: "ICMPv4", 58: "ICMPv6" };

function says(ports: readonly string[], all: ReadonlySet<string>, protocol: number, port: number): boolean {
  return ports.some((text) => {
    if (text === "any") return true;
    const [name = "", ...rest] = text.replace("type ", "").split(" ");
    if (text === "other protocols") return !all.has(NAMES[protocol] ?? "");
    if (name !== NAMES[protocol]) return false;
    const [first = "0", last = first] = (rest[0] ?? "0-65535").split("-");
    return port >= Number(first) && port <= Number(last);
  });
}

test("a forecast names exactly the pairs and ports whose verdict changes", () => {
  let changes = 0;
  fc.assert(
    fc.property(policies, policies, fc.array(workload, { minLength: 2, maxLength: 4 }), (old, fresh, pods) => {
      const world = worldOf([...pods.map((pod, index) => podObject(`pod${index}`, pod, `10.1.2.${index + 1}`)), ...SURROUNDINGS, ...policyObjects(old, "old")], OPTIONS);
      const next = withPolicies(world, policyObjects(fresh, "new"), ({ metadata }) => metadata.name === "old0", OPTIONS.validator);
      const engines = { before: new Engine(world, POLICY), after: new Engine(next, POLICY) };
      const { pairs, unjudged } = simulate(engines);
      assert.equal(unjudged, 0);
      // Protocols that no row of the pair tells apart are in its "other protocols".
      const groups = Map.groupBy(world.workloads.keys(), (index) => JSON.stringify([[...(world.workloads[index]?.labels ?? [])], [...(next.workloads[index]?.labels ?? [])], world.workloads[index]?.ports]));
      const nameOf = (index: number): string => {
        const [first = index] = [...groups.values()].find((group) => group.includes(index)) ?? [];
        return `${world.workloads[first]?.namespace}/${world.workloads[first]?.name}`;
      };
      for (const [from] of world.workloads.entries()) {
        for (const [to] of world.workloads.entries()) {
          const rows = pairs.filter((pair) => pair.from.name === nameOf(from) && pair.to.name === nameOf(to));
          for (const [protocol, port] of PORTS) {
            const [was, is] = (["before", "after"] as const).map((when) => {
              const party = (index: number): Party => ({ kind: "pod", workload: engines[when].world.workloads[index] ?? assert.fail() });
              return verdictOf(engines[when], party(from), party(to), { protocol, port }).passes;
            });
            const told = rows.filter(({ ports }) => says(ports, new Set(), protocol, port) && !ports.includes("other protocols"));
            const isOther = rows.some(({ ports }) => ports.includes("other protocols"));
            if (was === is) assert.ok(told.length === 0, JSON.stringify({ old, fresh, pods, from, to, protocol, port, rows }));
            else assert.ok(told.length === 1 || isOther, JSON.stringify({ old, fresh, pods, from, to, protocol, port, rows }));
            if (was !== is) changes++;
          }
        }
      }
    }),
    { numRuns: 150 },
  );
  assert.ok(changes > 200, `changes occur: ${changes}`);
});

test("what is said to be shadowed by a denial never decides", () => {
  let warned = 0;
  fc.assert(
    fc.property(policies, workload, fc.array(packet, { minLength: 10, maxLength: 20 }), (list, subject, packets) => {
      const rows = rowsOf(list);
      rows.forEach((row, index) => {
        const around = rows.filter(({ namespace }) => namespace === row.namespace || namespace === "");
        for (const { reason, path } of [...policyWarnings(row, { pods: new CidrSet([]) }), ...shadowWarnings(row, [denialsOf(around)])]) {
          if (reason !== "ShadowedByDeny") continue;
          const [spec = "", item = ""] = /^(specs?(?:\[\d+\])?)\.([a-zA-Z]+\[\d+\])(?:\.toPorts\[0\]|\.icmps\[0\])?$/.exec(path)?.slice(1) ?? [];
          if (item === "" || /Deny/.test(item)) continue;
          const without = withoutItem(list, index, spec, item);
          if (without === undefined) continue;
          warned++;
          for (const one of packets) assert.equal(naive(list, subject, one).allowed, naive(without, subject, one).allowed, JSON.stringify({ list, path, reason, one }));
        }
      });
    }),
    { numRuns: 2500 },
  );
  assert.ok(warned > 20, `warnings occur: ${warned}`);
});

/** Only an item with one entry of ports: the path of others names a part of the item. */
function withoutItem(list: readonly Policy[], index: number, spec: string, item: string): Policy[] | undefined {
  const copy = JSON.parse(JSON.stringify(list)) as Policy[];
  const at = /^specs\[(\d+)\]$/.exec(spec)?.[1];
  const section = /^([a-zA-Z]+)\[(\d+)\]$/.exec(item);
  const holder = (at === undefined ? copy[index]?.spec : copy[index]?.specs?.[Number(at)]) as Record<string, { toPorts?: unknown[]; icmps?: unknown[] }[]> | undefined;
  const items = holder?.[section?.[1] ?? ""];
  const found = items?.[Number(section?.[2])];
  if (items === undefined || found === undefined || (found.toPorts?.length ?? 1) !== 1) return undefined;
  items.splice(Number(section?.[2]), 1);
  return copy;
}
