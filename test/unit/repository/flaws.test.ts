/** Flaws in what policy means that other engines had: each has tests by its number, and a row in COVERAGE.md. */
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";

const root = resolve(import.meta.dirname, "..", "..", "..");

/** Deny against a narrower allow; empty sets of blocks; cluster names; labels of users for those of the system, twice; merged rules, twice; ranges of ports. */
const FLAWS = ["CVE-2024-47825", "CVE-2025-64715", "CVE-2026-56743", "CVE-2023-39347", "CVE-2023-41333", "CVE-2023-30851", "CVE-2024-28248", "CVE-2024-52529"];

const TITLES = /^[ \t]*test\(\s*["`](CVE-[^"`]*)/gm;

test("every known flaw in what policy means has a test by its number, and a row in COVERAGE.md", () => {
  const titles = globSync("test/{unit,bpf}/**/*.test.ts", { cwd: root }).flatMap((file) => [...readFileSync(join(root, file), "utf8").matchAll(TITLES)].map(([, title = ""]) => title));
  const coverage = readFileSync(join(root, "test", "COVERAGE.md"), "utf8").split("\n").filter((line) => line.startsWith("|"));
  assert.deepEqual(FLAWS.filter((flaw) => !titles.some((title) => title.includes(flaw))), [], "without a test");
  assert.deepEqual(FLAWS.filter((flaw) => !coverage.some((line) => line.includes(flaw))), [], "without a row");
});
