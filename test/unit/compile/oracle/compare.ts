/**
 * The compiler held against the languages: of random policies, and packets, a naive reading of the specifications and a
 * lookup in the compiled state must give one verdict by one rule. A counterexample is shrunk, and told with its seed.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Validator } from "../../../../src/api/index.ts";
import { SubjectCompiler, compileNode, readRouting } from "../../../../src/compile/index.ts";
import type { NodeState } from "../../../../src/compile/index.ts";
import { decodeDocument, encodeDocument, nextDocument } from "../../../../src/feed/document.ts";
import type { Snapshot } from "../../../../src/model/index.ts";
import type { Packet, Policy, Workload } from "./language.ts";
import { labelsOfWorkload, lookup, lookupOfAll } from "./lookup.ts";
import type { Found } from "./lookup.ts";
import { naive, naiveOfAll } from "./tiers.ts";
import type { Judgement } from "./tiers.ts";
import { aboutSomebody, packet, rowsOf } from "./worlds.ts";

const NODE = "node";
const ROUTING = readRouting(() => undefined);

/** What the policies come to for one identity, of a pod like `subject`. */
export function compileFor(list: readonly Policy[], identity: number, subject: Workload, auditMode = false): NodeState {
  const snapshot: Snapshot = {
    identities: new Map([[identity, labelsOfWorkload(subject)]]),
    policies: Map.groupBy(rowsOf(list), (row) => row.namespace),
    subjects: new Map([[NODE, new Set([identity])]]),
  };
  return compileNode(snapshot, NODE, ROUTING, new SubjectCompiler({ cidrMatchMode: new Set(), enforcement: auditMode ? "Audit" : "Enforce" }));
}

/** As an agent reads it. */
function overTheWire(state: NodeState): NodeState {
  return decodeDocument(encodeDocument(nextDocument(undefined, state, 1, 0)).map(({ data }) => data)).state;
}

/** The compiler's own, where no policy closes a direction that one denies in: what is not denied passes. */
export const OPEN = / (specs?(\[\d+\])?\.enableDefaultDeny\.|spec\.)(ingress|egress)$/;

/** The verdict, and the rules that an event of this packet may name. */
export function assertSame(found: Found, expected: Judgement, where: string): void {
  assert.equal(found.allowed, expected.allowed, where);
  const isUnnamed = expected.allowed && expected.closedBy.length === 0 && found.by.every((rule) => OPEN.test(rule));
  if (!isUnnamed) assert.deepEqual(new Set(found.by), new Set(expected.by.map((rule) => `p${rule}`)), where);
  if (!found.allowed && found.by.length === 0) assert.deepEqual(new Set(found.closedBy), new Set(expected.closedBy.map((place) => `p${place}`)), where);
}

export interface Counts {
  readonly cases: number;
  readonly packets: number;
  readonly allowed: number;
  readonly denied: number;
  /** Pass, and policies that only watch would drop them. */
  readonly told: number;
  readonly byTier: number;
}

interface Case {
  readonly list: readonly Policy[];
  readonly subject: Workload;
  readonly packets: readonly Packet[];
  /** What says nothing of its enforcement only watches. */
  readonly auditMode: boolean;
}

const SUBJECT = 256;

function check({ list, subject, packets, auditMode }: Case, validator: Validator): Omit<Counts, "cases"> {
  for (const { kind, namespace, enforcement: _, ...content } of list) assert.deepEqual(validator.policy({ metadata: { name: "p", ...(namespace === "" ? {} : { namespace }) }, ...content }, kind), []);
  const state = overTheWire(compileFor(JSON.parse(JSON.stringify(list)) as Policy[], SUBJECT, subject, auditMode));
  const judged = packets.map((one) => {
    const expected = naive(list, subject, one, auditMode);
    const ofAll = naiveOfAll(list, subject, one);
    const where = JSON.stringify({ list, subject, one, auditMode });
    assertSame(lookup(state, SUBJECT, subject, one), expected, where);
    assertSame(lookupOfAll(state, SUBJECT, subject, one), ofAll, `with what only watches: ${where}`);
    return { ...expected, told: expected.allowed && !ofAll.allowed };
  });
  const count = (isMeant: (one: (typeof judged)[number]) => boolean): number => judged.filter(isMeant).length;
  return { packets: packets.length, allowed: count(({ allowed }) => allowed), denied: count(({ allowed }) => !allowed), told: count(({ told }) => told), byTier: count(({ isOfTier }) => isOfTier) };
}

export function compareWithLanguages(cases: number): Counts {
  const validator = new Validator();
  const sum = { cases: 0, packets: 0, allowed: 0, denied: 0, told: 0, byTier: 0 };
  const any = fc.record({ packets: fc.array(packet, { minLength: 4, maxLength: 10 }), auditMode: fc.constantFrom(false, false, true) });
  fc.assert(
    fc.property(aboutSomebody, any, (who, what) => {
      const counted = check({ ...who, ...what }, validator);
      for (const key of ["packets", "allowed", "denied", "told", "byTier"] as const) sum[key] += counted[key];
      sum.cases++;
    }),
    { numRuns: cases },
  );
  return sum;
}
