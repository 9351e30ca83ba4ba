/**
 * Whether what would leave for another node's pods in clear is dropped: a word in a map for the programs, and a file, so
 * that a node whose power fails is as strict when it is back, also while nobody tells it what the other nodes enforce.
 */
import { access, rm } from "node:fs/promises";
import type { BpfMap } from "../kernel/index.ts";
import { writeAtomic } from "../lib/files.ts";
import type { Logger } from "../lib/log.ts";

export interface EnforcementOptions {
  /** The map `encryption`. */
  readonly map: BpfMap;
  readonly file: string;
  readonly logger: Logger;
}

const KEY = new Uint8Array(4);
const word = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);

export class Enforcement {
  readonly #options: EnforcementOptions;
  #isKept = false;

  constructor(options: EnforcementOptions) {
    this.#options = options;
  }

  get isInForce(): boolean {
    return this.#options.map.lookup(KEY)?.some((byte) => byte !== 0) === true;
  }

  /** As it was when the machine stopped. True when it is in force. */
  async restore(): Promise<boolean> {
    this.#isKept ||= await access(this.#options.file).then(() => true, () => false);
    if (this.#isKept) this.#drop();
    return this.isInForce;
  }

  /** In force at once; on disk once this resolves. */
  async begin(): Promise<void> {
    const { file } = this.#options;
    this.#drop();
    if (this.#isKept) return;
    await writeAtomic(file, "in force\n", { mode: 0o600 });
    this.#isKept = true;
  }

  /** The file first: a machine that stops in between is not to come back strict. */
  async end(): Promise<void> {
    const { file, map } = this.#options;
    await rm(file, { force: true });
    this.#isKept = false;
    map.update(KEY, word(0));
  }

  #drop(): void {
    if (this.isInForce) return;
    this.#options.map.update(KEY, word(1));
    this.#options.logger.info("encryption is in force: what would leave for another node's pods in clear is dropped");
  }
}
