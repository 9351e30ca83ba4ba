/**
 * A node's state as text: records, each with a key, dealt to parts by the hash of the key, so that a small change
 * rewrites one small part. Pure. Equal documents give equal parts, byte for byte.
 *
 * Beside the NodeState a document says since which revision each policy's content on this node is what it is: a node
 * enforces the current generation once it acknowledged that revision, also after the operator restarted.
 */
import type { CidrPeers, LabelPeers, NodeState, PeerScope, PeerSelector, PolicyKind, PolicyRef, PortMatch, RoutingDecision, Rule, RuleName, RuleSet } from "../compile/state.ts";
import { CodedError } from "../lib/errors.ts";
import { canonicalJson, contentHash, hash32 } from "../lib/hash.ts";
import { isOldRouting } from "./formats.ts";

/** A policy on one node. Of a policy that is gone from the node only `removed` is true, until that is acknowledged. */
export interface PolicyMark {
  readonly ref: PolicyRef;
  /** Revision at which the policy's rules on this node changed last. */
  readonly since: number;
  readonly removed: boolean;
}

export interface Document {
  readonly state: NodeState;
  readonly marks: ReadonlyMap<string, PolicyMark>;
}

export interface Part {
  readonly hash: string;
  readonly data: string;
}

export class FormatError extends CodedError {
  constructor(message: string) {
    super("NODE_STATE_FORMAT", message);
    this.name = "FormatError";
  }
}

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };
type RecordText = readonly [kind: string, key: string | number, ...rest: Json[]];

const PART_BYTES = 64 * 1024;
const MAX_PARTS = 4096;
const MOST_BUCKETS = 1 << 20;
/** The CRD's limit. A record that alone would pass it travels in pieces. */
const MAX_PART_BYTES = 1024 * 1024;
/** Characters; with what JSON adds to them mostly less than a part. */
const PIECE_LENGTH = 24 * 1024;
const RULES_PER_RECORD = 16;
/** 128 bits: a part's name is its content. */
const PART_HASH_DIGITS = 32;

export function encodeDocument(document: Document): readonly Part[] {
  const texts = recordsOf(document).flatMap((record) => {
    const text = JSON.stringify(record);
    return Buffer.byteLength(text) + 2 <= MAX_PART_BYTES ? [textOf(record, text)] : piecesOf(record, text).map((piece) => textOf(piece));
  });
  texts.sort((a, b) => (a.text < b.text ? -1 : 1));
  for (let count = 1; ; count *= 2) {
    const buckets = Array.from({ length: count }, (): string[] => []);
    for (const { bucket, text } of texts) buckets[bucket % count]?.push(text);
    const isWithin = (most: number): boolean => buckets.every((bucket) => bucket.length <= 1 || sizeOf(bucket) <= most);
    // Two long records that meet in one of so many buckets must not stop all that the node is told.
    if (isWithin(PART_BYTES) || (count >= MAX_PARTS && (isWithin(MAX_PART_BYTES) || count >= MOST_BUCKETS))) return buckets.filter((bucket) => bucket.length > 0).map((bucket) => partOf(bucket));
  }
}

function textOf(record: RecordText, text = JSON.stringify(record)): { readonly bucket: number; readonly text: string } {
  return { bucket: hash32(keyOfRecord(record)), text };
}

/** Kind and key; of what is one of several also which, so that a large set is dealt to several parts. */
function keyOfRecord([kind, key, first]: RecordText): string {
  return kind === "rules" || kind === PIECE ? `${kind}/${key}/${Number(first)}` : `${kind}/${key}`;
}

const PIECE = "piece";

/** The text of a record that is too long for a part: [kind, key of the record, which piece, of how many, text]. */
function piecesOf(record: RecordText, text: string): RecordText[] {
  const count = Math.ceil(text.length / PIECE_LENGTH);
  return Array.from({ length: count }, (_, at): RecordText => [PIECE, keyOfRecord(record), at, count, text.slice(at * PIECE_LENGTH, (at + 1) * PIECE_LENGTH)]);
}

/** Whether some record travels in pieces. */
export function hasPieces(parts: readonly Part[]): boolean {
  const start = `["${PIECE}",`;
  return parts.some(({ data }) => data.startsWith(`[${start}`) || data.includes(`\n${start}`));
}

function joined(pieces: readonly unknown[][]): unknown[][] {
  return [...Map.groupBy(pieces, ([, key]) => String(key))].map(([key, all]) => {
    if (all.length !== all[0]?.[3]) throw new FormatError(`of ${key} there are ${all.length} pieces of ${String(all[0]?.[3])}`);
    const text = all.sort((a, b) => Number(a[2]) - Number(b[2])).map((piece) => String(piece[4])).join("");
    return parseRecords(`[${text}]`)[0] ?? [];
  });
}

function sizeOf(texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + Buffer.byteLength(text) + 1, 2);
}

function partOf(texts: readonly string[]): Part {
  const data = `[${texts.join(",\n")}]`;
  if (Buffer.byteLength(data) > MAX_PART_BYTES) {
    throw new CodedError("NODE_STATE_TOO_LARGE", `one record of the node state has ${Buffer.byteLength(data)} bytes, more than ${MAX_PART_BYTES}`);
  }
  return { hash: hashOf(data), data };
}

export function hashOf(data: string): string {
  return contentHash(data, PART_HASH_DIGITS);
}

/** The hash of a whole state: of the hashes of its parts, in order. */
export function manifestHash(hashes: readonly string[]): string {
  return contentHash([...hashes].sort().join(","), PART_HASH_DIGITS);
}

function recordsOf({ state, marks }: Document): RecordText[] {
  const records: RecordText[] = [["routing", "", ...routingJson(state.routing)]];
  for (const [identity, id] of state.subjects) records.push(["subject", identity, id]);
  for (const [identity, id] of state.audits ?? []) records.push(["audit", identity, id]);
  for (const [id, set] of state.ruleSets) {
    records.push(["rule-set", id, set.ingressDefault ?? null, set.egressDefault ?? null, set.rules.length]);
    for (let at = 0; at < set.rules.length; at += RULES_PER_RECORD) records.push(["rules", id, at, set.rules.slice(at, at + RULES_PER_RECORD).map(ruleJson)]);
  }
  for (const [id, selector] of state.selectors) records.push(["selector", id, ...selectorJson(selector)]);
  for (const [id, name] of state.ruleNames) records.push(["name", id, name.kind, name.direction, name.path, name.policies.map((ref) => ref.uid), ...wordsOf(name)]);
  for (const [namespace, keys] of state.named ?? []) records.push(["named", namespace, keys]);
  for (const [uid, { ref, since, removed }] of marks) records.push(["policy", uid, ref.kind, ref.namespace, ref.name, ref.generation, since, removed]);
  return records;
}

/** What the oldest format can say is written as it says it. */
function routingJson(routing: RoutingDecision): Json[] {
  const { mode, tunnelPort, directRoutes, masquerade, unmasqueraded, masqueradeFrom } = routing;
  const old = [mode, tunnelPort, masquerade.ipv4] as const;
  return isOldRouting(routing) ? [...old] : [...old, masquerade.ipv6, directRoutes, unmasqueraded, ...(masqueradeFrom === undefined ? [] : [masqueradeFrom])];
}

function decodeRouting([, , mode, tunnelPort, ipv4, ipv6 = ipv4, directRoutes, unmasqueraded, masqueradeFrom]: unknown[]): RoutingDecision {
  if (mode !== "tunnel" && mode !== "native" && mode !== "auto") throw new FormatError(`the routing mode ${String(mode)} is unknown`);
  return {
    mode,
    tunnelPort: Number(tunnelPort),
    directRoutes: directRoutes === true,
    masquerade: { ipv4: ipv4 === true, ipv6: ipv6 === true },
    unmasqueraded: Array.isArray(unmasqueraded) ? unmasqueraded.map(String) : [],
    ...(Array.isArray(masqueradeFrom) ? { masqueradeFrom: masqueradeFrom.map(String) } : {}),
  };
}

function selectorJson(selector: PeerSelector): Json[] {
  if (selector.kind === "labels") return [selector.requirements.map(({ key, operator, values }) => [key, operator, values])];
  return ["cidrs", selector.scopes, selector.blocks.map(({ cidr, except }) => [cidr, except])];
}

function portJson(match: PortMatch): Json {
  return "name" in match ? [match.protocol, match.name] : [match.protocol, match.port, match.prefix];
}

function ruleJson(rule: Rule): Json {
  const { id, direction, peer, ports, verdict, precedence, tier } = rule;
  return [id, direction, peer ?? null, ports.map(portJson), verdict, precedence, ...(tier === undefined ? [] : [tier])];
}

/** Reads the parts of one manifest, in any order; throws FormatError when they are not a whole document. */
export function decodeDocument(parts: Iterable<string>): Document {
  const all = [...parts].flatMap((data) => parseRecords(data));
  const records = Map.groupBy(all, (record) => String(record[0]));
  for (const record of joined(records.get(PIECE) ?? [])) records.set(String(record[0]), [...(records.get(String(record[0])) ?? []), record]);
  const of = (kind: string): unknown[][] => records.get(kind) ?? [];
  const marks = new Map(of("policy").map((record) => decodeMark(record)));
  const routing = of("routing")[0];
  if (routing === undefined) throw new FormatError("the node state has no routing record");
  const live = [...marks.values()].filter((mark) => !mark.removed);
  const state: NodeState = {
    subjects: new Map(sorted(of("subject")).map(([, identity, id]) => [Number(identity), String(id)])),
    ruleSets: decodeRuleSets(sorted(of("rule-set")), of("rules")),
    selectors: new Map(sorted(of("selector")).map((record) => [String(record[1]), decodeSelector(record)])),
    ruleNames: new Map(sorted(of("name")).map((record) => [Number(record[1]), decodeName(record, marks)])),
    policies: new Map(live.map(({ ref }) => [ref.uid, ref.generation])),
    routing: decodeRouting(routing),
    ...decodeAudits(sorted(of("audit"))),
    ...decodeNamed(sorted(of("named"))),
  };
  return { state, marks };
}

function decodeAudits(records: readonly unknown[][]): Pick<NodeState, "audits"> {
  return records.length === 0 ? {} : { audits: new Map(records.map(([, identity, id]) => [Number(identity), String(id)])) };
}

function decodeNamed(records: readonly unknown[][]): Pick<NodeState, "named"> {
  if (records.length === 0) return {};
  return { named: new Map(records.map(([, namespace, keys]) => [String(namespace), (keys as readonly unknown[]).map(String)])) };
}

function parseRecords(data: string): unknown[][] {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    throw new FormatError("a part of the node state is not JSON");
  }
  if (!Array.isArray(value) || !value.every((record) => Array.isArray(record))) throw new FormatError("a part of the node state is no list of records");
  return value as unknown[][];
}

/** By key, so that the maps have one order however the records were dealt. */
function sorted(records: readonly unknown[][]): unknown[][] {
  const order = (a: unknown, b: unknown): number => (typeof a === "number" && typeof b === "number" ? a - b : String(a) < String(b) ? -1 : 1);
  return [...records].sort((a, b) => order(a[1], b[1]));
}

function decodeMark(record: unknown[]): [string, PolicyMark] {
  const [, uid, kind, namespace, name, generation, since, removed] = record;
  if (!isPolicyKind(kind)) throw new FormatError(`policy ${String(uid)} is of the unknown kind ${String(kind)}`);
  const ref: PolicyRef = { kind, namespace: String(namespace), name: String(name), uid: String(uid), generation: Number(generation) };
  return [ref.uid, { ref, since: Number(since), removed: removed === true }];
}

const POLICY_KINDS: Readonly<Record<PolicyKind, true>> = { CiliumNetworkPolicy: true, CiliumClusterwideNetworkPolicy: true, NetworkPolicy: true, ClusterNetworkPolicy: true };

function isPolicyKind(kind: unknown): kind is PolicyKind {
  return typeof kind === "string" && Object.hasOwn(POLICY_KINDS, kind);
}

function decodeRuleSets(heads: readonly unknown[][], chunks: readonly unknown[][]): Map<string, RuleSet> {
  const rules = Map.groupBy(chunks, (chunk) => String(chunk[1]));
  return new Map(
    heads.map(([, id, ingressDefault, egressDefault, count]) => {
      const own = (rules.get(String(id)) ?? []).sort((a, b) => Number(a[2]) - Number(b[2])).flatMap((chunk) => (chunk[3] as unknown[][]).map(decodeRule));
      if (own.length !== count) throw new FormatError(`rule set ${String(id)} has ${own.length} rules of ${String(count)}`);
      return [String(id), { ingressDefault: optionalNumber(ingressDefault), egressDefault: optionalNumber(egressDefault), rules: own }];
    }),
  );
}

function optionalNumber(value: unknown): number | undefined {
  return value === null ? undefined : Number(value);
}

function decodeRule(record: unknown[]): Rule {
  const [id, direction, peer, ports, verdict, precedence, tier] = record as [number, Rule["direction"], string | null, unknown[][], Rule["verdict"], number, string?];
  if (tier !== undefined && tier !== "admin") throw new FormatError(`rule ${id} is of the unknown tier ${tier}`);
  return { id, direction, peer: peer ?? undefined, ports: ports.map(decodePort), verdict, precedence, ...(tier === undefined ? {} : { tier }) };
}

function decodePort(record: unknown[]): PortMatch {
  const [protocol, port, prefix] = record as [number, number | string, number];
  return typeof port === "string" ? { protocol, name: port } : { protocol, port, prefix };
}

function decodeSelector(record: unknown[]): PeerSelector {
  const [, id, first] = record;
  if (Array.isArray(first)) {
    const rows = first as readonly (readonly [string, LabelPeers["requirements"][number]["operator"], readonly string[]])[];
    return { kind: "labels", requirements: rows.map(([key, operator, values]) => ({ key, operator, values })) };
  }
  if (first !== "cidrs") throw new FormatError(`selector ${String(id)} is of the unknown kind ${String(first)}`);
  const [, , , scopes, blocks] = record as [string, string, string, readonly PeerScope[], readonly (readonly [string, readonly string[]])[]];
  return { kind: "cidrs", scopes, blocks: blocks.map(([cidr, except]) => ({ cidr, except })) } satisfies CidrPeers;
}

/** Both at the end, so that a version that knows neither reads the rest. */
function wordsOf({ log, name }: RuleName): readonly (string | null)[] {
  if (name !== undefined) return [log ?? null, name];
  return log === undefined ? [] : [log];
}

function decodeName(record: unknown[], marks: ReadonlyMap<string, PolicyMark>): RuleName {
  const [, id, kind, direction, path, uids, log, name] = record as [string, number, RuleName["kind"], RuleName["direction"], string, string[], (string | null)?, string?];
  const policies = uids.map((uid) => {
    const mark = marks.get(uid);
    if (mark === undefined) throw new FormatError(`rule ${id} names policy ${uid}, which is not in the node state`);
    return mark.ref;
  });
  return { kind, direction, policies, path, ...(name === undefined ? {} : { name }), ...(typeof log === "string" ? { log } : {}) };
}

/**
 * The next document: `state` with the marks of `previous` where a policy's content on this node did not change, and
 * with the revision to come where it did. A policy that left stays marked as removed until `acknowledged` covers it.
 */
export function nextDocument(previous: Document | undefined, state: NodeState, nextRevision: number, acknowledged: number): Document {
  const before = previous === undefined ? new Map<string, string>() : policyContents(previous.state);
  const now = policyContents(state);
  const refs = policyRefs(state);
  const marks = new Map<string, PolicyMark>();
  for (const [uid, ref] of refs) {
    const mark = previous?.marks.get(uid);
    const isSame = mark !== undefined && !mark.removed && mark.ref.generation === ref.generation && before.get(uid) === now.get(uid);
    marks.set(uid, { ref, since: isSame ? mark.since : nextRevision, removed: false });
  }
  for (const [uid, mark] of previous?.marks ?? []) {
    if (marks.has(uid)) continue;
    const since = mark.removed ? mark.since : nextRevision;
    if (since > acknowledged) marks.set(uid, { ref: mark.ref, since, removed: true });
  }
  return { state, marks: new Map([...marks].sort(([a], [b]) => (a < b ? -1 : 1))) };
}

function policyRefs(state: NodeState): ReadonlyMap<string, PolicyRef> {
  const refs = new Map<string, PolicyRef>();
  for (const name of state.ruleNames.values()) for (const ref of name.policies) refs.set(ref.uid, ref);
  return refs;
}

/** uid -> hash of all that the policy does on this node: its rules and defaults, for which identities, with which peers. */
function policyContents(state: NodeState): ReadonlyMap<string, string> {
  const contents = new Map<string, string[]>();
  const subjectsOf = Map.groupBy(state.subjects, ([, id]) => id);
  const auditedBy = Map.groupBy(state.audits ?? [], ([, id]) => id);
  for (const [id, set] of state.ruleSets) {
    const identitiesOf = (users: ReadonlyMap<string, readonly (readonly [number, string])[]>): number[] => (users.get(id) ?? []).map(([identity]) => identity).sort((a, b) => a - b);
    const [identities, audited] = [identitiesOf(subjectsOf), identitiesOf(auditedBy)];
    const add = (rule: number | undefined, words: unknown): void => {
      for (const ref of rule === undefined ? [] : (state.ruleNames.get(rule)?.policies ?? [])) {
        const list = contents.get(ref.uid) ?? [];
        list.push(canonicalJson(audited.length === 0 ? [identities, words] : [identities, words, audited]));
        contents.set(ref.uid, list);
      }
    };
    add(set.ingressDefault, "ingress-default");
    add(set.egressDefault, "egress-default");
    for (const rule of set.rules) add(rule.id, ruleJson(rule));
  }
  return new Map([...contents].map(([uid, list]) => [uid, contentHash(list.sort().join("\n"))]));
}
