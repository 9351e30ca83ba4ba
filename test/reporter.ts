/**
 * Prints a test run compactly: a line per file, every failure with its cause, every skip with its reason, and
 * last the counts as `N passed, N failed, N skipped`, which test/run.ts adds up over the tiers.
 */
import { relative } from "node:path";
import { inspect } from "node:util";
import type { TestEvent } from "node:test/reporters";

interface FileResult {
  passed: number;
  failed: number;
  skipped: number;
  milliseconds: number;
}

interface Finished {
  readonly name: string;
  readonly file?: string | undefined;
  readonly nesting: number;
  readonly skip?: string | boolean | undefined;
  readonly todo?: string | boolean | undefined;
  readonly details: { readonly duration_ms: number; readonly type?: string | undefined; readonly error?: unknown };
}

export default async function* report(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const files = new Map<string, FileResult>();
  for await (const event of source) {
    if (event.type === "test:pass" || event.type === "test:fail") {
      yield* finished(event.data, event.type === "test:pass", files);
    } else if (event.type === "test:stderr") {
      yield event.data.message;
    }
  }
  yield* summary(files);
}

function* finished(test: Finished, passed: boolean, files: Map<string, FileResult>): Generator<string> {
  const file = test.file === undefined ? "?" : relative(process.cwd(), test.file);
  const result = files.get(file) ?? { passed: 0, failed: 0, skipped: 0, milliseconds: 0 };
  files.set(file, result);
  if (test.nesting === 0) result.milliseconds += test.details.duration_ms;
  // A test that is to be done is not there yet: it counts as skipped, never as passed.
  const skip = test.skip ?? test.todo ?? false;
  if (skip !== false) {
    result.skipped++;
    yield `  SKIP ${file}: ${test.name}: ${reasonOf(skip)}\n`;
  } else if (!passed) {
    if (test.details.type === "suite" && isSubtestFailure(test.details.error)) return;
    result.failed++;
    yield `  FAIL ${file}: ${test.name}\n${indent(causeOf(test.details.error))}\n`;
  } else if (test.details.type !== "suite") {
    result.passed++;
  }
}

function reasonOf(skip: string | true): string {
  return skip === true || skip === "" ? "no reason given" : skip;
}

function* summary(files: ReadonlyMap<string, FileResult>): Generator<string> {
  const total = { passed: 0, failed: 0, skipped: 0 };
  for (const [file, { passed, failed, skipped, milliseconds }] of [...files].toSorted(([a], [b]) => a.localeCompare(b))) {
    const mark = failed > 0 ? "FAIL" : "ok  ";
    const skips = skipped > 0 ? `, ${skipped} skipped` : "";
    yield `  ${mark} ${file}: ${passed} passed${failed > 0 ? `, ${failed} failed` : ""}${skips} (${(milliseconds / 1000).toFixed(1)} s)\n`;
    total.passed += passed;
    total.failed += failed;
    total.skipped += skipped;
  }
  yield `${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped\n`;
}

/** The suite failed because a test of it did; that test was reported already. */
function isSubtestFailure(error: unknown): boolean {
  return typeof error === "object" && error !== null && "failureType" in error && error.failureType === "subtestsFailed";
}

/** node:test wraps what a test threw. */
function causeOf(error: unknown): string {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  return cause instanceof Error ? (cause.stack ?? cause.message) : inspect(cause);
}

function indent(text: string): string {
  return text.split("\n").map((line) => `       ${line}`).join("\n");
}
