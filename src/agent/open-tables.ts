/** What this network namespace, the node's, has open, as the kernel tells of it, when the first rules of the node come. */
import { readFileSync } from "node:fs";
import type { BatchMap } from "../kernel/index.ts";
import { asError, codeOf, describeError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { rememberOpen } from "../targets/index.ts";
import type { OpenTables } from "../targets/index.ts";
import type { MapWarning } from "./map-fill.ts";

export interface TablesRead extends OpenTables {
  /** Those of which nothing is known. */
  readonly failures: readonly Error[];
}

/** @param read the text of one table; what it throws leaves the others as they are. */
export function readOpenTables(read: (table: string) => string = (table) => readFileSync(`/proc/self/net/${table}`, "utf8")): TablesRead {
  const failures: Error[] = [];
  const text = (table: string): string => {
    try {
      return read(table);
    } catch (thrown) {
      // A kernel without IPv6 has no tcp6, one without NF_CONNTRACK_PROCFS no nf_conntrack.
      if (codeOf(thrown) !== "ENOENT") failures.push(new Error(`/proc/net/${table}`, { cause: thrown }));
      return "";
    }
  };
  return { now: Number(process.hrtime.bigint() / 1_000_000_000n), tcp: text("tcp"), tcp6: text("tcp6"), conntrack: text("nf_conntrack"), failures };
}

export interface OpenSessionsOptions {
  readonly flows: BatchMap;
  /** Entries of it, as far as known. */
  readonly taken: () => number | undefined;
  readonly logger: Logger;
  /** Tests have tables of their own. */
  readonly read?: () => TablesRead;
}

const MAX_MESSAGE = 500;

/** Writes them into the flows, and says what of them is not there and so is judged. */
export class OpenSessions {
  readonly #options: OpenSessionsOptions;
  #missing: readonly string[] = [];

  constructor(options: OpenSessionsOptions) {
    this.#options = options;
  }

  /** Never throws: the rules of the node do not wait for it. */
  remember(isOwn: (address: Uint8Array) => boolean): void {
    const { flows, taken, logger, read = readOpenTables } = this.#options;
    try {
      const { failures, ...tables } = read();
      const { written, leftOut } = rememberOpen(flows, tables, isOwn, taken());
      logger.info("the node has its first rules: what it has open goes on", { open: written });
      const noRoom = `up to ${leftOut} of ${written + leftOut} find no room in the map flows (${flows.maxEntries} entries; bpf.ctMax makes it greater)`;
      this.#missing = [...failures.map(describeError), ...(leftOut === 0 ? [] : [noRoom])];
    } catch (thrown) {
      this.#missing = [describeError(asError(thrown))];
    }
    for (const reason of this.#missing) logger.warn("some of what the node has open is judged by its first rules", { reason });
  }

  /** Of the last time. */
  warnings(): readonly MapWarning[] {
    return this.#missing.map((reason) => ({ part: "host", message: `some of what the node had open was judged by its first rules: ${reason}`.slice(0, MAX_MESSAGE) }));
  }
}
