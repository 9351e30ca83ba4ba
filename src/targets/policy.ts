/**
 * Programs policy: identities' rule sets into `policy` and `subjects`, so that at every moment each packet is
 * judged by the old rules or by the new ones, never by a mix.
 *
 *   subjects[slot of the identity] ──rule set number──▶ policy[(number, peer, port, …)]
 *
 * - Several changes are written whole under a fresh number; then each subject flips with one update. The old
 *   number's entries stay for a moment, for programs that have read the old number and not yet the entries.
 * - A change is written in place when any part of it that a running program sees is old or new: one entry;
 *   additions of one verdict (what decides a packet is its old decider or a new entry, and all of these say the
 *   same as the one that decides in the end); removals of one verdict, by the same argument backwards.
 * - A rule set number is used again only when nothing refers to it, a generation never: conntrack keeps
 *   generations and judges again what was judged under another one.
 * - Our entries are all entries of both maps, known by the maps' pin paths. After a restart the maps are
 *   read back; a subject that is as it should be is not touched.
 */
import { CodedError, asError } from "../lib/errors.ts";
import type { Subject } from "../kernel/gen/types.ts";
import { sameFields } from "../reconcile/target.ts";
import type { Entry, Expanded, Header } from "./expand.ts";
import { PolicyStore } from "./policy-store.ts";
import type { Image, PolicyMaps } from "./policy-store.ts";

export class CapacityExceeded extends CodedError {
  constructor(map: string, need: number, size: number) {
    super("CAPACITY", `map ${map} needs ${need} entries and has room for ${size}`, { fields: { map, need, size } });
    this.name = "CapacityExceeded";
  }
}

export interface PolicyDesired<Id> {
  /** Rule set of each identity that runs here. */
  readonly subjects: ReadonlyMap<number, Id>;
  /** Content of each rule set, or why it cannot be known: its subjects then keep what they have. */
  readonly ruleSets: ReadonlyMap<Id, Expanded | Error>;
  /**
   * The desired side has told all that it has. Before that nothing is taken away: identities whose rules are in
   * force keep them untouched (their peers may just not have been listed yet), only new ones are programmed.
   */
  readonly isComplete: boolean;
}

export interface PolicyFailure {
  readonly identities: readonly number[];
  readonly error: Error;
}

export interface PolicyResult {
  readonly written: number;
  readonly removed: number;
  /** Identity -> slot, of all identities with a rule set in the kernel, current or last good. */
  readonly slots: ReadonlyMap<number, number>;
  readonly enforced: ReadonlySet<number>;
  readonly failures: readonly PolicyFailure[];
}

/** A program runs for microseconds. */
const READERS_DONE_MS = 500;

const CLOSED: Header = { ingressDefault: 0, egressDefault: 0, ingressPorts: 0, egressPorts: 0, ingressEnforced: 1, egressEnforced: 1, flags: 0 };

export class PolicyTarget {
  readonly #store: PolicyStore;
  readonly #slots = new Map<number, number>();
  readonly #firstGeneration: number;
  readonly #nowMs: () => number;
  /** Rule set -> when a subject last stopped to refer to it: programs may be reading it for that subject. */
  readonly #leftAt = new Map<number, number>();
  /** Rule set -> what it is known to hold, so that what did not change is not compared entry by entry. */
  readonly #contents = new Map<number, Expanded>();
  #generation = 0;
  #written = 0;
  #removed = 0;

  /**
   * @param firstGeneration the least generation to begin with; greater than any that an earlier pair of maps
   *   may have left in conntrack (seconds since a fixed date do).
   */
  constructor(maps: PolicyMaps, firstGeneration: number, nowMs: () => number) {
    this.#store = new PolicyStore(maps);
    this.#nowMs = nowMs;
    this.#firstGeneration = firstGeneration;
  }

  /** Reads the maps. `slots` is what the endpoints say about the slots of identities. */
  recover(slots: ReadonlyMap<number, number>): void {
    this.#store.recover();
    this.#contents.clear();
    this.#generation = Math.max(this.#generation, this.#firstGeneration, this.#store.greatestGeneration());
    for (const [identity, slot] of slots) {
      const isFree = !this.#slots.has(identity) && ![...this.#slots.values()].includes(slot);
      if (isFree && this.#store.subjects.has(slot)) this.#slots.set(identity, slot);
    }
  }

  apply<Id>(desired: PolicyDesired<Id>): PolicyResult {
    this.#written = 0;
    this.#removed = 0;
    const enforced = new Set<number>();
    const failures: PolicyFailure[] = [];
    this.#trySweep(failures); // makes room first
    for (const [id, all] of usersByRuleSet(desired.subjects)) {
      const identities = desired.isComplete ? all : all.filter((identity) => !this.#isInForce(identity));
      try {
        const content = desired.ruleSets.get(id) ?? new CodedError("UNKNOWN_RULE_SET", `rule set ${String(id)} is not in the node state`);
        if (content instanceof Error) throw content;
        if (identities.length > 0) this.#program(identities, content);
        for (const identity of all) if (this.#obeys(identity, content)) enforced.add(identity);
      } catch (thrown) {
        failures.push({ identities, error: asError(thrown) });
      }
    }
    this.#trySweep(failures);
    return { written: this.#written, removed: this.#removed, slots: this.slots(), enforced, failures };
  }

  /** Identity -> slot, of all identities with a rule set in the kernel, current or last good. */
  slots(): ReadonlyMap<number, number> {
    return new Map([...this.#slots].filter(([, slot]) => (this.#store.subjects.get(slot)?.ruleSet ?? 0) !== 0));
  }

  /** Its rules are in the kernel: the current ones, or the last good. */
  #isInForce(identity: number): boolean {
    return (this.#subjectOf(identity)?.ruleSet ?? 0) !== 0;
  }

  /** What is in force is exactly this. */
  #obeys(identity: number, content: Expanded): boolean {
    const subject = this.#subjectOf(identity);
    if (subject === undefined || subject.ruleSet === 0) return false;
    const { ruleSet, generation } = subject;
    return sameFields(subject, { ...content.header, owner: identity, ruleSet, generation }) && this.#holds(ruleSet, content);
  }

  #program(identities: readonly number[], content: Expanded): void {
    const { ruleSet, isChanged } = this.#place(identities, content);
    for (const identity of identities) {
      const slot = this.#slotFor(identity);
      const now = this.#store.subjects.get(slot);
      const wanted = { ...content.header, owner: identity, ruleSet, generation: now?.generation ?? 0 };
      if (isChanged || now === undefined || !sameFields(now, wanted)) this.#flip(slot, wanted);
    }
  }

  /** Sees to it that `content` stands under some number. Subjects are not flipped yet, all of `identities` must be. */
  #place(identities: readonly number[], content: Expanded): { readonly ruleSet: number; readonly isChanged: boolean } {
    const current = new Set(identities.flatMap((identity) => this.#subjectOf(identity)?.ruleSet ?? []).filter((n) => n !== 0));
    for (const ruleSet of [...current, ...this.#store.sets.keys()]) {
      if (ruleSet === 0 || !this.#holds(ruleSet, content)) continue;
      this.#contents.set(ruleSet, content);
      return { ruleSet, isChanged: false };
    }
    for (const ruleSet of current) if (this.#changeInPlace(ruleSet, identities, content)) return { ruleSet, isChanged: true };
    const fresh = this.#store.newRuleSet();
    try {
      this.#checkCapacity(content.entries.size);
      this.#store.writeEntries(fresh, [...content.entries.values()]);
      this.#written += content.entries.size;
    } catch (error) {
      this.#store.dropRuleSet(fresh);
      throw error;
    }
    this.#contents.set(fresh, content);
    return { ruleSet: fresh, isChanged: true };
  }

  #holds(ruleSet: number, content: Expanded): boolean {
    return this.#contents.get(ruleSet) === content || sameEntries(this.#store.sets.get(ruleSet), content);
  }

  /** false: it needs a copy. Only where no subject outside of `identities` obeys this rule set. */
  #changeInPlace(ruleSet: number, identities: readonly number[], content: Expanded): boolean {
    if (this.#hasReadersThatLeft(ruleSet)) return false;
    const users = [...this.#store.subjects].filter(([, subject]) => subject.ruleSet === ruleSet);
    const allowed = new Set(identities.map((identity) => this.#slots.get(identity)));
    const enforcement = ({ ingressEnforced, egressEnforced }: Header): string => `${ingressEnforced}${egressEnforced}`;
    const wanted = content.header;
    if (!users.every(([slot, subject]) => allowed.has(slot) && enforcement(subject) === enforcement(wanted))) return false;
    const image = this.#store.sets.get(ruleSet) ?? new Map<string, Entry>();
    const changes = compare(image, content);
    if (!isSafeInPlace(changes)) return false;
    const { puts, removes, replaced } = changes;
    this.#checkCapacity(replaced ? 0 : puts.length);
    this.#contents.delete(ruleSet); // unknown while it is written, and when that fails
    this.#store.writeEntries(ruleSet, puts);
    this.#store.deleteEntries(ruleSet, removes);
    this.#written += puts.length;
    this.#removed += removes.length;
    this.#contents.set(ruleSet, content);
    return true;
  }

  #checkCapacity(added: number): void {
    const need = this.#store.count + added;
    if (added > 0 && need > this.#store.size) throw new CapacityExceeded("policy", need, this.#store.size);
  }

  /** One update of the subject, under a new generation: conntrack judges its flows again. */
  #flip(slot: number, subject: Omit<Subject, "generation">): void {
    const left = this.#store.subjects.get(slot)?.ruleSet ?? 0;
    if (left !== subject.ruleSet) this.#leftAt.set(left, this.#nowMs());
    this.#generation++;
    this.#store.writeSubject(slot, { ...subject, generation: this.#generation });
    this.#written++;
  }

  #subjectOf(identity: number): Subject | undefined {
    const slot = this.#slots.get(identity);
    return slot === undefined ? undefined : this.#store.subjects.get(slot);
  }

  #slotFor(identity: number): number {
    const known = this.#slots.get(identity);
    if (known !== undefined) return known;
    const slot = this.#store.freeSlot(new Set(this.#slots.values()));
    if (slot === undefined) throw new CapacityExceeded("subjects", this.#slots.size + 1, this.#store.slotCount);
    this.#slots.set(identity, slot);
    return slot;
  }

  /**
   * Frees the slots of identities other than these: call it when no endpoint in the kernel refers to another. A
   * freed slot is closed, not deleted: its generation keeps the counter growing.
   */
  release(keep: ReadonlySet<number>): readonly PolicyFailure[] {
    for (const identity of this.#slots.keys()) if (!keep.has(identity)) this.#slots.delete(identity);
    const taken = new Set(this.#slots.values());
    const failures: PolicyFailure[] = [];
    for (const [slot, subject] of this.#store.subjects) {
      if (taken.has(slot) || subject.ruleSet === 0) continue;
      try {
        this.#flip(slot, { ...CLOSED, owner: 0, ruleSet: 0 });
      } catch (thrown) {
        failures.push({ identities: [], error: asError(thrown) });
      }
    }
    this.#trySweep(failures);
    return failures;
  }

  #trySweep(failures: PolicyFailure[]): void {
    try {
      this.#removed += this.sweep();
    } catch (thrown) {
      failures.push({ identities: [], error: asError(thrown) });
    }
  }

  /**
   * Deletes entries that no subject can reach: old numbers once no program can be reading them, and what a crash
   * left. apply() does it too; call it when nothing else happens.
   */
  sweep(): number {
    const referenced = new Set([...this.#store.subjects.values()].map(({ ruleSet }) => ruleSet));
    let removed = 0;
    for (const ruleSet of [...this.#store.sets.keys()]) {
      if (referenced.has(ruleSet)) continue;
      if (!this.#leftAt.has(ruleSet)) this.#leftAt.set(ruleSet, this.#nowMs());
      if (this.#hasReadersThatLeft(ruleSet)) continue;
      this.#contents.delete(ruleSet);
      removed += this.#store.dropRuleSet(ruleSet);
    }
    for (const ruleSet of this.#leftAt.keys()) if (!this.#hasReadersThatLeft(ruleSet)) this.#leftAt.delete(ruleSet);
    return removed;
  }

  #hasReadersThatLeft(ruleSet: number): boolean {
    const leftAt = this.#leftAt.get(ruleSet);
    return leftAt !== undefined && this.#nowMs() - leftAt < READERS_DONE_MS;
  }
}

function usersByRuleSet<Id>(subjects: ReadonlyMap<number, Id>): ReadonlyMap<Id, readonly number[]> {
  return Map.groupBy(subjects.keys(), (identity) => subjects.get(identity) as Id);
}

interface Changes {
  /** New entries, and one that replaces another when `replaced`. */
  readonly puts: readonly Entry[];
  readonly removes: readonly Entry[];
  readonly replaced: boolean;
}

function compare(image: Image, { entries }: Expanded): Changes {
  const puts: Entry[] = [];
  let replaced = false;
  for (const [key, entry] of entries) {
    const now = image.get(key);
    if (now !== undefined && sameFields(now.value, entry.value)) continue;
    replaced ||= now !== undefined;
    puts.push(entry);
  }
  const removes = [...image].filter(([key]) => !entries.has(key)).map(([, entry]) => entry);
  return { puts, removes, replaced };
}

function isSafeInPlace({ puts, removes, replaced }: Changes): boolean {
  if (puts.length + removes.length <= 1) return true;
  if (replaced || (puts.length > 0 && removes.length > 0)) return false;
  return new Set([...puts, ...removes].map(({ value }) => value.verdict)).size === 1;
}

function sameEntries(image: Image | undefined, { entries }: Expanded): boolean {
  if (image === undefined || image.size !== entries.size) return false;
  for (const [key, entry] of entries) {
    const now = image.get(key);
    if (now === undefined || !sameFields(now.value, entry.value)) return false;
  }
  return true;
}
