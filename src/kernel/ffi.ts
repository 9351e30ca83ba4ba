/**
 * The C functions that we call, with their types: libbpf.so.1 and a few of libc. Nothing here decides
 * anything; a negative return of libbpf is -errno (libbpf 1.0 and later).
 *
 * Pointers are bigint (koffi); a typed array passed for `void *` is used in place, without a copy.
 */
import koffi from "koffi";

/** An opaque C pointer; null is NULL. */
export type Pointer = bigint | null;
/** Memory that C may read or write. */
export type Memory = Uint8Array | null;

export interface Libbpf {
  objectOpen(path: string, options: Memory): Pointer;
  objectLoad(object: Pointer): number;
  objectClose(object: Pointer): void;
  objectBtf(object: Pointer): Pointer;
  objectNextMap(object: Pointer, previous: Pointer): Pointer;
  objectNextProgram(object: Pointer, previous: Pointer): Pointer;
  mapName(map: Pointer): string;
  mapFd(map: Pointer): number;
  mapIsInternal(map: Pointer): boolean;
  mapType(map: Pointer): number;
  mapKeySize(map: Pointer): number;
  mapValueSize(map: Pointer): number;
  mapMaxEntries(map: Pointer): number;
  mapSetMaxEntries(map: Pointer, entries: number): number;
  mapReuseFd(map: Pointer, fd: number): number;
  /** Of a map of maps, before the load: what the maps in it are like. */
  mapSetInner(map: Pointer, fd: number): number;
  mapKeyType(map: Pointer): number;
  mapValueType(map: Pointer): number;
  mapInitialValue(map: Pointer, size: Memory): Pointer;
  programName(program: Pointer): string;
  programFd(program: Pointer): number;
  programType(program: Pointer): number;
  /** As in the file, before libbpf puts anything in; valid as long as the object is open. */
  programInstructions(program: Pointer): Pointer;
  programInstructionCount(program: Pointer): number | bigint;
  /** Whether this kernel has it, by loading a small program or making a small map: 1 yes, 0 no, else -errno. */
  probeProgramType(type: number, options: null): number;
  probeMapType(type: number, options: null): number;
  probeHelper(programType: number, helper: number, options: null): number;
  programTypeName(type: number): string | null;
  mapTypeName(type: number): string | null;
  /** Programs at a point of attachment; for tcx the target is a device. */
  queryPrograms(target: number, type: number, flags: number, attachFlags: Memory, ids: Memory, count: Memory): number;
  btfParseElf(path: string, extension: null): Pointer;
  btfRawData(btf: Pointer, size: Memory): Pointer;
  btfFree(btf: Pointer): void;
  /** BTF that the kernel keeps, by its id. */
  btfFromKernel(id: number): Pointer;
  /** A descriptor of the program with this id. */
  programById(id: number): number;
  mapLookup(fd: number, key: Memory, value: Memory): number;
  mapUpdate(fd: number, key: Memory, value: Memory, flags: bigint): number;
  mapDelete(fd: number, key: Memory): number;
  mapNextKey(fd: number, key: Memory, next: Memory): number;
  mapUpdateBatch(fd: number, keys: Memory, values: Memory, count: Memory, options: Memory): number;
  mapDeleteBatch(fd: number, keys: Memory, count: Memory, options: Memory): number;
  mapLookupBatch(fd: number, from: Memory, next: Memory, keys: Memory, values: Memory, count: Memory, options: Memory): number;
  pin(fd: number, path: string): number;
  openPin(path: string): number;
  infoByFd(fd: number, info: Memory, size: Memory): number;
  testRun(fd: number, options: Memory): number;
  /** A descriptor of the link. */
  linkCreate(programFd: number, target: number, type: number, options: null): number;
  linkUpdate(linkFd: number, programFd: number, options: null): number;
  possibleCpus(): number;
  tcHookCreate(hook: Memory): number;
  tcHookDestroy(hook: Memory): number;
  tcAttach(hook: Memory, options: Memory): number;
  tcDetach(hook: Memory, options: Memory): number;
  tcQuery(hook: Memory, options: Memory): number;
  setPrint(callback: Pointer): Pointer;
}

export interface Libc {
  close(fd: number): number;
  fcntl(fd: number, command: number, type: "int", argument: number): number;
  mmap(address: null, length: number, protection: number, flags: number, fd: number, offset: number): bigint;
  munmap(address: bigint, length: number): number;
  vsnprintf(buffer: Memory, size: number, format: Pointer, list: Pointer): number;
  ifIndex(name: string): number;
  ioctl(fd: number, request: number): number;
}

const LIBBPF_SIGNATURES: Readonly<Record<keyof Libbpf, string>> = {
  objectOpen: "void *bpf_object__open_file(const char *path, void *opts)",
  objectLoad: "int bpf_object__load(void *obj)",
  objectClose: "void bpf_object__close(void *obj)",
  objectBtf: "void *bpf_object__btf(void *obj)",
  objectNextMap: "void *bpf_object__next_map(void *obj, void *prev)",
  objectNextProgram: "void *bpf_object__next_program(void *obj, void *prev)",
  mapName: "const char *bpf_map__name(void *map)",
  mapFd: "int bpf_map__fd(void *map)",
  mapIsInternal: "bool bpf_map__is_internal(void *map)",
  mapType: "int bpf_map__type(void *map)",
  mapKeySize: "uint32_t bpf_map__key_size(void *map)",
  mapValueSize: "uint32_t bpf_map__value_size(void *map)",
  mapMaxEntries: "uint32_t bpf_map__max_entries(void *map)",
  mapSetMaxEntries: "int bpf_map__set_max_entries(void *map, uint32_t entries)",
  mapReuseFd: "int bpf_map__reuse_fd(void *map, int fd)",
  mapSetInner: "int bpf_map__set_inner_map_fd(void *map, int fd)",
  mapKeyType: "uint32_t bpf_map__btf_key_type_id(void *map)",
  mapValueType: "uint32_t bpf_map__btf_value_type_id(void *map)",
  mapInitialValue: "void *bpf_map__initial_value(void *map, void *size)",
  programName: "const char *bpf_program__name(void *prog)",
  programFd: "int bpf_program__fd(void *prog)",
  programType: "int bpf_program__type(void *prog)",
  programInstructions: "void *bpf_program__insns(void *prog)",
  programInstructionCount: "size_t bpf_program__insn_cnt(void *prog)",
  probeProgramType: "int libbpf_probe_bpf_prog_type(int type, void *opts)",
  probeMapType: "int libbpf_probe_bpf_map_type(int type, void *opts)",
  probeHelper: "int libbpf_probe_bpf_helper(int type, int helper, void *opts)",
  programTypeName: "const char *libbpf_bpf_prog_type_str(int type)",
  mapTypeName: "const char *libbpf_bpf_map_type_str(int type)",
  queryPrograms: "int bpf_prog_query(int target, int type, uint32_t flags, void *attach_flags, void *ids, void *count)",
  btfParseElf: "void *btf__parse_elf(const char *path, void *ext)",
  btfRawData: "void *btf__raw_data(void *btf, void *size)",
  btfFree: "void btf__free(void *btf)",
  btfFromKernel: "void *btf__load_from_kernel_by_id(uint32_t id)",
  programById: "int bpf_prog_get_fd_by_id(uint32_t id)",
  mapLookup: "int bpf_map_lookup_elem(int fd, void *key, void *value)",
  mapUpdate: "int bpf_map_update_elem(int fd, void *key, void *value, uint64_t flags)",
  mapDelete: "int bpf_map_delete_elem(int fd, void *key)",
  mapNextKey: "int bpf_map_get_next_key(int fd, void *key, void *next)",
  mapUpdateBatch: "int bpf_map_update_batch(int fd, void *keys, void *values, void *count, void *opts)",
  mapDeleteBatch: "int bpf_map_delete_batch(int fd, void *keys, void *count, void *opts)",
  mapLookupBatch: "int bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, void *count, void *opts)",
  pin: "int bpf_obj_pin(int fd, const char *path)",
  openPin: "int bpf_obj_get(const char *path)",
  infoByFd: "int bpf_obj_get_info_by_fd(int fd, void *info, void *size)",
  testRun: "int bpf_prog_test_run_opts(int fd, void *opts)",
  linkCreate: "int bpf_link_create(int prog_fd, int target_fd, int type, void *opts)",
  linkUpdate: "int bpf_link_update(int link_fd, int new_prog_fd, void *opts)",
  possibleCpus: "int libbpf_num_possible_cpus()",
  tcHookCreate: "int bpf_tc_hook_create(void *hook)",
  tcHookDestroy: "int bpf_tc_hook_destroy(void *hook)",
  tcAttach: "int bpf_tc_attach(void *hook, void *opts)",
  tcDetach: "int bpf_tc_detach(void *hook, void *opts)",
  tcQuery: "int bpf_tc_query(void *hook, void *opts)",
  setPrint: "void *libbpf_set_print(void *callback)",
};

const LIBC_SIGNATURES: Readonly<Record<keyof Libc, string>> = {
  close: "int close(int fd)",
  fcntl: "int fcntl(int fd, int command, ...)",
  mmap: "void *mmap(void *addr, size_t length, int prot, int flags, int fd, int64_t offset)",
  munmap: "int munmap(void *addr, size_t length)",
  vsnprintf: "int vsnprintf(void *buffer, size_t size, void *format, void *list)",
  ifIndex: "uint32_t if_nametoindex(const char *name)",
  ioctl: "int ioctl(int fd, unsigned long request)",
};

function bind<T>(library: string, signatures: Readonly<Record<keyof T & string, string>>): T {
  const handle = koffi.load(library);
  const bound: Record<string, unknown> = {};
  for (const [name, signature] of Object.entries<string>(signatures)) bound[name] = handle.func(signature);
  return bound as T;
}

/** Of libc, for echo.ts. */
export interface Datagrams {
  socket(domain: number, type: number, protocol: number): number;
  setOption(fd: number, level: number, name: number, value: Memory, length: number): number;
  sendTo(fd: number, bytes: Memory, length: number, flags: number, to: Memory, size: number): number | bigint;
  /** `header`: a struct msghdr. */
  receiveMessage(fd: number, header: Memory, flags: number): number | bigint;
  now(clock: number, into: Memory): number;
  close(fd: number): number;
}

const DATAGRAM_SIGNATURES: Readonly<Record<keyof Datagrams, string>> = {
  socket: "int socket(int domain, int type, int protocol)",
  setOption: "int setsockopt(int fd, int level, int name, void *value, uint32_t length)",
  sendTo: "int64_t sendto(int fd, void *buffer, size_t length, int flags, void *address, uint32_t size)",
  receiveMessage: "int64_t recvmsg(int fd, void *header, int flags)",
  now: "int clock_gettime(int clock, void *into)",
  close: "int close(int fd)",
};

/** Of libc, for netlink.ts. */
export interface Sockets {
  socket(domain: number, type: number, protocol: number): number;
  setOption(fd: number, level: number, name: number, value: Memory, length: number): number;
  receive(fd: number, into: Memory, length: number, flags: number): number;
  close(fd: number): number;
  /** On a thread of the pool: bytes sent, or a negative number. The memory must not change meanwhile. */
  send(fd: number, bytes: Uint8Array, length: number, flags: number): Promise<number>;
}

const SOCKET_SIGNATURES: Readonly<Record<Exclude<keyof Sockets, "send">, string>> = {
  socket: "int socket(int domain, int type, int protocol)",
  setOption: "int setsockopt(int fd, int level, int name, void *value, uint32_t length)",
  receive: "int64_t recv(int fd, void *buffer, size_t length, int flags)",
  close: "int close(int fd)",
};

export function openSockets(): Sockets {
  const send = koffi.load("libc.so.6").func("int64_t send(int fd, void *buffer, size_t length, int flags)");
  return {
    ...bind<Omit<Sockets, "send">>("libc.so.6", SOCKET_SIGNATURES),
    send: (fd, bytes, length, flags) => {
      const { promise, resolve, reject } = Promise.withResolvers<number>();
      send.async(fd, bytes, length, flags, (error: Error | null, sent: number | bigint) => {
        if (error === null) resolve(Number(sent));
        else reject(error);
      });
      return promise;
    },
  };
}

export const openDatagrams = (): Datagrams => bind<Datagrams>("libc.so.6", DATAGRAM_SIGNATURES);
export const openLibbpf = (): Libbpf => bind<Libbpf>("libbpf.so.1", LIBBPF_SIGNATURES);
export const openLibc = (): Libc => bind<Libc>("libc.so.6", LIBC_SIGNATURES);

/** errno of the last call on this thread. */
export const lastErrno = (): number => koffi.errno();
/** C memory as an ArrayBuffer, shared, valid as long as C keeps it. */
export const viewMemory = (pointer: bigint, length: number): ArrayBuffer => koffi.view(pointer, length);
/** Where a typed array lies; the array must stay reachable while C uses the address. */
export const addressOf = (memory: Uint8Array): bigint => koffi.address(memory);

const PRINT_CALLBACK = koffi.pointer(koffi.proto("int", ["int", "void *", "void *"]));

/**
 * Collects what libbpf prints while `run` runs. libbpf hands its text to one process-wide printf-like
 * callback, called on the calling thread; a va_list argument is a pointer on the machines we support.
 */
export function captureLog<T>(libbpf: Libbpf, libc: Libc, run: () => T): { readonly result: T; readonly log: string } {
  const lines: string[] = [];
  const buffer = Buffer.alloc(1 << 20); // a verifier log comes as one argument
  const callback = koffi.register(
    (level: number, format: Pointer, list: Pointer): number => {
      if (level > 0) return 0; // LIBBPF_INFO and LIBBPF_DEBUG
      const length = libc.vsnprintf(buffer, buffer.length, format, list);
      lines.push(buffer.toString("utf8", 0, Math.max(0, Math.min(length, buffer.length - 1))));
      return 0;
    },
    PRINT_CALLBACK,
  );
  const previous = libbpf.setPrint(callback);
  try {
    return { result: run(), log: lines.join("") };
  } finally {
    libbpf.setPrint(previous);
    koffi.unregister(callback);
  }
}
