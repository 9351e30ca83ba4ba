/**
 * The engine that enforces, over a world instead of a cluster: identities get numbers, each subject is compiled for itself,
 * and its rules are expanded to the entries that an agent would write. Each is done once, by identity and never by pod.
 */
import { HOST_IDENTITY, SubjectCompiler, compileNode, readRouting } from "../compile/index.ts";
import type { Direction, NodeState, PeerScope, PolicyOptions, RuleId, RuleName, RuleSet, RuleSetId } from "../compile/index.ts";
import { Identity } from "../kernel/gen/types.ts";
import { parseAddress } from "../lib/ip.ts";
import { FIRST_IDENTITY, formatLabels, hostLabels, labelsKey } from "../model/index.ts";
import type { Labels } from "../model/index.ts";
import { identityOfNode, ownLabels } from "../targets/api-server-peers.ts";
import { expandRuleSet } from "../targets/expand.ts";
import type { Expanded } from "../targets/expand.ts";
import { PortClasses } from "../targets/ports.ts";
import { RESERVED_LABELS, SelectorResolver } from "../targets/resolve.ts";
import { judge } from "./evaluate.ts";
import type { Judgement } from "./evaluate.ts";
import type { Party, PortSpec } from "./parties.ts";
import type { NodeFacts, Workload, World } from "./world.ts";

export interface EngineOptions {
  readonly policy: PolicyOptions;
}

/** What a subject must obey where it runs. */
export interface Subject {
  readonly expanded: Expanded;
  /** With the policies that only watch; undefined: none does. */
  readonly audit: Expanded | undefined;
  readonly names: ReadonlyMap<RuleId, RuleName>;
  readonly selectors: NodeState["selectors"];
}

/** The other side, as a program on the subject's node knows it. */
export interface Known {
  readonly identity: number;
  readonly labels: Labels;
  readonly scope: PeerScope;
  readonly address: Uint8Array | undefined;
  readonly ports: number;
}

/** `audit`: it passes, and policies that only watch would drop it. */
export interface Judged extends Omit<Judgement, "verdict"> {
  readonly verdict: Judgement["verdict"] | "audit";
  /** Of what is dropped: by which rule it would pass if those that only watch were enforced; absent: by none. */
  readonly pending?: Judgement;
  readonly subject: Subject;
  readonly known: Known;
}

const NODE = "node";
const OF_NODE = "Node";
/** Where no policy selects the node. */
const OPEN: RuleSet = { ingressDefault: undefined, egressDefault: undefined, rules: [] };
const ROUTING = readRouting(() => undefined);
/** Where the API server is no node of the cluster; numbers of the subject's own node. */
const OUTSIDE_API_SERVER = { ipv4: Identity.FIRST_LOCAL, ipv6: Identity.FIRST_LOCAL + 1 } as const;

/** Whose policies are asked: the pod, or the node itself as policies of nodes select it; undefined: nobody's. */
export function subjectOf(party: Party): Workload | undefined {
  if (party.kind === "pod") return party.workload;
  return party.kind === "node" ? ofNode(party.node) : undefined;
}

function ofNode({ name, labels = {}, addresses }: NodeFacts): Workload {
  return { kind: OF_NODE, namespace: "", name, labels: hostLabels(labels), ports: [], addresses, node: name, hostNetwork: true };
}

/** A node always reaches itself and its own pods, and they answer it: nobody judges that. */
export function isUnjudged(direction: Direction, own: Party, other: Party): boolean {
  if (other.kind === "node" && own.kind === "pod") return direction === "ingress" && other.node.name === own.workload.node;
  if (own.kind !== "node") return false;
  return other.kind === "node" ? other.node.name === own.node.name : direction === "egress" && other.kind === "pod" && other.workload.node === own.node.name;
}

export class Engine {
  readonly world: World;
  readonly #compiler: SubjectCompiler;
  readonly #numbers = new Map<string, number>();
  readonly #labels = new Map<number, Labels>();
  readonly #identities = new Map<number, readonly string[]>();
  readonly #classes = new PortClasses();
  /** By the labels that are the subject's node's own: whether the API server runs there. */
  readonly #views = new Map<ReadonlyMap<number, readonly string[]>, View>();
  readonly #states = new Map<number, NodeState>();
  readonly #subjects = new Map<string, Subject>();

  constructor(world: World, { policy }: EngineOptions) {
    this.world = world;
    this.#compiler = new SubjectCompiler(policy);
    for (const workload of world.workloads) if (!workload.hostNetwork) this.#classes.numberOf(this.identityOf(workload), workload.ports);
  }

  /** Of equal labels one number. */
  identityOf({ labels }: Pick<Workload, "labels">): number {
    const key = labelsKey(labels);
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = FIRST_IDENTITY + this.#numbers.size;
    this.#numbers.set(key, number);
    this.#labels.set(number, labels);
    this.#identities.set(number, formatLabels(labels));
    return number;
  }

  /** Class of what its pods call their ports. */
  portClassOf(workload: Workload): number {
    return this.#classes.numberOf(this.identityOf(workload), workload.ports);
  }

  subject(workload: Workload): Subject {
    const isNode = workload.kind === OF_NODE;
    const identity = isNode ? HOST_IDENTITY : this.identityOf(workload);
    const view = this.#viewFrom(workload);
    // An identity that came since may be one that a selector means.
    const key = `${isNode ? labelsKey(workload.labels) : `${identity} ${this.portClassOf(workload)}`} ${view.number} ${this.#numbers.size}`;
    const known = this.#subjects.get(key);
    if (known !== undefined) return known;
    const state = isNode ? this.#stateOfNode(workload.labels) : this.#stateOf(identity);
    const selectors = view.resolve(state.selectors, this.#identities);
    const expand = (id: RuleSetId | undefined): Expanded => {
      const ruleSet = id === undefined && isNode ? OPEN : state.ruleSets.get(id ?? "");
      if (ruleSet === undefined) throw new Error(`identity ${identity} has no rule set`);
      return expandRuleSet(ruleSet, selectors, { own: workload.ports, classes: this.#classes.byIdentity });
    };
    const audit = state.audits?.get(identity);
    const subject: Subject = { expanded: expand(state.subjects.get(identity)), audit: audit === undefined ? undefined : expand(audit), names: state.ruleNames, selectors: state.selectors };
    this.#subjects.set(key, subject);
    return subject;
  }

  /** May the subject exchange with the other side a flow to that port? */
  judge(direction: Direction, workload: Workload, other: Party, { protocol, port }: PortSpec): Judged {
    const subject = this.subject(workload);
    const known = this.know(workload, other);
    const question = { direction, peer: known.identity, scope: known.scope, address: known.address, ports: known.ports, protocol, port };
    const judged = judge(subject.expanded, question);
    const watched = subject.audit === undefined ? judged : judge(subject.audit, question);
    if (judged.verdict === watched.verdict) return { ...judged, subject, known };
    return watched.verdict === "deny" ? { ...watched, verdict: "audit", subject, known } : { ...judged, pending: watched, subject, known };
  }

  /** Whom the node of `workload` takes the other side for. */
  know(workload: Workload, other: Party): Known {
    switch (other.kind) {
      case "pod": {
        const [first] = other.workload.addresses;
        const address = first === undefined ? undefined : parseAddress(first);
        return { identity: this.identityOf(other.workload), labels: other.workload.labels, scope: "pods", address, ports: this.portClassOf(other.workload) };
      }
      case "node": {
        const isOwn = other.node.name === workload.node;
        const identity = isOwn ? Identity.HOST : identityOfNode(other.node.internalIps, this.world.apiServers);
        const address = other.address === undefined ? undefined : parseAddress(other.address);
        return { identity, labels: this.#viewFrom(workload).labelsOf(identity), scope: "nodes", address, ports: 0 };
      }
      case "address": {
        const identity = this.#identityOfAddress(other.address, other.unknown);
        return { identity, labels: this.#viewFrom(workload).labelsOf(identity), scope: other.unknown ? "pods" : "world", address: parseAddress(other.address), ports: 0 };
      }
    }
  }

  #identityOfAddress(address: string, unknown: boolean): number {
    if (unknown) return Identity.UNKNOWN;
    const family = address.includes(":") ? "ipv6" : "ipv4";
    if (this.world.apiServers.includes(address)) return OUTSIDE_API_SERVER[family];
    return family === "ipv6" ? Identity.WORLD_IPV6 : Identity.WORLD_IPV4;
  }

  #stateOf(identity: number): NodeState {
    const known = this.#states.get(identity);
    if (known !== undefined) return known;
    const snapshot = { identities: this.#labels, policies: this.world.policies, subjects: new Map([[NODE, new Set([identity])]]) };
    const state = compileNode(snapshot, NODE, ROUTING, this.#compiler);
    this.#states.set(identity, state);
    return state;
  }

  #stateOfNode(labels: Labels): NodeState {
    const snapshot = { identities: this.#labels, policies: this.world.policies, subjects: new Map(), hosts: new Map([[NODE, labels]]) };
    return compileNode(snapshot, NODE, ROUTING, this.#compiler);
  }

  #viewFrom({ node }: Workload): View {
    const ips = this.world.nodes.get(node ?? "")?.internalIps ?? [];
    const own = ownLabels(ips, this.world.apiServers);
    const view = this.#views.get(own) ?? new View(own, this.#views.size);
    this.#views.set(own, view);
    return view;
  }
}

/** Selectors as they are resolved on nodes whose own identities have these labels. */
class View {
  readonly number: number;
  readonly #own: ReadonlyMap<number, readonly string[]>;
  readonly #resolver = new SelectorResolver();
  #selectors: NodeState["selectors"] = new Map();
  #identities: ReadonlyMap<number, readonly string[]> = new Map();

  constructor(own: ReadonlyMap<number, readonly string[]>, number: number) {
    this.#own = own;
    this.number = number;
  }

  resolve(selectors: NodeState["selectors"], identities: ReadonlyMap<number, readonly string[]>): ReturnType<SelectorResolver["resolve"]> {
    this.#selectors = new Map([...this.#selectors, ...selectors]);
    if (this.#identities.size !== identities.size + this.#own.size) this.#identities = new Map([...identities, ...this.#own]);
    return this.#resolver.resolve(this.#selectors, this.#identities);
  }

  /** Of an identity that is no pod's. */
  labelsOf(identity: number): Labels {
    return new Map((this.#own.get(identity) ?? RESERVED_LABELS.get(identity) ?? []).map((label) => [label, ""]));
  }
}
