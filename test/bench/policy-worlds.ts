/** Worlds of the size of performance tests in the field, as objects of the API server, and what changes in them. */
import type { NetworkPolicy } from "../../src/api/index.ts";
import type { Namespace, Pod } from "../../src/api/core.ts";

export interface PolicyWorld {
  readonly name: string;
  readonly namespaces: readonly Namespace[];
  readonly pods: readonly Pod[];
  readonly policies: readonly NetworkPolicy[];
}

type Own = Readonly<Record<string, string>>;

const NODES = 1000;

export const WORLDS: Readonly<Record<string, () => PolicyWorld>> = {
  "25,000 namespaces × 3 policies × 4 pods": small,
  "1 namespace × 10,000 policies × 10,000 pods, each policy selects each pod": all,
  "1 namespace × 10,000 policies × 10,000 pods, each policy selects one pod": apart,
};

function small(): PolicyWorld {
  const objects = Array.from({ length: 25_000 }, (_, at) => {
    const name = `ns-${at}`;
    const [one, two] = [{ "app-1": "scale-1" }, { "app-2": "scale-2" }];
    return {
      namespaces: [namespaceOf(name)],
      policies: [policyOf(name, "default-deny-all"), policyOf(name, "np-1", one, one), policyOf(name, "np-2", two, two)],
      pods: [podOf(name, "pod1", one), podOf(name, "pod2", one), podOf(name, "pod3", two), podOf(name, "pod4", two)],
    };
  });
  return { name: "small", namespaces: objects.flatMap((each) => each.namespaces), policies: objects.flatMap((each) => each.policies), pods: objects.flatMap((each) => each.pods) };
}

function all(): PolicyWorld {
  const labels = { "app-1": "scale-1" };
  return oneNamespace("all", (at) => [policyOf("ns-0", `np-${at}`, labels, labels), podOf("ns-0", `pod-${at}`, labels)]);
}

function apart(): PolicyWorld {
  return oneNamespace("apart", (at) => [policyOf("ns-0", `np-${at}`, { app: `scale-${at}` }, { app: `scale-${at ^ 1}` }), podOf("ns-0", `pod-${at}`, { app: `scale-${at}` })]);
}

function oneNamespace(name: string, make: (at: number) => readonly [NetworkPolicy, Pod]): PolicyWorld {
  const made = Array.from({ length: 10_000 }, (_, at) => make(at));
  return { name, namespaces: [namespaceOf("ns-0")], policies: made.map(([policy]) => policy), pods: made.map(([, pod]) => pod) };
}

function namespaceOf(name: string): Namespace {
  return { metadata: { name, labels: { app: name } } };
}

/** Spread over the nodes as by chance, the same in each run. */
export function podOf(namespace: string, name: string, labels: Own): Pod {
  return { metadata: { namespace, name, labels }, spec: { nodeName: `node-${mixed(`${namespace}/${name}`) % NODES}` } };
}

/** Both directions closed; what `from` has comes in. */
export function policyOf(namespace: string, name: string, subject?: Own, from?: Own, generation = 1): NetworkPolicy {
  const ingress = from === undefined ? {} : { ingress: [{ from: [{ podSelector: { matchLabels: from } }] }] };
  const podSelector = subject === undefined ? {} : { matchLabels: subject };
  return { metadata: { namespace, name, uid: uidOf(`${namespace}/${name}`), generation }, spec: { podSelector, policyTypes: ["Ingress", "Egress"], ...ingress } };
}

/** Formed as the API server's are, and in no order. */
function uidOf(text: string): string {
  const digits = [0, 1, 2, 3].map((at) => mixed(`${text}#${at}`).toString(16).padStart(8, "0")).join("");
  return [digits.slice(0, 8), digits.slice(8, 12), digits.slice(12, 16), digits.slice(16, 20), digits.slice(20)].join("-");
}

function mixed(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) >>> 0;
}
