/**
 * The kernel floor: Debian's 5.10 and 6.1 boot in emulated machines, and there every object is loaded with every option
 * set by the product's own loader and every packet row runs. How much the verifier walks through is compared with
 * instructions.json; `make record-instructions` writes it anew.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";
import { CHECKS } from "../../src/preflight/index.ts";
import type { GuestReport } from "./guest.ts";
import { compare, type Instructions } from "./instructions.ts";
import { kernelOf, RELEASES } from "./kernels.ts";
import { boot } from "./machine.ts";
import { plainName } from "./sources.ts";

const RECORDS = join(import.meta.dirname, "instructions.json");
const RECORD = process.env["RECORD_INSTRUCTIONS"] !== undefined;
const BOOT_LIMIT_MS = 1_320_000;
const SUM = /^(\d+) passed, 0 failed, \d+ skipped\r?$/gm;
const STATUS = /^rows of (\S+): exit status (\d+)\r?$/gm;
const END = /^rows: the end\r?$/m;
const SKIP = /^ {2}SKIP \S+: (.+): (.+?)\r?$/gm;
/** An emulated machine has no time for packets by the thousand, and for what is told of each. */
const TOO_MANY_PACKETS: readonly string[] = ["test/bpf/pressure.test.ts", "test/bpf/loss.test.ts"];
const ROWS = readdirSync(join(import.meta.dirname, "../bpf")).filter((file) => file.endsWith(".test.ts")).map((file) => `test/bpf/${file}`).filter((file) => !TOO_MANY_PACKETS.includes(file)).toSorted();

type Records = Record<string, Instructions>;

const records = (): Records => JSON.parse(readFileSync(RECORDS, "utf8")) as Records;

function emulator(): string | undefined {
  try {
    execFileSync("qemu-system-x86_64", ["--version"]);
    return undefined;
  } catch {
    return "qemu-system-x86_64 does not run here: make setup";
  }
}

function lazy<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

/** All machines run beside each other: each has one processor. */
const machines = RELEASES.map((release) => {
  const kernel = emulator() ?? kernelOf(release);
  return typeof kernel === "string" ? { release, missing: kernel } : { release, booted: lazy(() => boot(kernel, ROWS, BOOT_LIMIT_MS)) };
});
before(() => {
  // Who asks for it hears why it failed.
  for (const { booted } of machines) booted?.().catch(() => undefined);
});

for (const { release, missing, booted } of machines) {
  describe(`Linux ${release.version}`, { skip: missing ?? false, timeout: BOOT_LIMIT_MS + 60_000 }, () => {
    if (booted === undefined) return;
    let report: GuestReport;

    test("boots, and takes every object with every option set", async () => {
      const { console: said, report: line } = await booted();
      assert.notEqual(line, "", `no report from the machine; its console:\n${said}`);
      report = JSON.parse(line) as GuestReport;
      assert.ok(report.kernel.startsWith(`${release.version}.`), `${report.kernel} is no ${release.version}`);
      assert.deepEqual(report.failures, []);
      assert.ok(report.optionSets > 1, `${report.optionSets} option sets`);
    });

    test("the verifier walks through no more than 10 % more than was recorded", () => {
      process.stderr.write(`  Linux ${report.kernel}, ${report.optionSets} option sets: ${Object.entries(report.instructions).map(([name, count]) => `${name} ${count}`).join(", ")}\n`);
      if (RECORD) writeFileSync(RECORDS, `${JSON.stringify({ ...records(), [release.version]: report.instructions }, undefined, 2)}\n`);
      assert.deepEqual(compare(records()[release.version] ?? {}, report.instructions), []);
    });

    test("preflight says of it that every program loads, and answers to each of its questions", () => {
      const { preflight } = report;
      const said = (check: string): string => preflight.filter((finding) => finding.check === check).map(({ verdict, message }) => `${verdict}: ${message}`).join("; ");
      for (const check of ["kernel version", "rights", "bpf file system", "bpf programs", "kernel types (BTF)"]) assert.match(said(check), /^ok: /, `${check}: ${said(check)}`);
      assert.match(said("kernel version"), new RegExp(release.version.replaceAll(".", "\\.")));
      assert.deepEqual(CHECKS.map(({ name }) => name).filter((name) => said(name) === ""), []);
      process.stderr.write(`  Linux ${release.version}, preflight: ${CHECKS.map(({ name }) => `${name}: ${said(name).split(":")[0]}`).join(", ")}\n`);
    });

    test("every packet row", async (t) => {
      const { console: said } = await booted();
      assert.match(said, END, said);
      assert.deepEqual(Object.fromEntries([...said.matchAll(STATUS)].map(([, file, status]) => [file, status])), Object.fromEntries(ROWS.map((file) => [plainName(file), "0"])), said);
      const sums = [...said.matchAll(SUM)].map(([, count]) => Number(count));
      assert.equal(sums.filter((count) => count > 0).length, ROWS.length, `a file of which no row ran:\n${said}`);
      process.stderr.write(`  Linux ${release.version}: ${sums.reduce((sum, count) => sum + count, 0)} packet rows passed\n`);
      for (const file of TOO_MANY_PACKETS) await t.test(file, { skip: "an emulated machine has no time for packets by the thousand" }, () => undefined);
      for (const [, name = "", reason = ""] of said.matchAll(SKIP)) await t.test(name, { skip: reason }, () => undefined);
    });
  });
}
