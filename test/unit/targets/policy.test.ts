import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { CidrPeers, PortMatch, Rule, RuleSet } from "../../../src/compile/state.ts";
import { expandRuleSet } from "../../../src/targets/expand.ts";
import { CapacityExceeded } from "../../../src/reconcile/index.ts";
import { PolicyTarget } from "../../../src/targets/policy.ts";
import type { PolicyDesired, PolicyResult } from "../../../src/targets/policy.ts";
import type { ResolvedSelectors as Selectors } from "../../../src/targets/resolve.ts";
import { CLASSES, Maps, OWN, PACKETS, expected, judge } from "./policy-model.ts";

/** One desired state: rule set of each subject, and what the selectors mean. */
interface Step {
  readonly subjects: ReadonlyMap<number, RuleSet>;
  readonly selectors: Selectors;
}

const SUBJECTS = [256, 257, 258];

const PORTS: readonly PortMatch[] = [
  { protocol: 0, port: 0, prefix: 0 }, { protocol: 6, port: 0, prefix: 0 }, { protocol: 6, port: 80, prefix: 16 }, { protocol: 6, port: 80, prefix: 12 },
];
const NAMES: readonly PortMatch[] = [{ protocol: 6, name: "http" }, { protocol: 0, name: "http" }];
const BLOCKS = ["c1", "c2"];

type Says = Pick<Rule, "verdict" | "tier">;

const rule: fc.Arbitrary<Rule> = fc
  .record({
    direction: fc.constantFrom("ingress", "egress"),
    peer: fc.constantFrom(undefined, "s1", "s2", ...BLOCKS),
    ports: fc.subarray([...PORTS, ...NAMES], { minLength: 1, maxLength: 2 }),
    says: fc.oneof({ weight: 3, arbitrary: fc.constantFrom<Says[]>({ verdict: "allow" }, { verdict: "deny" }) }, { weight: 2, arbitrary: fc.constantFrom<Says[]>({ verdict: "allow", tier: "admin" }, { verdict: "deny", tier: "admin" }, { verdict: "pass", tier: "admin" }) }),
    rank: fc.integer({ min: 0, max: 2 }),
    id: fc.integer({ min: 1, max: 9 }),
  })
  .filter(({ direction, peer, ports }) => direction === "ingress" || !BLOCKS.includes(peer ?? "") || ports.every((port) => !("name" in port)))
  .map(({ rank, says, ...rest }) => ({ ...rest, ...says, precedence: rank * 3 + ["allow", "pass", "deny"].indexOf(says.verdict) }) as Rule);

const cidrs = ["0.0.0.0/0", "::/0", "198.51.100.0/24", "198.51.100.0/29", "10.0.0.0/8", "10.0.1.2/31"];
const blocks: fc.Arbitrary<CidrPeers> = fc.record({
  kind: fc.constant("cidrs" as const),
  blocks: fc.array(fc.record({ cidr: fc.constantFrom(...cidrs), except: fc.subarray(cidrs, { maxLength: 2 }) }), { minLength: 1, maxLength: 3 }),
  scopes: fc.constantFrom(["world"], ["world", "nodes"], ["world", "nodes", "pods"]),
});

const ruleSet: fc.Arbitrary<RuleSet> = fc.record({
  ingressDefault: fc.constantFrom(undefined, 100, 101),
  egressDefault: fc.constantFrom(undefined, 100),
  rules: fc.array(rule, { maxLength: 4 }),
});

const peers = fc.subarray([301, 302, 9]).map((list) => new Set(list));
const step: fc.Arbitrary<Step> = fc
  .tuple(fc.array(fc.option(ruleSet, { nil: undefined }), { minLength: 3, maxLength: 3 }), fc.boolean(), peers, peers, blocks, blocks)
  .map(([sets, isShared, s1, s2, c1, c2]) => ({
    subjects: new Map(SUBJECTS.flatMap((identity, i) => {
      const set = sets[isShared ? 0 : i];
      return set === undefined ? [] : [[identity, set] as const];
    })),
    selectors: new Map<string, ReadonlySet<number> | CidrPeers>([["s1", s1], ["s2", s2], ["c1", c1], ["c2", c2]]),
  }));

function desiredOf({ subjects, selectors }: Step, isComplete = true): PolicyDesired<RuleSet> {
  const sets = new Set(subjects.values());
  return {
    subjects,
    ruleSets: new Map([...sets].map((set) => [set, expandRuleSet(set, selectors, { own: OWN, classes: CLASSES.byIdentity })])),
    isComplete,
  };
}

const EMPTY: Step = { subjects: new Map(), selectors: new Map() };

/** What each packet may meet for a subject: undefined is closed. */
function verdicts({ subjects, selectors }: Step, identity: number): boolean[] {
  const set = subjects.get(identity);
  return PACKETS.map((packet) => set !== undefined && expected(set, selectors, packet));
}

class World {
  readonly maps: Maps;
  now = 0;
  target: PolicyTarget;
  result: PolicyResult | undefined;

  constructor(policySize?: number, blocksSize?: number) {
    this.maps = new Maps(policySize, undefined, blocksSize);
    this.target = this.open();
  }

  open(): PolicyTarget {
    const target = new PolicyTarget(this.maps, 1000, () => this.now);
    target.recover();
    return target;
  }

  apply(next: Step): PolicyResult {
    this.now += 10;
    this.maps.snapshots = [this.maps.picture()];
    const result = this.target.apply(desiredOf(next));
    assert.deepEqual(this.target.release(new Set(next.subjects.keys())), []);
    this.result = { ...result, slots: this.target.slots() };
    return this.result;
  }
}

describe("PolicyTarget", () => {
  it("judges each packet by the old rules or the new ones at every write, also for a program that reads while it writes", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 5 }), fc.infiniteStream(fc.nat(3)), (steps, pace) => {
        const world = new World();
        let before = EMPTY;
        let slotsBefore: ReadonlyMap<number, number> = new Map();
        for (const next of steps) {
          const { slots, failures } = world.apply(next);
          assert.deepEqual(failures, []);
          for (const identity of SUBJECTS) checkMoments(world, slots.get(identity) ?? slotsBefore.get(identity), verdicts(before, identity), verdicts(next, identity), pace);
          before = next;
          slotsBefore = slots;
        }
      }),
      { numRuns: 150 },
    );
  });

  it("ends with exactly the entries that the subjects need, whatever came before", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 5 }), (steps) => {
        const world = new World();
        for (const next of steps) world.apply(next);
        const last = steps.at(-1) as Step;
        const { slots } = world.apply(last);
        world.now += 1000;
        world.target.sweep();
        const picture = world.maps.picture();
        for (const identity of SUBJECTS) assert.deepEqual(PACKETS.map((p) => judge(slots.get(identity), p, () => picture)), verdicts(last, identity));
        const numbers = new Set([...picture.subjects.values()].map((subject) => subject.ruleSet).filter((n) => n !== 0));
        assert.ok([...picture.policy.keys()].every((key) => numbers.has(Number(key.split(":")[0]))), "no entry that nothing refers to");
        assert.ok(picture.blocks.every((block) => numbers.has(block.ruleSet)), "no block that nothing refers to");
        const generations = [...picture.subjects.values()].map((subject) => subject.generation);
        assert.equal(new Set(generations).size, generations.length, "no generation twice");
      }),
    );
  });

  it("finds everything again after a restart and then writes nothing", () => {
    fc.assert(
      fc.property(step, step, (first, last) => {
        const world = new World();
        world.apply(first);
        const { slots } = world.apply(last);
        world.now += 1000;
        world.target.sweep();
        world.target = world.open();
        const again = world.apply(last);
        assert.equal(world.maps.snapshots.length, 1, "no write");
        assert.deepEqual(new Map(again.slots), new Map(slots));
      }),
    );
  });

  it("gives no generation twice over restarts", () => {
    const world = new World();
    const set = (id: number): RuleSet => ({ ingressDefault: id, egressDefault: undefined, rules: [] });
    const seen = new Set<number>();
    for (let i = 1; i < 6; i++) {
      world.target = world.open();
      const { slots } = world.apply({ subjects: new Map([[256, set(i)]]), selectors: new Map() });
      const { generation } = world.maps.picture().subjects.get(slots.get(256) as number) ?? { generation: 0 };
      assert.ok(generation > 1000 && !seen.has(generation));
      seen.add(generation);
    }
  });
});

/** All pairs (old, new) at each snapshot, and for a reader who is overtaken by the writer at his own pace. */
function checkMoments(world: World, slot: number | undefined, before: readonly boolean[], after: readonly boolean[], pace: Iterator<number>): void {
  const { snapshots } = world.maps;
  PACKETS.forEach((packet, i) => {
    const allowed = [before[i], after[i]];
    for (const snapshot of snapshots) assert.ok(allowed.includes(judge(slot, packet, () => snapshot)), `${JSON.stringify(packet)} is judged by a mix`);
    for (let start = 0; start < snapshots.length; start++) {
      let at = start;
      const moment = (): (typeof snapshots)[number] => {
        const snapshot = snapshots[Math.min(at, snapshots.length - 1)];
        at += pace.next().value as number;
        return snapshot as (typeof snapshots)[number];
      };
      assert.ok(allowed.includes(judge(slot, packet, moment)), `${JSON.stringify(packet)} is judged by a mix of moments`);
    }
  });
}

const allow = (peer: string | undefined, port: number, id = 1): Rule => ({ id, direction: "ingress", peer, ports: [{ protocol: 6, port, prefix: 16 }], verdict: "allow", precedence: 1 });
const selectors: Selectors = new Map([["s1", new Set([301, 302])]]);
const withRules = (...rules: Rule[]): RuleSet => ({ ingressDefault: 7, egressDefault: undefined, rules });

describe("PolicyTarget: how changes are written", () => {
  const numberOf = (world: World, identity: number): number => world.maps.picture().subjects.get(world.result?.slots.get(identity) as number)?.ruleSet ?? 0;

  it("shares one rule set between subjects with equal content", () => {
    const world = new World();
    world.apply({ subjects: new Map([[256, withRules(allow("s1", 80))], [257, withRules(allow("s1", 80))]]), selectors });
    assert.equal(numberOf(world, 256), numberOf(world, 257));
    assert.equal(world.maps.picture().policy.size, 2);
  });

  it("adds a new peer's entries in place, and flips the generation", () => {
    const world = new World();
    const set = withRules(allow("s1", 80), allow("s1", 443));
    world.apply({ subjects: new Map([[256, set]]), selectors });
    const [number, generation] = [numberOf(world, 256), world.maps.picture().subjects.get(1)?.generation as number];
    world.apply({ subjects: new Map([[256, set]]), selectors: new Map([["s1", new Set([301, 302, 303])]]) });
    assert.equal(numberOf(world, 256), number);
    assert.equal(world.maps.picture().policy.size, 6);
    assert.ok((world.maps.picture().subjects.get(1)?.generation as number) > generation);
  });

  it("takes a fresh number where a shared rule set changes for one of its subjects", () => {
    const world = new World();
    const set = withRules(allow("s1", 80));
    world.apply({ subjects: new Map([[256, set], [257, set]]), selectors });
    const old = numberOf(world, 257);
    world.apply({ subjects: new Map([[256, withRules(allow("s1", 81))], [257, set]]), selectors });
    assert.notEqual(numberOf(world, 256), old);
    assert.equal(numberOf(world, 257), old);
  });

  it("keeps old entries for programs that still read them, and deletes them later", () => {
    const world = new World();
    world.apply({ subjects: new Map([[256, withRules(allow("s1", 80))]]), selectors });
    world.apply({ subjects: new Map([[256, withRules(allow("s1", 81))]]), selectors });
    assert.equal(world.maps.picture().policy.size, 4);
    world.now += 1000;
    assert.equal(world.target.sweep(), 2);
  });

  it("refuses what does not fit, names map, need and size, keeps the old rules, and goes on with other subjects", () => {
    const world = new World(5);
    const small = withRules(allow("s1", 80));
    world.apply({ subjects: new Map([[256, small]]), selectors });
    const large = withRules(allow("s1", 80), allow("s1", 81, 2), { ...allow("s1", 82, 3), verdict: "deny", precedence: 9 });
    const next: Step = { subjects: new Map([[256, large], [257, withRules(allow(undefined, 90))]]), selectors };
    const { failures, enforced, slots } = world.apply(next);
    const [failure] = failures;
    assert.deepEqual(failure?.owners, [256]);
    assert.ok(failure?.error instanceof CapacityExceeded);
    assert.deepEqual(failure.error.fields, { map: "policy", need: 8, size: 5 });
    assert.deepEqual([...enforced], [257]);
    const picture = world.maps.picture();
    assert.deepEqual(PACKETS.map((p) => judge(slots.get(256), p, () => picture)), PACKETS.map((p) => expected(small, selectors, p)));
  });

  it("refuses blocks that do not fit, and writes no part of their rule set", () => {
    const world = new World(undefined, 2);
    const c1: CidrPeers = { kind: "cidrs", blocks: [{ cidr: "10.0.0.0/8", except: ["10.1.0.0/16", "10.2.0.0/16"] }], scopes: ["world"] };
    const { failures, slots } = world.apply({ subjects: new Map([[256, withRules(allow("c1", 80))]]), selectors: new Map([["c1", c1]]) });
    const error = failures[0]?.error;
    assert.ok(error instanceof CapacityExceeded);
    assert.deepEqual(error.fields, { map: "blocks", need: 3, size: 2 });
    assert.deepEqual([slots.size, world.maps.picture().policy.size, world.maps.picture().blocks.length], [0, 0, 0]);
  });

  it("stops to take a rule set apart at the first entry, or block, that the map has no room for", () => {
    const room = { entries: 1000, blocks: 1000 };
    let asked = 0;
    const peers = new Set(Array.from({ length: 1_000_000 }, (_, at) => 1000 + at));
    const counted = new Proxy(peers, { get: (set, name) => (name === Symbol.iterator ? function* () { for (const peer of set) { asked++; yield peer; } } : Reflect.get(set, name, set)) });
    const refused = { name: "CapacityExceeded", code: "CAPACITY", message: "map policy needs more than 1000 entries, and has room for so many" };
    assert.throws(() => expandRuleSet(withRules(allow("s1", 80)), new Map([["s1", counted]]), undefined, room), refused);
    assert.equal(asked, 1001);
    const exactly = new Set([...peers].slice(0, 1000));
    assert.equal(expandRuleSet(withRules(allow("s1", 80)), new Map([["s1", exactly]]), undefined, room).entries.size, 1000);
    const blocks = (count: number): CidrPeers => ({ kind: "cidrs", blocks: Array.from({ length: count }, (_, at) => ({ cidr: `10.${at >> 8}.${at & 255}.0/24`, except: [] })), scopes: ["world"] });
    assert.throws(() => expandRuleSet(withRules(allow("c1", 80)), new Map([["c1", blocks(1001)]]), undefined, room), { name: "CapacityExceeded", message: /map blocks needs more than 1000 entries/ });
    assert.equal(expandRuleSet(withRules(allow("c1", 80)), new Map([["c1", blocks(1000)]]), undefined, room).blocks.size, 1000);
  });

  it("refuses rules that mean few entries so often that the work alone would hold the agent up", () => {
    const room = { entries: 100, blocks: 100 };
    const peers: Selectors = new Map([["s1", new Set(Array.from({ length: 100 }, (_, at) => 1000 + at))]]);
    const same = (count: number): RuleSet => withRules(...Array.from({ length: count }, (_, at) => allow("s1", 80, at + 1)));
    assert.equal(expandRuleSet(same(64), peers, undefined, room).entries.size, 100);
    assert.throws(() => expandRuleSet(same(65), peers, undefined, room), { code: "CAPACITY", message: /more than 6400 times/ });
  });

  it("refuses blocks that lie inside of so many others that their sets alone would fill the memory", () => {
    const wide = (at: number): [string, CidrPeers] => [`c${at}`, { kind: "cidrs", blocks: [{ cidr: "0.0.0.0/0", except: [] }, { cidr: `10.0.${at >> 8}.${at & 255}/32`, except: [] }], scopes: ["world"] }];
    const of = (count: number): ReadonlyMap<string, CidrPeers> => new Map(Array.from({ length: count }, (_, at) => wide(at)));
    const rules = (count: number): RuleSet => withRules(...Array.from({ length: count }, (_, at) => allow(`c${at}`, 80)));
    assert.throws(() => expandRuleSet(rules(1500), of(1500)), { code: "CAPACITY", message: /inside of one another/ });
    assert.equal(expandRuleSet(rules(100), of(100)).blocks.size, 101);
  });

  it("leaves the room for what is enforced: of what watches is refused what would take it", () => {
    const world = new World(5);
    const [watched, enforced] = [withRules(allow("s1", 80), allow("s1", 81, 2)), withRules(allow("s1", 82))];
    const desired = desiredOf({ subjects: new Map([[256, withRules(allow(undefined, 90))], [257, enforced], [258, watched]]), selectors });
    const subjects = new Map([...desired.subjects].filter(([owner]) => owner !== 258));
    const result = world.target.apply({ ...desired, subjects, audits: new Map([[256, watched]]) });
    assert.deepEqual([...result.enforced].sort(), [256, 257]);
    assert.deepEqual(result.failures.map(({ owners, error }) => [owners, error instanceof CapacityExceeded]), [[[256], true]]);
    const roomy = new World(7);
    assert.deepEqual(roomy.target.apply({ ...desired, subjects, audits: new Map([[256, watched]]) }).failures, [], "there is room for both");
  });

  it("keeps a changed rule set's old blocks beside the new ones, and deletes them with their number", () => {
    const world = new World();
    const of = (...list: string[]): Step => ({ subjects: new Map([[256, withRules(allow("c1", 80))]]), selectors: new Map([["c1", { kind: "cidrs", blocks: list.map((cidr) => ({ cidr, except: [] })), scopes: ["world"] }]]) });
    world.apply(of("10.0.0.0/8"));
    const old = numberOf(world, 256);
    world.apply(of("10.0.0.0/8", "11.0.0.0/8"));
    assert.notEqual(numberOf(world, 256), old);
    assert.equal(world.maps.picture().blocks.length, 3);
    world.now += 1000;
    world.target.sweep();
    assert.deepEqual(world.maps.picture().blocks.map(({ ruleSet }) => ruleSet), [numberOf(world, 256), numberOf(world, 256)]);
  });

  it("closes nothing and takes nothing away before everything is known", () => {
    const world = new World();
    const set = withRules(allow("s1", 80));
    world.apply({ subjects: new Map([[256, set]]), selectors });
    const before = world.maps.picture();
    world.target.apply(desiredOf({ subjects: new Map([[256, set]]), selectors: new Map([["s1", new Set()]]) }, false));
    world.target.apply(desiredOf(EMPTY, false));
    assert.deepEqual(world.maps.picture(), before);
  });

  it("knows, before everything is known, whose rules are exactly those of the node state: their pods may start", () => {
    const world = new World();
    const step: Step = { subjects: new Map([[256, withRules(allow("s1", 80))], [257, withRules(allow("s1", 81))]]), selectors };
    world.apply(step);
    const restarted = world.open();
    const { enforced } = restarted.apply(desiredOf({ subjects: new Map([...step.subjects, [257, withRules(allow("s1", 82))]]), selectors }, false));
    assert.deepEqual([...enforced], [256]);
  });

  it("programs a new identity also before everything is known", () => {
    const world = new World();
    const { slots } = world.target.apply(desiredOf({ subjects: new Map([[256, withRules(allow("s1", 80))]]), selectors }, false));
    assert.ok(slots.has(256));
  });

  it("keeps the rules of an identity that an endpoint still has", () => {
    const world = new World();
    world.apply({ subjects: new Map([[256, withRules(allow("s1", 80))]]), selectors });
    const before = world.maps.picture();
    world.target.apply(desiredOf(EMPTY));
    world.target.release(new Set([256]));
    assert.deepEqual(world.maps.picture(), before);
    assert.ok(world.target.slots().has(256));
    world.target.release(new Set());
    assert.equal(world.target.slots().size, 0);
    assert.equal(world.maps.picture().subjects.get(1)?.ruleSet, 0);
  });

  it("programs nothing for a rule set that cannot be known", () => {
    const world = new World();
    const unknown = withRules(allow("nowhere", 80));
    assert.throws(() => expandRuleSet(unknown, selectors), { code: "UNKNOWN_SELECTOR" });
    const { failures, slots } = world.target.apply({ subjects: new Map([[256, 1]]), ruleSets: new Map([[1, new Error("no selector")]]), isComplete: true });
    assert.equal(failures.length, 1);
    assert.equal(slots.size, 0);
  });
});
