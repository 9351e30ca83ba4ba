/**
 * What the container runtime reads: the plugin's executable and the network configuration that names it.
 *
 * The configuration comes last when installing and goes first when uninstalling, so that no runtime ever calls a
 * plugin that is not there. It stays when the agent stops: a runtime without it would report the node as not
 * ready and forget how to delete pods.
 */
import { copyFile, readFile, readdir, rename, rm, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { codeOf } from "../lib/errors.ts";
import { removeDurable, writeAtomic } from "../lib/files.ts";

export const CONFLIST_NAME = "05-cilium.conflist";
const PLUGIN_NAME = "cilium-cni";
const SET_ASIDE = ".cilium_bak";
const OTHERS = /\.(conf|conflist|json)$/;

export interface ConflistOptions {
  /** Folder of network configurations, such as /etc/cni/net.d. */
  readonly confPath: string;
  /** Folder of plugins, such as /opt/cni/bin. */
  readonly binPath: string;
  /** The plugin's executable in the image. */
  readonly plugin: string;
  /** Sets other configurations aside. */
  readonly exclusive: boolean;
}

/** The text of the configuration: stable, so that an agent restart rewrites nothing. */
export function conflistText(): string {
  return `${JSON.stringify({ cniVersion: "1.0.0", name: "cilium", plugins: [{ type: PLUGIN_NAME }] }, undefined, 2)}\n`;
}

async function isSame(a: string, b: string): Promise<boolean> {
  try {
    return (await readFile(a)).equals(await readFile(b));
  } catch {
    return false;
  }
}

/** Installs plugin, then configuration. Returns the names of the configurations that it set aside. */
export async function installConflist(options: ConflistOptions): Promise<readonly string[]> {
  const { confPath, binPath, plugin } = options;
  await mkdir(binPath, { recursive: true });
  const target = join(binPath, PLUGIN_NAME);
  if (!(await isSame(plugin, target))) {
    // A running plugin cannot be written to (ETXTBSY), but its name can be given to a new file.
    const temporary = join(binPath, `.${PLUGIN_NAME}.${process.pid}.tmp`);
    await copyFile(plugin, temporary);
    await rename(temporary, target);
  }
  const path = join(confPath, CONFLIST_NAME);
  const current = await readFile(path, "utf8").catch(() => "");
  if (current !== conflistText()) await writeAtomic(path, conflistText(), { mode: 0o600 });
  return options.exclusive ? await setOthersAside(confPath) : [];
}

async function setOthersAside(confPath: string): Promise<string[]> {
  const others = (await readdir(confPath)).filter((name) => OTHERS.test(name) && name !== CONFLIST_NAME && !name.startsWith("."));
  for (const name of others) await rename(join(confPath, name), join(confPath, name + SET_ASIDE));
  return others;
}

/** Puts back what was set aside, except where a new file has that name. */
export async function restoreOthers(confPath: string): Promise<readonly string[]> {
  const present = new Set(await listFolder(confPath));
  const restored: string[] = [];
  for (const name of present) {
    if (!name.endsWith(SET_ASIDE)) continue;
    const original = name.slice(0, -SET_ASIDE.length);
    if (present.has(original)) continue;
    await rename(join(confPath, name), join(confPath, original));
    restored.push(original);
  }
  return restored;
}

async function listFolder(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (thrown) {
    if (codeOf(thrown) === "ENOENT") return [];
    throw thrown;
  }
}

/** Uninstall only. The configuration first; the plugin stays as long as pods may still have to be deleted. */
export async function removeConflist(confPath: string): Promise<void> {
  await removeDurable(join(confPath, CONFLIST_NAME));
}

export async function removePlugin(binPath: string): Promise<void> {
  await rm(join(binPath, PLUGIN_NAME), { force: true });
}
