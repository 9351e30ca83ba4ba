/** `cilium completion`: what shells offer, asked of the shells themselves. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, describe, test } from "node:test";

const dir = mkdtempSync(join(tmpdir(), "completion-test-"));
after(() => rmSync(dir, { recursive: true, force: true }));

function cilium(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [resolve(import.meta.dirname, "../../../src/cli/main.ts"), ...args], { encoding: "utf8", env: { PATH: process.env["PATH"], HOME: dir } });
}

function isThere(shell: string): boolean {
  return spawnSync(shell, ["-c", "exit 0"]).status === 0;
}

/** The words typed so far, the last perhaps empty, and what must and must not be offered. */
const ROWS: readonly { readonly typed: readonly string[]; readonly offers: readonly string[]; readonly not?: readonly string[] }[] = [
  { typed: [""], offers: ["status", "monitor", "policy", "preflight", "uninstall", "completion"], not: ["await-uninstall", "connectivity", "validate"] },
  { typed: ["st"], offers: ["status"], not: ["monitor"] },
  { typed: ["policy", ""], offers: ["validate", "explain", "simulate", "endpoints", "selectors", "map", "stats"], not: ["status"] },
  ...["validate", "explain", "simulate", "endpoints", "selectors", "map", "stats"].map((command) => ({ typed: ["policy", command, "-o", ""], offers: ["table", "json", "yaml"], not: ["text"] })),
  { typed: ["policy", "simulate", "--"], offers: ["--filename", "--delete", "--flows", "--live", "--for", "--files", "--output"] },
  ...["stats", "selectors", "endpoints"].map((command) => ({ typed: ["policy", command, "--in"], offers: ["--in-namespace"] })),
  { typed: ["endpoint", "list", "--"], offers: ["--node", "--output", "--kubeconfig"], not: ["--wait"] },
  { typed: ["--kubeconfig", "status", "end"], offers: ["endpoint"] },
  { typed: ["preflight", "--node", "status", "--im"], offers: ["--image"], not: ["--ranges-from-stdin"] },
  { typed: ["preflight", "-o", ""], offers: ["table", "json", "yaml"], not: ["--node", "text"] },
  { typed: ["monitor", "--type", "dr"], offers: ["drop"], not: ["policy-verdict"] },
  { typed: ["policy", "explain", "--"], offers: ["--from", "--to", "--port", "--files", "--output"], not: ["--flows"] },
  { typed: ["completion", ""], offers: ["bash", "zsh", "fish"] },
];

function judge({ typed, offers, not = [] }: (typeof ROWS)[number], offered: readonly string[]): void {
  for (const word of offers) assert.ok(offered.includes(word), `${typed.join(" ")}| offers ${offered.join(" ")}, not ${word}`);
  for (const word of not) assert.ok(!offered.includes(word), `${typed.join(" ")}| offers ${word}`);
}

function scriptOf(shell: string): string {
  const { status, stdout, stderr } = cilium("completion", shell);
  assert.equal(status, 0, stderr);
  const path = join(dir, shell);
  writeFileSync(path, stdout);
  return path;
}

test("names the shells that it knows", () => {
  const { status, stderr } = cilium("completion", "tcsh");
  assert.notEqual(status, 0);
  assert.match(stderr, /bash, zsh, fish/);
});

describe("bash", { skip: !isThere("bash") && "bash does not run here" }, () => {
  const ask = (path: string, words: readonly string[]): string[] => {
    const line = 'source "$1"; shift; complete -p cilium > /dev/null || exit 3; COMP_WORDS=(cilium "$@"); COMP_CWORD=$#; _cilium; printf "%s\\n" "${COMPREPLY[@]}"';
    const { status, stdout, stderr } = spawnSync("bash", ["--norc", "-c", line, "bash", path, ...words], { encoding: "utf8" });
    assert.equal(status, 0, stderr);
    return stdout.split("\n").filter((word) => word !== "");
  };

  test("offers commands, options and values where each belongs", () => {
    const path = scriptOf("bash");
    for (const row of ROWS) judge(row, ask(path, row.typed).filter((word) => word.startsWith(row.typed.at(-1) ?? "")));
    // What bash makes of --output=js.
    assert.deepEqual(ask(path, ["status", "--output", "=", "js"]), ["json"]);
    assert.deepEqual(ask(path, ["status", "--output", "="]), ["text", "json"]);
    assert.deepEqual(ask(path, ["preflight", "--node", ""]), [], "a node's name is the user's to know");
  });

  test("a line that ends in a tab is completed by an interactive bash", () => {
    const path = scriptOf("bash");
    const keys = `source ${path}\ncilium() { echo "<$*>"; }\ncilium endp\tli\t--outp\tjs\t\nexit\n`;
    const { stdout, stderr } = spawnSync("bash", ["--norc", "--noprofile", "-i"], { encoding: "utf8", input: keys, env: { PATH: process.env["PATH"], HOME: dir, TERM: "dumb" }, timeout: 60_000 });
    assert.match(stdout, /<endpoint list --output json>/, stderr);
  });
});

describe("zsh", { skip: !isThere("zsh") && "zsh does not run here" }, () => {
  test("offers commands, options and values where each belongs in zsh", () => {
    const path = scriptOf("zsh");
    // The system of completion only runs at a prompt: what the function hands to it is printed instead.
    const line = 'compdef() { : }; compadd() { shift; print -l -- "$@" }; _files() { : }; _describe() { print -l -- "${(@)${(@P)2}%%:*}" }; source "$1"; shift; words=(cilium "$@"); CURRENT=$#words; _cilium';
    for (const row of ROWS) {
      const { status, stdout, stderr } = spawnSync("zsh", ["-f", "-c", line, "zsh", path, ...row.typed], { encoding: "utf8" });
      assert.ok(status === 0 || stderr === "", stderr);
      judge(row, stdout.split("\n").filter((word) => word !== "" && word.startsWith(row.typed.at(-1) ?? "")));
    }
  });
});

describe("fish", { skip: !isThere("fish") && "fish does not run here" }, () => {
  test("offers commands, options and values where each belongs in fish", () => {
    const path = scriptOf("fish");
    for (const row of ROWS) {
      const { status, stdout, stderr } = spawnSync("fish", ["--no-config", "-c", 'source $argv[1]; complete -C "$argv[2]"', path, `cilium ${row.typed.join(" ")}`], { encoding: "utf8", env: { PATH: process.env["PATH"], HOME: dir } });
      assert.equal(status, 0, stderr);
      judge(row, stdout.split("\n").map((text) => text.split("\t")[0] ?? "").filter((word) => word !== ""));
    }
  });
});
