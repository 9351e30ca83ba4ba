/**
 * The objects of one kind as this node knows them: from the disk until the API server has told all, from then on
 * what the API server says. So an agent, or a whole node, that starts without the API server keeps to what held last.
 */
import { readFile } from "node:fs/promises";
import type { Source, SourceListener } from "../kube/index.ts";
import { asError, codeOf } from "../lib/errors.ts";
import { writeAtomic } from "../lib/files.ts";
import type { Logger } from "../lib/log.ts";

export interface KeptTableOptions<T> {
  readonly name: string;
  readonly source: Source<T>;
  readonly file: string;
  readonly logger: Logger;
  readonly toJson: (row: T) => unknown;
  readonly fromJson: (value: never) => T;
}

/** At most this often to disk: the state may be a few seconds old after a crash of the machine. */
const KEEP_INTERVAL_MS = 5_000;
/** A large table rests that many times as long as it took to write. */
const KEEP_REST = 50;
/** So many rows are made text at once: neither the event loop nor the memory sees the whole table. */
const ROWS_AT_ONCE = 500;
const FORMAT = 1;

export class KeptTable<T> {
  readonly objects = new Map<string, T>();
  readonly #options: KeptTableOptions<T>;
  readonly #listeners = new Set<SourceListener<T>>();
  #isLoaded = false;
  /** By this process; the first time is not put off. */
  #isKept = false;
  #restMs = KEEP_INTERVAL_MS;
  #isKeeping = false;
  /** Something changed since the rows were last read for the disk. */
  #isStale = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: KeptTableOptions<T>) {
    this.#options = options;
  }

  /** Complete, as of now or as of when it was kept. */
  get isUsable(): boolean {
    return this.#isLoaded || this.#options.source.synced;
  }

  get synced(): boolean {
    return this.#options.source.synced;
  }

  /** Reads the disk, then follows the source. */
  async start(): Promise<void> {
    await this.#load();
    this.#options.source.subscribe({
      changed: (key, value) => this.#set(key, value),
      synced: () => this.#synced(),
    });
  }

  /** Hears of every change, first of what is there already. */
  subscribe(listener: SourceListener<T>): void {
    for (const [key, value] of this.objects) listener.changed(key, value, undefined);
    this.#listeners.add(listener);
    if (this.synced) listener.synced?.();
  }

  #set(key: string, value: T | undefined): void {
    const previous = this.objects.get(key);
    if (value === undefined) this.objects.delete(key);
    else this.objects.set(key, value);
    for (const listener of this.#listeners) listener.changed(key, value, previous);
    this.#keepSoon();
  }

  /** What only the disk knew is gone. */
  #synced(): void {
    for (const key of [...this.objects.keys()]) if (!this.#options.source.objects.has(key)) this.#set(key, undefined);
    for (const listener of this.#listeners) listener.synced?.();
    this.#keepSoon();
  }

  async #load(): Promise<void> {
    const { file, name, logger, fromJson } = this.#options;
    try {
      const { format, rows } = JSON.parse(await readFile(file, "utf8")) as { format: number; rows: [string, never][] };
      if (format !== FORMAT) throw new Error(`format ${format} is not ${FORMAT}`);
      for (const [key, value] of rows) this.objects.set(key, fromJson(value));
      this.#isLoaded = true;
    } catch (thrown) {
      this.objects.clear();
      if (codeOf(thrown) !== "ENOENT") logger.warn("what was kept on disk is not usable", { table: name, error: asError(thrown) });
    }
  }

  #keepSoon(): void {
    this.#isStale = true;
    if (this.#isKeeping || this.#timer !== undefined || !this.synced) return;
    this.#timer = setTimeout(() => void this.#keep(), this.#isKept ? this.#restMs : 0);
    this.#timer.unref();
  }

  async #keep(): Promise<void> {
    const { file, name, logger } = this.#options;
    const startedMs = performance.now();
    this.#timer = undefined;
    this.#isKept = true;
    this.#isKeeping = true;
    this.#isStale = false;
    try {
      await writeAtomic(file, this.#text(), { mode: 0o600, durable: false });
    } catch (thrown) {
      logger.warn("the state of the cluster could not be kept on disk", { table: name, error: asError(thrown) });
    }
    this.#isKeeping = false;
    this.#restMs = Math.max(KEEP_INTERVAL_MS, KEEP_REST * (performance.now() - startedMs));
    if (this.#isStale) this.#keepSoon();
  }

  /** Rows that change meanwhile are in it as they were or as they are, and are written again. */
  *#text(): Iterable<string> {
    const { toJson } = this.#options;
    yield `{"format":${FORMAT},"rows":[`;
    let rows: string[] = [];
    let separator = "";
    for (const [key, value] of this.objects) {
      rows.push(JSON.stringify([key, toJson(value)]));
      if (rows.length < ROWS_AT_ONCE) continue;
      yield separator + rows.join(",");
      [rows, separator] = [[], ","];
    }
    if (rows.length > 0) yield separator + rows.join(",");
    yield "]}";
  }
}
