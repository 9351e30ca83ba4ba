/**
 * The CNI operations. Everything of one container happens in turn; different containers do not wait for each other.
 *
 * Order of ADD, and why an agent that is killed anywhere leaks nothing:
 *   1 admission    waits without having taken anything
 *   2 reservation  address and names, then the record on disk: from here on the record leads to every part
 *   3 link         both ends where they stay, down, with the programs on the node's end
 *   4 configure    addresses, neighbours, routes, up: closed, as the maps do not know the pod
 *   5 open         maps say ready, the record says ready
 * DEL and every failure go back over `remove`, the record last.
 */
import { createHash } from "node:crypto";
import { asError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { Addresses } from "./addresses.ts";
import { CniError, CniErrorCode } from "./errors.ts";
import type { NetnsResolver } from "./netns.ts";
import type { Admission, Admitted, AttachmentListener, PodDatapath } from "./ports.ts";
import type { CniRequest, CniResult } from "./protocol.ts";
import { KeyedTurns } from "./turns.ts";
import type { Attachment, AttachmentStore } from "./store.ts";

export interface CniOperationsOptions {
  readonly admission: Admission;
  readonly addresses: Addresses;
  readonly store: AttachmentStore;
  readonly datapath: PodDatapath;
  readonly netns: NetnsResolver;
  readonly listener: AttachmentListener;
  readonly logger: Logger;
  /** For STATUS: throws CniError when a pod could not be attached now, with the reason. */
  readonly assertReady: () => void;
  readonly observe: (command: string, outcome: "ok" | "error", ownSeconds: number, waitSeconds: number) => void;
}

const MAX_ENDPOINT_ID = 65_535;

/** `lxc` and 12 hexadecimal digits: as long as a name of an interface may be, and the same after a restart. */
export function hostInterfaceName(containerId: string): string {
  return `lxc${createHash("sha256").update(containerId).digest("hex").slice(0, 12)}`;
}

export class CniOperations {
  readonly #options: CniOperationsOptions;
  readonly #turns = new KeyedTurns();
  /** ADDs that wait for admission: a DEL of the same container ends the wait. */
  readonly #adding = new Map<string, AbortController>();
  readonly #endpointIds = new Set<number>();
  #lastEndpointId = 0;

  constructor(options: CniOperationsOptions) {
    this.#options = options;
  }

  /** The result of ADD; undefined for the other operations. Throws CniError (any other error is internal). */
  async run(request: CniRequest): Promise<CniResult | undefined> {
    const started = performance.now();
    const waited = { ms: 0 };
    let outcome: "ok" | "error" = "error";
    try {
      const result = await this.#dispatch(request, waited);
      outcome = "ok";
      return result;
    } finally {
      this.#options.observe(request.command, outcome, (performance.now() - started - waited.ms) / 1000, waited.ms / 1000);
    }
  }

  async #dispatch(request: CniRequest, waited: { ms: number }): Promise<CniResult | undefined> {
    const { containerId } = request;
    switch (request.command) {
      case "STATUS":
        this.#options.assertReady();
        return undefined;
      case "GC":
        await this.#collect(new Set(request.valid.map((item) => `${item.containerID}/${item.ifname}`)));
        return undefined;
      case "CHECK":
        return await this.#turns.run(containerId, () => this.#check(request));
      case "DEL":
        this.#adding.get(containerId)?.abort();
        return await this.#turns.run(containerId, () => this.#delete(containerId));
      case "ADD":
        return await this.#turns.run(containerId, () => this.#add(request, waited));
    }
  }

  /** Takes over what a former process recorded: claims ready attachments, removes the others. */
  async restore(): Promise<readonly Attachment[]> {
    const { store, addresses, netns, logger } = this.#options;
    const restored: Attachment[] = [];
    for (const { containerId, error } of await store.load()) {
      // Which addresses it has is not known, so they may be given again: the pod must not keep them.
      logger.error("the record of an attachment is unreadable: its link is removed", { containerId, error });
      await this.#options.datapath.remove({ containerId, hostIfname: hostInterfaceName(containerId), ipv4: undefined, ipv6: undefined });
      await store.remove(containerId);
    }
    // Ready ones first: none of their addresses may go to a record that is only half done.
    const records = [...store.all()].sort((a, b) => Number(b.step === "ready") - Number(a.step === "ready"));
    for (const attachment of records) {
      this.#endpointIds.add(attachment.endpointId);
      this.#lastEndpointId = Math.max(this.#lastEndpointId, attachment.endpointId);
      const claimed = addresses.claim(attachment, attachment.uid);
      const alive = claimed && attachment.step === "ready" && !(await netns.isGone(attachment.netns, attachment.netnsId));
      if (alive) {
        restored.push(attachment);
        continue;
      }
      logger.info("removing an attachment that is not whole", { containerId: attachment.containerId, step: attachment.step, claimed });
      await this.#tryTearDown(attachment, claimed);
    }
    return restored;
  }

  /** Removes an attachment whose link is gone without a DEL. */
  async discard(containerId: string): Promise<void> {
    await this.#turns.run(containerId, () => this.#delete(containerId));
  }

  /**
   * The pod's labels have changed: it is another identity from now on. undefined: it is gone or not whole.
   * `adopt` is called in the container's turn: afterwards a DEL that waits might have taken the pod away.
   */
  async reidentify(containerId: string, identity: number, adopt: (renewed: Attachment) => void): Promise<Attachment | undefined> {
    return await this.#turns.run(containerId, async () => {
      const current = this.#options.store.get(containerId);
      if (current?.step !== "ready") return undefined;
      const changed = { ...current, identity };
      await this.#options.store.put(changed);
      adopt(changed);
      return changed;
    });
  }

  /** Removes attachments that an earlier failure left half done. */
  async sweep(): Promise<void> {
    for (const { containerId, step } of this.#options.store.all()) {
      if (step === "ready" || this.#turns.isBusy(containerId)) continue;
      await this.#turns.run(containerId, async () => {
        const current = this.#options.store.get(containerId);
        if (current?.step === "reserved") await this.#tryTearDown(current);
      });
    }
  }

  async #add(request: CniRequest, waited: { ms: number }): Promise<CniResult> {
    const { store, netns, admission } = this.#options;
    const { pod, containerId } = request;
    if (pod === undefined) throw new CniError(CniErrorCode.environment, "CNI_ARGS names no pod (K8S_POD_NAMESPACE, K8S_POD_NAME)");
    const netnsId = await netns.requirePod(request.netns);
    const existing = store.get(containerId);
    if (existing !== undefined) {
      const kept = await this.#keep(existing, request, netnsId);
      if (kept !== undefined) return kept;
    }
    const abort = new AbortController();
    this.#adding.set(containerId, abort);
    const waitingSince = performance.now();
    let admitted: Admitted;
    try {
      admitted = await admission.admit(pod, abort.signal);
    } finally {
      waited.ms = performance.now() - waitingSince;
      this.#adding.delete(containerId);
    }
    return await this.#attach(request, admitted, netnsId);
  }

  /** The result of an ADD that was answered before; undefined after taking away what does not fit. */
  async #keep(existing: Attachment, request: CniRequest, netnsId: string): Promise<CniResult | undefined> {
    if (existing.ifname !== request.ifname) {
      throw new CniError(CniErrorCode.environment, `the container has interface ${existing.ifname} already; a second one is not supported`);
    }
    const whole = existing.step === "ready" && existing.netnsId === netnsId && (await this.#options.datapath.verify(existing)).length === 0;
    if (whole) return this.#result(existing);
    await this.#tearDown(existing);
    return undefined;
  }

  async #attach(request: CniRequest, admitted: Admitted, netnsId: string): Promise<CniResult> {
    const { store, datapath, listener, logger } = this.#options;
    let attachment = await this.#reserve(request, admitted, netnsId);
    try {
      const link = await datapath.createLink(attachment);
      attachment = { ...attachment, ...link };
      await datapath.configure(attachment);
      await datapath.open(attachment);
      attachment = { ...attachment, step: "ready" };
      await store.put(attachment);
    } catch (thrown) {
      logger.warn("attaching failed", { containerId: request.containerId, pod: admitted.pod, error: asError(thrown) });
      await this.#tryTearDown(attachment);
      if (thrown instanceof CniError) throw thrown;
      throw new CniError(CniErrorCode.tryAgainLater, `the pod's network could not be set up: ${asError(thrown).message}`, "", thrown);
    }
    listener.attached(attachment);
    return this.#result(attachment);
  }

  async #reserve(request: CniRequest, { pod, ...admitted }: Admitted, netnsId: string): Promise<Attachment> {
    const { addresses, store } = this.#options;
    const pair = addresses.allocate(pod.uid);
    const endpointId = this.#takeEndpointId();
    const attachment: Attachment = {
      containerId: request.containerId, ifname: request.ifname, netns: request.netns, netnsId,
      namespace: pod.namespace, pod: pod.name, uid: pod.uid, ...admitted,
      endpointId, hostIfname: hostInterfaceName(request.containerId), ...pair,
      step: "reserved", hostIfindex: 0, mac: "", hostMac: "", mtu: 0,
    };
    try {
      await store.put(attachment);
    } catch (thrown) {
      await this.#tryTearDown(attachment);
      throw new CniError(CniErrorCode.io, "the attachment cannot be recorded on disk", asError(thrown).message, thrown);
    }
    return attachment;
  }

  async #delete(containerId: string): Promise<undefined> {
    const attachment = this.#options.store.get(containerId);
    if (attachment !== undefined) await this.#tearDown(attachment);
  }

  async #collect(valid: ReadonlySet<string>): Promise<void> {
    for (const { containerId, ifname } of this.#options.store.all()) {
      if (valid.has(`${containerId}/${ifname}`) || this.#turns.isBusy(containerId)) continue;
      await this.#turns.run(containerId, () => this.#delete(containerId));
    }
  }

  async #check(request: CniRequest): Promise<undefined> {
    const { store, netns, datapath } = this.#options;
    const attachment = store.get(request.containerId);
    if (attachment === undefined || attachment.step !== "ready" || attachment.ifname !== request.ifname) {
      throw new CniError(CniErrorCode.unknownContainer, "the container is not attached");
    }
    const differences = [...(await datapath.verify(attachment))];
    if ((await netns.find(request.netns)) !== attachment.netnsId) differences.push("the network namespace is another one");
    const expected = this.#result(attachment).ips.map((ip) => ip.address);
    const remembered = request.previous?.ips;
    if (Array.isArray(remembered)) {
      const given = remembered.map((ip: unknown) => (ip as { address?: unknown } | null)?.address);
      for (const address of expected) if (!given.includes(address)) differences.push(`prevResult lacks ${address}`);
    }
    if (differences.length > 0) throw new CniError(CniErrorCode.internal, "the attachment is not as it should be", differences.join("; "));
  }

  /**
   * Kernel, addresses, record: in this order, each step idempotent, so that it can be repeated from any point.
   * `owned` is false for a record whose addresses belong to another attachment.
   */
  async #tearDown(attachment: Attachment, owned = true): Promise<void> {
    const { datapath, addresses, store, listener } = this.#options;
    await datapath.remove(attachment);
    if (owned) await addresses.release(attachment);
    await store.remove(attachment.containerId);
    this.#endpointIds.delete(attachment.endpointId);
    listener.detached(attachment);
  }

  /** As tearDown; a failure leaves the record for `sweep`, the next DEL or the next start. */
  async #tryTearDown(attachment: Attachment, owned = true): Promise<void> {
    try {
      await this.#tearDown(attachment, owned);
    } catch (thrown) {
      this.#options.logger.warn("removing an attachment failed, it is tried again", { containerId: attachment.containerId, error: asError(thrown) });
    }
  }

  #takeEndpointId(): number {
    for (let tried = 0; tried < MAX_ENDPOINT_ID; tried++) {
      this.#lastEndpointId = (this.#lastEndpointId % MAX_ENDPOINT_ID) + 1;
      if (this.#endpointIds.has(this.#lastEndpointId)) continue;
      this.#endpointIds.add(this.#lastEndpointId);
      return this.#lastEndpointId;
    }
    throw new CniError(CniErrorCode.tryAgainLater, "all endpoint ids of this node are in use");
  }

  #result(attachment: Attachment): CniResult {
    const { routers } = this.#options.addresses;
    const ips: CniResult["ips"][number][] = [];
    const routes: CniResult["routes"][number][] = [];
    if (attachment.ipv4 !== undefined && routers.ipv4 !== undefined) {
      ips.push({ address: `${attachment.ipv4}/32`, gateway: routers.ipv4, interface: 1 });
      routes.push({ dst: "0.0.0.0/0", gw: routers.ipv4 });
    }
    if (attachment.ipv6 !== undefined && routers.ipv6 !== undefined) {
      ips.push({ address: `${attachment.ipv6}/128`, gateway: routers.ipv6, interface: 1 });
      routes.push({ dst: "::/0", gw: routers.ipv6 });
    }
    return {
      interfaces: [
        { name: attachment.hostIfname, mac: attachment.hostMac, mtu: attachment.mtu },
        { name: attachment.ifname, mac: attachment.mac, mtu: attachment.mtu, sandbox: attachment.netns },
      ],
      ips,
      routes,
    };
  }
}
