/** The file system of the pins. What is pinned in it outlives the agent as long as the node's own mount holds it. */
import { readFile, readdir } from "node:fs/promises";
import { check, runCommand } from "./command.ts";

import { CodedError } from "../lib/errors.ts";

type Standing = "mounted" | "absent" | "unreachable";

/**
 * Whether `path` is a bpffs, judged by /proc/self/mountinfo (proc(5)). "unreachable": it is a mount of the node's directory
 * that takes mounts from the node and gives none back (a slave), so that what is mounted here would go with the container.
 */
export function bpfFsStanding(mountinfo: string, path: string): Standing {
  const fields = mountinfo.split("\n").map((line) => line.split(" ")).filter((line) => line[4] === path).at(-1);
  if (fields === undefined) return "absent";
  const end = fields.indexOf("-");
  if (fields[end + 1] === "bpf") return "mounted";
  const propagation = fields.slice(6, end);
  const has = (kind: string): boolean => propagation.some((field) => field.startsWith(`${kind}:`));
  return has("master") && !has("shared") ? "unreachable" : "absent";
}

/** Never over a directory that holds something: what it holds would be gone from sight, for the whole machine. */
export async function mountBpfFs(path: string): Promise<void> {
  const standing = bpfFsStanding(await readFile("/proc/self/mountinfo", "utf8"), path);
  if (standing === "mounted") return;
  if (standing === "unreachable") throw new CodedError("BPFFS", `${path} is no bpf file system on the node: the init container mounts it, so delete this pod to have it made anew`);
  if ((await readdir(path)).length > 0) throw new CodedError("BPFFS", `${path} is no bpf file system, and not empty: nothing is mounted over it`);
  await check(runCommand, ["mount", "-t", "bpf", "bpf", path]);
}
