/**
 * Versions of the records in a part. A state is written in the oldest format that can say it, so that agents and operator
 * may be upgraded in either order: an agent reads every format of this list and announces them in its acknowledgement.
 *
 *   1  pods by their labels, numbered ports of TCP and UDP, policies of kind CiliumNetworkPolicy
 *   2  also address blocks, reserved labels, ICMP types, other protocols, named ports, other kinds of policies, and
 *      routing that differs from the tunnel with one masquerade for both families
 *   3  as 2, and the manifest carries parts itself
 *   4  also selectors that name churning labels, the namespaces where those are part of identities, and denials of
 *      kube-apiserver
 *   5  also a record of more than a part can hold, in pieces, and denials of pods whose identity does not tell of a
 *      churning label: agents that read 4 alone find no such pod (all that read 5 do, so it needs no format of its own)
 *   6  also rules of an administrator's tier, and the kind that has them
 *   7  also the rules of the node itself
 *   8  also which of its addresses a node lends its pods
 *
 * What an older agent overlooks and enforces the same without it needs no format: whom policies watch that do not
 * enforce (it tells nothing of them), and the words that a policy gives its events.
 */
import { isChurning, splitLabelKey } from "../api/label-keys.ts";
import { HOST_IDENTITY } from "../compile/host.ts";
import type { NodeState, PeerSelector, PolicyRef, PortMatch, RoutingDecision } from "../compile/state.ts";
import { CodedError } from "../lib/errors.ts";
import { NAMED_PREFIX } from "../model/labels.ts";
import type { Document } from "./document.ts";

/** In ascending order. */
export const FEED_FORMATS: readonly number[] = [1, 2, 3, 4, 5, 6, 7, 8];

const [FIRST, SECOND, FOURTH, FIFTH, SIXTH, SEVENTH, EIGHTH] = [1, 2, 4, 5, 6, 7, 8];
/** The manifest carries parts. */
export const CARRYING_FORMAT = 3;
const [ANY, TCP, UDP] = [0, 6, 17];

/** The agent of the node is too old for what its policies say. Its last state stays in force. */
export class FormatNotUnderstood extends CodedError {
  constructor(node: string, needed: number, announced: readonly number[]) {
    super("NODE_STATE_TOO_NEW", `the policies of ${node} need node state format ${needed} and its agent reads only ${announced.join(", ")}: upgrade the agent`);
    this.name = "FormatNotUnderstood";
  }
}

/** The oldest format that can say the document. */
export function formatOf({ state, marks }: Document, isInPieces = false): number {
  if (state.routing.masqueradeFrom !== undefined) return EIGHTH;
  if (state.subjects.has(HOST_IDENTITY)) return SEVENTH;
  if ([...marks.values()].some(({ ref }) => ref.kind === "ClusterNetworkPolicy")) return SIXTH;
  if (isInPieces || [...state.selectors.values()].some(meansUntold)) return FIFTH;
  if (state.named !== undefined || [...state.selectors.values()].some(namesChurning) || deniesApiServer(state)) return FOURTH;
  const isOld =
    isOldRouting(state.routing) &&
    [...state.selectors.values()].every(isOldSelector) &&
    portsOf(state).every(isOldPort) &&
    [...marks.values()].every(({ ref }) => isOldPolicy(ref));
  return isOld ? FIRST : SECOND;
}

export function isOldRouting({ mode, masquerade, unmasqueraded, masqueradeFrom }: RoutingDecision): boolean {
  return masqueradeFrom === undefined && mode === "tunnel" && masquerade.ipv4 === masquerade.ipv6 && unmasqueraded.length === 0;
}

/** An older agent would resolve reserved labels against other reserved identities than the operator means. */
function isOldSelector(selector: PeerSelector): boolean {
  return selector.kind === "labels" && !selector.requirements.some(({ key }) => key.startsWith("reserved:"));
}

/** An older agent takes what an identity does not tell for absent. */
function namesChurning(selector: PeerSelector): boolean {
  return selector.kind === "labels" && selector.requirements.some(({ key }) => isChurning(splitLabelKey(key)[1]));
}

/** An older agent takes whether a label is told for untold itself: what is denied would be open. */
function meansUntold(selector: PeerSelector): boolean {
  return selector.kind === "labels" && selector.requirements.some(({ key }) => key.startsWith(NAMED_PREFIX));
}

/** An older agent knows no address of it: what is allowed stays closed there, but what is denied would be open. */
function deniesApiServer({ ruleSets, selectors }: NodeState): boolean {
  const named = new Set([...selectors].filter(([, selector]) => selector.kind === "labels" && selector.requirements.some(({ key }) => key === "reserved:kube-apiserver")).map(([id]) => id));
  return named.size > 0 && [...ruleSets.values()].some(({ rules }) => rules.some(({ verdict, peer }) => verdict === "deny" && peer !== undefined && named.has(peer)));
}

function isOldPort(match: PortMatch): boolean {
  return !("name" in match) && [ANY, TCP, UDP].includes(match.protocol);
}

function isOldPolicy({ kind }: PolicyRef): boolean {
  return kind === "CiliumNetworkPolicy";
}

function portsOf({ ruleSets }: NodeState): readonly PortMatch[] {
  return [...ruleSets.values()].flatMap(({ rules }) => rules.flatMap(({ ports }) => ports));
}
