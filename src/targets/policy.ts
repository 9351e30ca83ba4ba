/**
 * Programs policy: rule sets into `policy`, `blocks` and `subjects`, so that at every moment each packet is
 * judged by the old rules or by the new ones, never by a mix.
 *
 *   subjects[slot of the owner] ──rule set number──▶ policy[(number, peer, port, …)], blocks[(number, CIDR)]
 *
 * An owner is an identity, or a class of named ports (`ports.ts`): the pods of one identity that call their ports alike.
 *
 * - Several changes are written whole under a fresh number; then each subject flips with one update. The old
 *   number's entries stay for a moment, for programs that have read the old number and not yet the entries.
 * - Blocks are written whole only: an address's class never changes its meaning under a number.
 * - A change of entries is written in place when any part of it that a running program sees is old or new: one entry;
 *   additions of one verdict (what decides a packet is its old decider or a new entry, and all of these say the
 *   same as the one that decides in the end); removals of one verdict, by the same argument backwards.
 * - A rule set number is used again only when nothing refers to it, a generation never: conntrack keeps
 *   generations and judges again what was judged under another one.
 * - Our entries are all entries of both maps, known by the maps' pin paths. After a restart the maps are
 *   read back; a subject that is as it should be is not touched.
 */
import { CodedError, asError } from "../lib/errors.ts";
import type { Subject } from "../kernel/gen/types.ts";
import { CapacityExceeded, sameFields } from "../reconcile/target.ts";
import type { Entry, Expanded, Header } from "./expand.ts";
import { PolicyStore } from "./policy-store.ts";
import type { Image, PolicyMaps } from "./policy-store.ts";

export interface PolicyDesired<Id> {
  /** Rule set of each owner that is here. */
  readonly subjects: ReadonlyMap<number, Id>;
  /** What each owner would obey if the policies that only watch were enforced too; of owners for whom some watch. */
  readonly audits?: ReadonlyMap<number, Id>;
  /** Content of each rule set, or why it cannot be known: its subjects then keep what they have. */
  readonly ruleSets: ReadonlyMap<Id, Expanded | Error>;
  /**
   * The desired side has told all that it has. Before that nothing is taken away: owners whose rules are in
   * force keep them untouched (their peers may just not have been listed yet), only new ones are programmed.
   */
  readonly isComplete: boolean;
}

export interface PolicyFailure {
  readonly owners: readonly number[];
  readonly error: Error;
}

export interface PolicyResult {
  readonly written: number;
  readonly removed: number;
  /** Owner -> slot, of all that have a rule set in the kernel, current or last good. */
  readonly slots: ReadonlyMap<number, number>;
  readonly enforced: ReadonlySet<number>;
  readonly failures: readonly PolicyFailure[];
}

/**
 * Set in an owner's number, it stands for what the owner would obey if watching policies were enforced. No identity and no
 * number of a class reaches it.
 */
export const AUDIT_OWNER = 0x40000000;

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
  /** Of the last apply: the numbers that stand for what watches, and those of them that changed. */
  #audited: ReadonlySet<number> = new Set();
  #reaudited = new Set<number>();
  /** Entries that what is enforced still needs, while what watches is written. */
  #reserved = { policy: 0, blocks: 0 };
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

  /** Reads the maps. */
  recover(): void {
    this.#store.recover();
    this.#contents.clear();
    this.#generation = Math.max(this.#generation, this.#firstGeneration, this.#store.greatestGeneration());
    for (const [slot, { owner }] of this.#store.subjects) if (owner !== 0 && !this.#slots.has(owner)) this.#slots.set(owner, slot);
  }

  apply<Id>(desired: PolicyDesired<Id>): PolicyResult {
    this.#written = 0;
    this.#removed = 0;
    const enforced = new Set<number>();
    const failures: PolicyFailure[] = [];
    this.#trySweep(failures); // makes room first
    // What watches goes before what names its slot.
    const audits = new Map([...(desired.audits ?? [])].map(([owner, id]) => [auditOf(owner), id]));
    this.#audited = new Set(audits.keys());
    this.#reaudited = new Set();
    if (audits.size > 0) this.#reserved = this.#missing(desired);
    this.#applySubjects(audits, desired, enforced, failures);
    this.#reserved = { policy: 0, blocks: 0 };
    this.#applySubjects(desired.subjects, desired, enforced, failures);
    this.#trySweep(failures);
    return { written: this.#written, removed: this.#removed, slots: this.slots(), enforced, failures };
  }

  /** Entries of what is to be enforced and stands under no number; what will be changed in place counts whole. */
  #missing<Id>({ subjects, ruleSets }: PolicyDesired<Id>): { readonly policy: number; readonly blocks: number } {
    const held = new Set(this.#contents.values());
    const missing = { policy: 0, blocks: 0 };
    for (const id of new Set(subjects.values())) {
      const content = ruleSets.get(id);
      if (content === undefined || content instanceof Error || held.has(content)) continue;
      if ([...this.#store.sets.keys()].some((ruleSet) => this.#holds(ruleSet, content))) continue;
      missing.policy += content.entries.size;
      missing.blocks += content.blocks.size;
    }
    return missing;
  }

  #applySubjects<Id>(subjects: ReadonlyMap<number, Id>, { ruleSets, isComplete }: PolicyDesired<Id>, enforced: Set<number>, failures: PolicyFailure[]): void {
    for (const [id, all] of usersByRuleSet(subjects)) {
      const owners = isComplete ? all : all.filter((owner) => !this.#isInForce(owner));
      try {
        const content = ruleSets.get(id) ?? new CodedError("UNKNOWN_RULE_SET", `rule set ${String(id)} is not in the node state`);
        if (content instanceof Error) throw content;
        if (owners.length > 0) this.#program(owners, content);
        for (const owner of all) if (this.#obeys(owner, content)) enforced.add(owner);
      } catch (thrown) {
        failures.push({ owners: owners.map(ownerOf), error: asError(thrown) });
      }
    }
  }

  /** Owner -> slot, of all that have a rule set in the kernel, current or last good. */
  slots(): ReadonlyMap<number, number> {
    return new Map([...this.#slots].filter(([, slot]) => (this.#store.subjects.get(slot)?.ruleSet ?? 0) !== 0));
  }

  /** Entries by map. */
  entries(): readonly (readonly [map: string, entries: number])[] {
    return [["policy", this.#store.fill("policy").count], ["blocks", this.#store.fill("blocks").count], ["subjects", this.#store.subjects.size]];
  }

  /** Its rules are in the kernel: the current ones, or the last good. */
  #isInForce(owner: number): boolean {
    return (this.#subjectOf(owner)?.ruleSet ?? 0) !== 0;
  }

  /** What is in force is exactly this. */
  #obeys(owner: number, content: Expanded): boolean {
    const subject = this.#subjectOf(owner);
    if (subject === undefined || subject.ruleSet === 0) return false;
    const { ruleSet, generation } = subject;
    return sameFields(subject, { ...content.header, owner, ruleSet, generation, audit: this.#auditSlot(owner) }) && this.#holds(ruleSet, content);
  }

  #program(owners: readonly number[], content: Expanded): void {
    const { ruleSet, isChanged } = this.#place(owners, content);
    for (const owner of owners) {
      const slot = this.#slotFor(owner);
      const now = this.#store.subjects.get(slot);
      const wanted = { ...content.header, owner, ruleSet, generation: now?.generation ?? 0, audit: this.#auditSlot(owner) };
      if (!isChanged && now !== undefined && sameFields(now, wanted) && !this.#reaudited.has(auditOf(owner))) continue;
      this.#flip(slot, wanted);
      // Its flows are judged again with the owner's own, so that those are told which a change would cut.
      if (this.#audited.has(owner)) this.#reaudited.add(owner);
    }
  }

  /** Where what watches the owner is judged; 0: nothing does. */
  #auditSlot(owner: number): number {
    const audit = auditOf(owner);
    return owner !== audit && this.#audited.has(audit) && this.#isInForce(audit) ? (this.#slots.get(audit) ?? 0) : 0;
  }

  /** Sees to it that `content` stands under some number. Subjects are not flipped yet, all of `owners` must be. */
  #place(owners: readonly number[], content: Expanded): { readonly ruleSet: number; readonly isChanged: boolean } {
    const current = new Set(owners.flatMap((owner) => this.#subjectOf(owner)?.ruleSet ?? []).filter((n) => n !== 0));
    for (const ruleSet of [...current, ...this.#store.sets.keys()]) {
      if (ruleSet === 0 || !this.#holds(ruleSet, content)) continue;
      this.#contents.set(ruleSet, content);
      return { ruleSet, isChanged: false };
    }
    for (const ruleSet of current) if (this.#changeInPlace(ruleSet, owners, content)) return { ruleSet, isChanged: true };
    return { ruleSet: this.#writeWhole(content), isChanged: true };
  }

  /** Under a fresh number, or not at all. */
  #writeWhole(content: Expanded): number {
    this.#checkCapacity("policy", content.entries.size);
    this.#checkCapacity("blocks", content.blocks.size);
    const fresh = this.#store.newRuleSet();
    try {
      this.#store.writeBlocks(fresh, [...content.blocks.values()]);
      this.#store.writeEntries(fresh, [...content.entries.values()]);
    } catch (error) {
      this.#store.dropRuleSet(fresh);
      throw error;
    }
    this.#written += content.entries.size + content.blocks.size;
    this.#contents.set(fresh, content);
    return fresh;
  }

  #holds(ruleSet: number, content: Expanded): boolean {
    return this.#contents.get(ruleSet) === content || holdsExactly(this.#store.sets.get(ruleSet), content);
  }

  /** false: it needs a copy. Only where no subject outside of `owners` obeys this rule set. */
  #changeInPlace(ruleSet: number, owners: readonly number[], content: Expanded): boolean {
    if (this.#hasReadersThatLeft(ruleSet)) return false;
    const users = [...this.#store.subjects].filter(([, subject]) => subject.ruleSet === ruleSet);
    const allowed = new Set(owners.map((owner) => this.#slots.get(owner)));
    const enforcement = ({ ingressEnforced, egressEnforced }: Header): string => `${ingressEnforced}${egressEnforced}`;
    const wanted = content.header;
    if (!users.every(([slot, subject]) => allowed.has(slot) && enforcement(subject) === enforcement(wanted))) return false;
    const image = this.#store.sets.get(ruleSet);
    if (image === undefined || !sameValues(image.blocks, content.blocks)) return false;
    const changes = compare(image, content);
    if (!isSafeInPlace(changes)) return false;
    const { puts, removes, replaced } = changes;
    this.#checkCapacity("policy", replaced ? 0 : puts.length);
    this.#contents.delete(ruleSet); // unknown while it is written, and when that fails
    this.#store.writeEntries(ruleSet, puts);
    this.#store.deleteEntries(ruleSet, removes);
    this.#written += puts.length;
    this.#removed += removes.length;
    this.#contents.set(ruleSet, content);
    return true;
  }

  #checkCapacity(map: "policy" | "blocks", added: number): void {
    const { count, size } = this.#store.fill(map);
    const need = count + added + this.#reserved[map];
    if (added > 0 && need > size) throw new CapacityExceeded(map, need, size);
  }

  /** One update of the subject, under a new generation: conntrack judges its flows again. */
  #flip(slot: number, subject: Omit<Subject, "generation">): void {
    const left = this.#store.subjects.get(slot)?.ruleSet ?? 0;
    if (left !== subject.ruleSet) this.#leftAt.set(left, this.#nowMs());
    this.#generation++;
    this.#store.writeSubject(slot, { ...subject, generation: this.#generation });
    this.#written++;
  }

  #subjectOf(owner: number): Subject | undefined {
    const slot = this.#slots.get(owner);
    return slot === undefined ? undefined : this.#store.subjects.get(slot);
  }

  #slotFor(owner: number): number {
    const known = this.#slots.get(owner);
    if (known !== undefined) return known;
    const slot = this.#store.freeSlot(new Set(this.#slots.values()));
    if (slot === undefined) throw new CapacityExceeded("subjects", this.#slots.size + 1, this.#store.slotCount);
    this.#slots.set(owner, slot);
    return slot;
  }

  /**
   * Frees the slots of owners other than these, and what watches nobody any more: call it when no endpoint in the kernel
   * refers to another. A freed slot is closed, not deleted: its generation keeps the counter growing.
   */
  release(keep: ReadonlySet<number>): readonly PolicyFailure[] {
    for (const owner of this.#slots.keys()) if (!keep.has(owner) && !(this.#audited.has(owner) && keep.has(ownerOf(owner)))) this.#slots.delete(owner);
    const failures: PolicyFailure[] = [];
    // Whoever names a slot of what watches goes before it.
    for (const isWatch of [false, true]) {
      const taken = new Set([...this.#slots.values(), ...[...this.#store.subjects.values()].map(({ audit }) => audit)]);
      for (const [slot, subject] of this.#store.subjects) {
        if (taken.has(slot) || subject.ruleSet === 0 || (ownerOf(subject.owner) !== subject.owner) !== isWatch) continue;
        try {
          this.#flip(slot, { ...CLOSED, owner: 0, ruleSet: 0, audit: 0 });
        } catch (thrown) {
          failures.push({ owners: [], error: asError(thrown) });
        }
      }
    }
    this.#trySweep(failures);
    return failures;
  }

  #trySweep(failures: PolicyFailure[]): void {
    try {
      this.#removed += this.sweep();
    } catch (thrown) {
      failures.push({ owners: [], error: asError(thrown) });
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

/** Bitwise operators have 32 bits with a sign; numbers of classes use the highest. */
function auditOf(owner: number): number {
  return (owner | AUDIT_OWNER) >>> 0;
}

/** Whose number it is, also of one that stands for what watches. */
export function ownerOf(number: number): number {
  return (number & ~AUDIT_OWNER) >>> 0;
}

function usersByRuleSet<Id>(subjects: ReadonlyMap<number, Id>): ReadonlyMap<Id, readonly number[]> {
  return Map.groupBy(subjects.keys(), (owner) => subjects.get(owner) as Id);
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
    const now = image.entries.get(key);
    if (now !== undefined && sameFields(now.value, entry.value)) continue;
    replaced ||= now !== undefined;
    puts.push(entry);
  }
  const removes = [...image.entries].filter(([key]) => !entries.has(key)).map(([, entry]) => entry);
  return { puts, removes, replaced };
}

function isSafeInPlace({ puts, removes, replaced }: Changes): boolean {
  if (puts.length + removes.length <= 1) return true;
  if (replaced || (puts.length > 0 && removes.length > 0)) return false;
  return new Set([...puts, ...removes].map(({ value }) => value.verdict)).size === 1;
}

function holdsExactly(image: Image | undefined, { entries, blocks }: Expanded): boolean {
  return image !== undefined && sameValues(image.entries, entries) && sameValues(image.blocks, blocks);
}

function sameValues<T extends { readonly value: object }>(now: ReadonlyMap<string, T>, wanted: ReadonlyMap<string, T>): boolean {
  if (now.size !== wanted.size) return false;
  for (const [key, { value }] of wanted) {
    const held = now.get(key);
    if (held === undefined || !sameFields(held.value, value)) return false;
  }
  return true;
}
