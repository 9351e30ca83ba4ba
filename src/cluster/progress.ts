/** Prints what is being done and how long it took, one line per step. */
export class Progress {
  readonly #write: (text: string) => void;

  constructor(write: (text: string) => void) {
    this.#write = write;
  }

  say(line: string): void {
    this.#write(`  ${line}\n`);
  }

  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      const result = await work();
      this.#write(`✓ ${name} (${seconds(start)})\n`);
      return result;
    } catch (error) {
      this.#write(`✗ ${name} (${seconds(start)})\n`);
      throw error;
    }
  }
}

function seconds(start: number): string {
  return `${((performance.now() - start) / 1000).toFixed(1)} s`;
}
