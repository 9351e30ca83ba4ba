/** A kernel map as a Target: rows and text keys outside, bytes inside, written in batches. */
import { formatAddress, formatCidr, parseAddress, parseCidr } from "../lib/ip.ts";
import { addressCodec, cidrKeyCodec } from "../kernel/gen/types.ts";
import type { BatchMap, Codec } from "../kernel/port.ts";
import type { Failure, Target } from "../reconcile/target.ts";

/** Everything in the map is ours: the map is known by its pin path. */
export class MapTarget<K, V> implements Target<K, V> {
  readonly name: string;
  readonly capacity: number;
  readonly #map: BatchMap;
  readonly #key: Codec<K>;
  readonly #value: Codec<V>;

  constructor(map: BatchMap, key: Codec<K>, value: Codec<V>) {
    this.name = map.name;
    this.capacity = map.maxEntries;
    this.#map = map;
    this.#key = key;
    this.#value = value;
  }

  *list(): Iterable<readonly [K, V]> {
    for (const { keys, values, count } of this.#map.batches()) {
      const [keyView, valueView] = [viewOf(keys), viewOf(values)];
      for (let i = 0; i < count; i++) {
        yield [this.#key.decode(keyView, i * this.#key.size), this.#value.decode(valueView, i * this.#value.size)];
      }
    }
  }

  put(entries: ReadonlyMap<K, V>): readonly Failure<K>[] {
    const failures: Failure<K>[] = [];
    const good = this.#encodeAll(entries, failures);
    for (let at = 0; at < good.list.length; ) {
      const { done, error } = this.#map.updateBatch({
        keys: good.keys.subarray(at * this.#key.size),
        values: good.values.subarray(at * this.#value.size),
        count: good.list.length - at,
      });
      at += done;
      const refused = good.list[at];
      if (error === undefined || refused === undefined) break;
      failures.push({ key: refused, error });
      at++; // behind the refused entry
    }
    return failures;
  }

  #encodeAll(entries: ReadonlyMap<K, V>, failures: Failure<K>[]): { list: K[]; keys: Uint8Array; values: Uint8Array } {
    const keys = new Uint8Array(entries.size * this.#key.size);
    const values = new Uint8Array(entries.size * this.#value.size);
    const [keyView, valueView] = [viewOf(keys), viewOf(values)];
    const list: K[] = [];
    for (const [key, value] of entries) {
      try {
        this.#key.encode(key, keyView, list.length * this.#key.size);
        this.#value.encode(value, valueView, list.length * this.#value.size);
        list.push(key);
      } catch (error) {
        failures.push({ key, error: error as Error });
      }
    }
    return { list, keys, values };
  }

  remove(keys: readonly K[]): readonly Failure<K>[] {
    const packed = new Uint8Array(keys.length * this.#key.size);
    const view = viewOf(packed);
    keys.forEach((key, i) => this.#key.encode(key, view, i * this.#key.size));
    const failures: Failure<K>[] = [];
    for (let at = 0; at < keys.length; ) {
      const { done, error } = this.#map.deleteBatch(packed.subarray(at * this.#key.size), keys.length - at);
      at += done;
      const refused = keys[at];
      if (error === undefined || refused === undefined) break;
      failures.push({ key: refused, error });
      at++;
    }
    return failures;
  }
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** An address as text. */
export const addressKey: Codec<string> = {
  size: addressCodec.size,
  encode: (text, into, at) => addressCodec.encode({ bytes: parseAddress(text) }, into, at),
  decode: (from, at) => formatAddress(addressCodec.decode(from, at).bytes),
};

/** A CIDR as text. */
export const cidrKey: Codec<string> = {
  size: cidrKeyCodec.size,
  encode: (text, into, at) => cidrKeyCodec.encode(parseCidr(text), into, at),
  decode: (from, at) => formatCidr(cidrKeyCodec.decode(from, at)),
};

export const u32Key: Codec<number> = {
  size: 4,
  encode: (value, into, at = 0) => into.setUint32(at, value, true),
  decode: (from, at = 0) => from.getUint32(at, true),
};

export const optionalPorts = (ports: number): { readonly ports?: number } => (ports === 0 ? {} : { ports });

const NO_ADDRESS = new Uint8Array(16);

export const optionalAddress = (text: string | undefined): Uint8Array => (text === undefined ? NO_ADDRESS : parseAddress(text));
export const addressText = (bytes: Uint8Array): string | undefined =>
  bytes.every((byte) => byte === 0) ? undefined : formatAddress(bytes);
