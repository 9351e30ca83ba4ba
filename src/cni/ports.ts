/** What the CNI operations need of the rest of the agent. Each port has one implementation in src/agent. */
import type { NamedPorts } from "../targets/index.ts";
import type { Attachment } from "./store.ts";

export interface PodRef {
  readonly namespace: string;
  readonly name: string;
  /** Empty when the runtime does not tell it. */
  readonly uid: string;
}

/** A pod that may get a network: its policy is in the kernel. */
export interface Admitted {
  readonly pod: Required<PodRef>;
  readonly identity: number;
  /** What the pod calls its ports; absent when it names none. */
  readonly namedPorts?: NamedPorts;
}

export interface Admission {
  /**
   * Resolves once the pod's identity is known and its rule set is applied on this node; without waiting when both
   * are so already. Throws CniError with code tryAgainLater when that takes longer than the admission's limit, and
   * leaves nothing behind.
   */
  admit(pod: PodRef, signal: AbortSignal): Promise<Admitted>;
}

export interface LinkFacts {
  readonly hostIfindex: number;
  /** Of the pod's side. */
  readonly mac: string;
  readonly hostMac: string;
  readonly mtu: number;
}

/**
 * The kernel's part of one attachment, in steps. Each step is idempotent; none opens the pod before `open`.
 * An attachment that was interrupted after any step is undone by `remove`.
 */
export interface PodDatapath {
  /** A veth pair between node and pod: both ends named, stubs attached, endpoint closed, down. */
  createLink(attachment: Attachment): Promise<LinkFacts>;
  /** Sets addresses, routes and neighbours on both sides, and ups both. */
  configure(attachment: Attachment): Promise<void>;
  /** Writes the endpoint as ready under its identity, and the node's routes to it. */
  open(attachment: Attachment): Promise<void>;
  /** Closes first, then removes routes, map entries and the link. Removing the absent succeeds. */
  remove(attachment: Pick<Attachment, "containerId" | "hostIfname" | "ipv4" | "ipv6">): Promise<void>;
  /** What differs between the attachment and the kernel; empty when nothing does. */
  verify(attachment: Attachment): Promise<readonly string[]>;
}

/** Told after an attachment is open, and after it is gone. Must not throw and must not wait. */
export interface AttachmentListener {
  attached(attachment: Attachment): void;
  detached(attachment: Attachment): void;
}
