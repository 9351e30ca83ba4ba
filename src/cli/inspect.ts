/** Tables of the agents: read from the own agent's socket, or from the agents of a cluster, and printed. */
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { PassThrough, type Readable } from "node:stream";
import { dump } from "js-yaml";
import { describeError } from "../lib/errors.ts";
import type { Column, Row, Table } from "../inspect/index.ts";
import { execInAgent, nodeOf, runningAgents } from "./agents.ts";
import type { Cluster } from "./cluster.ts";
import { CliError } from "./errors.ts";
import type { Pod } from "./kinds.ts";
import { table as textTable } from "./table.ts";

export type Format = "table" | "json" | "yaml";

/** The rows of one table, and why those of some agents are missing. */
export interface Reading {
  readonly rows: readonly Row[];
  readonly failures: readonly string[];
}

/** What the agent sends, of src/agent/inspect.ts. */
type Line = { readonly row?: Row; readonly end?: number; readonly error?: string };

const AT_ONCE = 16;

/** Rows in the order of the nodes; each says its own. */
export async function readCluster(cluster: Cluster, nodes: readonly string[], table: string): Promise<Reading> {
  const agents = (await runningAgents(cluster, nodes)).toSorted((a, b) => nodeOf(a).localeCompare(nodeOf(b), "en", { numeric: true }));
  const found = new Array<Reading>(agents.length);
  const left = agents.entries();
  const work = async (): Promise<void> => {
    for (const [index, agent] of left) found[index] = await readOne(cluster, agent, table);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return { rows: found.flatMap(({ rows }) => rows), failures: found.flatMap(({ failures }) => failures) };
}

async function readOne(cluster: Cluster, agent: Pod, table: string): Promise<Reading> {
  try {
    return { rows: (await readAgent(cluster, agent, table)).map((row) => ({ node: nodeOf(agent), ...row })), failures: [] };
  } catch (thrown) {
    return { rows: [], failures: [describeError(thrown)] };
  }
}

async function readAgent(cluster: Cluster, agent: Pod, table: string): Promise<Row[]> {
  const lines = new PassThrough();
  const over = new AbortController();
  const rows = rowsOf(lines, `agent on ${nodeOf(agent)}`).finally(() => over.abort());
  const ran = execInAgent({ cluster, agent, command: ["cilium", "inspect", table], lines, signal: over.signal }).finally(() => lines.end());
  // The command's own words say more than the end of its output does.
  const [read, done] = await Promise.allSettled([rows, ran]);
  if (read.status === "fulfilled") return read.value;
  throw done.status === "rejected" ? done.reason : read.reason;
}

/** The table of the agent behind `socket`. */
export async function readSocket(socket: string, table: string): Promise<Reading> {
  const stream = openTable(socket, table);
  const failed = new Promise<never>((_, reject) => {
    stream.once("error", (cause) => reject(new CliError(`cannot ask the agent at ${socket}`, cause)));
  });
  return { rows: await Promise.race([rowsOf(stream, `agent at ${socket}`), failed]).finally(() => stream.destroy()), failures: [] };
}

/** Prints what the agent sends, as it sends it: for a command that runs this one in the agent's pod. */
export async function passOn(socket: string, table: string, output: NodeJS.WritableStream): Promise<void> {
  const stream = openTable(socket, table);
  await new Promise<void>((resolve, reject) => {
    stream.once("error", (cause) => reject(new CliError(`cannot ask the agent at ${socket}`, cause)));
    stream.once("end", resolve);
    stream.pipe(output, { end: false });
  });
}

function openTable(socket: string, table: string): ReturnType<typeof connect> {
  const stream = connect(socket);
  stream.write(`${table}\n`);
  return stream;
}

/** Rejects unless the agent says that it was all. */
export async function rowsOf(stream: Readable, where: string): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const text of createInterface({ input: stream })) {
    const line = parseLine(text, where);
    if (line.error !== undefined) throw new CliError(`${where}: ${line.error}`);
    if (line.end !== undefined) {
      if (line.end !== rows.length) throw new CliError(`${where}: ${rows.length} of ${line.end} rows arrived`);
      return rows;
    }
    if (line.row !== undefined) rows.push(line.row);
  }
  throw new CliError(`${where}: the table broke off after ${rows.length} rows`);
}

function parseLine(text: string, where: string): Line {
  try {
    return JSON.parse(text) as Line;
  } catch {
    throw new CliError(`${where}: no row of a table: ${text.slice(0, 200)}`);
  }
}

/** @param ofNodes the rows say their nodes, which stand in front. */
export function renderRows(rows: readonly Row[], table: Table, format: Format, ofNodes: boolean): string {
  if (format === "json") return JSON.stringify(rows, null, 2);
  // Equal parts are written out each time: anchors are for no reader.
  if (format === "yaml") return dump(rows, { noRefs: true, lineWidth: -1, skipInvalid: true });
  const columns: readonly Column<Row>[] = ofNodes ? [{ head: "NODE", cell: (row) => String(row["node"]) }, ...table.columns] : table.columns;
  return textTable(columns.map(({ head }) => head), rows.map((row) => columns.map(({ cell }) => cell(row))));
}
