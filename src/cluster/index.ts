/**
 * The local cluster: real kubelets and containerds in namespaces of this machine, from the projects' own programs.
 *
 * `up.ts` is the order of its making, `down.ts` takes it away, `node-boot.sh` is what a node does first, `exec.ts` is
 * how tests run commands in a node. It knows nothing of our agent and operator: to them a node is a node.
 */
export { BUSYBOX_IMAGE, clusterConfig, type ClusterConfig, clusterPaths, nodeIdentities, type NodeIdentity } from "./config.ts";
export { nodeExec, nodeShell } from "./exec.ts";
export { runningConfig } from "./settings.ts";
