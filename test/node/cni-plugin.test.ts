import { strict as assert } from "node:assert";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";

const ROOT = join(import.meta.dirname, "../..");
const PLUGIN = join(ROOT, "build/bin/cilium-cni");

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly ms: number;
}

function run(env: Record<string, string>, stdin: Buffer | string): Promise<Result> {
  const started = process.hrtime.bigint();
  return new Promise((resolve, reject) => {
    const child = spawn(PLUGIN, [], { env, stdio: ["pipe", "pipe", "inherit"] });
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("error", reject);
    child.stdin.on("error", () => undefined);
    child.on("close", (code) =>
      resolve({ code, stdout: Buffer.concat(chunks).toString(), ms: Number(process.hrtime.bigint() - started) / 1e6 }),
    );
    child.stdin.end(stdin);
  });
}

describe("cilium-cni", () => {
  let directory = "";
  let server: Server | undefined;
  const request = (more: Record<string, unknown> = {}): string =>
    JSON.stringify({ cniVersion: "1.0.0", name: "cilium", agentSocket: join(directory, "cni.sock"), deleteQueue: join(directory, "state/cni-del"), ...more });
  const env = (more: Record<string, string> = {}): Record<string, string> => ({
    CNI_COMMAND: "ADD", CNI_CONTAINERID: "abc", CNI_NETNS: "/var/run/netns/x", CNI_IFNAME: "eth0", CNI_ARGS: "A=b", CNI_PATH: "/opt/cni/bin", ...more,
  });
  const queued = (): string[] => readdirSync(join(directory, "state/cni-del"));

  async function serve(answer: (line: string, socket: Socket) => void): Promise<void> {
    await new Promise<void>((resolve) => (server === undefined ? resolve() : server.close(() => resolve())));
    const listening = createServer((socket) => {
      let text = "";
      socket.setEncoding("utf8");
      socket.on("error", () => undefined);
      socket.on("data", (chunk: string) => {
        text += chunk;
        if (text.endsWith("\n")) answer(text, socket);
      });
    });
    server = listening;
    await new Promise<void>((resolve) => listening.listen(join(directory, "cni.sock"), resolve));
  }

  before(() => {
    const made = spawnSync("make", ["-s", "cni"], { cwd: ROOT, encoding: "utf8" });
    assert.equal(made.status, 0, made.stderr);
    directory = mkdtempSync(join(tmpdir(), "cilium-cni-"));
  });
  after(() => {
    server?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it("answers VERSION itself", async () => {
    const { code, stdout } = await run({ CNI_COMMAND: "VERSION" }, '{"cniVersion":"0.4.0"}');
    assert.equal(code, 0);
    assert.deepEqual(JSON.parse(stdout), { cniVersion: "0.4.0", supportedVersions: ["0.3.1", "0.4.0", "1.0.0", "1.1.0"] });
  });

  it("says which error it is when the agent is down, and keeps DEL", async () => {
    for (const [command, expected] of [["ADD", 11], ["CHECK", 11], ["GC", 11], ["STATUS", 50]] as const) {
      const { code, stdout } = await run(env({ CNI_COMMAND: command }), request());
      assert.equal(code, 1);
      const error = JSON.parse(stdout) as { code: number; cniVersion: string };
      assert.equal(error.code, expected);
      assert.equal(error.cniVersion, "1.0.0");
    }
    const id = '../../../etc/"\u0001\\';
    const { code, stdout } = await run(env({ CNI_COMMAND: "DEL", CNI_CONTAINERID: id }), request());
    assert.equal(code, 0);
    assert.equal(stdout, "");
    const names = queued();
    assert.equal(names.length, 1);
    assert.match(names[0] ?? "", /^[0-9a-f]{32}$/);
    const kept = JSON.parse(readFileSync(join(directory, "state/cni-del", names[0] ?? ""), "utf8")) as Record<string, string>;
    assert.equal(kept.containerId, id);
    assert.equal(kept.command, "DEL");
    assert.equal(statSync(join(directory, "state/cni-del", names[0] ?? "")).mode & 0o777, 0o600);
    await run(env({ CNI_COMMAND: "DEL", CNI_CONTAINERID: id }), request());
    assert.equal(queued().length, 1, "the same DEL again is the same file");
    await run(env({ CNI_COMMAND: "DEL", CNI_CONTAINERID: "other" }), request());
    assert.equal(queued().length, 2);
  });

  it("hands every byte to the agent and prints its answer with its exit code", async () => {
    const seen: string[] = [];
    await serve((line, socket) => {
      seen.push(line);
      const body = JSON.stringify({ echo: "äöü €" });
      socket.end(`${seen.length === 1 ? 0 : 1} ${Buffer.byteLength(body)}\n${body}`);
    });
    const config = request({ text: 'quote " slash \\ tab \t newline \n del \u007f nul \u0000 é € 😀', nested: { agentSocket: "/wrong", a: [1, { b: "}" }] } });
    const first = await run(env({ CNI_ARGS: 'K8S_POD_NAME=a;"x"\n\\' }), config);
    assert.deepEqual(first, { ...first, code: 0, stdout: '{"echo":"äöü €"}' });
    const sent = JSON.parse(seen[0] ?? "") as Record<string, string>;
    assert.equal(sent.config, config);
    assert.equal(sent.args, 'K8S_POD_NAME=a;"x"\n\\');
    assert.deepEqual(Object.keys(sent), ["command", "containerId", "netns", "ifname", "args", "path", "config"]);
    assert.equal((await run(env(), config)).code, 1);
  });

  it("turns bytes that are no UTF-8 into U+FFFD", async () => {
    let line = "";
    await serve((text, socket) => {
      line = text;
      socket.end("0 0\n");
    });
    const config = Buffer.concat([Buffer.from(request().slice(0, -1)), Buffer.from(',"x":"'), Buffer.from([0xff, 0xc0, 0x80, 0xed, 0xa0, 0x80, 0xf5]), Buffer.from('"}')]);
    assert.equal((await run(env(), config)).code, 0);
    const sent = JSON.parse((JSON.parse(line) as { config: string }).config) as { x: string };
    assert.equal(sent.x, "\ufffd".repeat(7));
  });

  it("treats an agent that dies in the middle as no agent", async () => {
    for (const answer of ["", "0", "0 5\nabc", "x 3\nabc", "0 99999999999\n", "0 3 abc", "0 1\nabc"]) {
      await serve((_, socket) => socket.end(answer));
      const add = await run(env(), request());
      assert.equal(add.code, 1, answer);
      assert.equal((JSON.parse(add.stdout) as { code: number }).code, 11);
      const del = await run(env({ CNI_COMMAND: "DEL" }), request());
      assert.deepEqual([del.code, del.stdout], [0, ""]);
    }
  });

  it("never crashes, whatever it is given", async () => {
    await serve((_, socket) => socket.end("0 0\n"));
    const huge = "x".repeat(100_000);
    const bodies = ["", "{", '{"', '{"a', '{"a"', '{"a":', '{"a":"', '{"a":"\\', "[]", "null", '{"agentSocket":5}', `{"agentSocket":"${huge}"}`, "{".repeat(50_000), "}".repeat(10), '{"a":]}', "\0\0\0", '{"cniVersion":"\\u0000"}', "x".repeat(2 << 20)];
    for (const body of bodies) {
      const { code, stdout } = await run(env({ CNI_COMMAND: "STATUS" }), body);
      assert.ok(code === 0 || code === 1, `${body.slice(0, 20)}: ${code}`);
      if (code === 1) JSON.parse(stdout);
    }
    for (const name of ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_ARGS"]) {
      const { code, stdout } = await run(env({ [name]: huge }), request());
      assert.equal(code, 1);
      assert.equal((JSON.parse(stdout) as { code: number; details: string }).code, 4);
      assert.match(stdout, new RegExp(name));
    }
    assert.equal((JSON.parse((await run(env({ CNI_COMMAND: "add" }), request())).stdout) as { code: number }).code, 4);
    assert.equal((await run({}, request())).code, 1);
  });

  it("never crashes inside a pod's namespace either, and says what was wrong", async () => {
    const own = "/proc/self/ns/net";
    const header = (length: number): Buffer => Buffer.from(Uint32Array.of(length, 0, 0, 0).buffer);
    const inputs = ["", "x", "x".repeat(16), "\0".repeat(64), header(15), header(17), header(0xffff_fff0), Buffer.concat([header(16), header(1 << 30)]), "x".repeat(2 << 20)];
    const calls = [[], [""], ["/absent"], ["/etc/passwd"], [own], [own, "nothing"], [own, "../../kernel/x=1"], [own, `${"x".repeat(300)}=1`], [own, "ipv6/conf/absent/accept_ra=0"]];
    for (const call of calls) {
      for (const input of inputs) {
        const { status, signal, stderr } = spawnSync(PLUGIN, ["netns", ...call], { input, encoding: "utf8" });
        assert.equal(signal, null, `${call.join(" ")}: ${stderr}`);
        assert.ok(status === 0 || status === 1, String(status));
        if (call.length > 0) assert.equal(stderr === "", status === 0, stderr);
      }
    }
    const said = (...call: string[]): string => spawnSync(PLUGIN, ["netns", ...call], { input: "", encoding: "utf8" }).stderr;
    assert.match(said("/absent"), /\/absent: No such file/);
    assert.match(said("/etc/passwd"), /\/etc\/passwd: Invalid argument/);
    assert.match(said(own, "../../kernel/x=1"), /Invalid argument/);
  });

  it("starts in about a millisecond", async () => {
    const program = "import time,subprocess,sys\nt=[]\nfor i in range(200):\n s=time.perf_counter();subprocess.run([sys.argv[1]],stdin=subprocess.DEVNULL,stdout=subprocess.DEVNULL,env={'CNI_COMMAND':'VERSION'});t.append(time.perf_counter()-s)\nt.sort();print(t[100]*1000)";
    const measured = spawnSync("python3", ["-c", program, PLUGIN], { encoding: "utf8" });
    if (measured.status === 0) assert.ok(Number(measured.stdout) < 15, `median ${measured.stdout} ms`);
    else assert.ok((await run({ CNI_COMMAND: "VERSION" }, "{}")).ms < 100);
  });
});
