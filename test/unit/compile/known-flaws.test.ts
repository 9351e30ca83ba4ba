/**
 * Flaws in what policy means that other engines had, each by its number in the CVE list: what went wrong there is asked of
 * this engine. test/unit/repository/flaws.test.ts sees to it that none of them is missing.
 */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { Validator } from "../../../src/api/index.ts";
import type { CiliumNetworkPolicy } from "../../../src/api/index.ts";
import { CLUSTER_LABEL } from "../../../src/model/labels.ts";
import { compileNode, readRouting } from "../../../src/compile/index.ts";
import type { NodeState } from "../../../src/compile/index.ts";
import { canonicalJson } from "../../../src/lib/hash.ts";
import { lastValid } from "../../../src/model/index.ts";
import type { Labels } from "../../../src/model/index.ts";
import { compileFor } from "./oracle/compare.ts";
import type { Packet, Peer, Policy, Workload } from "./oracle/language.ts";
import { labelsOfWorkload, lookup } from "./oracle/lookup.ts";
import { policies, rowsOf, workload } from "./oracle/worlds.ts";

const SUBJECT = 256;
const subject: Workload = { kind: "pod", namespace: "red", labels: { app: "a" }, named: [] };
const WORLD: Peer = { kind: "world" };
const pod = (namespace: string, labels: Record<string, string> = {}): Workload => ({ kind: "pod", namespace, labels, named: [] });
const cnp = (spec: object, namespace = "red"): Policy => ({ kind: "CiliumNetworkPolicy", namespace, spec: { endpointSelector: {}, ...spec } });
const np = (spec: object, namespace = "red"): Policy => ({ kind: "NetworkPolicy", namespace, spec: { podSelector: {}, ...spec } });
const packet = (direction: "ingress" | "egress", peer: Peer, address = "10.1.2.3", port = 80): Packet => ({ direction, peer, address, protocol: "TCP", port });
const passes = (list: readonly Policy[], one: Packet, of = subject): boolean => lookup(compileFor(list, SUBJECT, of), SUBJECT, of, one).allowed;
const ports = (port: string, endPort?: number): object => ({ ports: [{ port, protocol: "TCP", ...(endPort === undefined ? {} : { endPort }) }] });

describe("CVE-2024-47825: a denial of a block of addresses was defeated by an allow of a narrower one", () => {
  const narrower: readonly (readonly [words: string, policy: Policy])[] = [
    ["one address", cnp({ egress: [{ toCIDR: ["10.1.2.3"] }] })],
    ["a set with an exception", cnp({ egress: [{ toCIDRSet: [{ cidr: "10.1.0.0/16", except: ["10.1.3.0/24"] }] }] })],
    ["a group", cnp({ egress: [{ toCIDRSet: [{ cidrGroupRef: "offices" }] }] })],
    ["one port of one address", cnp({ egress: [{ toCIDR: ["10.1.2.3/32"], toPorts: [ports("80")] }] })],
    ["an entity", cnp({ egress: [{ toEntities: ["world"] }] })],
    ["an ipBlock", np({ policyTypes: ["Egress"], egress: [{ to: [{ ipBlock: { cidr: "10.1.2.3/32" } }] }] })],
    ["an address of the other family", cnp({ egress: [{ toCIDR: ["2001:db8::1"] }] })],
  ];
  const denials: readonly object[] = [{ toCIDR: ["10.0.0.0/8", "2001:db8::/32"] }, { toCIDRSet: [{ cidr: "0.0.0.0/0" }, { cidr: "::/0" }] }, { toEntities: ["world"] }, { toCIDR: ["10.0.0.0/8", "2001:db8::/32"], toPorts: [ports("1", 65_535)] }];
  for (const [words, allow] of narrower) {
    test(`CVE-2024-47825: ${words}`, () => {
      for (const denied of denials) {
        const deny = cnp({ egressDeny: [denied], enableDefaultDeny: { egress: false } });
        for (const address of ["10.1.2.3", "2001:db8::1"]) {
          for (const list of [[allow, deny], [deny, allow]]) assert.equal(passes(list, packet("egress", WORLD, address)), false, `${address} ${JSON.stringify(denied)}`);
        }
      }
    });
  }

  test("CVE-2024-47825: what the exception of a denial leaves out stays open", () => {
    const list = [cnp({ egressDeny: [{ toCIDRSet: [{ cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] }] }] }), cnp({ egress: [{ toCIDR: ["10.0.0.0/8"] }] })];
    assert.deepEqual(["10.1.2.3", "10.2.0.1"].map((address) => passes(list, packet("egress", WORLD, address))), [true, false]);
  });
});

describe("CVE-2025-64715: an empty list of blocks was left out when it was stored, and everybody was allowed", () => {
  const EMPTY: readonly object[] = [{ toCIDRSet: [] }, { toCIDR: [] }, { toEndpoints: [] }, { toEntities: [] }, { toCIDRSet: [{ cidrGroupRef: "nobody" }] }, { toCIDRSet: [{ cidrGroupRef: "absent" }] }];
  for (const item of EMPTY) {
    test(`CVE-2025-64715: ${JSON.stringify(item)}`, () => {
      for (const rest of [{}, { toPorts: [ports("80")] }]) {
        const stored = restored({ endpointSelector: {}, egress: [{ ...item, ...rest }] });
        for (const [peer, address] of [[WORLD, "192.0.2.1"], [WORLD, "2001:4860::8"], [pod("red"), "10.1.2.3"], [{ kind: "host" }, "10.1.2.3"]] as const) {
          assert.equal(passes([cnp(stored)], packet("egress", peer, address)), false, `${peer.kind} ${address}`);
        }
      }
    });
  }

  /** As the operator writes a policy's last valid version into its status, and reads it again. */
  function restored(spec: object): object {
    const object = { kind: "CiliumNetworkPolicy", metadata: { name: "p", namespace: "red", uid: "u", generation: 2 }, spec: {}, status: { lastValid: { generation: 1, spec: canonicalJson(spec) } } };
    const row = lastValid("CiliumNetworkPolicy", JSON.parse(JSON.stringify(object)) as CiliumNetworkPolicy, new Validator()) as { readonly spec?: object } | undefined;
    assert.deepEqual(row?.spec, spec);
    return row?.spec ?? {};
  }
});

describe("CVE-2026-56743: with a cluster name of its own, a rule of address blocks meant every namespace", () => {
  const block = { ipBlock: { cidr: "198.51.100.0/24" } };
  const list = [np({ policyTypes: ["Ingress", "Egress"], ingress: [{ from: [block] }], egress: [{ to: [block] }] }), np({ policyTypes: ["Ingress"], ingress: [{ from: [block, { podSelector: { matchLabels: { app: "friend" } } }] }] })];

  test("CVE-2026-56743: blocks mean addresses, and no pod of any namespace by its labels", () => {
    for (const direction of ["ingress", "egress"] as const) {
      for (const namespace of ["red", "blue", "green"]) assert.equal(passes(list, packet(direction, pod(namespace), "10.1.2.3")), false, `${direction} ${namespace}`);
      assert.equal(passes(list, packet(direction, WORLD, "198.51.100.7")), true);
    }
    assert.deepEqual(["red", "blue"].map((namespace) => passes(list, packet("ingress", pod(namespace, { app: "friend" })))), [true, false], "beside a block the selector keeps its namespace");
  });

  test("CVE-2026-56743: whatever the cluster is called, each selector means what it meant", () => {
    const states = ["default", "east-7", ""].map((cluster) => {
      const named = (labels: Labels): Labels => new Map([...labels].map(([key, value]) => [key, key === CLUSTER_LABEL ? cluster : value]));
      const snapshot = { identities: new Map([[SUBJECT, named(labelsOfWorkload(subject))]]), policies: new Map([["red", rowsOf(list)]]), subjects: new Map([["n", new Set([SUBJECT])]]) };
      return compileNode(snapshot, "n", readRouting(() => undefined));
    });
    for (const state of states) assert.deepEqual(state, states[0] as NodeState);
    assert.ok([...(states[0] as NodeState).selectors.values()].every((one) => one.kind === "cidrs" || one.requirements.some(({ key, values }) => key === "k8s:io.kubernetes.pod.namespace" && values.join() === "red")));
  });
});

describe("CVE-2023-39347: labels that users set on pods passed for those of the system", () => {
  const forged = { "io.kubernetes.pod.namespace": "blue", "io.cilium.k8s.policy.serviceaccount": "admin", "io.cilium.k8s.policy.cluster": "other", "io.cilium.k8s.namespace.labels.team": "b", "k8s:io.kubernetes.pod.namespace": "blue", "reserved:host": "", "reserved:kube-apiserver": "" };
  const selectors = [
    { matchLabels: { "k8s:io.kubernetes.pod.namespace": "blue" } }, { matchLabels: { "io.kubernetes.pod.namespace": "blue" } }, { matchLabels: { "k8s:io.cilium.k8s.namespace.labels.team": "b" } },
    { matchLabels: { "io.cilium.k8s.policy.serviceaccount": "admin" } }, { matchLabels: { "io.cilium.k8s.policy.cluster": "other" } }, { matchLabels: { "reserved:host": "" } }, { matchExpressions: [{ key: "reserved:kube-apiserver", operator: "Exists" }] },
  ];

  test("CVE-2023-39347: they open nothing that is open to others", () => {
    for (const selector of selectors) {
      const list = [cnp({ ingress: [{ fromEndpoints: [selector] }] }), cnp({ ingress: [{ fromEntities: ["host", "kube-apiserver"] }] })];
      assert.equal(passes(list, packet("ingress", pod("red", forged))), false, JSON.stringify(selector));
    }
    assert.equal(passes([np({ policyTypes: ["Ingress"], ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: "b" } } }] }] })], packet("ingress", pod("red", forged))), false);
    assert.equal(passes([cnp({ ingress: [{ fromEndpoints: [selectors[0]] }] })], packet("ingress", pod("blue"))), true, "the others' own");
  });

  test("CVE-2023-39347: they take a pod out of no policy of its own namespace", () => {
    for (const own of [forged, {}]) assert.equal(passes([cnp({ ingress: [] })], packet("ingress", WORLD), pod("red", own)), false);
    assert.equal(passes([cnp({ ingress: [] }, "blue")], packet("ingress", WORLD), pod("red", forged)), true, "and put it into none of another's");
  });
});

describe("CVE-2023-41333: a policy of one namespace that selects by reserved labels selected pods of all", () => {
  test("CVE-2023-41333: such a policy is refused by its path", () => {
    const validator = new Validator();
    for (const endpointSelector of [{ matchLabels: { "reserved:init": "" } }, { matchExpressions: [{ key: "reserved:init", operator: "DoesNotExist" }] }, { matchExpressions: [{ key: "reserved:host", operator: "Exists" }] }]) {
      const [problem] = validator.policy({ metadata: { name: "p", namespace: "red" }, spec: { endpointSelector, ingress: [] } });
      assert.match(problem?.path ?? "", /^spec\.endpointSelector\./, JSON.stringify(endpointSelector));
    }
  });

  test("CVE-2023-41333: what slipped through all the same reaches nobody elsewhere", () => {
    const selectors = [{}, { matchLabels: { "reserved:init": "" } }, { matchExpressions: [{ key: "reserved:init", operator: "DoesNotExist" }] }, { matchExpressions: [{ key: "k8s:io.kubernetes.pod.namespace", operator: "Exists" }] }, { matchExpressions: [{ key: "io.kubernetes.pod.namespace", operator: "NotIn", values: ["red"] }] }];
    for (const endpointSelector of selectors) for (const namespace of ["blue", "green"]) assert.equal(passes([cnp({ endpointSelector, ingress: [], egress: [] })], packet("ingress", WORLD), pod(namespace)), true, JSON.stringify(endpointSelector));
  });

  test("CVE-2023-41333: no policy of a namespace decides for a pod of another (property)", () => {
    fc.assert(
      fc.property(policies, workload, (list, any) => {
        const foreign = list.filter(({ namespace }) => namespace !== "" && namespace !== any.namespace);
        const state = compileFor(foreign, SUBJECT, any);
        const set = state.ruleSets.get(state.subjects.get(SUBJECT) ?? "");
        assert.deepEqual([set, state.audits, [...state.policies]], [{ ingressDefault: undefined, egressDefault: undefined, rules: [] }, undefined, []]);
      }),
      { numRuns: 500 },
    );
  });
});

describe("CVE-2023-30851 and CVE-2024-28248: rules for everybody and for few were merged, and one of them was lost", () => {
  const peers: readonly (readonly [words: string, peer: Workload])[] = ["a", "b", "c"].map((app) => [app, pod("red", { app })]);
  const item = fc.record({ apps: fc.subarray(["a", "b", "c"]), isForAll: fc.boolean(), from: fc.constantFrom(1, 79, 80, 81), to: fc.constantFrom(80, 81, 90), verdict: fc.constantFrom("ingress", "ingress", "ingress", "ingressDeny") });

  test("CVE-2023-30851, CVE-2024-28248: each port is open to exactly those whom an item means, at every port, also beside an item for everybody", () => {
    let opened = 0;
    fc.assert(
      fc.property(fc.array(item, { minLength: 1, maxLength: 5 }), (items) => {
        const spec: Record<string, object[]> = { ingress: [] };
        for (const { apps, isForAll, from, to, verdict } of items) (spec[verdict] ??= []).push({ ...(isForAll ? {} : { fromEndpoints: apps.map((app) => ({ matchLabels: { app } })) }), toPorts: [ports(String(from), Math.max(from, to))] });
        const state = compileFor([cnp(spec)], SUBJECT, subject);
        for (const [app, peer] of peers) {
          for (const port of [1, 78, 79, 80, 81, 82, 90, 91]) {
            const meaning = items.filter(({ apps, isForAll, from, to }) => (isForAll || apps.includes(app)) && port >= from && port <= Math.max(from, to));
            const wanted = meaning.length > 0 && meaning.every(({ verdict }) => verdict === "ingress");
            const { allowed, by } = lookup(state, SUBJECT, subject, packet("ingress", peer, "10.1.2.3", port));
            assert.equal(allowed, wanted, JSON.stringify({ items, app, port, by }));
            if (allowed) assert.equal(by.length, meaning.length, "every item that means it is still there");
            if (allowed) opened++;
          }
        }
      }),
      { numRuns: 500 },
    );
    assert.ok(opened > 1000, `${opened}`);
  });
});

describe("CVE-2024-52529: application rules were not enforced where the ports are a range", () => {
  const validator = new Validator();
  const problems = (toPorts: object): readonly string[] => validator.policy({ metadata: { name: "p", namespace: "red" }, spec: { endpointSelector: {}, ingress: [{ toPorts: [toPorts] }] } }).map(({ path }) => path);

  test("CVE-2024-52529: an application rule beside any ports is refused by its path, as long as nothing enforces it", () => {
    for (const some of [ports("80"), ports("80", 90), ports("1", 65_535), ports("0")]) assert.deepEqual(problems({ ...some, rules: { http: [{ method: "GET" }] } }), ["spec.ingress[0].toPorts[0].rules"], JSON.stringify(some));
    assert.deepEqual(problems(ports("80", 90)), []);
  });

  test("CVE-2024-52529: a range means each of its ports and none beside it, alone and around a port that is denied", () => {
    const list = [cnp({ ingress: [{ toPorts: [ports("79", 8081)] }], ingressDeny: [{ toPorts: [ports("80")] }] })];
    const open = [78, 79, 80, 81, 8080, 8081, 8082].filter((port) => passes(list, packet("ingress", WORLD, "192.0.2.1", port)));
    assert.deepEqual(open, [79, 81, 8080, 8081]);
  });
});
