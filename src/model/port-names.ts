/** What pods call their ports. */
import type { Pod } from "../api/core.ts";
import type { CiliumEndpoint } from "../api/gen/ciliumendpoints.ts";

export type PortName = NonNullable<NonNullable<CiliumEndpoint["status"]>["named-ports"]>[number];
export const PORT_PROTOCOLS: Readonly<Record<PortName["protocol"], number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/** Of containers and of sidecars; of two ports with one name and protocol the first, as Services choose. */
export function portNames({ spec }: Pod): readonly PortName[] {
  const sidecars = (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === "Always");
  const found = new Map<string, PortName>();
  for (const { ports = [] } of [...(spec?.containers ?? []), ...sidecars]) {
    for (const { name, containerPort: port, protocol = "TCP" } of ports) {
      if (name === undefined || !isProtocol(protocol) || found.has(`${name} ${protocol}`)) continue;
      found.set(`${name} ${protocol}`, { name, port, protocol });
    }
  }
  return [...found.values()].sort((a, b) => (a.name === b.name ? PORT_PROTOCOLS[a.protocol] - PORT_PROTOCOLS[b.protocol] : a.name < b.name ? -1 : 1));
}

const isProtocol = (text: string): text is PortName["protocol"] => Object.hasOwn(PORT_PROTOCOLS, text);
