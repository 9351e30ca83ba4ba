/** What this network namespace, the node's, has open, as the kernel tells of it. */
import { readFileSync } from "node:fs";
import { codeOf } from "../lib/errors.ts";
import type { OpenTables } from "../targets/index.ts";

/** A kernel without IPv6 has no tcp6, one without NF_CONNTRACK_PROCFS no nf_conntrack. */
function read(table: string): string {
  try {
    return readFileSync(`/proc/self/net/${table}`, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "";
    throw error;
  }
}

export function readOpenTables(): OpenTables {
  return { now: Number(process.hrtime.bigint() / 1_000_000_000n), tcp: read("tcp"), tcp6: read("tcp6"), conntrack: read("nf_conntrack") };
}
