/**
 * Keeps the node's encryption as the plan says: the WireGuard device, the routes that lead to it, and at last the
 * enforcement in the programs. The device is made by the DaemonSet cilium-wireguard, whose process goes on when this one
 * ends; the private key is made here and is nowhere but in the device and in this process's memory.
 */
import { KEYS_NOT_BEFORE } from "../compile/index.ts";
import { check } from "../kernel/command.ts";
import { EncryptedRoutes, Links, WIREGUARD_DEVICES, WireGuard } from "../kernel/index.ts";
import type { Device, Run, Sysctl, WireGuardPeer, WireGuardState } from "../kernel/index.ts";
import type { EncryptionFacts } from "../inspect/index.ts";
import { Backoff } from "../lib/backoff.ts";
import { describeError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import type { Enforcement } from "./encryption-enforcement.ts";
import { encryptionFacts } from "./encryption-facts.ts";
import { encryptionPlan, encryptionStatus, sentence } from "./encryption-plan.ts";
import type { EncryptionPlan, OwnKey } from "./encryption-plan.ts";
import { hasEpoch, isOvertaken, isSetBack, isTime, keysOf, nextTurn, waitsFor } from "./key-rotation.ts";
import type { NodeKey, RotationWish } from "./key-rotation.ts";
import { KeyProofs } from "./key-proofs.ts";
import { Keyring } from "./keyring.ts";
import type { HeldKey } from "./keyring.ts";
import type { CiliumNodeRow, EncryptionStatus, PublishedKeys } from "./objects.ts";
import type { LocalNode } from "./peers.ts";

/** What this node says of its encryption. */
export interface EncryptionReport {
  /** undefined: it has no device yet. */
  readonly keys: PublishedKeys | undefined;
  readonly status: EncryptionStatus;
}

export interface NodeEncryptionOptions {
  readonly run: Run;
  readonly sysctl: Sysctl;
  readonly logger: Logger;
  readonly local: () => LocalNode;
  readonly nodes: () => Iterable<CiliumNodeRow>;
  /** The nodes are all known, from the API server or from the disk. */
  readonly isUsable: () => boolean;
  readonly enforcement: Enforcement;
  /** UDP port of nodes that name none. */
  readonly port: number;
  /** What is said for this node, as it is now; absent: that port, and no keepalive. */
  readonly said?: () => SaidOfNode;
  readonly tunnelPort: number;
  /** Of the device: the greatest packet that it can wrap. */
  readonly mtu: number;
  readonly onReport: () => void;
  /** Which device has which key. */
  readonly keyFile: string;
  readonly wish: () => RotationWish;
  /** For as long an old key is kept when nobody sends by it any more: what is on its way arrives. */
  readonly graceMs?: number;
  /** The node's clock, which somebody may set. */
  readonly nowMs?: () => number;
  /** Names of the devices; tests have several on a machine. */
  readonly devices?: readonly string[];
}

/** What an object, or the chart's values, say for this node. */
export interface SaidOfNode {
  /** UDP port of the first device; the next one is the second's. */
  readonly port: number;
  /** Seconds; 0: silent. */
  readonly keepalive: number;
  /** Whose words these are, as the node's status names it. */
  readonly by: Pick<EncryptionStatus, "object" | "objectGeneration">;
}

const LOOK_AGAIN_MS = 10_000;
/** While nothing changes, ever more rarely: a node that is away must not cost the others. */
const LOOK_SOON = { firstMs: 500, maxMs: 5_000 };
const GRACE_MS = 5000;

/** One of the devices, as it was found. */
interface Slot {
  readonly slot: number;
  readonly device: Device;
  readonly state: WireGuardState;
}

interface OwnDevice extends HeldKey, OwnKey {
  readonly link: Device;
}

interface Looked {
  readonly slots: readonly Slot[];
  /** By slot, of devices that do not answer. */
  readonly failures: ReadonlyMap<number, unknown>;
}

export class NodeEncryption implements Reconciler {
  readonly #options: NodeEncryptionOptions;
  readonly #devices: readonly string[];
  readonly #links: Links;
  readonly #routes: EncryptedRoutes;
  readonly #keyring: Keyring;
  readonly #proofs = new KeyProofs();
  readonly #decided = Promise.withResolvers<void>();
  readonly #soon = new Backoff(LOOK_SOON);
  #report: EncryptionReport | undefined;
  /** Since when no other node sends by the old key. */
  #throughSince: number | undefined;

  constructor(options: NodeEncryptionOptions) {
    this.#options = options;
    this.#devices = options.devices ?? WIREGUARD_DEVICES;
    this.#links = new Links(options.run);
    this.#routes = new EncryptedRoutes(options.run);
    this.#keyring = new Keyring(options.keyFile, () => this.#said.port);
  }

  /** undefined before the first pass. */
  get report(): EncryptionReport | undefined {
    return this.#report;
  }

  /** What the devices say now. */
  async facts(): Promise<EncryptionFacts> {
    const { slots, failures } = await this.#look();
    for (const failure of failures.values()) throw failure;
    const devices = slots.map(({ device, state }) => ({ name: device.name, state }));
    return encryptionFacts({ status: this.#report?.status, inForce: this.#isInForce, inForceOnReceipt: this.#options.enforcement.isOnReceipt, devices, nodes: this.#options.nodes(), nowMs: this.#nowMs() });
  }

  /** Resolves once what other nodes enforce is enforced here. */
  get decided(): Promise<void> {
    return this.#decided.promise;
  }

  async reconcile(): Promise<ReconcileResult> {
    const { isUsable, enforcement } = this.#options;
    // First, and whatever fails later: until there are routes to WireGuard nothing leaves.
    if (await enforcement.restore()) this.#decided.resolve();
    if (!isUsable()) return { requeueAfterMs: LOOK_SOON.firstMs };
    const { enforce, enforceOnReceipt } = this.#plan([]);
    if (enforce) await enforcement.begin(enforceOnReceipt);
    this.#decided.resolve();
    const isDone = await this.#pass().catch((thrown: unknown) => this.#failed(thrown));
    return { requeueAfterMs: isDone ? LOOK_AGAIN_MS : this.#soon.next() };
  }

  /** @returns whether there is nothing left to wait for */
  async #pass(): Promise<boolean> {
    const { slots, failures } = await this.#look();
    // What a silent device has is not known: its key may be the one that others use.
    if (this.#keyring.keys.length === 0 && failures.size > 0) throw [...failures.values()][0];
    this.#proofs.observe(slots.map(({ state }) => state), this.#nowMs());
    if (slots.length > 0) await this.#restore(slots);
    const [present] = this.#keyring.keys;
    if (present !== undefined && failures.has(present.slot)) throw failures.get(present.slot);
    if (present === undefined || !slots.some(({ slot }) => slot === present.slot)) return this.#withoutDevice(this.#devices[present?.slot ?? 0] ?? "");
    return await this.#withDevices(slots);
  }

  /** The devices that there are. */
  async #look(): Promise<Looked> {
    const slots: Slot[] = [];
    const failures = new Map<number, unknown>();
    for (const [slot, name] of this.#devices.entries()) {
      const device = await this.#links.find(name);
      if (device === undefined) continue;
      const read = await this.#wireguard(slot).read().catch((thrown: unknown) => void failures.set(slot, thrown));
      if (read !== undefined) slots.push({ slot, device, state: read });
    }
    return { slots, failures };
  }

  async #restore(slots: readonly Slot[]): Promise<void> {
    const states = this.#devices.map((_, slot) => slots.find((found) => found.slot === slot)?.state);
    const others = this.#others().filter(({ keys }) => keys?.epoch !== undefined);
    await this.#keyring.restore(states, others.map((row) => keysOf(row, this.#options.port)), this.#nowMs());
  }

  #wireguard(slot: number): WireGuard {
    return new WireGuard(this.#options.run, this.#devices[slot] ?? "");
  }

  #others(): CiliumNodeRow[] {
    const { name } = this.#options.local();
    return [...this.#options.nodes()].filter((row) => row.name !== name);
  }

  #nowMs(): number {
    return (this.#options.nowMs ?? Date.now)();
  }

  get #said(): SaidOfNode {
    const { said, port } = this.#options;
    return said?.() ?? { port, keepalive: 0, by: {} };
  }

  #plan(keys: readonly OwnKey[]): EncryptionPlan {
    const { local, nodes, port } = this.#options;
    return encryptionPlan({ local: local(), nodes: nodes(), port, keys, keepalive: this.#said.keepalive, nowMs: this.#nowMs(), inForce: this.#isInForce });
  }

  #withoutDevice(name: string): boolean {
    this.#cannot(`there is no device ${name} yet: the node's pod of the DaemonSet cilium-wireguard makes it`);
    return false;
  }

  /** What fails is told, and ends what was said before: the node may be cut off from the others. */
  #failed(thrown: unknown): never {
    this.#cannot(`WireGuard cannot be set up: ${describeError(thrown)}`);
    throw thrown;
  }

  #cannot(why: string): void {
    this.#tell({ keys: this.#keyring.published, status: { ...encryptionStatus({ enforce: this.#isInForce, confirmed: false, reached: 0, missing: [why] }, undefined), ...this.#said.by } });
  }

  async #withDevices(slots: readonly Slot[]): Promise<boolean> {
    const { tunnelPort, port } = this.#options;
    const waiting = await this.#beginNext(slots);
    const own = this.#keyring.keys.flatMap((key) => slots.filter(({ slot }) => slot === key.slot).map((slot): OwnDevice => ({ ...key, device: slot.device.name, now: slot.state, link: slot.device, proven: this.#proofs.proven })));
    const plan = this.#plan(own);
    for (const [index, key] of own.entries()) {
      const applied = this.#apply(key, plan.peers[index] ?? []);
      // The present key works on, whatever is wrong with the device of the next one.
      if (index === 0) await applied;
      else await applied.catch((thrown: unknown) => void waiting.push(`the device ${key.device} cannot be set up: ${describeError(thrown)}`));
    }
    await this.#routes.sync(tunnelPort, plan.routes);
    if (plan.enforce) await this.#options.enforcement.begin(plan.enforceOnReceipt);
    const waits = await this.#finish(plan, port);
    await this.#clearUnused(slots);
    const rotation = sentence([...waiting, ...waits]);
    const kind = own[0]?.link.kind === "wireguard" ? "Kernel" : "Userspace";
    this.#tell({ keys: this.#keyring.published, status: { ...encryptionStatus(plan, kind), ...this.#said.by, ...(rotation === "" ? {} : { rotation }) } });
    return plan.confirmed && plan.enforce && this.#keyring.keys.length === 1;
  }

  async #apply({ slot, link, now, privateKey, port }: OwnDevice, peers: readonly WireGuardPeer[]): Promise<void> {
    await this.#open(link);
    if (await this.#wireguard(slot).apply(now, { privateKey, port, peers })) this.#options.logger.info("WireGuard's peers changed", { device: link.name, peers: peers.length });
  }

  /** @returns what a rotation waits for that should begin */
  async #beginNext(slots: readonly Slot[]): Promise<string[]> {
    const { port, wish, logger } = this.#options;
    const others = this.#others().map((row) => keysOf(row, port));
    await this.#giveUpOvertaken(others);
    const [present, next] = this.#keyring.keys;
    if (present === undefined || next !== undefined) return [];
    const asked = wish();
    const isUnusable = !this.#keyring.ports.includes(present.port) || slots.some(({ slot, state }) => slot === present.slot && isSetBack(state, this.#nowMs()));
    const turn = nextTurn(present, others, { ...asked, isUnusable }, this.#nowMs());
    if (turn === undefined) return isTime(asked.notBefore) ? [] : [`nothing, but the annotation ${KEYS_NOT_BEFORE} is no time such as 2030-01-31T12:00:00Z: ${asked.notBefore}`];
    const free = slots.find(({ slot }) => slot !== present.slot);
    if (free === undefined) return [`there is no second device for the next key: the node's pod of the DaemonSet cilium-wireguard makes it`];
    await this.#keyring.begin(turn, free.slot);
    logger.info("the node's key is being replaced", { epoch: turn.epoch, device: free.device.name });
    return [];
  }

  /** Of two keys that lead nowhere the one stays that others have, so that there is room for the one that they went on to. */
  async #giveUpOvertaken(others: readonly (readonly NodeKey[])[]): Promise<void> {
    const [present, next] = this.#keyring.keys;
    if (present === undefined || next === undefined || !isOvertaken(present, next, others)) return;
    this.#throughSince = undefined;
    this.#options.logger.warn("the others are past the node's next key", { epoch: next.epoch });
    if (!hasEpoch(others, present) && hasEpoch(others, next)) await this.#keyring.finish();
    else await this.#keyring.giveUp();
  }

  /** The old key goes once nobody sends by it. @returns what that waits for; of one that is through, nothing */
  async #finish({ reachedByLast }: EncryptionPlan, port: number): Promise<readonly string[]> {
    const { graceMs = GRACE_MS, logger } = this.#options;
    const [, next] = this.#keyring.keys;
    if (next === undefined) return [];
    const waits = waitsFor(next.epoch, this.#others(), port, reachedByLast);
    this.#throughSince = waits.length > 0 ? undefined : (this.#throughSince ?? performance.now());
    if (this.#throughSince === undefined) return waits;
    if (performance.now() - this.#throughSince < graceMs) return ["nothing: what was sent by the old key is let arrive"];
    await this.#keyring.finish();
    this.#throughSince = undefined;
    logger.info("the node's key was replaced", { epoch: next.epoch });
    return [];
  }

  async #clearUnused(slots: readonly Slot[]): Promise<void> {
    const used = this.#keyring.keys.map(({ slot }) => slot);
    for (const { slot, state } of slots) if (!used.includes(slot)) await this.#wireguard(slot).clear(state);
  }

  /** Up, with the MTU, and open to packets whose way back is another device. */
  async #open({ name, up, mtu: now }: Device): Promise<void> {
    const { run, sysctl, mtu } = this.#options;
    sysctl.forDevice(name);
    if (!up || now !== mtu) await check(run, ["ip", "link", "set", "dev", name, "mtu", String(mtu), "up"]);
  }

  get #isInForce(): boolean {
    return this.#options.enforcement.isInForce;
  }

  #tell(report: EncryptionReport): void {
    const isSame = JSON.stringify(report) === JSON.stringify(this.#report);
    this.#report = report;
    if (isSame) return;
    this.#soon.reset();
    this.#options.onReport();
  }
}

/** Off is gone, and with it the enforcement first: what is no longer encrypted must pass. A process takes its device along. */
export async function removeEncryption(run: Run, enforcement: Enforcement | undefined): Promise<void> {
  await enforcement?.end();
  await new EncryptedRoutes(run).remove();
  const links = new Links(run);
  for (const name of WIREGUARD_DEVICES) if ((await links.find(name))?.kind === "wireguard") await links.remove(name);
}
