/** Names of ICMP message types, as the policy language writes them: the IANA registries' names without spaces. */

/** https://www.iana.org/assignments/icmp-parameters */
const IPV4: Readonly<Record<string, number>> = {
  EchoReply: 0,
  DestinationUnreachable: 3,
  Redirect: 5,
  Echo: 8,
  EchoRequest: 8,
  RouterAdvertisement: 9,
  RouterSelection: 10,
  TimeExceeded: 11,
  ParameterProblem: 12,
  Timestamp: 13,
  TimestampReply: 14,
  Photuris: 40,
  ExtendedEchoRequest: 42,
  ExtendedEchoReply: 43,
};

/** https://www.iana.org/assignments/icmpv6-parameters */
const IPV6: Readonly<Record<string, number>> = {
  DestinationUnreachable: 1,
  PacketTooBig: 2,
  TimeExceeded: 3,
  ParameterProblem: 4,
  EchoRequest: 128,
  EchoReply: 129,
  MulticastListenerQuery: 130,
  MulticastListenerReport: 131,
  MulticastListenerDone: 132,
  RouterSolicitation: 133,
  RouterAdvertisement: 134,
  NeighborSolicitation: 135,
  NeighborAdvertisement: 136,
  RedirectMessage: 137,
  RouterRenumbering: 138,
  ICMPNodeInformationQuery: 139,
  ICMPNodeInformationResponse: 140,
  InverseNeighborDiscoverySolicitation: 141,
  InverseNeighborDiscoveryAdvertisement: 142,
  HomeAgentAddressDiscoveryRequest: 144,
  HomeAgentAddressDiscoveryReply: 145,
  MobilePrefixSolicitation: 146,
  MobilePrefixAdvertisement: 147,
  DuplicateAddressRequestCodeSuffix: 157,
  DuplicateAddressConfirmationCodeSuffix: 158,
  ExtendedEchoRequest: 160,
  ExtendedEchoReply: 161,
};

export type IcmpFamily = "IPv4" | "IPv6";

const NAMES: Readonly<Record<IcmpFamily, Readonly<Record<string, number>>>> = { IPv4: IPV4, IPv6: IPV6 };

/** `type` is a number, its decimal text or a name; undefined when it is no type of that family. */
export function icmpType(family: IcmpFamily, type: number | string): number | undefined {
  const names = NAMES[family];
  const number = typeof type === "number" ? type : /^[0-9]+$/.test(type) ? Number(type) : Object.hasOwn(names, type) ? names[type] : undefined;
  return number !== undefined && Number.isInteger(number) && number >= 0 && number <= 255 ? number : undefined;
}
