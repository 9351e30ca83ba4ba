/** A small cluster in words, and maps in memory that are written as the programs and the agent write them. */
import type { NodeState, RuleId, RuleName } from "../../../src/compile/state.ts";
import { FakeMap } from "../../../src/kernel/fake.ts";
import * as types from "../../../src/kernel/gen/types.ts";
import type { Codec } from "../../../src/kernel/port.ts";
import { Names, TABLES } from "../../../src/inspect/index.ts";
import type { Row, Source } from "../../../src/inspect/index.ts";

export const NOW_NS = 5_000_000_000_000n;
const LABELS: ReadonlyMap<number, readonly string[]> = new Map([[300, ["k8s:app=api"]], [301, ["k8s:app=frontend"]]]);
const POLICY = { kind: "CiliumNetworkPolicy", namespace: "production", name: "allow-frontend", uid: "u1", generation: 1 } as const;
export const ALLOW: RuleId = 7;
export const CLOSED: RuleId = 0xffff_fff0;

const ruleNames: ReadonlyMap<RuleId, RuleName> = new Map<RuleId, RuleName>([
  [ALLOW, { kind: "rule", direction: "ingress", policies: [POLICY], path: "spec.ingress[0].toPorts[0]" }],
  [CLOSED, { kind: "default-deny", direction: "ingress", policies: [POLICY], path: "" }],
]);

export const STATE: NodeState = {
  subjects: new Map([[300, "rs"]]),
  ruleSets: new Map([["rs", { ingressDefault: CLOSED, egressDefault: undefined, rules: [{ id: ALLOW, direction: "ingress", peer: "frontend", ports: [{ protocol: 6, port: 8080, prefix: 16 }], verdict: "allow", precedence: 1000 }] }]]),
  selectors: new Map([
    ["frontend", { kind: "labels", requirements: [{ key: "k8s:app", operator: "In", values: ["frontend"] }, { key: "k8s:old", operator: "DoesNotExist", values: [] }] }],
  ]),
  ruleNames,
  policies: new Map([["u1", 1]]),
  routing: { mode: "tunnel", tunnelPort: 8472, directRoutes: false, masquerade: { ipv4: true, ipv6: true }, unmasqueraded: [] },
};

export class TestMap extends FakeMap {
  readonly type: number;

  constructor(name: string, keySize: number, valueSize: number, type = 1, maxEntries = 1024) {
    super({ name, keySize, valueSize, maxEntries });
    this.type = type;
  }

  put<K, V>(keyCodec: Codec<K>, key: K, valueCodec: Codec<V>, ...values: readonly V[]): this {
    const stride = Math.ceil(valueCodec.size / 8) * 8;
    const bytes = new Uint8Array(values.length === 1 ? valueCodec.size : stride * values.length);
    values.forEach((value, cpu) => valueCodec.encode(value, new DataView(bytes.buffer), cpu * stride));
    const keyBytes = new Uint8Array(keyCodec.size);
    keyCodec.encode(key, new DataView(keyBytes.buffer));
    this.update(keyBytes, bytes);
    return this;
  }
}

export const u32: Codec<number> = { size: 4, encode: (value, into, at = 0) => into.setUint32(at, value, true), decode: (from, at = 0) => from.getUint32(at, true) };

/** All rows of a table that is read from these maps. */
export async function rowsOf(table: string, ...maps: readonly TestMap[]): Promise<Row[]> {
  return await rowsWith(table, async () => undefined, ...maps);
}

/** The same on a node that encrypts. */
export async function rowsWith(table: string, encryption: Source["encryption"], ...maps: readonly TestMap[]): Promise<Row[]> {
  return await rowsFrom(table, { encryption, routing: () => undefined }, ...maps);
}

export async function rowsFrom(table: string, { encryption, routing }: Pick<Source, "encryption" | "routing">, ...maps: readonly TestMap[]): Promise<Row[]> {
  const byName = new Map(maps.map((map) => [map.name, map]));
  const names = new Names({
    node: "node-1",
    // The machine started 5,000 s before 2026-01-02 00:00:00 UTC.
    clockOffsetNs: BigInt(Date.UTC(2026, 0, 2)) * 1_000_000n - NOW_NS,
    nowNs: NOW_NS,
    ruleName: (rule) => ruleNames.get(rule),
    labels: (identity) => LABELS.get(identity),
    address: (ip) => ({ "10.0.0.2": { namespace: "production", pod: "frontend-1" }, "10.0.0.3": { namespace: "production", pod: "api-1" }, "192.0.2.9": { node: "node-2" } })[ip],
    endpoint: (id) => (id === 4 ? { namespace: "production", pod: "api-1" } : undefined),
    device: (ifindex) => (ifindex === 12 ? "lxc00000000" : undefined),
    portClass: (number) => (number === types.CLASS_PORTS + 1 ? { identity: 300, ports: [{ name: "http", port: 8080, protocol: 6 }] } : undefined),
  }, byName);
  const source: Source = { maps: byName, state: STATE, identities: LABELS, names, encryption, routing };
  const rows: Row[] = [];
  for await (const batch of (TABLES.get(table) ?? failed(table)).rows(source)) rows.push(...batch);
  return rows;
}

/** The rows as a person sees them, cells by their heads. */
export function cells(table: string, rows: readonly Row[]): Record<string, string>[] {
  const { columns } = TABLES.get(table) ?? failed(table);
  return rows.map((row) => Object.fromEntries(columns.map(({ head, cell }) => [head, cell(row)])));
}

function failed(table: string): never {
  throw new Error(`no table ${table}`);
}
