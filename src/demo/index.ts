/**
 * `make demo`: the product's story on a real cluster, told by the commands that a user would type.
 *
 * It drives make, helm, kubectl and cilium as processes and reads what they print; it knows nothing of the
 * product's inside. Every expectation is checked: exit status 0 means that all of them held.
 */
export { reachTable } from "./reach.ts";
