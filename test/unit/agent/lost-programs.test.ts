/** Which programs are put back when the kernel tells that some were taken off, how often, and what is said of it. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LostPrograms, ownPlaces, reattach, underlayPlaces } from "../../../src/agent/lost-programs.ts";
import type { Reattached } from "../../../src/agent/lost-programs.ts";
import { lossOfPrograms } from "../../../src/kernel/loss-watch.ts";
import type { Device } from "../../../src/kernel/index.ts";
import type { Logger } from "../../../src/lib/log.ts";
import { sleep } from "../../../src/lib/backoff.ts";

const device = (name: string, ifindex: number): Device => ({ name, ifindex }) as Device;

/** A node with these devices; what is attached is named `ifindex hook`. */
class Kernel {
  readonly attached = new Set<string>();
  readonly gone = new Set<number>();
  attaching = 0;

  isAttached(hook: string, ifindex: number): boolean {
    return this.attached.has(`${ifindex} ${hook}`);
  }

  attach(hook: string, ifindex: number): void {
    if (this.gone.has(ifindex)) throw new Error("no such device");
    this.attaching++;
    this.attached.add(`${ifindex} ${hook}`);
  }
}

const places = [...ownPlaces({ host: device("cilium_host", 2), tunnel: device("cilium_vxlan", 3) }), ...underlayPlaces([device("eth0", 4)])];

function lab(): { readonly kernel: Kernel; readonly lost: LostPrograms; readonly told: string[]; readonly counts: { turns: number; failures: number }; readonly settled: () => Promise<void> } {
  const kernel = new Kernel();
  reattach(kernel, places);
  kernel.attaching = 0;
  const told: string[] = [];
  const counts = { turns: 0, failures: 0 };
  const tell = (text: string, fields?: object): void => void told.push(`${text} ${JSON.stringify(fields)}`);
  const logger: Logger = { debug: tell, info: tell, warn: tell, error: tell, child: () => logger };
  const holder = { attachPrograms: (isAsked: (name: string) => boolean): Reattached => (counts.turns++, reattach(kernel, places.filter((place) => isAsked(place.device.name)))) };
  const lost = new LostPrograms({ holders: [holder], logger, onFailures: () => counts.failures++, signal: new AbortController().signal, gatherMs: 1 });
  const settled = async (): Promise<void> => {
    const before = counts.turns;
    while (counts.turns === before) await sleep(1);
  };
  return { kernel, lost, told, counts, settled };
}

describe("programs that somebody took off", () => {
  it("the kernel's words for ours name the device; others' filters are no loss", () => {
    const deviceOf = (line: string): string | undefined => {
      const loss = lossOfPrograms(line);
      return loss?.of === "programs" ? loss.device : undefined;
    };
    assert.deepEqual([
      "deleted qdisc clsact ffff: dev eth0 parent ffff:fff1 refcnt 0 ",
      "deleted filter dev lxcq ingress protocol all pref 1 bpf chain 0 handle 0x1 direct-action not_in_hw id 7",
      "deleted filter dev cilium_host egress protocol all pref 1 bpf chain 0 ",
      "deleted filter dev eth1 parent ffff: protocol all pref 1 bpf chain 0 ",
    ].map(deviceOf), ["eth0", "lxcq", "cilium_host", "eth1"]);
    for (const line of [
      "deleted filter dev eth0 ingress protocol ip pref 7 u32 chain 0 ",
      "deleted filter dev eth0 ingress protocol all pref 10 bpf chain 0 ",
      "deleted filter dev eth0 ingress protocol all pref 1 flower chain 0 ",
      "deleted chain dev eth0 parent ffff: chain 0 ",
      "deleted qdisc ingress ffff: dev eth0 parent ffff:fff1 refcnt 0 ---------------- ",
      "added filter dev eth0 ingress protocol all pref 1 bpf chain 0 handle 0x1",
    ]) assert.equal(lossOfPrograms(line), undefined, line);
  });

  it("many losses are one turn, which attaches at those devices alone and names what was missing", async () => {
    const { kernel, lost, told, counts, settled } = lab();
    kernel.attached.delete("4 FROM_NETDEV");
    for (let count = 0; count < 1_000; count++) lost.lost("eth0");
    await settled();
    assert.deepEqual([counts.turns, kernel.attaching, kernel.isAttached("FROM_NETDEV", 4)], [1, 2, true]);
    assert.deepEqual(told, ['others had taken programs off devices: they are back {"devices":"eth0"}']);
  });

  it("where nothing was missing nothing is said: the loss was another device's, or what was replaced", async () => {
    const { kernel, lost, told, settled } = lab();
    lost.lost("eth7");
    await settled();
    assert.equal(kernel.attaching, 0);
    lost.lost("cilium_host");
    await settled();
    assert.deepEqual([kernel.attaching, told], [1, []]);
  });

  it("after a time in which nothing was heard all devices are looked at; one that is gone keeps no other from its programs", async () => {
    const { kernel, lost, told, counts, settled } = lab();
    kernel.attached.clear();
    kernel.gone.add(3);
    lost.lost(undefined);
    await settled();
    assert.deepEqual([...kernel.attached].sort(), ["2 FROM_HOST", "4 FROM_NETDEV", "4 TO_NETDEV"]);
    assert.deepEqual([counts.failures, told], [1, [
      'others had taken programs off devices: they are back {"devices":"cilium_host, eth0"}',
      'programs that others may have taken off devices cannot be put back {"failures":"cilium_vxlan: no such device"}',
    ]]);
  });
});
