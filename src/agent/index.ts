/**
 * The agent of one node: wires what it watches to what it writes into the kernel, and answers the CNI plugin.
 *
 * `main.ts` starts it, `agent.ts` is the wiring, only `config.ts` reads settings. It decides no policy: rules come
 * compiled from the operator, and the agent adds what only a node knows. Nothing imports this folder.
 */
export { Agent } from "./agent.ts";
