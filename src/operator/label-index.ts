/** Whose labels a selector may mean, without a look at all that have some. */
import { anchorsOf, labelText } from "../compile/index.ts";
import type { LabelPeers } from "../compile/index.ts";
import type { Labels } from "../model/index.ts";

export class LabelIndex<T> {
  readonly #all = new Set<T>();
  readonly #byLabel = new Map<string, Set<T>>();

  add(value: T, labels: Labels): void {
    this.#all.add(value);
    for (const [key, text] of labels) {
      const label = labelText(key, text);
      const values = this.#byLabel.get(label);
      if (values === undefined) this.#byLabel.set(label, new Set([value]));
      else values.add(value);
    }
  }

  /** With the labels with which it was added. */
  remove(value: T, labels: Labels): void {
    this.#all.delete(value);
    for (const [key, text] of labels) {
      const label = labelText(key, text);
      const values = this.#byLabel.get(label);
      values?.delete(value);
      if (values?.size === 0) this.#byLabel.delete(label);
    }
  }

  /** All that the selector selects, and others. */
  candidates(selector: LabelPeers): Iterable<T> {
    const choices = anchorsOf(selector).map((labels) => labels.flatMap((label) => this.#byLabel.get(label) ?? []));
    const sizeOf = (sets: readonly ReadonlySet<T>[]): number => sets.reduce((sum, { size }) => sum + size, 0);
    const [best] = choices.sort((a, b) => sizeOf(a) - sizeOf(b));
    return best === undefined ? this.#all : best.flatMap((set) => [...set]);
  }
}
