/** Encryption of one agent: on and kept so, or off and gone. */
import { join } from "node:path";
import type { EncryptionFacts } from "../inspect/index.ts";
import { Sysctl, runCommand } from "../kernel/index.ts";
import type { Logger } from "../lib/log.ts";
import { WorkQueue } from "../lib/queue.ts";
import type { QueueObserver } from "../lib/queue.ts";
import type { AgentConfig } from "./config.ts";
import { NodeEncryption, removeEncryption } from "./encryption.ts";
import { Enforcement } from "./encryption-enforcement.ts";
import { wordsFor } from "./encryption-objects.ts";
import type { NodeWords } from "./encryption-objects.ts";
import type { KnownEncryption } from "./node-writer.ts";
import type { NodeNetwork } from "./node-network.ts";
import type { LocalNode } from "./peers.ts";
import type { Tables } from "./tables.ts";

export interface EncryptionParts {
  readonly config: AgentConfig;
  readonly network: NodeNetwork;
  readonly tables: Tables;
  readonly local: () => LocalNode;
  readonly logger: Logger;
  readonly observer: QueueObserver;
  readonly signal: AbortSignal;
  readonly onReport: () => void;
}

export interface RunningEncryption {
  /** undefined: it has not looked yet. */
  readonly known: KnownEncryption | undefined;
  /** Asks the devices; undefined: the node does not encrypt. */
  facts(): Promise<EncryptionFacts | undefined>;
  /** Something that it depends on may have changed. */
  touch(): void;
}

const KEY = "encryption";
const KEY_FILE = "encryption.json";
const BURST_MS = 100;
const BACKOFF = { firstMs: 100, maxMs: 5_000 };

/** Resolves once what others enforce is enforced here: before that no packet may be given to another node. */
export async function startEncryption(parts: EncryptionParts): Promise<RunningEncryption> {
  const { config, network, tables, signal } = parts;
  const map = network.port.map("encryption");
  if (map === undefined) throw new Error("no BPF object declares the map encryption");
  const enforcement = new Enforcement({ map, file: join(config.paths.state, "encryption-in-force"), logger: parts.logger });
  if (config.encryption === undefined) {
    await removeEncryption(runCommand, enforcement);
    return { known: { report: undefined }, facts: async () => undefined, touch: () => undefined };
  }
  const values = config.encryption;
  const words = (): NodeWords => wordsFor({ values, tunnelPort: config.routing.tunnelPort, objects: tables.encryptions?.objects.values() ?? [], labels: tables.node.objects.get(config.nodeName)?.labels ?? {} });
  const encryption = new NodeEncryption({
    run: runCommand,
    sysctl: new Sysctl(join(config.paths.hostProc, "sys")),
    logger: parts.logger,
    local: parts.local,
    nodes: () => tables.nodes.objects.values(),
    isUsable: () => tables.nodes.isUsable,
    enforcement,
    port: values.port,
    tunnelPort: config.routing.tunnelPort,
    mtu: network.encryptedMtu,
    onReport: parts.onReport,
    keyFile: join(config.paths.state, KEY_FILE),
    said: () => words().said,
    wish: () => words().wish,
  });
  const queue = new WorkQueue({ name: KEY, logger: parts.logger, observer: parts.observer, minIntervalMs: BURST_MS, backoff: BACKOFF });
  queue.run(encryption, signal);
  queue.add(KEY);
  tables.nodes.subscribe({ changed: () => queue.add(KEY), synced: () => queue.add(KEY) });
  tables.encryptions?.subscribe({ changed: () => queue.add(KEY) });
  tables.node.subscribe({ changed: () => queue.add(KEY) });
  await encryption.decided;
  return {
    get known() {
      return encryption.report === undefined ? undefined : { report: encryption.report };
    },
    facts: () => encryption.facts(),
    touch: () => queue.add(KEY),
  };
}
