/** Files that are there completely or not at all, also after a crash of the machine. */
import { mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";

const TEMPORARY = /^\..+\.\d+\.tmp$/;

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

export interface AtomicOptions {
  readonly mode: number;
  /** False for contents that may be lost with the machine (not with the process). */
  readonly durable?: boolean;
}

/** Writes beside and renames (rename(2) replaces in one step). Makes the folder when it is absent. Of pieces the next is asked for when the one before is written. */
export async function writeAtomic(path: string, content: string | Uint8Array | Iterable<string>, options: AtomicOptions): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${path.slice(folder.length + 1)}.${process.pid}.tmp`);
  await mkdir(folder, { recursive: true });
  try {
    const file = await open(temporary, "w", options.mode);
    try {
      await file.writeFile(content);
      await file.chmod(options.mode);
      if (options.durable !== false) await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (thrown) {
    await rm(temporary, { force: true });
    throw thrown;
  }
  if (options.durable !== false) await syncDirectory(folder);
}

/** Of `folder`, or of one file in it, what writes left behind whose process was killed. Only where nobody writes now. */
export async function removeLeftovers(folder: string, file = ""): Promise<void> {
  const names = await readdir(folder).catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code === "ENOENT") return [];
    throw thrown;
  });
  for (const name of names) if (name.startsWith(`.${file}`) && TEMPORARY.test(name)) await rm(join(folder, name), { force: true });
}

/** Removes a file for good. Removing the absent succeeds. */
export async function removeDurable(path: string): Promise<void> {
  await rm(path, { force: true });
  await syncDirectory(dirname(path)).catch((thrown: NodeJS.ErrnoException) => {
    if (thrown.code !== "ENOENT") throw thrown;
  });
}
