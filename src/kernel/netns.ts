/** What kind of namespace a file is (ioctl_ns(2)); Linux 4.11 and later. */
import { closeSync, constants, openSync } from "node:fs";
import { openLibc } from "./ffi.ts";
import type { Libc } from "./ffi.ts";

const NS_GET_NSTYPE = 0xb703;
const CLONE_NEWNET = 0x40000000;

/** For files of nsfs only: of another device the number may mean anything. */
export function networkNamespaceProbe(libc: Pick<Libc, "ioctl"> = openLibc()): (path: string) => boolean {
  return (path) => {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return libc.ioctl(fd, NS_GET_NSTYPE) === CLONE_NEWNET;
    } finally {
      closeSync(fd);
    }
  };
}
