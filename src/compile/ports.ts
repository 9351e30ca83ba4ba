/** Ports of the policy languages, as matches of the datapath. */
import type { NamedPort, NumberedPort, PortMatch } from "./state.ts";

const PORT_BITS = 16;
const LAST_PORT = 0xffff;

/** Any port of the protocol, also of one without ports. */
export function anyPort(protocol: number): NumberedPort {
  return { protocol, port: 0, prefix: 0 };
}

/** One number; of ICMP the message's type. */
export function onePort(protocol: number, port: number): NumberedPort {
  return { protocol, port, prefix: PORT_BITS };
}

export function namedPort(protocol: number, name: string): NamedPort {
  return { protocol, name };
}

/** The fewest prefixes that hold the numbers from `first` to `last` and no other. */
export function portRange(protocol: number, first: number, last: number): readonly NumberedPort[] {
  const matches: NumberedPort[] = [];
  for (let port = first; port <= last && port <= LAST_PORT; ) {
    let prefix = PORT_BITS;
    const size = (bits: number): number => 1 << (PORT_BITS - bits);
    while (prefix > 0 && port % size(prefix - 1) === 0 && port + size(prefix - 1) - 1 <= last) prefix--;
    matches.push({ protocol, port, prefix });
    port += size(prefix);
  }
  return matches;
}

/** Each once, in one order. */
export function sortedPorts(ports: Iterable<PortMatch>): readonly PortMatch[] {
  const textOf = (match: PortMatch): string => ("name" in match ? `${match.protocol}/${match.name}` : `${match.protocol}/${match.port}/${match.prefix}`);
  const byText = new Map([...ports].map((match) => [textOf(match), match]));
  const numberOf = (match: PortMatch): number => ("name" in match ? LAST_PORT + 1 : match.port);
  return [...byText].sort(([a, x], [b, y]) => x.protocol - y.protocol || numberOf(x) - numberOf(y) || (a < b ? -1 : 1)).map(([, match]) => match);
}
