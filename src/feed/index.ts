/**
 * The node state on the wire: how the operator writes it, how the agent reads and acknowledges it. It computes nothing.
 *
 *   operator: NodeState -> NodeStateWriter -> spec.<node>, p-<hash>.<node>     -> NodeStateReader -> NodeState :agent
 *   operator: status    <- (reflector)     <- status.<node>                    <- Acknowledger    <- applied   :agent
 */
export { Acknowledger } from "./acknowledge.ts";
export type { Acknowledgement } from "./acknowledge.ts";
export type { Document, PolicyMark } from "./document.ts";
export { FORMAT, NODE_LABEL, manifestName, nodeKey, statusName } from "./names.ts";
export { NodeStateReader } from "./reader.ts";
export type { DeliveredState, NodeStateReaderOptions, ReadFailure } from "./reader.ts";
export { DeposedError, NodeStateWriter } from "./writer.ts";
export type { WriteTarget, WrittenState } from "./writer.ts";
