/**
 * CiliumEndpoint objects as the agent keeps them. There is one for every pod of the cluster, so that of other nodes' pods
 * only what the datapath needs is kept, and what many of them say alike is there once.
 */
import type { CiliumEndpoint } from "../api/gen/ciliumendpoints.ts";
import type { ObjectMeta } from "../api/meta.ts";
import { Interner } from "../lib/interner.ts";
import type { NamedPorts } from "../targets/index.ts";
import { portNumbers } from "./objects.ts";

export interface EndpointObjectRow {
  /** `namespace/name` of object and pod. */
  readonly key: string;
  readonly identity: number;
  readonly ips: readonly string[];
  readonly nodeName: string;
  /** When it was last changed, in seconds of the epoch: of two objects that name one address, the one written later is right. */
  readonly written: number;
  /** undefined when it names none. */
  readonly namedPorts: NamedPorts | undefined;
  /** Of objects of this node, which we write. */
  readonly own: OwnEndpoint | undefined;
}

export interface OwnEndpoint {
  readonly id: number;
  readonly state: string;
  /** Underlay address of its node. */
  readonly node: string;
  readonly ownerUid: string;
  /** To delete this very version only. */
  readonly uid: string;
  readonly resourceVersion: string;
}

/** A row on the disk, as every version writes and reads it. */
interface KeptRow extends OwnEndpoint {
  readonly namespace: string;
  readonly name: string;
  readonly identity: number;
  readonly ips: readonly string[];
  readonly nodeName: string;
  readonly written: string;
  readonly namedPorts?: NamedPorts;
}

const NOT_OURS: OwnEndpoint = { id: 0, state: "", node: "", ownerUid: "", uid: "", resourceVersion: "" };

export class EndpointRows {
  readonly #localNode: string;
  readonly #names = new Interner<string>();
  readonly #ports = new Interner<NamedPorts>();

  constructor(localNode: string) {
    this.#localNode = localNode;
  }

  decode({ status, metadata }: CiliumEndpoint): EndpointObjectRow | undefined {
    if (status === undefined) return undefined;
    const { nodeName, node, addressing } = status.networking;
    return this.#row({
      key: `${metadata.namespace ?? ""}/${metadata.name}`,
      identity: status.identity.id,
      ips: addressing.flatMap((pair) => [pair.ipv4 ?? "", pair.ipv6 ?? ""]).filter((ip) => ip !== ""),
      nodeName,
      written: lastWritten(metadata),
      namedPorts: portNumbers(status["named-ports"] ?? []),
      own: nodeName !== this.#localNode ? undefined : {
        id: status.id, state: status.state, node,
        ownerUid: metadata.ownerReferences?.find((owner) => owner.kind === "Pod")?.uid ?? "",
        uid: metadata.uid ?? "", resourceVersion: metadata.resourceVersion ?? "",
      },
    });
  }

  toJson({ key, identity, ips, nodeName, written, namedPorts, own = NOT_OURS }: EndpointObjectRow): KeptRow {
    const { namespace, pod: name } = podOf({ key });
    const names = namedPorts === undefined ? {} : { namedPorts };
    return { namespace, name, identity, ips, nodeName, written: timeOf(written), ...names, ...own };
  }

  fromJson({ namespace, name, identity, ips, nodeName, written, namedPorts, id, state, node, ownerUid, uid, resourceVersion }: KeptRow): EndpointObjectRow {
    const own = nodeName === this.#localNode ? { id, state, node, ownerUid, uid, resourceVersion } : undefined;
    return this.#row({ key: `${namespace}/${name}`, identity, ips, nodeName, written: secondsOf(written), namedPorts, own });
  }

  #row({ key, identity, ips, nodeName, written, namedPorts, own }: EndpointObjectRow): EndpointObjectRow {
    return {
      key, identity, ips, written, own,
      nodeName: this.#names.of(nodeName, (name) => name),
      namedPorts: namedPorts === undefined ? undefined : this.#ports.of(JSON.stringify(namedPorts), () => namedPorts),
    };
  }
}

/** Namespace and name of the row's pod. */
export function podOf({ key }: Pick<EndpointObjectRow, "key">): { readonly namespace: string; readonly pod: string } {
  const slash = key.indexOf("/");
  return { namespace: key.slice(0, slash), pod: key.slice(slash + 1) };
}

/** Not the time of creation: a pod whose sandbox is made anew keeps its object and has another address in it. */
function lastWritten({ creationTimestamp = "", managedFields = [] }: ObjectMeta): number {
  return managedFields.reduce((latest, { time = "" }) => Math.max(latest, secondsOf(time)), secondsOf(creationTimestamp));
}

const secondsOf = (time: string): number => Math.floor(Date.parse(time) / 1000) || 0;
const timeOf = (seconds: number): string => new Date(seconds * 1000).toISOString().replace(".000Z", "Z");
