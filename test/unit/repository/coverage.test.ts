/** test/COVERAGE.md promises a test for every requirement; this fails where a promised test does not exist. */
import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";

const root = resolve(import.meta.dirname, "..", "..", "..");

/** Rows name tests as `path/to/file.test.ts` > `name of the test`. */
const REFERENCE = /`(test\/[^`]+\.test\.ts)`(?:\s*>\s*`([^`]+)`)?/g;

test("every test that COVERAGE.md names exists", () => {
  const missing: string[] = [];
  for (const [, file = "", name] of readFileSync(join(root, "test", "COVERAGE.md"), "utf8").matchAll(REFERENCE)) {
    const path = join(root, file);
    if (!existsSync(path)) missing.push(file);
    else if (name !== undefined && !readFileSync(path, "utf8").includes(name)) missing.push(`${file} > ${name}`);
  }
  assert.deepEqual(missing, []);
});

test("every test file of the end-to-end tier is in COVERAGE.md", () => {
  const text = readFileSync(join(root, "test", "COVERAGE.md"), "utf8");
  const files = globSync("test/e2e/**/*.test.ts", { cwd: root });
  assert.deepEqual(files.filter((file) => !text.includes(`\`${file}\``)), []);
});
