/** test/COVERAGE.md promises a test for every requirement; this fails where a promised test does not exist. */
import assert from "node:assert/strict";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { test } from "node:test";

const root = resolve(import.meta.dirname, "..", "..", "..");

/** Rows name tests as `path/to/file.test.ts` > `name of the test`. */
const REFERENCE = /`(test\/[^`]+\.test\.ts)`(?:\s*>\s*`([^`]+)`)?/g;

/** A call of test, it or describe at the beginning of a line with its name in place, or a row of a table of cases. */
const TITLE = /^[ \t]*(?:(?:await )?(?:t\.|context\.)?(?:test|it|describe)\(\s*|\{?\s*name: )("(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`)/gm;

/** Names as COVERAGE.md writes them: `…` for what a template fills in. A name in a comment or a message is no test. */
function titlesOf(source: string): ReadonlySet<string> {
  const code = source.replaceAll(/^\s*\/\*[\s\S]*?\*\//gm, "");
  return new Set([...code.matchAll(TITLE)].map(([, literal = ""]) => titleOf(literal)));
}

function titleOf(literal: string): string {
  return literal.slice(1, -1).replaceAll(/\$\{[^}]*\}/g, "…").replaceAll(/\\(.)/g, "$1");
}

test("a test counts by its call or its row, never by a comment or a message", () => {
  const source = [
    'test("a", () => {});',
    '  await t.test("b\'s \\"c\\"", { timeout: 1 }, async () => {});',
    "  it(`d ${name}: e`, () => {});",
    'const rows = [\n  { name: "f g", wanted: 1 },\n  {\n    name: "h",\n  },\n];',
    '// test("no")\n * test("no")\n/* begin\ntest("no") */',
    'assert.fail("no");\nawait contest("no");',
  ].join("\n");
  assert.deepEqual([...titlesOf(source)], ["a", "b's \"c\"", "d …: e", "f g", "h"]);
});

test("every test that COVERAGE.md names exists, and every file there comes with a name", () => {
  const missing: string[] = [];
  for (const [, file = "", name] of readFileSync(join(root, "test", "COVERAGE.md"), "utf8").matchAll(REFERENCE)) {
    const path = join(root, file);
    if (!existsSync(path)) missing.push(file);
    else if (name === undefined) missing.push(`${file}: which test?`);
    else if (!titlesOf(readFileSync(path, "utf8")).has(name)) missing.push(`${file} > ${name}`);
  }
  assert.deepEqual(missing, []);
});

test("every test file of the end-to-end tier is in COVERAGE.md", () => {
  const text = readFileSync(join(root, "test", "COVERAGE.md"), "utf8");
  const files = globSync("test/e2e/**/*.test.ts", { cwd: root });
  assert.deepEqual(files.filter((file) => !text.includes(`\`${file}\``)), []);
});
