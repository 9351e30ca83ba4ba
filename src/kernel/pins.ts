/**
 * The folder of pinned maps: `<name>_<hash>`, the hash over what must not differ between two users of one map (type,
 * layouts, size). What has another hash was left by an earlier version, or by one that died while it started; which of
 * them is in force is told by the programs in the slots of `hooks`, and which of them is newer by the kernel's numbers.
 */
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { parseBtf } from "./btf.ts";
import type { Layout } from "./convert.ts";
import { KernelError } from "./errors.ts";
import { addressOf, lastErrno, viewMemory } from "./ffi.ts";
import type { Libbpf, Libc } from "./ffi.ts";
import { LibbpfMap, u32 } from "./map.ts";

const PIN = /^(.+)_[0-9a-f]{8}$/;
const MAP_INFO_BYTES = 88; // struct bpf_map_info
const PROGRAM_INFO_BYTES = 232; // struct bpf_prog_info
const MOST_MAPS = 64;

/** A pinned map with the description of its layout that the kernel keeps. The caller closes `map.fd`. */
export interface PinnedMap {
  readonly path: string;
  readonly id: number;
  readonly map: LibbpfMap;
  readonly key: Layout;
  readonly value: Layout;
}

export class PinFolder {
  readonly path: string;
  readonly #libbpf: Libbpf;
  readonly #libc: Libc;

  constructor(path: string, libbpf: Libbpf, libc: Libc) {
    this.path = path;
    this.#libbpf = libbpf;
    this.#libc = libc;
  }

  pathOf(name: string, hash: string): string {
    return join(this.path, `${name}_${hash}`);
  }

  /** Pins of maps of this name. */
  all(name: string): string[] {
    return readdirSync(this.path).filter((file) => PIN.exec(file)?.[1] === name).map((file) => join(this.path, file));
  }

  /** The others of the same name, the oldest first. The caller closes them. */
  othersOf(name: string, path: string | undefined): PinnedMap[] {
    return this.all(name).filter((each) => each !== path).map((each) => this.open(each)).toSorted((a, b) => a.id - b.id);
  }

  remove(path: string): void {
    rmSync(path, { force: true });
  }

  open(path: string): PinnedMap {
    const fd = this.#libbpf.openPin(path);
    if (fd < 0) throw new KernelError(`open ${path}`, -fd);
    const info = this.#info(fd, MAP_INFO_BYTES, path);
    const u32 = (at: number): number => info.getUint32(at, true);
    const [type, id, keySize, valueSize, maxEntries, btf] = [u32(0), u32(4), u32(8), u32(12), u32(16), u32(64)];
    const name = PIN.exec(path.slice(this.path.length + 1))?.[1] ?? path;
    const map = new LibbpfMap(this.#libbpf, fd, { name, type, keySize, valueSize, maxEntries, wantedEntries: maxEntries, isRestored: true });
    const types = btf === 0 ? [] : parseBtf(this.#kernelBtf(btf));
    const layout = (typeId: number, size: number): Layout => ({ types, id: btf === 0 ? 0 : typeId, size });
    return { path, id, map, key: layout(u32(68), keySize), value: layout(u32(72), valueSize) };
  }

  /** The kernel's number of a map that this process holds. */
  idOf({ fd, name }: LibbpfMap): number {
    return this.#info(fd, MAP_INFO_BYTES, name).getUint32(4, true);
  }

  close({ map }: PinnedMap): void {
    this.#libc.close(map.fd);
  }

  /**
   * Removes what a start that died before its flip has left: of several maps of one name, those that are newer than the
   * ones that programs in force use. What is older is of a start that died after its flip, and has not been followed to
   * its end. (The kernel numbers maps in the order in which they are made: kernel/bpf/syscall.c, bpf_map_alloc_id.)
   */
  removeStale(): void {
    const inForce = this.mapsInForce();
    const names = new Set(readdirSync(this.path).flatMap((file) => PIN.exec(file)?.[1] ?? []));
    for (const name of names) {
      const pins = this.othersOf(name, undefined);
      const newest = pins.findLastIndex(({ id }) => inForce.has(id));
      if (newest >= 0) for (const { path } of pins.slice(newest + 1)) this.remove(path);
      for (const pin of pins) this.close(pin);
    }
  }

  /** Puts the programs of one array into the same slots of another. */
  copyPrograms(from: LibbpfMap, into: LibbpfMap): void {
    for (const [slot, program] of from.entries()) {
      const fd = this.#libbpf.programById(new DataView(program.buffer).getUint32(0, true));
      if (fd < 0) throw new KernelError(`program of a slot of ${from.name}`, -fd);
      try {
        into.update(slot, u32(fd));
      } finally {
        this.#libc.close(fd);
      }
    }
  }

  /** Ids of the maps that the programs in the slots of `hooks` use. */
  mapsInForce(): ReadonlySet<number> {
    const found = new Set<number>();
    for (const path of this.all("hooks")) {
      const hooks = this.open(path);
      for (const [, program] of hooks.map.entries()) for (const id of this.#mapsOf(new DataView(program.buffer).getUint32(0, true))) found.add(id);
      this.close(hooks);
    }
    return found;
  }

  #mapsOf(program: number): readonly number[] {
    const fd = this.#libbpf.programById(program);
    if (fd < 0) return []; // it left its slot meanwhile
    const ids = new Uint32Array(MOST_MAPS);
    const memory = new Uint8Array(ids.buffer);
    const info = new DataView(new ArrayBuffer(PROGRAM_INFO_BYTES));
    info.setUint32(52, MOST_MAPS, true); // nr_map_ids
    info.setBigUint64(56, addressOf(memory), true); // map_ids
    const size = new Uint32Array([PROGRAM_INFO_BYTES]);
    const result = this.#libbpf.infoByFd(fd, new Uint8Array(info.buffer), new Uint8Array(size.buffer));
    this.#libc.close(fd);
    if (result < 0) throw new KernelError(`maps of program ${program}`, -result);
    return [...ids.subarray(0, Math.min(MOST_MAPS, info.getUint32(52, true)))];
  }

  #info(fd: number, bytes: number, what: string): DataView {
    const info = new Uint8Array(bytes);
    const result = this.#libbpf.infoByFd(fd, info, new Uint8Array(new Uint32Array([bytes]).buffer));
    if (result < 0) throw new KernelError(`info of ${what}`, -result);
    return new DataView(info.buffer);
  }

  #kernelBtf(id: number): Uint8Array {
    const btf = this.#libbpf.btfFromKernel(id);
    if (btf === null) throw new KernelError(`BTF ${id} of the kernel`, lastErrno());
    try {
      const size = new Uint32Array(1);
      const data = this.#libbpf.btfRawData(btf, new Uint8Array(size.buffer));
      if (data === null) throw new KernelError(`BTF ${id} of the kernel`, lastErrno());
      return new Uint8Array(viewMemory(data, size[0] ?? 0)).slice();
    } finally {
      this.#libbpf.btfFree(btf);
    }
  }
}

