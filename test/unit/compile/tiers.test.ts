/** The table of ARCHITECTURE.md, "How policies combine": what each tier's answer comes to, row by row. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Validator } from "../../../src/api/index.ts";
import { compileNode, withoutRules } from "../../../src/compile/index.ts";
import type { Snapshot } from "../../../src/model/index.ts";
import type { Packet, Policy, Workload } from "./oracle/language.ts";
import { labelsOfWorkload, lookup } from "./oracle/lookup.ts";
import { rowsOf } from "./oracle/worlds.ts";

const subject: Workload = { kind: "pod", namespace: "red", labels: { app: "a" }, named: [] };
const packet: Packet = { direction: "ingress", peer: { ...subject, labels: { app: "b" } }, address: "10.1.2.3", protocol: "TCP", port: 80 };
const everybody = { namespaces: {} };

function tier(name: "Admin" | "Baseline", action: string, priority = 10): Policy {
  return { kind: "ClusterNetworkPolicy", namespace: "", spec: { tier: name, priority, subject: everybody, ingress: [{ action, from: [everybody] }] } };
}

/** By the words of the table's second column. */
const POLICIES: Readonly<Record<string, Policy>> = {
  denies: { kind: "CiliumNetworkPolicy", namespace: "red", spec: { endpointSelector: {}, ingressDeny: [{ fromEndpoints: [{}] }], enableDefaultDeny: { ingress: false } } },
  allows: { kind: "NetworkPolicy", namespace: "red", spec: { podSelector: {}, ingress: [{ from: [{ podSelector: {} }] }] } },
  closes: { kind: "NetworkPolicy", namespace: "red", spec: { podSelector: {}, ingress: [] } },
};

function isAllowed(list: readonly Policy[], hasRoom = true): boolean {
  const rows = rowsOf(list).map((row) => (hasRoom ? row : withoutRules(row)));
  const snapshot: Snapshot = { identities: new Map([[256, labelsOfWorkload(subject)]]), policies: Map.groupBy(rows, (row) => row.namespace), subjects: new Map([["node", new Set([256])]]) };
  const state = compileNode(snapshot, "node", { mode: "tunnel", tunnelPort: 8472, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] });
  return lookup(state, 256, subject, packet).allowed;
}

const rows = readFileSync(join(import.meta.dirname, "../../../ARCHITECTURE.md"), "utf8")
  .split("\n")
  .map((line) => line.split("|").map((cell) => cell.trim()))
  .filter(([, admin = "", , , verdict = ""]) => /^(Accept|Deny|Pass|nothing)$/.test(admin) && /^(passes|dropped)$/.test(verdict));

test("the table of tiers is what the compiler does, row by row", () => {
  assert.ok(rows.length >= 9, "the table is there");
  for (const [, admin = "", policies = "", baseline = "", verdict = ""] of rows) {
    for (const policy of policies === "anything" ? ["nothing", ...Object.keys(POLICIES)] : [policies]) {
      for (const below of baseline === "anything" ? ["nothing", "Accept", "Deny", "Pass"] : [baseline]) {
        const list = [...(admin === "nothing" ? [] : [tier("Admin", admin)]), ...(policy === "nothing" ? [] : [POLICIES[policy] ?? assert.fail(policy)]), ...(below === "nothing" ? [] : [tier("Baseline", below)])];
        assert.equal(isAllowed(list), verdict === "passes", `${admin}, ${policy}, ${below}`);
      }
    }
  }
});

test("within a tier the smaller priority is asked first, of equal ones the first by name, and a pass skips the rest of the tier alone", () => {
  assert.equal(isAllowed([tier("Admin", "Deny", 20), tier("Admin", "Accept", 10)]), true);
  assert.equal(isAllowed([tier("Admin", "Deny", 10), tier("Admin", "Accept", 10)]), false);
  assert.equal(isAllowed([tier("Admin", "Deny", 20), tier("Admin", "Pass", 10)]), true);
  assert.equal(isAllowed([tier("Admin", "Deny", 20), tier("Admin", "Pass", 10), tier("Baseline", "Deny")]), false);
  assert.equal(isAllowed([tier("Baseline", "Deny", 1000), tier("Baseline", "Pass", 0)]), true);
});

test("one for which there is no room denies everybody where it denied or passed on, and accepts nobody", () => {
  const verdicts = (["Admin", "Baseline"] as const).map((name) => ["Accept", "Pass", "Deny"].map((action) => isAllowed([tier(name, action)], false)));
  assert.deepEqual(verdicts, [[true, false, false], [true, false, false]]);
  const closed = { kind: "NetworkPolicy", namespace: "red", spec: { podSelector: {}, ingress: [] } } as const;
  assert.equal(isAllowed([tier("Admin", "Accept"), closed]), true);
  assert.equal(isAllowed([tier("Admin", "Accept"), closed], false), false);
});

test("what is not built, or cannot be meant, is refused by its path", () => {
  const validator = new Validator();
  const problems = (spec: object): readonly string[] => validator.policy({ metadata: { name: "p" }, spec: { tier: "Admin", priority: 1, subject: everybody, ...spec } }, "ClusterNetworkPolicy").map(({ path, message }) => `${path}: ${message}`);
  const to = (peer: object, rest: object = {}): readonly string[] => problems({ egress: [{ action: "Deny", to: [peer], ...rest }] });
  assert.deepEqual(to({ networks: ["10.0.0.0/8"] }), []);
  assert.deepEqual(to({ nodes: {} }), []);
  assert.deepEqual(to({ domainNames: ["a.b"] }), ["spec.egress[0].to[0].domainNames: domainNames is not supported yet"]);
  assert.deepEqual(to({ nodes: { matchLabels: { a: "b" } } }), []);
  assert.match(to({ nodes: { matchLabels: { "a b": "b" } } }).join(), /is not a label key/);
  assert.match(to({ networks: ["10.0.0/8"] }).join(), /is not a block of addresses$/);
  assert.match(to({ networks: ["10.0.0.0/8"] }, { protocols: [{ destinationNamedPort: "http" }] }).join(), /only pods name their ports/);
  assert.match(to(everybody, { protocols: [{ tcp: { destinationPort: { range: { start: 9, end: 9 } } } }] }).join(), /start must be less than end/);
  assert.notDeepEqual(problems({ priority: 1001 }), []);
  assert.notDeepEqual(problems({ subject: {} }), []);
  assert.notDeepEqual(to({}), []);
  assert.match(problems({ subject: { namespace: {} } }).join(), /did you mean namespaces/);
});
