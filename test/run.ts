/**
 * `make test` and `.ci/run`: every tier, one after the other, each with a log of its own in build/test.
 *
 * They share the machine's limits (inotify instances, subnets): a tier's clusters are gone before the next tier starts.
 * What `test-e2e` leaves for the next run on a developer's machine, its cluster and its chart repository, is taken down
 * at the end where CI is set; a failure to do so counts as one.
 *
 * A tier that fails does not stop the next one. The last line is the sum over all tiers; the exit status is 0
 * only if nothing failed. `make test TIERS="unit node"` runs some.
 */
import { createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Limited, runLimited } from "./limited.ts";

type Tier = (typeof TIERS)[number];

interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** Cheapest first. `lint` and `verify` count as one test each. */
const TIERS = ["lint", "verify", "unit", "bpf", "kernels", "node", "e2e"] as const;
/** With a cold cache and all builds on two cores. What takes longer hangs: it is ended and is one failure. */
const LIMIT_MINUTES: Readonly<Record<Tier, number>> = { lint: 10, verify: 5, unit: 15, bpf: 15, kernels: 25, node: 35, e2e: 60 };
const DOWN_LIMIT_MINUTES = 5;
const SUM = /^(\d+) passed, (\d+) failed, (\d+) skipped$/gm;

const root = join(import.meta.dirname, "..");
const logs = join(root, "build", "test");

async function runTier(tier: Tier): Promise<Counts> {
  const target = tier === "lint" || tier === "verify" ? tier : `test-${tier}`;
  const log = join(logs, `${tier}.log`);
  const started = performance.now();
  print(`\n== ${tier}`);
  const { output, ok } = await runMake([target], log, LIMIT_MINUTES[tier]);
  const counts = countsOf(output, ok, target.startsWith("test-"));
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  print(`== ${tier}: ${sentence(counts)} in ${seconds} s (${log})`);
  return counts;
}

/** What must be gone when nobody comes back to this machine: one more part of the sum. */
async function takeDown(): Promise<Counts> {
  print("\n== taking the cluster and the chart repository down");
  const { ok } = await runMake(["cluster-down", "chart-repo-stop"], join(logs, "down.log"), DOWN_LIMIT_MINUTES);
  return { passed: 0, failed: ok ? 0 : 1, skipped: 0 };
}

async function runMake(targets: readonly string[], log: string, limitMinutes: number): Promise<Limited> {
  const file = createWriteStream(log);
  const said = (text: string): void => {
    file.write(text);
    process.stdout.write(text);
  };
  const result = await runLimited(["make", "-s", ...targets], { cwd: root, limitMs: limitMinutes * 60_000, graceMs: 10_000, said });
  if (result.timedOut) said(`\nmake ${targets.join(" ")}: ended after its limit of ${limitMinutes} min\n`);
  file.end();
  return result;
}

/** A tier that fails without a failed test, or that ran no test, is itself one failure. */
function countsOf(output: string, ok: boolean, hasTests: boolean): Counts {
  const sums = [...output.matchAll(SUM)].map(([, ...numbers]) => numbers.map(Number));
  const add = (column: number): number => sums.reduce((total, numbers) => total + (numbers[column] ?? 0), 0);
  const counted = { passed: add(0), failed: add(1), skipped: add(2) };
  const empty = counted.passed + counted.failed + counted.skipped === 0;
  if (ok && empty && !hasTests) return { passed: 1, failed: 0, skipped: 0 };
  if (ok && !empty) return counted;
  return { ...counted, failed: Math.max(1, counted.failed) };
}

function sentence({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed, ${skipped} skipped`;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

const asked = process.argv.slice(2);
const unknown = asked.filter((tier) => !(TIERS as readonly string[]).includes(tier));
if (unknown.length > 0) {
  print(`no such tier: ${unknown.join(", ")} (there are ${TIERS.join(", ")})`);
  process.exit(2);
}
mkdirSync(logs, { recursive: true });
const total = { passed: 0, failed: 0, skipped: 0 };
function count({ passed, failed, skipped }: Counts): void {
  total.passed += passed;
  total.failed += failed;
  total.skipped += skipped;
}
const tiers = TIERS.filter((each) => asked.length === 0 || asked.includes(each));
for (const tier of tiers) count(await runTier(tier));
if (tiers.includes("e2e") && (process.env["CI"] ?? "") !== "") count(await takeDown());
print(`\n${sentence(total)}`);
process.exitCode = total.failed > 0 ? 1 : 0;
