import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { test } from "node:test";
import { CodedError, TerminalError, codeOf, describeError } from "../../../src/lib/errors.ts";
import { createLogger } from "../../../src/lib/log.ts";

function capture(level: "debug" | "info" = "info") {
  const lines: string[] = [];
  const stream = new Writable({ write: (chunk, _encoding, done) => (lines.push(String(chunk)), done()) });
  return { lines, logger: createLogger({ component: "agent", level, stream }) };
}

test("a line is one JSON object with time, level, component, message and fields", () => {
  const { lines, logger } = capture();
  logger.child({ node: "n1" }).info("started", { port: 9879n, peers: new Map([["a", 1]]) });
  logger.debug("not printed");
  assert.equal(lines.length, 1);
  const { time, ...rest } = JSON.parse(lines[0] ?? "") as Record<string, unknown>;
  assert.match(String(time), /^\d{4}-.*Z$/);
  assert.deepEqual(rest, { level: "info", message: "started", component: "agent", node: "n1", port: "9879", peers: [["a", 1]] });
});

test("secrets are redacted by key and by shape, also inside errors", () => {
  const { lines, logger } = capture();
  const jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
  logger.error(`got ${jwt}`, {
    token: "t0psecret",
    headers: { Authorization: "Bearer t0psecretvalue" },
    error: new CodedError("X", "refused", { cause: new Error("Bearer t0psecretvalue"), fields: { password: "t0psecret" } }),
    pem: "-----BEGIN RSA PRIVATE KEY-----\nt0psecret\n-----END RSA PRIVATE KEY-----",
  });
  assert.doesNotMatch(lines.join(""), /t0psecret|eyJ/);
  assert.match(lines.join(""), /refused: Bearer \[redacted\]/);
});

test("errors have stable codes and one-line descriptions", () => {
  assert.equal(codeOf(new TerminalError("x")), "TERMINAL");
  assert.equal(codeOf(Object.assign(new Error("x"), { code: "ENOENT" })), "ENOENT");
  assert.equal(codeOf("text"), "UNKNOWN");
  assert.equal(describeError(new Error("list pods", { cause: new Error("refused") })), "list pods: refused");
});
