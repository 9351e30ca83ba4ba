/** Address → name of the pod or node that has it, for people who read events. Other nodes' pods are looked up one by one. */
import type { Attachment } from "../cni/index.ts";
import type { AddressName, PodName } from "../hubble/enrich.ts";
import { podOf } from "./endpoint-rows.ts";
import type { LocalState } from "./local-state.ts";
import type { Tables } from "./tables.ts";

const REBUILD_MS = 1_000;

export class AddressNames {
  readonly #state: LocalState;
  readonly #tables: Pick<Tables, "nodes">;
  readonly #attachments: ReadonlyMap<string, Attachment>;
  #names = new Map<string, AddressName>();
  #endpoints = new Map<number, PodName>();
  #builtMs = -Infinity;

  constructor(state: LocalState, tables: Pick<Tables, "nodes">, attachments: ReadonlyMap<string, Attachment>) {
    this.#state = state;
    this.#tables = tables;
    this.#attachments = attachments;
  }

  /** At most a second old: names in events are a courtesy, identities in them are what was judged. */
  get(ip: string): AddressName | undefined {
    this.#refresh();
    const known = this.#names.get(ip);
    if (known !== undefined) return known;
    const owner = this.#state.ownerOf(ip);
    return owner === undefined ? undefined : podOf(owner);
  }

  /** The pod of this node that has this endpoint id. */
  endpoint(id: number): PodName | undefined {
    this.#refresh();
    return this.#endpoints.get(id);
  }

  #refresh(): void {
    const now = performance.now();
    if (now - this.#builtMs <= REBUILD_MS) return;
    this.#names = this.#build();
    this.#endpoints = new Map([...this.#attachments.values()].map(({ endpointId, namespace, pod }) => [endpointId, { namespace, pod }]));
    this.#builtMs = now;
  }

  #build(): Map<string, AddressName> {
    const names = new Map<string, AddressName>();
    for (const { name, internalIps, routerIps } of this.#tables.nodes.objects.values()) for (const ip of [...internalIps, ...routerIps]) names.set(ip, { node: name });
    const { name, internalIps, routerIps, deviceIps = [] } = this.#state.local;
    for (const ip of [...internalIps, ...routerIps, ...deviceIps]) names.set(ip, { node: name });
    for (const { ipv4, ipv6, namespace, pod } of this.#attachments.values()) {
      for (const ip of [ipv4, ipv6]) if (ip !== undefined) names.set(ip, { namespace, pod });
    }
    return names;
  }
}
