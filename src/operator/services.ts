/** Services as policies mean them, from the objects that say it: the Service, and the slices of one that selects no pods. */
import type { ServicePeer } from "../compile/index.ts";
import type { ServiceRow, SliceRow } from "./rows.ts";

export class ServiceBook {
  readonly #changed: (namespace: string, name: string, service: ServicePeer | undefined) => void;
  readonly #services = new Map<string, ServiceRow>();
  /** `namespace/name` of the service -> its slices by their keys. */
  readonly #slices = new Map<string, Map<string, readonly string[]>>();

  constructor(changed: (namespace: string, name: string, service: ServicePeer | undefined) => void) {
    this.#changed = changed;
  }

  serviceChanged(key: string, value: ServiceRow | undefined): void {
    if (value === undefined) this.#services.delete(key);
    else this.#services.set(key, value);
    this.#tell(key);
  }

  sliceChanged(key: string, value: SliceRow | undefined, previous: SliceRow | undefined): void {
    if (previous !== undefined && previous.service !== value?.service) this.#put(previous.service, key, undefined);
    if (value !== undefined) this.#put(value.service, key, value.addresses);
  }

  #put(service: string, slice: string, addresses: readonly string[] | undefined): void {
    const slices = this.#slices.get(service) ?? new Map<string, readonly string[]>();
    if (addresses === undefined) slices.delete(slice);
    else slices.set(slice, addresses);
    if (slices.size === 0) this.#slices.delete(service);
    else this.#slices.set(service, slices);
    this.#tell(service);
  }

  #tell(key: string): void {
    const service = this.#services.get(key);
    const [namespace = "", name = ""] = key.split("/");
    const addresses = service?.selector === undefined ? [...(this.#slices.get(key)?.values() ?? [])].flat() : [];
    this.#changed(namespace, name, service && { ...service, addresses: [...new Set(addresses)].sort() });
  }
}
