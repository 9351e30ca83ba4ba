/** One value for equal texts, so that what many rows say alike is in memory once. */
export class Interner<T> {
  readonly #values = new Map<string, T>();
  readonly #limit: number;

  /** @param limit when so many texts are known all are forgotten: then only sharing is lost, and memory stays bounded */
  constructor(limit = 65_536) {
    this.#limit = limit;
  }

  of(text: string, make: (text: string) => T): T {
    const known = this.#values.get(text);
    if (known !== undefined) return known;
    if (this.#values.size >= this.#limit) this.#values.clear();
    const value = make(text);
    this.#values.set(text, value);
    return value;
  }
}
