/**
 * The kernel's BPF side through libbpf: the real `BpfPort`.
 *
 * Maps are shared by name between the objects of one port. With a pin folder they are also pinned as
 * `<name>_<hash of layout and size>`, so that a restarted agent finds them with their content; another layout or size
 * gets a new name and so a fresh map, into which takeover.ts brings what the old one holds. Ring buffers are never
 * pinned: their reader and writers start together. Nor is what a take-over lends to the new programs.
 */
import { existsSync, mkdirSync } from "node:fs";
import { codeOf } from "../lib/errors.ts";
import { layoutHash, layoutText, parseBtf, sectionVariables } from "./btf.ts";
import type { BtfType, BtfVariable } from "./btf.ts";
import type { Layout } from "./convert.ts";
import { KernelError } from "./errors.ts";
import { captureLog, lastErrno, openLibbpf, openLibc, viewMemory } from "./ffi.ts";
import type { Libbpf, Libc, Pointer } from "./ffi.ts";
import { hasSameKeys, isLent, LENT } from "./lent.ts";
import { LibbpfMap, MapType } from "./map.ts";
import { PinFolder, type PinnedMap } from "./pins.ts";
import { LIVE, TakeOver } from "./takeover.ts";
import type { TakingMap } from "./takeover.ts";
import type { BatchMap, BpfObject, BpfObjectSpec, BpfPort, BpfProgram, TestRunOptions, TestRunResult } from "./port.ts";
import { runProgram } from "./test-run.ts";

const F_DUPFD_CLOEXEC = 1030;
const LOG_END = 3000;
/** The verifier gives up with EAGAIN when a signal comes (SIGCHLD for one), and libbpf tries again 5 times only. */
const LOAD_ATTEMPTS = 5;
/** Types that refuse an entry too many; arrays are always full, and an LRU lets go of its oldest. */
const NEEDS_ROOM: readonly number[] = [MapType.HASH, MapType.PERCPU_HASH, MapType.LPM_TRIE];

export class LibbpfPort implements BpfPort {
  readonly libbpf: Libbpf;
  readonly libc: Libc;
  readonly #pins: PinFolder | undefined;
  readonly #maps = new Map<string, LibbpfMap>();
  readonly #pinned = new Map<string, TakingMap>();

  /** @param pinDir a folder on a bpffs, made when absent; undefined: nothing is pinned. */
  constructor(pinDir?: string) {
    this.libbpf = openLibbpf();
    this.libc = openLibc();
    this.#pins = pinDir === undefined ? undefined : new PinFolder(pinDir, this.libbpf, this.libc);
    if (pinDir !== undefined) mkdirSync(pinDir, { recursive: true, mode: 0o700 });
  }

  map(name: string): LibbpfMap | undefined {
    return this.#maps.get(name);
  }

  /** All that the objects declared, by name. */
  get maps(): ReadonlyMap<string, LibbpfMap> {
    return this.#maps;
  }

  /** Maps that are greater than asked for, since what an earlier one holds would not fit. */
  get otherwiseSized(): readonly LibbpfMap[] {
    return [...this.#maps.values()].filter((map) => map.maxEntries !== map.wantedEntries);
  }

  /** Before the first load: what an earlier start did not finish. */
  removeStalePins(): void {
    this.#pins?.removeStale();
  }

  /** After the last load: brings over what maps of another layout or size hold. undefined: nothing is pinned. */
  takeOver(): TakeOver | undefined {
    return this.#pins === undefined ? undefined : new TakeOver(this.#pins, this.#pinned.values(), this.#maps);
  }

  /** Takes back the pins that loads of this port made. */
  unpinFresh(): void {
    for (const { map, path } of this.#pinned.values()) if (!map.isRestored) this.#pins?.remove(path);
  }

  testRun(program: BpfProgram, packet: Uint8Array, options: TestRunOptions = {}): TestRunResult {
    return runProgram(this.libbpf, program, packet, options);
  }

  load(spec: BpfObjectSpec): BpfObject {
    for (let attempt = 1; ; attempt++) {
      try {
        return this.#open(spec);
      } catch (error) {
        if (codeOf(error) !== "EAGAIN" || attempt === LOAD_ATTEMPTS) throw error;
      }
    }
  }

  #open(spec: BpfObjectSpec): BpfObject {
    const opened = captureLog(this.libbpf, this.libc, () => this.libbpf.objectOpen(spec.file, null));
    const object = opened.result;
    if (object === null) throw new KernelError(`open ${spec.file}`, lastErrno(), opened.log.slice(-LOG_END));
    try {
      return this.#load(object, spec);
    } catch (error) {
      this.libbpf.objectClose(object);
      throw error;
    }
  }

  #load(object: Pointer, spec: BpfObjectSpec): BpfObject {
    const types = parseBtf(this.#rawBtf(object, spec.file));
    const maps = this.#list(object, this.libbpf.objectNextMap);
    const own = maps.filter((map) => !this.libbpf.mapIsInternal(map));
    this.#setSizes(own, spec);
    this.#setRodata(maps, types, spec);
    const wanted = new Map(own.map((map) => [this.libbpf.mapName(map), this.libbpf.mapMaxEntries(map)]));
    for (const map of own) this.#makeRoom(map);
    const pins = new Map(own.map((map) => [this.libbpf.mapName(map), this.#pinPath(map, types)]));
    for (const map of own) this.#reuse(map, pins.get(this.libbpf.mapName(map)));
    const former = this.#fitLent(own, types, pins.get(LIVE.map));
    const loaded = captureLog(this.libbpf, this.libc, () => this.libbpf.objectLoad(object));
    if (former !== undefined) this.#pins?.close(former);
    if (loaded.result < 0) throw new KernelError(`load ${spec.file}`, -loaded.result, loaded.log.slice(-LOG_END));
    const result = new Map<string, BatchMap>();
    for (const map of own) {
      const name = this.libbpf.mapName(map);
      result.set(name, this.#keep(map, pins.get(name), wanted.get(name) ?? 0, types));
    }
    const programs = this.#list(object, this.libbpf.objectNextProgram).map((program) => {
      const name = this.libbpf.programName(program);
      return [name, { name, fd: this.libbpf.programFd(program) }] as const;
    });
    return { maps: result, programs: new Map(programs), close: () => this.libbpf.objectClose(object) };
  }

  #rawBtf(object: Pointer, file: string): Uint8Array {
    const btf = this.libbpf.objectBtf(object);
    if (btf === null) throw new KernelError(`${file} has no BTF`, lastErrno());
    const size = new Uint32Array(1);
    const data = this.libbpf.btfRawData(btf, new Uint8Array(size.buffer));
    if (data === null) throw new KernelError(`BTF of ${file}`, lastErrno());
    return new Uint8Array(viewMemory(data, size[0] ?? 0));
  }

  #list(object: Pointer, next: (object: Pointer, previous: Pointer) => Pointer): Pointer[] {
    const found: Pointer[] = [];
    for (let item = next(object, null); item !== null; item = next(object, item)) found.push(item);
    return found;
  }

  #setSizes(maps: readonly Pointer[], spec: BpfObjectSpec): void {
    for (const map of maps) {
      const entries = spec.maxEntries?.[this.libbpf.mapName(map)];
      if (entries === undefined) continue;
      this.#setSize(map, entries);
    }
  }

  #setSize(map: Pointer, entries: number): void {
    const result = this.libbpf.mapSetMaxEntries(map, entries);
    if (result < 0) throw new KernelError(`size of ${this.libbpf.mapName(map)}`, -result);
  }

  /** A map that holds more than would fit into its successor has one of its own size. */
  #makeRoom(map: Pointer): void {
    const name = this.libbpf.mapName(map);
    if (this.#pins === undefined || this.#maps.has(name)) return;
    for (const path of this.#pins.all(name)) {
      const old = this.#pins.open(path);
      const { maxEntries } = old.map;
      const isNeeded = NEEDS_ROOM.includes(old.map.type) && maxEntries > this.libbpf.mapMaxEntries(map) && old.map.count() > this.libbpf.mapMaxEntries(map);
      this.#pins.close(old);
      if (isNeeded) this.#setSize(map, maxEntries);
    }
  }

  #setRodata(maps: readonly Pointer[], types: readonly BtfType[], spec: BpfObjectSpec): void {
    const wanted = Object.entries(spec.rodata ?? {});
    if (wanted.length === 0) return;
    const variables = sectionVariables(types, ".rodata");
    const section = maps.find((map) => this.libbpf.mapName(map).endsWith(".rodata"));
    const size = new BigUint64Array(1);
    const memory = section === undefined ? null : this.libbpf.mapInitialValue(section, new Uint8Array(size.buffer));
    if (memory === null) throw new Error(`${spec.file} has no options, yet ${wanted.map(([name]) => name).join(", ")} are given`);
    const view = new DataView(viewMemory(memory, Number(size[0])));
    for (const [name, value] of wanted) {
      const variable = variables.get(name);
      if (variable === undefined) throw new Error(`${spec.file} has no option ${name}`);
      writeOption(view, name, variable, value);
    }
  }

  /** undefined: this map is not pinned. */
  #pinPath(map: Pointer, types: readonly BtfType[]): string | undefined {
    const type = this.libbpf.mapType(map);
    if (this.#pins === undefined || type === MapType.RINGBUF || isLent(this.libbpf.mapName(map))) return undefined;
    const layout = (id: number, size: number): string => (id === 0 ? `${size}` : layoutText(types, id));
    const key = layout(this.libbpf.mapKeyType(map), this.libbpf.mapKeySize(map));
    const value = layout(this.libbpf.mapValueType(map), this.libbpf.mapValueSize(map));
    return this.#pins.pathOf(this.libbpf.mapName(map), layoutHash(`${type}`, key, value, `${this.libbpf.mapMaxEntries(map)}`));
  }

  /** The verifier has to know the values of the flows that a take-over lends: of this map, open until the load. */
  #fitLent(maps: readonly Pointer[], types: readonly BtfType[], pin: string | undefined): PinnedMap | undefined {
    const named = (name: string): Pointer | undefined => maps.find((map) => this.libbpf.mapName(map) === name);
    const [holder, flows] = [named(LENT.flows), named(LIVE.map)];
    if (this.#pins === undefined || holder === undefined || flows === undefined || this.#maps.has(LENT.flows)) return undefined;
    const others = this.#pins.othersOf(LIVE.map, pin);
    const old = others.pop();
    for (const each of others) this.#pins.close(each);
    if (old === undefined) return undefined;
    const canBeLent = hasSameKeys(old.key, { types, id: this.libbpf.mapKeyType(flows), size: this.libbpf.mapKeySize(flows) });
    const result = canBeLent ? this.libbpf.mapSetInner(holder, old.map.fd) : 0;
    if (result < 0) throw new KernelError(`kind of the maps in ${LENT.flows}`, -result);
    return old;
  }

  #reuse(map: Pointer, pin: string | undefined): void {
    const name = this.libbpf.mapName(map);
    const known = this.#maps.get(name);
    if (known !== undefined) return this.#reuseFd(map, known.fd);
    if (pin === undefined || !existsSync(pin)) return;
    const fd = this.libbpf.openPin(pin);
    if (fd < 0) throw new KernelError(`open ${pin}`, -fd);
    try {
      this.#reuseFd(map, fd); // duplicates it
    } finally {
      this.libc.close(fd);
    }
  }

  #reuseFd(map: Pointer, fd: number): void {
    const result = this.libbpf.mapReuseFd(map, fd);
    if (result < 0) throw new KernelError(`share map ${this.libbpf.mapName(map)}`, -result);
  }

  /** The map outlives its object: the port holds a descriptor of its own. */
  #keep(map: Pointer, pin: string | undefined, wantedEntries: number, types: readonly BtfType[]): LibbpfMap {
    const name = this.libbpf.mapName(map);
    const known = this.#maps.get(name);
    if (known !== undefined) return known;
    const isRestored = pin !== undefined && existsSync(pin);
    if (pin !== undefined && !isRestored) {
      const result = this.libbpf.pin(this.libbpf.mapFd(map), pin);
      if (result < 0) throw new KernelError(`pin ${pin}`, -result);
    }
    const fd = this.libc.fcntl(this.libbpf.mapFd(map), F_DUPFD_CLOEXEC, "int", 0);
    if (fd < 0) throw new KernelError(`keep map ${name}`, lastErrno());
    const kept = new LibbpfMap(this.libbpf, fd, {
      name,
      type: this.libbpf.mapType(map),
      keySize: this.libbpf.mapKeySize(map),
      valueSize: this.libbpf.mapValueSize(map),
      maxEntries: this.libbpf.mapMaxEntries(map),
      wantedEntries,
      isRestored,
    });
    this.#maps.set(name, kept);
    const layout = (id: number, size: number): Layout => ({ types, id, size });
    const [key, value] = [layout(this.libbpf.mapKeyType(map), kept.keySize), layout(this.libbpf.mapValueType(map), kept.cpuStride)];
    if (pin !== undefined) this.#pinned.set(name, { map: kept, path: pin, key, value });
    return kept;
  }
}

function writeOption(view: DataView, name: string, { offset, size }: BtfVariable, value: number | bigint | Uint8Array): void {
  if (typeof value === "object") {
    if (value.length !== size) throw new RangeError(`option ${name} has ${size} bytes, ${value.length} are given`);
    return new Uint8Array(view.buffer, view.byteOffset + offset, size).set(value);
  }
  switch (size) {
    case 1:
      return view.setUint8(offset, Number(value));
    case 2:
      return view.setUint16(offset, Number(value), true);
    case 4:
      return view.setUint32(offset, Number(value), true);
    case 8:
      return view.setBigUint64(offset, BigInt(value), true);
    default:
      throw new RangeError(`option ${name} of ${size} bytes is no integer`);
  }
}
