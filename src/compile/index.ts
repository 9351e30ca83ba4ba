/** What each node must enforce, from the current objects. Pure: no I/O, no clock, no history. */
export * from "./compile.ts";
export { ALLOW_PRECEDENCE, DENY_PRECEDENCE, OPEN_PRECEDENCE } from "./tiers.ts";
export { resolveGroups } from "./cidr-groups.ts";
export type { CidrGroup, CidrGroups, ResolvedPolicy } from "./cidr-groups.ts";
export { NamedKeys, boundlessKeys } from "./named-keys.ts";
export { draftPolicy, readPolicyOptions } from "./policy.ts";
export type { PolicyOptions } from "./policy.ts";
export { policySize, withoutRules, withoutRulesText } from "./size.ts";
export type { PolicySize } from "./size.ts";
export { isAudited } from "./draft.ts";
export type { PolicyDraft, RuleDraft } from "./draft.ts";
export { KEYS_NOT_BEFORE, readEncryption } from "./encryption.ts";
export type { EncryptionDecision } from "./encryption.ts";
export { readRouting, routingHash } from "./routing.ts";
export type { ReadSetting } from "./routing.ts";
export { maySelect, peerSelector, reachOf, selectorId, selects, subjectSelector, untoldPeers } from "./selectors.ts";
export type { LabelSelector, Reach } from "./selectors.ts";
export type * from "./state.ts";
