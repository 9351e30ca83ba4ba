/** test/bench/NIGHTLY.md: of each nightly test its last run, written by the run itself, whether it held or not. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg, release } from "node:os";
import { join, resolve } from "node:path";

import { capture } from "../../src/cluster/process.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const FILE = join(ROOT, "test/bench/NIGHTLY.md");
/** `make test-nightly` and `make test-oracle` write down what they count; a run of one test by hand, and `make test`, change no file. */
const RECORDS = process.env["RECORD_NIGHTLY"] !== undefined;
const HEAD = `# What the nightly tests counted

Written by \`make test-nightly\`, each test its own row; do not edit.

| test | result | run |
|---|---|---|
`;

/** @param run what is done; its answer is what was counted. */
export async function recorded(test: string, run: () => Promise<string>): Promise<void> {
  const startedMs = Date.now();
  try {
    await write(test, await run(), startedMs);
  } catch (error) {
    await write(test, `**failed**: ${firstLine(error)}`, startedMs);
    throw error;
  }
}

const firstLine = (error: unknown): string => (String(error).split("\n")[0] ?? "").replaceAll("|", "\\|").slice(0, 300);

async function write(test: string, result: string, startedMs: number): Promise<void> {
  if (!RECORDS) return;
  const { stdout: commit } = await capture(["git", "-C", ROOT, "describe", "--always", "--dirty"]);
  const machine = `commit ${commit.trim()}, Linux ${release()}, ${cpus().length} × ${cpus()[0]?.model ?? "?"}, load average ${(loadavg()[0] ?? 0).toFixed(1)} at the end`;
  const run = `${new Date(startedMs).toISOString()}, ${Math.ceil((Date.now() - startedMs) / 60_000)} min, ${machine}`;
  const rows = existsSync(FILE) ? readFileSync(FILE, "utf8").split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("| test |")) : [];
  const others = rows.filter((row) => !row.startsWith(`| ${test} |`));
  writeFileSync(FILE, `${HEAD}${[...others, `| ${test} | ${result} | ${run} |`].toSorted().join("\n")}\n`);
}
