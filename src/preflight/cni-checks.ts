/** What other network plugins have configured: who the runtime asks first, and what would go round the policies. Pure. */
import { CONFLIST_NAME } from "../cni/index.ts";
import { known, ok, unknown, warning, blocker } from "./facts.ts";
import type { Facts, Plan, Said } from "./facts.ts";

/** Names that libcni, and so containerd and CRI-O, reads; the first in the order of names is used. */
const READ = /\.(conf|conflist|json)$/;
const MULTUS = new Set(["multus", "multus-shim"]);
/** Plugins that give a pod a device which none of our programs sees. */
const PAST_POLICY = new Set(["macvlan", "ipvlan", "sriov", "host-device", "vlan", "tap", "ib-sriov", "accelerated-bridge"]);
const MAX_DEPTH = 8;

interface Configuration {
  readonly name: string;
  /** Types of its plugins and delegates; undefined: not to be understood. */
  readonly types: readonly string[] | undefined;
}

export function judgeConfigurations({ cni, plan }: Facts): readonly Said[] {
  return known(cni, (files) => {
    const others = files.filter(({ name }) => READ.test(name) && name !== CONFLIST_NAME).map(({ name, text }) => ({ name, types: pluginTypes(text) }));
    if (others.length === 0) return [ok(`no other in ${plan.cniConfPath}`)];
    return others.toSorted((a, b) => (a.name < b.name ? -1 : 1)).flatMap((configuration) => judgeOne(configuration, plan));
  });
}

function judgeOne({ name, types }: Configuration, plan: Plan): Said[] {
  const path = `${plan.cniConfPath}/${name}`;
  if (types === undefined) return [unreadable(path, name, plan)];
  const found: Said[] = [];
  if (types.some((type) => MULTUS.has(type))) found.push(multus(path, plan));
  else found.push(otherPlugin(path, name, types, plan));
  const past = types.filter((type) => PAST_POLICY.has(type));
  if (past.length > 0) {
    found.push(warning(`${path} gives pods devices of ${past.join(", ")}`, "what pods send and receive there meets no program: no policy holds for it", "keep such networks to pods that need them, and filter them where they end"));
  }
  return found;
}

function unreadable(path: string, name: string, { cniExclusive }: Plan): Said {
  if (cniExclusive) return warning(`${path} is no network configuration`, "it is set aside with the others; at uninstall it comes back, and the runtime may stumble over it", "delete the file");
  if (name < CONFLIST_NAME) return blocker(`${path} is no network configuration, and is read before ${CONFLIST_NAME}`, "the runtime may find no network at all: pods do not start", "delete the file, or set cni.exclusive=true");
  return unknown(`${path} is no network configuration`);
}

function multus(path: string, { cniExclusive }: Plan): Said {
  if (cniExclusive) return warning(`${path} is of Multus, and cni.exclusive sets it aside`, "pods get no additional networks any more", "set cni.exclusive=false and name `cilium` as the default network of Multus");
  return warning(`${path} is of Multus`, "additional networks of pods meet no program: no policy holds for them", `let its default network be \`cilium\` (${CONFLIST_NAME}), and keep additional networks to pods that need them`);
}

function otherPlugin(path: string, name: string, types: readonly string[], { cniExclusive }: Plan): Said {
  const plugins = types.length === 0 ? "no plugin" : types.join(", ");
  if (cniExclusive) {
    return warning(`${path} (${plugins}) is another network's`, "it is set aside when the agent starts and comes back at uninstall; pods that run on it are not managed, no policy holds for them", "restart those pods after the installation: `cilium status` lists them");
  }
  if (name < CONFLIST_NAME) return blocker(`${path} (${plugins}) is read before ${CONFLIST_NAME}`, "the runtime asks that plugin: no pod is ours, no policy holds", "set cni.exclusive=true, or remove the file");
  return ok(`${path} (${plugins}) is read after ours`);
}

/** Of a single plugin's file, of a list, and of delegates at any place (Multus and meta plugins have several forms). */
function pluginTypes(text: string): readonly string[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isRecord(value) || (typeof value["type"] !== "string" && !Array.isArray(value["plugins"]))) return undefined;
  const types = new Set<string>();
  collectTypes(value, types, 0);
  return [...types];
}

function collectTypes(value: unknown, types: Set<string>, depth: number): void {
  if (depth > MAX_DEPTH) return;
  if (Array.isArray(value)) return value.forEach((item) => collectTypes(item, types, depth + 1));
  if (!isRecord(value)) return;
  if (typeof value["type"] === "string") types.add(value["type"]);
  for (const key of ["plugins", "delegates", "delegate"]) if (Object.hasOwn(value, key)) collectTypes(value[key], types, depth + 1);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
