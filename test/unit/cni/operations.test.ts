import { strict as assert } from "node:assert";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { Addresses, AttachmentStore, CniError, CniErrorCode, CniOperations, NetnsResolver } from "../../../src/cni/index.ts";
import type { Admission, Attachment, PodDatapath } from "../../../src/cni/index.ts";
import { parseRequest } from "../../../src/cni/protocol.ts";
import type { CniRequest } from "../../../src/cni/protocol.ts";
import type { Logger } from "../../../src/lib/log.ts";
import { parseCidr } from "../../../src/lib/ip.ts";

const silent: Logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined, child: () => silent };

/** A kernel that remembers; `failAt` breaks one step once. */
class FakeDatapath implements PodDatapath {
  readonly links = new Map<string, "made" | "configured" | "open">();
  failAt: keyof PodDatapath | undefined;
  removals = 0;

  #step(name: keyof PodDatapath): void {
    if (this.failAt !== name) return;
    this.failAt = undefined;
    throw new Error(`${name} failed`);
  }

  async createLink(attachment: Attachment): Promise<{ hostIfindex: number; mac: string; hostMac: string; mtu: number }> {
    this.links.set(attachment.hostIfname, "made");
    this.#step("createLink");
    return { hostIfindex: 7, mac: "02:00:00:00:00:01", hostMac: "02:00:00:00:00:02", mtu: 1450 };
  }
  async configure(attachment: Attachment): Promise<void> {
    this.links.set(attachment.hostIfname, "configured");
    this.#step("configure");
  }
  async open(attachment: Attachment): Promise<void> {
    this.links.set(attachment.hostIfname, "open");
    this.#step("open");
  }
  async remove(attachment: Parameters<PodDatapath["remove"]>[0]): Promise<void> {
    this.#step("remove");
    this.removals++;
    this.links.delete(attachment.hostIfname);
  }
  async verify(attachment: Attachment): Promise<readonly string[]> {
    return this.links.get(attachment.hostIfname) === "open" ? [] : ["no link"];
  }
}

describe("CniOperations", () => {
  let folder = "";
  let datapath = new FakeDatapath();
  let admission: Admission = { admit: () => Promise.reject(new Error("not set")) };
  let operations: CniOperations;
  let addresses: Addresses;
  let store: AttachmentStore;
  const events: string[] = [];
  let inUse: ReadonlyMap<string, string> = new Map();
  let nowMs = 1_000_000;

  /** A new agent process on the same disk and the same kernel. */
  async function start(cidr = "10.0.1.0/29"): Promise<readonly Attachment[]> {
    addresses = new Addresses({ cidrs: [parseCidr(cidr), parseCidr("fd00:1::/64")], file: join(folder, "ipam.json"), restMs: 60_000, nowMs: () => nowMs, inUse: () => inUse });
    await addresses.load();
    store = new AttachmentStore(join(folder, "endpoints"));
    operations = new CniOperations({
      admission: { admit: (...args) => admission.admit(...args) },
      addresses, store, datapath,
      netns: new NetnsResolver({ host: join(folder, "host-netns"), hostProc: undefined, isNetwork: () => true }),
      listener: { attached: (a) => void events.push(`+${a.containerId}`), detached: (a) => void events.push(`-${a.containerId}`) },
      logger: silent,
      assertReady: () => undefined,
      observe: () => undefined,
    });
    return await operations.restore();
  }

  function request(command: string, id: string, more: { netns?: string; config?: object; pod?: string } = {}): CniRequest {
    const { netns = join(folder, "pod-netns"), config = {}, pod = id } = more;
    const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=${pod};K8S_POD_UID=uid-${pod}`;
    return parseRequest(JSON.stringify({ command, containerId: id, netns, ifname: "eth0", args, path: "/opt/cni/bin", config: JSON.stringify({ cniVersion: "1.0.0", name: "cilium", ...config }) }));
  }

  async function code(promise: Promise<unknown>): Promise<number | undefined> {
    try {
      await promise;
      return undefined;
    } catch (thrown) {
      return thrown instanceof CniError ? thrown.cniCode : -1;
    }
  }

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "cilium-operations-"));
    await writeFile(join(folder, "host-netns"), "");
    await writeFile(join(folder, "pod-netns"), "");
    datapath = new FakeDatapath();
    admission = { admit: async (pod) => ({ pod, identity: 300 }) };
    events.length = 0;
    inUse = new Map();
    nowMs = 1_000_000;
    await start();
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  it("attaches, answers the same again, checks, and frees everything", async () => {
    const result = await operations.run(request("ADD", "c1"));
    assert.deepEqual(result?.ips, [
      { address: "10.0.1.2/32", gateway: "10.0.1.1", interface: 1 },
      { address: "fd00:1::2/128", gateway: "fd00:1::1", interface: 1 },
    ]);
    assert.deepEqual(result.routes, [{ dst: "0.0.0.0/0", gw: "10.0.1.1" }, { dst: "::/0", gw: "fd00:1::1" }]);
    assert.equal(result.interfaces[1]?.sandbox, join(folder, "pod-netns"));
    assert.deepEqual(await operations.run(request("ADD", "c1")), result);
    await operations.run(request("CHECK", "c1"));
    assert.equal(await code(operations.run(request("CHECK", "c1", { config: { prevResult: { ips: [{ address: "10.9.9.9/32" }] } } }))), CniErrorCode.internal);
    assert.equal(await code(operations.run(request("CHECK", "other"))), CniErrorCode.unknownContainer);
    await operations.run(request("DEL", "c1"));
    await operations.run(request("DEL", "c1"));
    assert.equal(addresses.ipv4?.used, 0);
    assert.deepEqual(await readdir(join(folder, "endpoints")), []);
    assert.deepEqual(events, ["+c1", "-c1"]);
    assert.equal((await operations.run(request("ADD", "c2", { pod: "c1" })))?.ips[0]?.address, "10.0.1.2/32", "the same pod gets its address again");
  });

  it("does two ADDs of one container one after the other", async () => {
    const [first, second] = await Promise.all([operations.run(request("ADD", "c1")), operations.run(request("ADD", "c1"))]);
    assert.deepEqual(first, second);
    assert.equal(addresses.ipv4?.used, 1);
  });

  it("leaves nothing behind when any step fails, and retries what could not be undone", async () => {
    for (const step of ["createLink", "configure", "open"] as const) {
      datapath.failAt = step;
      assert.equal(await code(operations.run(request("ADD", "c1"))), CniErrorCode.tryAgainLater, step);
      assert.equal(datapath.links.size, 0, step);
      assert.equal(addresses.ipv4?.used, 0, step);
      assert.deepEqual(await readdir(join(folder, "endpoints")), [], step);
    }
    datapath.failAt = "remove";
    await operations.run(request("ADD", "c2"));
    assert.equal(await code(operations.run(request("DEL", "c2"))), -1);
    assert.equal(addresses.ipv4?.used, 1, "not freed before the link is gone");
    await operations.run(request("DEL", "c2"));
    assert.equal(addresses.ipv4?.used, 0);
  });

  it("finishes or removes what a killed agent left, and keeps what is whole", async () => {
    await operations.run(request("ADD", "whole"));
    const kept = store.get("whole");
    // Killed after the record and the link, before the pod was open.
    await store.put({ ...(kept as Attachment), containerId: "half", hostIfname: "lxchalf", step: "reserved", endpointId: 9, ipv4: "10.0.1.5", ipv6: "fd00:1::5" });
    datapath.links.set("lxchalf", "made");
    // Its sandbox is gone.
    await store.put({ ...(kept as Attachment), containerId: "gone", hostIfname: "lxcgone", netns: join(folder, "no-netns"), endpointId: 10, ipv4: "10.0.1.6", ipv6: "fd00:1::6" });
    await writeFile(join(folder, "endpoints", "broken.json"), "{");
    const restored = await start();
    assert.deepEqual(restored.map((attachment) => attachment.containerId), ["whole"]);
    assert.deepEqual([...datapath.links.keys()], [kept?.hostIfname]);
    assert.equal(addresses.ipv4?.used, 1);
    assert.deepEqual(await readdir(join(folder, "endpoints")), ["whole.json"]);
    await operations.run(request("CHECK", "whole"));
  });

  it("does not free an address that a second record only claims", async () => {
    await operations.run(request("ADD", "a"));
    await store.put({ ...(store.get("a") as Attachment), containerId: "copy", hostIfname: "lxccopy", endpointId: 8 });
    const restored = await start();
    assert.equal(restored.length, 1);
    assert.equal(addresses.ipv4?.used, 1);
  });

  it("ends the wait of an ADD when its DEL comes", async () => {
    admission = {
      admit: (_, signal) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new CniError(CniErrorCode.tryAgainLater, "being deleted")))),
    };
    const adding = code(operations.run(request("ADD", "c1")));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await operations.run(request("DEL", "c1"));
    assert.equal(await adding, CniErrorCode.tryAgainLater);
    assert.equal(addresses.ipv4?.used, 0);
  });

  it("says that addresses are exhausted, and recovers", async () => {
    for (let index = 0; index < 5; index++) await operations.run(request("ADD", `c${index}`));
    await assert.rejects(operations.run(request("ADD", "c9")), (error: CniError) => error.cniCode === CniErrorCode.tryAgainLater && /no free IPv4 address/.test(error.message) && /5 of 5/.test(error.details));
    assert.equal(addresses.ipv6?.used, 5, "the other family's address is given back");
    await operations.run(request("DEL", "c3"));
    assert.equal((await operations.run(request("ADD", "again", { pod: "c3" })))?.ips[0]?.address, "10.0.1.5/32");
  });

  it("does not give away what a pod of an earlier network has, until that pod is gone", async () => {
    inUse = new Map([["10.0.1.2", "uid-old"], ["fd00:1::2", "uid-old"], ["10.0.1.4", "uid-c2"]]);
    const address = async (id: string): Promise<string | undefined> => (await operations.run(request("ADD", id)))?.ips[0]?.address;
    assert.deepEqual([await address("c1"), await address("c2"), await address("c3")], ["10.0.1.3/32", "10.0.1.4/32", "10.0.1.5/32"]);
    assert.equal(store.get("c1")?.ipv6, "fd00:1::3");
    await address("c4");
    nowMs += 60_001;
    assert.equal(await code(operations.run(request("ADD", "c5"))), CniErrorCode.tryAgainLater);
    inUse = new Map();
    assert.equal(await address("c5"), "10.0.1.2/32");
  });

  it("collects what the runtime no longer has, and nothing without its list", async () => {
    for (const id of ["c1", "c2"]) await operations.run(request("ADD", id));
    assert.throws(() => request("GC", ""), /valid-attachments/);
    await operations.run(request("GC", "", { config: { cniVersion: "1.1.0", "cni.dev/valid-attachments": [{ containerID: "c1", ifname: "eth0" }] } }));
    assert.deepEqual(store.all().map((attachment) => attachment.containerId), ["c1"]);
  });

  it("refuses the node's own namespace, another interface, and names that are none", async () => {
    assert.equal(await code(operations.run(request("ADD", "c1", { netns: join(folder, "host-netns") }))), CniErrorCode.environment);
    assert.equal(await code(operations.run(request("ADD", "c1", { netns: "/nowhere" }))), CniErrorCode.environment);
    assert.throws(() => request("ADD", "../x"), /container id/);
    assert.throws(() => request("ADD", "c1", { config: { cniVersion: "0.2.0" } }), /not supported/);
    assert.equal(JSON.parse(await readFile(join(folder, "ipam.json"), "utf8").catch(() => "{}")).ipv4, undefined);
  });

  it("changes the identity of a ready attachment on disk", async () => {
    await operations.run(request("ADD", "c1"));
    assert.equal((await operations.reidentify("c1", 400, () => undefined))?.identity, 400);
    assert.equal(await operations.reidentify("c2", 400, () => assert.fail("it is not there")), undefined);
    assert.equal((await start())[0]?.identity, 400);
  });

  it("renews an identity before a DEL that comes meanwhile: the pod is not put back", async () => {
    await operations.run(request("ADD", "c1"));
    const link = store.get("c1")?.hostIfname ?? "";
    const order: string[] = [];
    const renewing = operations.reidentify("c1", 400, () => void order.push(`renewed, link ${datapath.links.get(link)}`));
    await Promise.all([renewing, operations.run(request("DEL", "c1")).then(() => order.push("deleted"))]);
    assert.deepEqual(order, ["renewed, link open", "deleted"]);
  });
});
