/** The BTF section of an object file, as libbpf reads it. */
import { openLibbpf, lastErrno, viewMemory } from "./ffi.ts";
import { KernelError } from "./errors.ts";

/** A copy of the raw BTF. Throws when the file has none. */
export function objectBtf(path: string): Uint8Array {
  const libbpf = openLibbpf();
  const btf = libbpf.btfParseElf(path, null);
  if (btf === null) throw new KernelError(`read BTF of ${path}`, lastErrno());
  try {
    const size = new Uint32Array(1);
    const data = libbpf.btfRawData(btf, new Uint8Array(size.buffer));
    if (data === null) throw new KernelError(`read BTF of ${path}`, lastErrno());
    return new Uint8Array(viewMemory(data, size[0] ?? 0)).slice();
  } finally {
    libbpf.btfFree(btf);
  }
}
