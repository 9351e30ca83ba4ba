/**
 * Leaf tools without any knowledge of networks or policies: work queues, back-off, addresses, hashes, logs, errors,
 * metrics, HTTP for health, start and stop in order. Imports nothing of ours; each file is imported by its own name.
 */
export { CodedError, describeError } from "./errors.ts";
