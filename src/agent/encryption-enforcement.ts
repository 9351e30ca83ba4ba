/**
 * Whether what would leave for another node's pods in clear is dropped, and what comes so from them: a word in a map for the
 * programs, and a file, so that a node whose power fails is as strict when it is back, also while nobody tells it what the
 * other nodes enforce.
 */
import { readFile, rm } from "node:fs/promises";
import { ENCRYPTION_RECEIPT, ENCRYPTION_SENDING } from "../kernel/gen/types.ts";
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
/** The file's second line; of an earlier version it has the first one alone. */
const ON_RECEIPT = "on receipt";
const BOTH = ENCRYPTION_SENDING | ENCRYPTION_RECEIPT;

export class Enforcement {
  readonly #options: EnforcementOptions;
  /** What is on disk. */
  #kept = 0;

  constructor(options: EnforcementOptions) {
    this.#options = options;
  }

  get isInForce(): boolean {
    return (this.#flags & ENCRYPTION_SENDING) !== 0;
  }

  /** Also what comes in clear is dropped. */
  get isOnReceipt(): boolean {
    return (this.#flags & ENCRYPTION_RECEIPT) !== 0;
  }

  /** As it was when the machine stopped. True when it is in force. */
  async restore(): Promise<boolean> {
    if (this.#kept === 0) this.#kept = await readFile(this.#options.file, "utf8").then((text) => (text.includes(ON_RECEIPT) ? BOTH : ENCRYPTION_SENDING), () => 0);
    if (this.#kept !== 0) this.#drop(this.#kept);
    return this.isInForce;
  }

  /** In force at once; on disk once this resolves. Nothing here takes back what was in force before. */
  async begin(onReceipt: boolean): Promise<void> {
    const flags = this.#kept | (onReceipt ? BOTH : ENCRYPTION_SENDING);
    this.#drop(flags);
    if (this.#kept === flags) return;
    await writeAtomic(this.#options.file, `in force\n${flags === BOTH ? `${ON_RECEIPT}\n` : ""}`, { mode: 0o600 });
    this.#kept = flags;
  }

  /** The file first: a machine that stops in between is not to come back strict. */
  async end(): Promise<void> {
    const { file, map } = this.#options;
    await rm(file, { force: true });
    this.#kept = 0;
    map.update(KEY, word(0));
  }

  get #flags(): number {
    const [flags = 0] = this.#options.map.lookup(KEY) ?? [];
    return flags;
  }

  #drop(flags: number): void {
    const now = this.#flags;
    if ((now | flags) === now) return;
    this.#options.map.update(KEY, word(now | flags));
    this.#options.logger.info("encryption is in force: what would leave for another node's pods in clear is dropped", { onReceiptToo: (flags & ENCRYPTION_RECEIPT) !== 0 });
  }
}
