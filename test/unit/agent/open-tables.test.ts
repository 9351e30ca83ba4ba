/** What becomes of what a node has open when its first rules come, and what is said where that cannot be told. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { OpenSessions, readOpenTables } from "../../../src/agent/open-tables.ts";
import type { TablesRead } from "../../../src/agent/open-tables.ts";
import { FakeMap } from "../../../src/kernel/fake.ts";
import { flowKeyCodec, flowStateCodec } from "../../../src/kernel/gen/types.ts";
import type { Logger } from "../../../src/lib/log.ts";
import { formatAddress } from "../../../src/lib/ip.ts";

const HEAD = "  sl  local_address rem_address   st\n";
const socket = (port: number): string => `   0: 010200C0:0016 076433C6:${port.toString(16).toUpperCase()} 01 0:0 0:0 0 0 0 1 1\n`;
const TCP = [0, 1, 2, 3].map((index) => socket(40000 + index)).join("");

function refuse(code: string): never {
  throw Object.assign(new Error(code), { code });
}

function make(read: () => TablesRead, maxEntries = 1024): { readonly map: FakeMap; readonly sessions: OpenSessions; readonly lines: string[]; readonly remember: () => void } {
  const lines: string[] = [];
  const say = (level: string) => (message: string, fields?: object): void => void lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  const logger: Logger = { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error"), child: () => logger };
  const map = new FakeMap({ name: "flows", keySize: flowKeyCodec.size, valueSize: flowStateCodec.size, maxEntries });
  const sessions = new OpenSessions({ flows: map, taken: () => undefined, logger, read });
  return { map, sessions, lines, remember: () => sessions.remember((address) => formatAddress(address) === "192.0.2.1") };
}

test("what finds no room is told with numbers, in the log and as a warning, until it all does", () => {
  let tcp = HEAD + TCP;
  const lab = make(() => ({ ...readOpenTables(() => ""), tcp }), 8);
  lab.remember();
  assert.equal([...lab.map.entries()].length, 2);
  const [warning, ...more] = lab.sessions.warnings();
  assert.deepEqual(more, []);
  assert.equal(warning?.part, "host");
  assert.match(warning.message, /up to 2 of 4 find no room in the map flows \(8 entries; bpf\.ctMax/);
  assert.equal(lab.lines.filter((line) => /^warn .* 2 of 4 /.test(line)).length, 1);
  tcp = HEAD;
  lab.remember();
  assert.deepEqual(lab.sessions.warnings(), []);
});

test("a table that cannot be read is told, and the others count; a kernel without one is none to tell of", () => {
  const tables: Record<string, () => string> = { tcp: () => HEAD + TCP, tcp6: () => refuse("ENOENT"), nf_conntrack: () => refuse("ERR_STRING_TOO_LONG") };
  const lab = make(() => readOpenTables((table) => tables[table]?.() ?? ""));
  lab.remember();
  assert.equal([...lab.map.entries()].length, 4);
  assert.deepEqual(lab.sessions.warnings().map(({ message }) => message), ["some of what the node had open was judged by its first rules: /proc/net/nf_conntrack: ERR_STRING_TOO_LONG"]);
});

test("whatever else fails is told, and not thrown", () => {
  const lab = make(() => refuse("EACCES"));
  lab.remember();
  assert.match(lab.sessions.warnings()[0]?.message ?? "", /EACCES/);
});
