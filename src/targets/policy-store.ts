/**
 * The maps `subjects`, `policy` and `blocks` as they are in the kernel, with our image of them: each write goes through
 * here, so that the image tells the truth also when a write failed half way.
 */
import { blockCodec, blockKeyCodec, policyEntryCodec, policyKeyCodec, subjectCodec } from "../kernel/gen/types.ts";
import type { Subject } from "../kernel/gen/types.ts";
import type { BatchMap } from "../kernel/port.ts";
import { formatCidr } from "../lib/ip.ts";
import type { BlockEntry } from "./blocks.ts";
import { entryKey } from "./expand.ts";
import type { Entry, EntryKey } from "./expand.ts";
import { viewOf } from "./map-target.ts";

/** What the kernel holds under one number. */
export interface Image {
  readonly entries: Map<EntryKey, Entry>;
  /** By text of the CIDR. */
  readonly blocks: Map<string, BlockEntry>;
}

export interface PolicyMaps {
  readonly subjects: BatchMap;
  readonly policy: BatchMap;
  readonly blocks: BatchMap;
}

/** The bits of `block_key` before the address. */
const RULE_SET_BITS = 32;

export class PolicyStore {
  readonly #maps: PolicyMaps;
  readonly sets = new Map<number, Image>();
  readonly subjects = new Map<number, Subject>();
  readonly #counts = { policy: 0, blocks: 0 };
  #lastSet = 0;

  constructor(maps: PolicyMaps) {
    this.#maps = maps;
  }

  /** Reads everything from the kernel. */
  recover(): void {
    this.sets.clear();
    this.subjects.clear();
    this.#recoverEntries();
    this.#recoverBlocks();
    for (const [key, value] of this.#maps.subjects.entries()) {
      const slot = viewOf(key).getUint32(0, true);
      if (slot !== 0) this.subjects.set(slot, subjectCodec.decode(viewOf(value)));
    }
    const referenced = [...this.subjects.values()].map(({ ruleSet }) => ruleSet).filter((ruleSet) => ruleSet !== 0);
    for (const ruleSet of referenced) this.#image(ruleSet); // one without entries is a rule set, too
    this.#lastSet = [...this.sets.keys(), ...referenced].reduce((a, b) => Math.max(a, b), this.#lastSet);
  }

  #recoverEntries(): void {
    this.#counts.policy = 0;
    for (const { keys, values, count } of this.#maps.policy.batches()) {
      const [keyView, valueView] = [viewOf(keys), viewOf(values)];
      for (let i = 0; i < count; i++) {
        const { ruleSet, ...key } = policyKeyCodec.decode(keyView, i * policyKeyCodec.size);
        this.#image(ruleSet).entries.set(entryKey(key), { key, value: policyEntryCodec.decode(valueView, i * policyEntryCodec.size) });
      }
      this.#counts.policy += count;
    }
  }

  #recoverBlocks(): void {
    this.#counts.blocks = 0;
    for (const { keys, values, count } of this.#maps.blocks.batches()) {
      const [keyView, valueView] = [viewOf(keys), viewOf(values)];
      for (let i = 0; i < count; i++) {
        const { ruleSet, prefix, address } = blockKeyCodec.decode(keyView, i * blockKeyCodec.size);
        const cidr = { prefix: prefix - RULE_SET_BITS, address };
        this.#image(ruleSet).blocks.set(formatCidr(cidr), { ...cidr, value: blockCodec.decode(valueView, i * blockCodec.size) });
      }
      this.#counts.blocks += count;
    }
  }

  #image(ruleSet: number): Image {
    const found = this.sets.get(ruleSet);
    if (found !== undefined) return found;
    const made: Image = { entries: new Map(), blocks: new Map() };
    this.sets.set(ruleSet, made);
    return made;
  }

  /** Slots that can be given: all but 0. */
  get slotCount(): number {
    return this.#maps.subjects.maxEntries - 1;
  }

  /** Entries in the map now, and how many it can hold. */
  fill(map: "policy" | "blocks"): { readonly count: number; readonly size: number } {
    return { count: this.#counts[map], size: this.#maps[map].maxEntries };
  }

  /** The greatest generation that any subject has. */
  greatestGeneration(): number {
    return [...this.subjects.values()].reduce((greatest, { generation }) => Math.max(greatest, generation), 0);
  }

  /** A number that nothing in the kernel uses; 0 means closed and is never given. */
  newRuleSet(): number {
    do this.#lastSet = this.#lastSet === 0xffffffff ? 1 : this.#lastSet + 1;
    while (this.sets.has(this.#lastSet) || [...this.subjects.values()].some(({ ruleSet }) => ruleSet === this.#lastSet));
    this.#image(this.#lastSet);
    return this.#lastSet;
  }

  /**
   * The slot with the smallest number that nobody has: one with rules is some pod's, also where a version without owners
   * wrote it. Slot 0 is never used.
   */
  freeSlot(taken: ReadonlySet<number>): number | undefined {
    for (let slot = 1; slot <= this.slotCount; slot++) if (!taken.has(slot) && (this.subjects.get(slot)?.ruleSet ?? 0) === 0) return slot;
    return undefined;
  }

  /** In the given order, each at most once. Throws what the kernel refused; what went before it stays. */
  writeEntries(ruleSet: number, entries: readonly Entry[]): void {
    const image = this.#image(ruleSet).entries;
    const keys = this.#packKeys(ruleSet, entries);
    const values = new Uint8Array(entries.length * policyEntryCodec.size);
    const view = viewOf(values);
    entries.forEach((entry, i) => policyEntryCodec.encode(entry.value, view, i * policyEntryCodec.size));
    const { done, error } = this.#maps.policy.updateBatch({ keys, values, count: entries.length });
    for (const entry of entries.slice(0, done)) {
      const text = entryKey(entry.key);
      if (!image.has(text)) this.#counts.policy++;
      image.set(text, entry);
    }
    if (error !== undefined) throw error;
  }

  deleteEntries(ruleSet: number, entries: readonly Entry[]): void {
    const image = this.#image(ruleSet).entries;
    const { done, error } = this.#maps.policy.deleteBatch(this.#packKeys(ruleSet, entries), entries.length);
    for (const entry of entries.slice(0, done)) if (image.delete(entryKey(entry.key))) this.#counts.policy--;
    if (error !== undefined) throw error;
  }

  /** As writeEntries. */
  writeBlocks(ruleSet: number, blocks: readonly BlockEntry[]): void {
    const image = this.#image(ruleSet).blocks;
    const values = new Uint8Array(blocks.length * blockCodec.size);
    const view = viewOf(values);
    blocks.forEach(({ value }, i) => blockCodec.encode(value, view, i * blockCodec.size));
    const { done, error } = this.#maps.blocks.updateBatch({ keys: packBlocks(ruleSet, blocks), values, count: blocks.length });
    for (const block of blocks.slice(0, done)) {
      const text = formatCidr(block);
      if (!image.has(text)) this.#counts.blocks++;
      image.set(text, block);
    }
    if (error !== undefined) throw error;
  }

  /** Deletes a rule set that no subject refers to. Returns how many entries it had, in both maps. */
  dropRuleSet(ruleSet: number): number {
    const entries = [...(this.sets.get(ruleSet)?.entries.values() ?? [])];
    this.deleteEntries(ruleSet, entries);
    const blocks = this.#dropBlocks(ruleSet);
    this.sets.delete(ruleSet);
    return entries.length + blocks;
  }

  #dropBlocks(ruleSet: number): number {
    const image = this.#image(ruleSet).blocks;
    const blocks = [...image.values()];
    const { done, error } = this.#maps.blocks.deleteBatch(packBlocks(ruleSet, blocks), blocks.length);
    for (const block of blocks.slice(0, done)) if (image.delete(formatCidr(block))) this.#counts.blocks--;
    if (error !== undefined) throw error;
    return blocks.length;
  }

  writeSubject(slot: number, subject: Subject): void {
    const key = new Uint8Array(4);
    const value = new Uint8Array(subjectCodec.size);
    viewOf(key).setUint32(0, slot, true);
    subjectCodec.encode(subject, viewOf(value));
    this.#maps.subjects.update(key, value);
    this.subjects.set(slot, subject);
  }

  #packKeys(ruleSet: number, entries: readonly Entry[]): Uint8Array {
    const keys = new Uint8Array(entries.length * policyKeyCodec.size);
    const view = viewOf(keys);
    entries.forEach((entry, i) => policyKeyCodec.encode({ ...entry.key, ruleSet }, view, i * policyKeyCodec.size));
    return keys;
  }
}

function packBlocks(ruleSet: number, blocks: readonly BlockEntry[]): Uint8Array {
  const keys = new Uint8Array(blocks.length * blockKeyCodec.size);
  const view = viewOf(keys);
  blocks.forEach(({ prefix, address }, i) => blockKeyCodec.encode({ ruleSet, prefix: RULE_SET_BITS + prefix, address }, view, i * blockKeyCodec.size));
  return keys;
}
