/**
 * The node state on the wire: how the operator writes it and the agent reads it. It computes nothing.
 *
 *   operator: NodeState -> NodeStateWriter -> spec.<node>, p-<hash>.<node>     -> NodeStateReader -> NodeState :agent
 *   operator: status    <- (reflector)     <- status.<node>                    <- applied revision, failures :agent
 */
export type { Document, PolicyMark } from "./document.ts";
export { FEED_FORMATS, FormatNotUnderstood } from "./formats.ts";
export { isIntact } from "./intact.ts";
export { NODE_LABEL, manifestName, nodeKey, ownerOf, statusName } from "./names.ts";
export { NodeStateReader } from "./reader.ts";
export type { DeliveredState, NodeStateReaderOptions, ReadFailure } from "./reader.ts";
export { DeposedError, NodeStateWriter } from "./writer.ts";
export type { ManifestHead, WriteTarget, WrittenState } from "./writer.ts";
