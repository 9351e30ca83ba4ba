/**
 * Attachments on disk, one file each: what an agent must know that was killed between any two steps.
 * A record is written before the step that it allows and removed after everything of it is gone. It outlives the
 * process, not a crash of the machine: that takes the sandboxes, the links and the maps along.
 */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { asError, codeOf } from "../lib/errors.ts";
import { removeDurable, removeLeftovers, writeAtomic } from "../lib/files.ts";
import type { NamedPorts } from "../targets/index.ts";

/** `reserved`: addresses and names are taken, the kernel may hold parts. `ready`: the pod is open. */
export type AttachmentStep = "reserved" | "ready";

export interface Attachment {
  readonly containerId: string;
  readonly ifname: string;
  readonly netns: string;
  /** Device and inode of the namespace: its name may be used again for another one. */
  readonly netnsId: string;
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string;
  /** 1..65535, unique on the node. */
  readonly endpointId: number;
  readonly hostIfname: string;
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
  readonly identity: number;
  /** As the pod was admitted with: a pod never changes them. Absent when it names none. */
  readonly namedPorts?: NamedPorts;
  readonly step: AttachmentStep;
  /** Facts of the link; zero and empty until there is one. */
  readonly hostIfindex: number;
  readonly mac: string;
  readonly hostMac: string;
  readonly mtu: number;
}

const FORMAT = 1;
const SUFFIX = ".json";

export class AttachmentStore {
  readonly #folder: string;
  readonly #known = new Map<string, Attachment>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  get(containerId: string): Attachment | undefined {
    return this.#known.get(containerId);
  }

  all(): readonly Attachment[] {
    return [...this.#known.values()];
  }

  /** Reads all records. An unreadable one is returned as failure: its pod's addresses are unknown. */
  async load(): Promise<readonly { readonly containerId: string; readonly error: Error }[]> {
    const failures: { containerId: string; error: Error }[] = [];
    await removeLeftovers(this.#folder);
    for (const file of await this.#files()) {
      try {
        const { format, attachment } = JSON.parse(await readFile(join(this.#folder, file), "utf8")) as { format: unknown; attachment: Attachment };
        if (format !== FORMAT || typeof attachment.containerId !== "string" || `${attachment.containerId}${SUFFIX}` !== file) {
          throw new Error(`format ${String(format)} is not readable`);
        }
        this.#known.set(attachment.containerId, attachment);
      } catch (thrown) {
        failures.push({ containerId: file.slice(0, -SUFFIX.length), error: asError(thrown) });
      }
    }
    return failures;
  }

  async put(attachment: Attachment): Promise<void> {
    this.#known.set(attachment.containerId, attachment);
    await writeAtomic(this.#path(attachment.containerId), JSON.stringify({ format: FORMAT, attachment }), { mode: 0o600, durable: false });
  }

  async remove(containerId: string): Promise<void> {
    await removeDurable(this.#path(containerId));
    this.#known.delete(containerId);
  }

  /** Container ids are checked by the protocol: letters, digits, `_.-`, not beginning with a dot. */
  #path(containerId: string): string {
    return join(this.#folder, `${containerId}${SUFFIX}`);
  }

  async #files(): Promise<string[]> {
    try {
      return (await readdir(this.#folder)).filter((name) => name.endsWith(SUFFIX) && !name.startsWith(".")).sort();
    } catch (thrown) {
      if (codeOf(thrown) === "ENOENT") return [];
      throw thrown;
    }
  }
}
