/**
 * The compiler against the language: a naive evaluator, written from the words of the language alone and sharing no
 * code with the compiler, must give the verdict that a lookup in the compiled state gives.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Validator } from "../../../src/api/index.ts";
import { compileNode, selects } from "../../../src/compile/index.ts";
import type { Direction, NodeState } from "../../../src/compile/index.ts";
import { identityLabels } from "../../../src/model/index.ts";
import type { Labels, PolicyRow, Snapshot } from "../../../src/model/index.ts";

interface Workload {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}
type Peer = Workload | "world" | "host";
interface Packet {
  readonly direction: Direction;
  readonly peer: Peer;
  readonly protocol: "TCP" | "UDP" | "ICMP";
  readonly port: number;
}
interface Expression {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values?: string[];
}
interface Selector {
  readonly matchLabels?: Record<string, string>;
  readonly matchExpressions?: Expression[];
}

// ------------------------------------------------------------------ the language, read naively

const NAMESPACES: Readonly<Record<string, Readonly<Record<string, string>>>> = { red: { team: "a" }, blue: { team: "b" } };

function labelOf(pod: Workload, key: string): string | undefined {
  const name = key.replace(/^(k8s|any):/, "");
  if (name === "io.kubernetes.pod.namespace") return pod.namespace;
  if (name.startsWith("io.cilium.k8s.namespace.labels.")) return NAMESPACES[pod.namespace]?.[name.slice("io.cilium.k8s.namespace.labels.".length)];
  return Object.hasOwn(pod.labels, name) ? pod.labels[name] : undefined;
}

function holds({ key, operator, values = [] }: Expression, pod: Workload): boolean {
  const value = labelOf(pod, key);
  if (operator === "Exists") return value !== undefined;
  if (operator === "DoesNotExist") return value === undefined;
  const listed = value !== undefined && values.includes(value);
  return operator === "In" ? listed : !listed;
}

function matches(selector: Selector, pod: Workload, namespace: string): boolean {
  const keys = [...Object.keys(selector.matchLabels ?? {}), ...(selector.matchExpressions ?? []).map(({ key }) => key)].map((key) => key.replace(/^(k8s|any):/, ""));
  const namesNamespaces = keys.some((key) => key === "io.kubernetes.pod.namespace" || key.startsWith("io.cilium.k8s.namespace.labels."));
  if (!namesNamespaces && pod.namespace !== namespace) return false;
  if (!Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labelOf(pod, key) === value)) return false;
  return (selector.matchExpressions ?? []).every((expression) => holds(expression, pod));
}

function naive(policies: readonly PolicyRow[], subject: Workload, packet: Packet): boolean {
  const selecting = policies.filter((row) => row.namespace === subject.namespace && matches(row.spec.endpointSelector as Selector, subject, row.namespace));
  const sections = selecting.filter((row) => row.spec[packet.direction] !== undefined);
  if (sections.length === 0) return true;
  return sections.some((row) => {
    const items = packet.direction === "ingress" ? row.spec.ingress?.map((item) => [item.fromEndpoints, item.toPorts] as const) : row.spec.egress?.map((item) => [item.toEndpoints, item.toPorts] as const);
    return (items ?? []).some(([peers, toPorts]) => {
      if (peers === undefined && toPorts === undefined) return false;
      const { peer } = packet;
      const peerFits = peers === undefined || (typeof peer !== "string" && peers.some((selector) => matches(selector as Selector, peer, row.namespace)));
      const portFits =
        toPorts === undefined ||
        (packet.protocol !== "ICMP" && toPorts.some(({ ports }) => ports.some(({ port, protocol }) => port === String(packet.port) && (protocol === undefined || protocol === "ANY" || protocol === packet.protocol))));
      return peerFits && portFits;
    });
  });
}

// ------------------------------------------------------------------ the compiled state, looked up

const PROTOCOLS = { TCP: 6, UDP: 17, ICMP: 1 };
const HOST: Labels = new Map([["reserved:host", ""]]);

function lookup(state: NodeState, subject: number, packet: Packet, peerLabels: Labels | undefined): boolean {
  const set = state.ruleSets.get(state.subjects.get(subject) ?? "");
  assert.ok(set, "every subject has a rule set");
  if ((packet.direction === "ingress" ? set.ingressDefault : set.egressDefault) === undefined) return true;
  return set.rules.some((rule) => {
    if (rule.direction !== packet.direction || rule.verdict !== "allow") return false;
    assert.ok(state.ruleNames.has(rule.id));
    if (rule.peer !== undefined) {
      const selector = state.selectors.get(rule.peer);
      assert.ok(selector?.kind === "labels", "every selector that a rule names is there");
      if (peerLabels === undefined || !selects(selector, peerLabels)) return false;
    }
    return rule.ports.some((match) => {
      assert.ok(!("name" in match));
      const { protocol, port, prefix } = match;
      const mask = (0xffff << (16 - prefix)) & 0xffff;
      return (protocol === 0 || protocol === PROTOCOLS[packet.protocol]) && (port & mask) === (packet.port & mask);
    });
  });
}

// ------------------------------------------------------------------ random worlds

const keys = ["app", "tier", "constructor", "toString", "host"];
const values = ["a", "b", ""];
const namespaces = Object.keys(NAMESPACES);
const dictionary = (key: fc.Arbitrary<string>): fc.Arbitrary<Record<string, string>> => fc.dictionary(key, fc.constantFrom(...values), { maxKeys: 3 });
const podLabels = dictionary(fc.constantFrom(...keys));
const workload: fc.Arbitrary<Workload> = fc.record({ namespace: fc.constantFrom(...namespaces), labels: podLabels });
const ownKey = fc.tuple(fc.constantFrom("", "k8s:", "any:"), fc.constantFrom(...keys)).map(([source, key]) => source + key);
const peerKey = fc.oneof({ weight: 4, arbitrary: ownKey }, { weight: 1, arbitrary: fc.constantFrom("k8s:io.cilium.k8s.namespace.labels.team") });
const expression = (key: fc.Arbitrary<string>): fc.Arbitrary<Expression> =>
  fc.oneof(
    fc.record({ key, operator: fc.constantFrom("In" as const, "NotIn" as const), values: fc.array(fc.constantFrom(...values), { minLength: 1, maxLength: 2 }) }),
    fc.record({ key, operator: fc.constantFrom("Exists" as const, "DoesNotExist" as const) }),
  );
const namespaceChoice = fc.oneof(
  fc.record({ matchLabels: fc.record({ "k8s:io.kubernetes.pod.namespace": fc.constantFrom(...namespaces) }) }),
  fc.record({ matchExpressions: fc.constantFrom<Expression[][]>([{ key: "io.kubernetes.pod.namespace", operator: "Exists" }], [{ key: "k8s:io.kubernetes.pod.namespace", operator: "NotIn", values: ["red"] }])}),
);
const selector = (key: fc.Arbitrary<string>): fc.Arbitrary<Selector> =>
  fc.record({ matchLabels: dictionary(key), matchExpressions: fc.array(expression(key), { maxLength: 1 }) }, { requiredKeys: [] });
const peer: fc.Arbitrary<Selector> = fc.oneof({ weight: 3, arbitrary: selector(peerKey) }, { weight: 1, arbitrary: namespaceChoice });
const ports = fc.array(fc.record({ ports: fc.array(fc.record({ port: fc.constantFrom("80", "53"), protocol: fc.constantFrom("TCP", "UDP", "ANY") }, { requiredKeys: ["port"] }), { minLength: 1, maxLength: 2 }) }), { minLength: 1, maxLength: 2 });
const item = (field: string) => fc.record({ [field]: fc.array(peer, { maxLength: 2 }), toPorts: ports }, { requiredKeys: [] });
const spec = fc
  .record({ endpointSelector: selector(ownKey), ingress: fc.array(item("fromEndpoints"), { maxLength: 2 }), egress: fc.array(item("toEndpoints"), { maxLength: 2 }) }, { requiredKeys: ["endpointSelector"] })
  .filter((candidate) => candidate.ingress !== undefined || candidate.egress !== undefined);
const policies = fc
  .array(fc.record({ namespace: fc.constantFrom(...namespaces), spec }), { maxLength: 4 })
  .map((list) => list.map(({ namespace, spec: body }, index) => ({ namespace, name: `p${index}`, uid: `uid-${index}`, generation: 1, spec: body }) as unknown as PolicyRow));
const packet: fc.Arbitrary<Packet> = fc.record({
  direction: fc.constantFrom("ingress" as const, "egress" as const),
  peer: fc.oneof({ weight: 6, arbitrary: workload as fc.Arbitrary<Peer> }, { weight: 1, arbitrary: fc.constantFrom<Peer>("world", "host") }),
  protocol: fc.constantFrom("TCP" as const, "UDP" as const, "ICMP" as const),
  port: fc.constantFrom(80, 53, 8080),
});

function labelsOfWorkload({ namespace, labels }: Workload): Labels {
  return identityLabels({ metadata: { name: "pod", namespace, labels } }, { metadata: { name: namespace, labels: NAMESPACES[namespace] ?? {} } });
}

test("the compiled state judges every packet as the language says", () => {
  const validator = new Validator();
  let allowed = 0;
  let denied = 0;
  fc.assert(
    fc.property(policies, workload, fc.array(packet, { minLength: 4, maxLength: 12 }), (rows, subject, packets) => {
      for (const row of rows) assert.deepEqual(validator.policy({ metadata: { name: row.name, namespace: row.namespace }, spec: row.spec }), []);
      const snapshot: Snapshot = {
        identities: new Map([[256, labelsOfWorkload(subject)]]),
        policies: Map.groupBy(rows, (row) => row.namespace),
        subjects: new Map([["node", new Set([256])]]),
      };
      const state = compileNode(snapshot, "node", { mode: "tunnel", tunnelPort: 8472, masquerade: true });
      for (const one of packets) {
        const peerLabels = one.peer === "world" ? undefined : one.peer === "host" ? HOST : labelsOfWorkload(one.peer);
        const expected = naive(rows, subject, one);
        assert.equal(lookup(state, 256, one, peerLabels), expected, JSON.stringify({ rows, subject, one }));
        if (expected) allowed++;
        else denied++;
      }
    }),
    { numRuns: 5000 },
  );
  assert.ok(allowed > 5000 && denied > 5000, `the worlds exercise both verdicts: ${allowed} allowed, ${denied} denied`);
});
