/** `cilium preflight`: its arguments, the settings it takes, and its words. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, test } from "node:test";
import { load } from "js-yaml";
import { planOf, readRanges, type NodeReport } from "../../../src/cli/preflight.ts";
import { hasBlocker, preflightText } from "../../../src/cli/preflight-text.ts";
import { Readable } from "node:stream";

const root = resolve(import.meta.dirname, "..", "..", "..");
const dir = mkdtempSync(join(tmpdir(), "preflight-cli-"));
after(() => rmSync(dir, { recursive: true, force: true }));

test("called wrongly it ends with 2, and says what was wrong", () => {
  for (const [args, words] of [
    [["--output", "xml"], /Allowed choices are table, json, yaml/],
    [["--nonsense"], /unknown option '--nonsense'/],
    [["--offline", "--node", "n1"], /--node asks a cluster/],
    [["--offline", "--setting", "colour=red"], /none of routing-mode=…/],
    [["--offline", "--setting", "routing-mode=pigeons"], /none of tunnel, native, auto/],
    [["--kubeconfig", join(dir, "none")], /no such file/],
  ] as const) {
    const { status, stderr } = spawnSync(process.execPath, [join(root, "src/cli/main.ts"), "preflight", ...args], { encoding: "utf8", env: { PATH: process.env["PATH"], HOME: dir } });
    assert.match(stderr, words);
    assert.equal(status, 2, args.join(" "));
  }
});

test("its plan is what the installation's settings say, then what is given, then the chart's defaults", () => {
  const none = { settingsFolder: undefined, settings: [], ranges: [] };
  assert.deepEqual(planOf(none), { mode: "tunnel", tunnelPort: 8472, enableIPv6: true, cniExclusive: true, cniConfPath: "/etc/cni/net.d", ranges: [] });
  for (const [key, value] of [["routing-mode", "native\n"], ["tunnel-port", "9000"], ["cni-exclusive", "false"], ["enable-ipv6", "false"]] as const) writeFileSync(join(dir, key), value);
  const plan = planOf({ ...none, settingsFolder: dir, settings: ["tunnel-port=9001", "cni-conf-path=/x=y"] });
  assert.deepEqual(plan, { mode: "native", tunnelPort: 9001, enableIPv6: false, cniExclusive: false, cniConfPath: "/x=y", ranges: [] });
  assert.throws(() => planOf({ ...none, settings: ["cni-exclusive=maybe"] }), /neither true nor false/);
});

test("ranges come as one line, and none when nothing comes", async () => {
  const ranges = [{ of: "pods of a", kind: "pods", cidr: "10.0.0.0/24" }];
  assert.deepEqual(await readRanges(Readable.from([`${JSON.stringify(ranges)}\n`, "more"])), ranges);
  assert.deepEqual(await readRanges(Readable.from([])), []);
});

const blocker = { check: "tunnel port", verdict: "blocker", message: "taken", meaning: "no tunnel", remedy: "free it" } as const;
const reports: readonly NodeReport[] = [
  { node: "a", findings: [{ check: "kernel version", verdict: "ok", message: "Linux 6.1" }, { check: "tunnel port", verdict: "ok", message: "free" }] },
  { node: "b", findings: [{ check: "kernel version", verdict: "ok", message: "Linux 6.1" }, blocker] },
  { node: "c", findings: [{ check: "agent", verdict: "unknown", message: "no agent runs there" }] },
];

test("nodes that say the same share a line, and each problem comes with what to do", () => {
  const text = preflightText(reports, "table");
  assert.equal(text.split("\n").filter((line) => line.includes("Linux 6.1")).length, 1);
  assert.match(text, /^kernel version +ok +a,b +Linux 6\.1$/m);
  assert.match(text, /^blocker: tunnel port, b: taken\n {2}means: no tunnel\n {2}do: {4}free it$/m);
  assert.match(text, /^1 blockers, 0 warnings, 1 not checked\n$/m);
  assert.match(preflightText([{ node: "a", findings: [] }, { node: "b", findings: [] }].map((each) => ({ ...each, findings: [blocker] })), "table"), /all 2/);
});

test("JSON and YAML are the same report, and only a blocker is one", () => {
  assert.deepEqual(JSON.parse(preflightText(reports, "json")), reports);
  assert.deepEqual(load(preflightText(reports, "yaml")), reports);
  assert.equal(hasBlocker(reports), true);
  assert.equal(hasBlocker(reports.filter(({ node }) => node !== "b")), false);
});
