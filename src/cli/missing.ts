/** Commands of the field that this product has no feature for yet: each says so and fails. */
import type { Command } from "commander";
import { CliError } from "./errors.ts";

/** Command → the feature it needs. Grows shorter with every feature. */
const MISSING: Readonly<Record<string, string>> = {
  connectivity: "the connectivity test",
  hubble: "Hubble (`cilium monitor` shows drops and verdicts with the policy's name)",
  clustermesh: "cluster mesh",
  bgp: "the BGP control plane",
  service: "the service load balancer (kube-proxy serves ClusterIPs)",
  sysdump: "the diagnosis archive",
  install: "installing by this command (use helm install, as README.md shows)",
  upgrade: "upgrading by this command (use helm upgrade)",
};

export function addMissingCommands(program: Command): void {
  for (const [name, feature] of Object.entries(MISSING)) {
    program
      .command(name, { hidden: true })
      .argument("[args...]")
      .allowUnknownOption()
      .action(() => {
        throw new CliError(`cilium ${name}: ${feature} is not built yet`);
      });
  }
}
