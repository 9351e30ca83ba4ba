/**
 * Keeps the node's encryption as the plan says: the WireGuard device, the routes that lead to it, and at last the
 * enforcement in the programs. The device is made by the DaemonSet cilium-wireguard, whose process goes on when this one
 * ends; the private key is made here and is nowhere but in the device and in this process's memory.
 */
import { generateKeyPairSync } from "node:crypto";
import { check } from "../kernel/command.ts";
import { EncryptedRoutes, Links, WIREGUARD_DEVICE, WireGuard } from "../kernel/index.ts";
import type { Device, Run, Sysctl, WireGuardState } from "../kernel/index.ts";
import { Backoff } from "../lib/backoff.ts";
import { describeError } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import type { ReconcileResult, Reconciler } from "../lib/queue.ts";
import type { Enforcement } from "./encryption-enforcement.ts";
import { encryptionPlan, encryptionStatus } from "./encryption-plan.ts";
import type { EncryptionPlan } from "./encryption-plan.ts";
import type { CiliumNodeRow, EncryptionStatus } from "./objects.ts";
import { encryptionFacts } from "./encryption-facts.ts";
import type { EncryptionFacts } from "../inspect/index.ts";
import type { LocalNode } from "./peers.ts";

/** What this node says of its encryption. */
export interface EncryptionReport {
  /** undefined: it has no device yet. */
  readonly publicKey: string | undefined;
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
  /** UDP port of WireGuard, on every node. */
  readonly port: number;
  readonly tunnelPort: number;
  /** Of the device: the greatest packet that it can wrap. */
  readonly mtu: number;
  readonly onReport: () => void;
  /** Name of the device; tests have several on a machine. */
  readonly device?: string;
}

const LOOK_AGAIN_MS = 10_000;
/** While nothing changes, ever more rarely: a node that is away must not cost the others. */
const LOOK_SOON = { firstMs: 500, maxMs: 5_000 };
const NO_DEVICE: WireGuardState = { privateKey: undefined, publicKey: undefined, port: 0, peers: new Map() };

export class NodeEncryption implements Reconciler {
  readonly #options: NodeEncryptionOptions;
  readonly #device: string;
  readonly #links: Links;
  readonly #wireguard: WireGuard;
  readonly #routes: EncryptedRoutes;
  readonly #decided = Promise.withResolvers<void>();
  readonly #soon = new Backoff(LOOK_SOON);
  #keys: KeyPair | undefined;
  #report: EncryptionReport | undefined;

  constructor(options: NodeEncryptionOptions) {
    this.#options = options;
    this.#device = options.device ?? WIREGUARD_DEVICE;
    this.#links = new Links(options.run);
    this.#wireguard = new WireGuard(options.run, this.#device);
    this.#routes = new EncryptedRoutes(options.run, this.#device);
  }

  /** undefined before the first pass. */
  get report(): EncryptionReport | undefined {
    return this.#report;
  }

  /** What the device says now. */
  async facts(): Promise<EncryptionFacts> {
    const hasDevice = (await this.#links.find(this.#device)) !== undefined;
    const devices = hasDevice ? [{ name: this.#device, state: await this.#wireguard.read() }] : [];
    return encryptionFacts({ status: this.#report?.status, inForce: this.#isInForce, devices, nodes: this.#options.nodes(), nowMs: Date.now() });
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
    if (this.#plan(NO_DEVICE, "").enforce) await enforcement.begin();
    this.#decided.resolve();
    const device = await this.#links.find(this.#device);
    const isDone = device === undefined ? this.#withoutDevice() : await this.#withDevice(device).catch((thrown: unknown) => this.#failed(thrown));
    return { requeueAfterMs: isDone ? LOOK_AGAIN_MS : this.#soon.next() };
  }

  #plan(now: WireGuardState, publicKey: string): EncryptionPlan {
    const { local, nodes, port } = this.#options;
    return encryptionPlan({ local: local(), nodes: nodes(), port, publicKey, now, inForce: this.#isInForce });
  }

  #withoutDevice(): boolean {
    const missing = [`there is no device ${this.#device} yet: the node's pod of the DaemonSet cilium-wireguard makes it`];
    this.#tell({ publicKey: this.#keys?.publicKey, status: encryptionStatus({ enforce: this.#isInForce, confirmed: false, reached: 0, missing }, undefined) });
    return false;
  }

  /** What fails is told, and ends what was said before: the node may be cut off from the others. */
  #failed(thrown: unknown): never {
    const missing = [`the device ${this.#device} cannot be set up: ${describeError(thrown)}`];
    this.#tell({ publicKey: this.#keys?.publicKey, status: encryptionStatus({ enforce: this.#isInForce, confirmed: false, reached: 0, missing }, undefined) });
    throw thrown;
  }

  async #withDevice(device: Device): Promise<boolean> {
    const { port, tunnelPort, logger } = this.#options;
    const now = await this.#wireguard.read();
    const keys = (this.#keys ??= keyPair(now));
    const plan = this.#plan(now, keys.publicKey);
    await this.#open(device);
    if (await this.#wireguard.apply(now, { privateKey: keys.privateKey, port, peers: plan.peers })) logger.info("WireGuard's peers changed", { peers: plan.peers.length, reached: plan.reached });
    await this.#routes.sync(tunnelPort, plan.routes);
    if (plan.enforce) await this.#options.enforcement.begin();
    this.#tell({ publicKey: keys.publicKey, status: encryptionStatus(plan, device.kind === "wireguard" ? "Kernel" : "Userspace") });
    return plan.confirmed && plan.enforce;
  }

  /** Up, with the MTU, and open to packets whose way back is another device. */
  async #open(device: Device): Promise<void> {
    const { run, sysctl, mtu } = this.#options;
    sysctl.forDevice(this.#device);
    if (!device.up || device.mtu !== mtu) await check(run, ["ip", "link", "set", "dev", this.#device, "mtu", String(mtu), "up"]);
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
  const routes = new EncryptedRoutes(run, WIREGUARD_DEVICE);
  await routes.remove();
  const links = new Links(run);
  const device = await links.find(WIREGUARD_DEVICE);
  if (device?.kind === "wireguard") await links.remove(WIREGUARD_DEVICE);
}

interface KeyPair {
  readonly privateKey: string;
  readonly publicKey: string;
}

/** The device's own, which outlives this process; a fresh one where it has none. */
function keyPair({ privateKey, publicKey }: WireGuardState): KeyPair {
  if (privateKey !== undefined && publicKey !== undefined) return { privateKey, publicKey };
  const jwk = generateKeyPairSync("x25519").privateKey.export({ format: "jwk" });
  const base64 = (text: string | undefined): string => Buffer.from(text ?? "", "base64url").toString("base64");
  return { privateKey: base64(jwk.d), publicKey: base64(jwk.x) };
}
