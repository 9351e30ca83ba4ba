/** One result for what was made of the same things: each is found again as long as somebody holds it. */
export class Shared<T extends object> {
  readonly #results = new Map<string, WeakRef<T>>();
  readonly #serials = new WeakMap<object, number>();
  readonly #limit: number;
  #lastSerial = 0;

  /** @param limit when so many are known all are forgotten: then only sharing is lost, and memory stays bounded */
  constructor(limit = 65_536) {
    this.#limit = limit;
  }

  /** @param parts all that the result depends on: objects by what they are, not by what they hold */
  of(parts: readonly (object | string | number)[], make: () => T): T {
    const key = parts.map((part) => (typeof part === "object" ? this.#serialOf(part) : part)).join();
    const known = this.#results.get(key)?.deref();
    if (known !== undefined) return known;
    const result = make();
    if (this.#results.size >= this.#limit) this.#results.clear();
    this.#results.set(key, new WeakRef(result));
    return result;
  }

  #serialOf(part: object): number {
    const known = this.#serials.get(part);
    if (known !== undefined) return known;
    this.#serials.set(part, ++this.#lastSerial);
    return this.#lastSerial;
  }
}
